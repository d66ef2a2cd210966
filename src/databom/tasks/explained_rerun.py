"""Can a run be run again as it was, and what is missing if not: code, releases, assets, environment, command."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from databom.hosts.git import commit_at
from databom.model.digest import hex_of, sha256
from databom.model.explanation import DECLARED, MISSING, RERUN, VERIFIED, Line, Strength
from databom.model.text import printable
from databom.model.trainings import ENVIRONMENT_FILE
from databom.tasks import recorded
from databom.tasks.explaining import Case, digest_of
from databom.tasks.finding_receipts import notes_of
from databom.tasks.surroundings import freeze

if TYPE_CHECKING:
    from databom.tasks.explained_data import Used

_Answer = tuple[str, Strength, str]


def rerun_lines(case: Case, used: list[Used]) -> Iterator[Line]:
    """What a second run would need, each with what there is of it."""
    yield Line(RERUN, "code", *_code(case))
    if case.has_moved:
        told = "their list was moved out of the receipt, and is not kept here"
        yield Line(RERUN, "releases", told, MISSING, case.receipt)
    for one in used:
        yield Line(RERUN, "manifest", *_manifest(one), one.name)
        yield Line(RERUN, "assets", *_assets(case, one), one.name)
    yield Line(RERUN, "environment", *_environment(case))
    yield Line(RERUN, "command", *command_of(case))


def _code(case: Case) -> _Answer:
    code = case.dependency("code")
    commit = digest_of(code, "gitCommit") if code is not None else None
    if code is None or commit is None:
        return "no commit was noted", MISSING, case.receipt
    notes = notes_of(code)
    if notes.get("dirty") is not False:
        diff = notes.get("diff")
        told = (
            f"digest of what differed: {printable(diff)}"
            if isinstance(diff, str)
            else "no digest of what differed"
        )
        return f"the files differed from {commit[:12]}, and are not kept ({told})", MISSING, case.receipt
    if commit_at(case.place.root, commit) is None:
        uri = printable(str(code.get("uri", "no remote was noted")))
        return (
            f"{commit} is not in this clone",
            DECLARED if "uri" in code else MISSING,
            f"{uri}; {case.receipt}",
        )
    return f"{commit}, clean", case.said, f"git; {case.receipt}"


def _manifest(one: Used) -> _Answer:
    if one.judged is None or one.judged.manifest is None:
        return "not kept here; look for it in git", MISSING, one.manifest or "no digest"
    where = "still pinned" if one.is_pinned else "kept; another release is pinned now, or none"
    return where, VERIFIED, f"{one.where}, {one.judged.manifest.digest[:19]}…"


def _assets(case: Case, one: Used) -> _Answer:
    manifest = one.judged.manifest if one.judged is not None else None
    if manifest is None:
        return "nobody can tell which they are", MISSING, one.manifest or "no digest"
    if not one.is_pinned:
        return "only those of the pinned release are here", MISSING, f"pin {one.release} again"
    place = case.place
    pin = place.pin(one.name)
    compared = recorded.compare(place, one.name)
    if compared.verdict == "pass":
        return "all here, unchanged since they were hashed", DECLARED, f".databom/last/{one.name}.stat"
    folder = place.data_path(pin)
    lost = sum(not os.path.lexists(folder / asset.path) for asset in manifest.assets)
    if not lost and compared.verdict != "fail":
        return "all here by name", DECLARED, f"{pin.path}; `databom verify {one.name}` hashes them"
    what = compared.reason or "changed" if not lost else f"{lost:,} of {len(manifest.assets):,} are not here"
    return f"{printable(what, 300)}; `databom sync {one.name}` fetches", DECLARED, printable(pin.root, 400)


def _environment(case: Case) -> _Answer:
    noted = case.dependency("environment")
    digest = digest_of(noted, "sha256") if noted is not None else None
    if noted is None or digest is None:
        return "nothing was noted of it", MISSING, case.receipt
    notes = notes_of(noted)
    python = printable(f"Python {notes.get('python', '?')}, {notes.get('platform', '?')}")
    if hex_of(sha256(freeze())) == digest:
        return f"the same as here: {python}", case.said, f"sha256:{digest} in the {case.receipt}"
    listed = case.found.beside.get(ENVIRONMENT_FILE)
    if listed is not None and hex_of(sha256(listed)) == digest:
        count = len(listed.splitlines())
        return (
            f"another than here; its list of {count:,} packages is kept ({python})",
            case.said,
            f"sha256:{digest} in the {case.receipt}",
        )
    told = (
        f"another than here, and its list is not here: it is the run's artifact {ENVIRONMENT_FILE} ({python})"
    )
    return told, DECLARED, f"sha256:{digest} in the {case.receipt}"


def command_of(case: Case) -> _Answer:
    """How it was started, as the receipt says."""
    stated = case.definition.get("externalParameters")
    stated = stated if isinstance(stated, dict) else {}
    stage, command = stated.get("stage"), stated.get("command")
    if isinstance(stage, str):
        return f"dvc repro {printable(stage)}", case.said, case.receipt
    if not isinstance(command, list) or not command:
        return "it was no script of the project, or none could be told", MISSING, case.receipt
    told = printable(" ".join(map(str, command)), 400)
    if stated.get("complete") is not True:
        return f"{told} (an argument is hidden)", MISSING, case.receipt
    return told, case.said, case.receipt
