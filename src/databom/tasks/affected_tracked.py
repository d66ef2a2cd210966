"""What a tracking server adds to the runs that stand on something: runs that only their tags tell of, and versions.

Nothing that it says is believed, and nothing that it leaves out is taken for an answer: runs that the receipts name
stay whatever the server shows. It adds runs that carry the tag of an affected release and have no receipt that says so
(one that goes on elsewhere, or whose receipt never reached the log), and the registered versions of all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from databom.errors import PluginError
from databom.hosts.tracked import MAX_RUNS, Tracked, TrackedRun, TrackedVersion
from databom.hosts.tracking import is_configured
from databom.model.affected import PRESENT, AffectedRelease, AffectedRun, AffectedVersion, Untold
from databom.model.explanation import DECLARED
from databom.model.lock import PIN_NAME
from databom.model.text import counted, printable
from databom.tasks.use import KINDS

_SCHEME = "mlflow:"
_ALONE = "the tracking server alone"
_AGAIN = "ask again when it answers: what only the server knows is not in this answer"


class TrackedAnswer(Struct, frozen=True):
    """The runs, those of the receipts first, and what the server adds."""

    runs: tuple[AffectedRun, ...]
    versions: tuple[TrackedVersion, ...] = ()
    shown: str | None = None
    """The server; None where none is configured."""
    untold: tuple[Untold, ...] = ()


def ask_tracking(
    releases: Iterable[AffectedRelease], runs: Mapping[str, AffectedRun], receipted: Collection[str]
) -> TrackedAnswer:
    """Ask the tracking server that is configured, if one is.

    Args:
        releases: the affected ones.
        runs: the affected runs by what their receipts say.
        receipted: every run that has a receipt, affected or not.
    """
    known = tuple(runs.values())
    if not is_configured():
        return TrackedAnswer(known, untold=tuple(_unasked(known)))
    shown = "the tracking server"
    try:
        server = Tracked()
        shown = server.shown
        hinted: dict[str, AffectedRun] = {}
        untold: list[Untold] = []
        for run in _tagged(server, releases, receipted, untold):
            if run.run not in runs:
                hinted[run.run] = _both(hinted.get(run.run, run), run)
        every = (*known, *hinted.values())
        ids = [one.run.removeprefix(_SCHEME) for one in every if _is_followed(one)]
        versions = sorted(server.versions_of(ids), key=lambda one: (one.name, one.version))
    except PluginError as error:
        return TrackedAnswer(known, (), shown, (Untold(shown, printable(str(error), 400), _AGAIN),))
    return TrackedAnswer(every, tuple(versions), shown, tuple(untold))


def _is_followed(run: AffectedRun) -> bool:
    return run.run.startswith(_SCHEME) and not run.is_possible


def _unasked(runs: Iterable[AffectedRun]) -> Iterator[Untold]:
    """A server that is not configured is nothing to ask, unless runs are known that were tracked somewhere."""
    if count := sum(map(_is_followed, runs)):
        told = f"none is configured: registered versions of {counted(count, 'run')} were not looked for"
        yield Untold("the tracking server", told, "set MLFLOW_TRACKING_URI, and ask again")


def shown_version(version: TrackedVersion) -> str:
    """`models:/NAME/VERSION`, fit to be shown."""
    return printable(f"models:/{version.name}/{version.version}")


def told_version(version: TrackedVersion) -> AffectedVersion:
    """A registered version, fit to be shown."""
    return AffectedVersion(shown_version(version), tuple(map(printable, version.aliases)), run_of(version))


def run_of(version: TrackedVersion) -> str:
    """The run of a registered version, as a receipt calls it."""
    return f"{_SCHEME}{printable(version.run_id)}"


def _tagged(
    server: Tracked, releases: Iterable[AffectedRelease], receipted: Collection[str], untold: list[Untold]
) -> Iterator[AffectedRun]:
    for release in releases:
        for name in release.pins:
            if not PIN_NAME.match(name):
                continue
            tag = f"databom.{name}.manifest"
            for number, one in enumerate(server.runs_with(tag, release.manifest), 1):
                if number == MAX_RUNS:
                    told = f"{number:,} runs or more carry the tag {tag} of one release: the newest were looked at"
                    untold.append(
                        Untold(server.shown, told, f"mlflow runs search by tags.`{tag}` finds the others")
                    )
                yield _hinted(one, name, tag, release, receipted)


def _both(one: AffectedRun, other: AffectedRun) -> AffectedRun:
    """One run, as the tags of two pins tell of it: a use is not hidden by a pin that was only present."""
    because = tuple(dict.fromkeys((*one.because, *other.because)))
    direct = (one.direct and not one.is_possible) or (other.direct and not other.is_possible)
    return replace(other if one.is_possible else one, because=because, direct=direct)


def _hinted(
    one: TrackedRun, name: str, tag: str, release: AffectedRelease, receipted: Collection[str]
) -> AffectedRun:
    run, use = f"{_SCHEME}{printable(one.run_id)}", one.tags.get(f"databom.{name}.use")
    use = use if use in KINDS else PRESENT
    has = "its receipt does not say so" if run in receipted else "no receipt that is believed here"
    status = printable(one.status.lower(), 40) + (", deleted" if one.is_deleted else "")
    because = (f"{use} {release.release} as {name}", f"the tag {tag}; {has}")
    return AffectedRun(run, use, because, status, None, None, None, DECLARED, _ALONE, release.direct)
