"""What a run says of its data, for `databom gate`: its receipt decides, and its tags may only speak against it.

The receipt is looked for as `explain` does it (`databom.tasks.finding_receipts`): in the log, in this clone, and at the
tracking server, whose copy counts where the keys of the role `receipt` signed it. Tags can be edited by whoever may
write to the server. So what a tag adds (another release, another use, another verdict) is asked about as well, and what
a tag takes away stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from databom.model.finding import Finding, Severity
from databom.model.lock import PIN_NAME
from databom.model.text import printable
from databom.model.trainings import ABORTED, COMPLETED, DEPENDENCIES_FILE, VERDICT_TAG, verdict_to_show
from databom.tasks.finding_receipts import Found, Search, elsewhere, notes_of, whole

if TYPE_CHECKING:
    from datetime import datetime

    from databom.log.checkpoint import Checkpoint
    from databom.tasks.project import Project
    from databom.trust.root import TrustRoot

PRESENT = "present"
_DATASET = "dataset:"


class Release(Struct, frozen=True):
    """A release that a run names."""

    name: str
    manifest: str | None
    """Digest; None where nobody says it."""
    use: str


class Said(Struct, frozen=True):
    """What a run says."""

    shown: str
    run: str
    tags: Mapping[str, str]
    found: Found | None
    why: str = ""
    """Why there is no receipt."""
    log: Checkpoint | None = None
    """What the log stated when this was answered; None where there is none here."""

    @classmethod
    def of(
        cls, place: Project, root: TrustRoot, run_id: str, tags: Mapping[str, str], shown: str, now: datetime
    ) -> Said:
        """What a run of MLflow says.

        Raises:
            ConfigError: the log has no name.
            StorageError: the log is there, and cannot be read or believed.
        """
        run = f"mlflow:{run_id}"
        search = Search(place, root, (run,), now)
        log = search.reader.checkpoint if search.reader is not None else None
        found = search.here()
        if found is not None:
            return cls(shown, run, tags, found, log=log)
        found, why = elsewhere(search, (run,))
        return cls(shown, run, tags, found, why, log)

    def releases(self) -> list[Release]:
        """Every release that the receipt or a tag names, as used where one of the two says so; sorted."""
        uses: dict[tuple[str, str | None], str] = {}
        for one in (*self.stated(), *self.tagged()):
            key = (one.name, one.manifest)
            if uses.get(key, PRESENT) == PRESENT:
                uses[key] = one.use
        told = {name for name, manifest in uses if manifest is not None}
        return [
            Release(name, manifest, uses[name, manifest])
            for name, manifest in sorted(uses, key=lambda key: (key[0], key[1] or ""))
            if manifest is not None or name not in told
        ]

    def stated(self) -> list[Release]:
        """Those of the receipt."""
        return [] if self.found is None else [*_stated(self._dependencies())]

    def tagged(self) -> list[Release]:
        """Those of the tags."""
        names = sorted({name for name in self.tags.get("databom.pins", "").split(",") if name})
        return [
            Release(
                name,
                self.tags.get(f"databom.{name}.manifest"),
                self.tags.get(f"databom.{name}.use", PRESENT),
            )
            for name in names
        ]

    @property
    def verdict(self) -> str:
        """`pass` where the receipt says so, of a run that completed, and no tag says otherwise."""
        tag = self.tags.get("databom.verdict", "none")
        if self.found is None:
            return tag
        internal = self._definition["internalParameters"]
        verdict, status = str(internal["verdict"]), str(internal["status"])
        if verdict != "pass":
            return verdict
        if status != COMPLETED:
            return f"{verdict}, and the run {status}"
        return tag if "databom.verdict" in self.tags else verdict

    def findings(self) -> Iterator[Finding]:
        """`log.seen`, `receipt.missing`, those of the receipt, `receipt.unlogged`, `capture.differs`, `.unanswered`."""
        found = self.found
        if self.log is not None:
            yield Finding(
                "log.seen",
                Severity.INFO,
                printable(self.log.origin),
                f"this was answered when the log had {self.log.size:,} entries: what came after is not in it",
                found=f"sha256:{self.log.root.hex()}",
                do="ask again before the model goes out",
            )
        if found is None:
            yield Finding(
                "receipt.missing",
                Severity.BLOCK,
                self.shown,
                "no signed receipt says which data this model was trained on; tags alone can be edited, and are not "
                "believed",
                expected=f"a receipt of {printable(self.run)}, signed by a key of the role receipt",
                found=printable(self.why, 500),
                do="`databom log flush` signs and logs what waits; share one log with the clone that trained it; a "
                "run from before there were receipts has none: train it again",
            )
            return
        yield from found.receipt.findings
        if found.proved is None:
            yield Finding(
                "receipt.unlogged",
                Severity.WARN,
                self.shown,
                "nothing shows that the receipt of its run was logged: whoever holds the key may have made it later",
                expected="an entry of the log, or a proof beside the receipt",
                found=printable(found.where),
                do="share one log with the clone that trained it ([log] location), or keep receipt.tlog-proof with it",
            )
        if differing := sorted(self._differing()):
            yield Finding(
                "capture.differs",
                Severity.WARN,
                self.shown,
                "the run's tags do not say what its receipt says: somebody edited them",
                expected=printable(f"as in the receipt {found.receipt.digest}"),
                found=printable(", ".join(differing), 500),
                do="find out who may write to the tracking server; the receipt is what counts",
            )
        if any("moved" in notes_of(one) for one in self._dependencies()):
            yield Finding(
                "capture.unanswered",
                Severity.BLOCK,
                self.shown,
                "the list of releases was moved out of its receipt, and is neither here nor at the tracking server",
                expected=DEPENDENCIES_FILE,
                found="nothing",
                do=f"put the run's artifact databom/{DEPENDENCIES_FILE} back, or ask in the clone that trained it",
            )

    # --- the receipt ------------------------------------------------------------------------------

    @property
    def _definition(self) -> Mapping[str, Any]:
        assert self.found is not None
        definition: Mapping[str, Any] = self.found.receipt.statement["predicate"]["buildDefinition"]
        return definition

    def _dependencies(self) -> tuple[Mapping[str, Any], ...]:
        assert self.found is not None
        return whole(self._definition["resolvedDependencies"], DEPENDENCIES_FILE, self.found.beside)

    def _differing(self) -> Iterator[str]:
        """The tags that say something else than the receipt."""
        assert self.found is not None
        stated = {one.name: one for one in self.stated()}
        internal = self._definition["internalParameters"]
        expected = {
            VERDICT_TAG: verdict_to_show(internal, self.tags.get(VERDICT_TAG)),
            "databom.pins": ",".join(sorted(stated)),
        }
        for tag, value in expected.items():
            if self.tags.get(tag) != value:
                yield tag
        if "databom.receipt" in self.tags and self.tags["databom.receipt"] != self.found.receipt.digest:
            yield "databom.receipt"
        for name, one in stated.items():
            for tag, said in ((f"databom.{name}.manifest", one.manifest), (f"databom.{name}.use", one.use)):
                # Whoever closes a run that was killed does not know what it used.
                is_unknown = (internal["status"], said) == (ABORTED, PRESENT)
                if tag in self.tags and self.tags[tag] != said and not is_unknown:
                    yield tag


def _stated(dependencies: tuple[Mapping[str, Any], ...]) -> Iterator[Release]:
    for one in dependencies:
        name, digests = one.get("name"), one.get("digest")
        if not str(one.get("uri")).startswith(_DATASET) or not isinstance(name, str):
            continue
        digest = digests.get("sha256") if isinstance(digests, dict) else None
        use = notes_of(one).get("use")
        yield Release(
            name,
            f"sha256:{digest}" if isinstance(digest, str) else None,
            use if isinstance(use, str) else PRESENT,
        )


def is_answerable(one: Release) -> bool:
    """Whether it can be asked about: a name that a pin may have, and a digest."""
    return PIN_NAME.match(one.name) is not None and one.manifest is not None
