"""One run's evidence on its way to the tracking server: what has been sent, what is still owed.

What is owed is always worked out anew from the evidence, and what the server has is remembered by digest; so it does
not matter how often, from which hook or after which failure a delivery is tried.
"""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from databom.mlflow import flushing, spool, warn
from databom.mlflow.background import Background
from databom.mlflow.budget import Budget
from databom.mlflow.closing import Closing, digest_tag
from databom.mlflow.delivery import Refused, Server
from databom.mlflow.gathering import Gathering
from databom.mlflow.place import Place
from databom.mlflow.telling import Telling
from databom.model.trainings import BOM_FILE, VERDICT_TAG

if TYPE_CHECKING:
    from databom.hosts.tracking import Dataset, Tracking
    from databom.tasks.evidence import RunEvidence
    from databom.tasks.receipts import Ready

SETTLE_SECONDS = 1.0
"""Age of a run at which BOM, report and tags are written, if it has not ended by then."""
MAX_INPUT_PATHS = 10_000
NO_TIME = "no answer in time"


class _Owed(NamedTuple):
    """Everything a run is to be given, whether it has it or not."""

    inputs: tuple[Dataset, ...]
    manifests: Mapping[str, bytes]
    files: Mapping[str, bytes]
    tags: Mapping[str, str]
    credit: str | None = None
    """What the pages of its registered models are to say."""


class Record:
    """A run that has begun. Its `deliver…` methods are jobs of the server's thread, the rest is for hooks."""

    def __init__(
        self,
        here: Place,
        gathering: Gathering,
        server: Server,
        ledgers: Background,
        *,
        client: Any,
        run_id: str,
        artifact_uri: str | None,
        attach: bool,
        sent: Mapping[str, str],
        earlier: Mapping[str, str],
        budget: Budget,
        is_gated: bool,
    ) -> None:
        from databom.hosts.tracking import Tracking, shown_uri

        self.here = here
        self.gathering = gathering
        self.server = server
        self.run_id = run_id
        self.is_gated = is_gated
        self._tracking = Tracking(client)
        self.key = (self._tracking.uri, run_id)
        self._shown = shown_uri(self._tracking.uri)
        self._artifact_uri = artifact_uri
        self._attach = attach
        """Whether artifacts and inputs are wanted, or only tags (`auto = "tags"`)."""
        self._earlier = earlier
        self._budget = budget
        self._tags: dict[str, str] = dict(sent)
        self._files: dict[str, str] = {}
        self._has_inputs = False
        self._pages: dict[tuple[str, str], str | None] = {}
        """Registered versions of this run's models, and what their pages were given."""
        self._is_over = False
        self._paths: set[str] = set()
        self._lock = threading.Lock()
        self._ledgers = ledgers
        self._closing = Closing(here, run_id, self._shown, ledgers, budget)
        self._last: _Owed | None = None
        """What the run is owed since it was closed: from then on it does not change."""
        self._ready: Ready | None = None
        self._has_told_models = False

    # --- for hooks --------------------------------------------------------------------------------

    def begin(self) -> None:
        """Write down that the run has begun, and have the delivery begun in the background."""
        with self._budget.spending():
            try:
                self._closing.begin(digest_tag(self._earlier))
            except Exception as error:  # noqa: BLE001  # the run goes on
                warn.once(
                    f"a run cannot be written down as begun ({type(error).__name__}); it gets no receipt"
                )
        flushing.settle_soon(self.here.root, self._ledgers)
        settled = time.monotonic() + SETTLE_SECONDS

        def first() -> None:
            self._submit(self.deliver_first)

        def whole() -> None:
            self._submit(self.deliver, settled)

        self.gathering.when_quick(first)
        self.gathering.when_full(whole)

    def add_inputs(self, paths: Iterable[str]) -> None:
        """Note where datasets came from that the run logged."""
        with self._lock:
            if len(self._paths) < MAX_INPUT_PATHS:
                self._paths.update(paths)

    def add_version(self, name: str, version: str) -> None:
        """Note a model version that was registered from this run: its page is owed the credits of the data."""
        if self._attach:
            with self._lock:
                self._pages.setdefault((name, version), None)

    @property
    def telling(self) -> Telling:
        """Where the hooks note what the run tells its server."""
        return self._closing.telling

    def finish(self, seconds: float = math.inf, *, last: bool = True, status: str | None = None) -> None:
        """Deliver what is owed, waiting at most `seconds` and what is left of the budget; spool the rest.

        The last time the run is closed first, with its receipt: `status` is the one MLflow is about to set.
        """
        self._is_over = self._is_over or last
        with self._budget.spending(seconds) as deadline:
            try:
                self._finish(deadline, last=last, status=status)
            finally:
                if last:
                    self.let_go()

    def _finish(self, deadline: float, *, last: bool, status: str | None) -> None:
        done = threading.Event()
        delivered = False

        def final() -> None:
            nonlocal delivered
            try:
                delivered = self._deliver(first=False)
            finally:
                done.set()

        if not self.server.is_late:
            self.gathering.wait_quick(deadline - time.monotonic())
            self.gathering.wait_sweep(deadline)
        if last:
            self._close(status, deadline)
        patience = 0.0 if self.server.is_late else deadline - time.monotonic()
        if not (self._submit(final) and done.wait(max(0.0, patience))):
            self.server.was_late()
            self._keep(NO_TIME)
            if delivered:  # in the meantime
                spool.forget(self.here.root, self.run_id)

    def _close(self, status: str | None, deadline: float) -> None:
        if not self._closing.is_begun:
            return
        owed = self._owed()
        try:
            verdict = owed.tags[VERDICT_TAG]
            waits = self._closing.close(
                status,
                verdict,
                self._evidence(),
                self.gathering,
                owed.files,
                deadline,
                attach=self._attach,
            )
        except Exception as error:  # noqa: BLE001  # the run goes on
            warn.once(
                f"a run could not be closed ({type(error).__name__}); its receipt will say that it was aborted"
            )
            return
        self._last = owed
        self._submit(self.deliver_unsigned)
        ready = self._closing.wait(deadline - time.monotonic(), self._ready_late) if waits else None
        if ready is not None:
            self._last = self._with(owed, ready)

    def _with(self, owed: _Owed, ready: Ready) -> _Owed:
        from databom.tasks.evidence import FOLDER

        self._ready = ready
        files = {f"{FOLDER}/{name}": data for name, data in ready.files.items()} if self._attach else {}
        return owed._replace(files={**owed.files, **files}, tags={**owed.tags, **ready.tags})

    def _ready_late(self, ready: Ready) -> None:
        """The log answered when the run had ended: what is owed now is kept, and delivered if there is time."""
        assert self._last is not None
        self._last = self._with(self._last, ready)
        self._keep(NO_TIME, quiet=True)
        self._submit(self._deliver_last)

    def let_go(self) -> None:
        """The run needs nothing more from the look at its project."""
        self._is_over = True
        self.gathering.leave()

    # --- jobs of the server's thread --------------------------------------------------------------

    def deliver_first(self) -> None:
        """What never changes: inputs and manifests. Then what earlier runs are still owed, one of them at least."""
        if not self._attach:
            return
        # A run that is over already is delivered whole, by the job that its end has queued behind this one.
        server = self.server
        well = not server.is_shut_off if self._is_over else self._deliver(first=True)
        if well and server.may_drain(self.here.root):
            spool.drain(
                self.here.root,
                self._tracking,
                self._shown,
                go_on=lambda: not server.is_wanted and not server.is_shut_off,
            )

    def deliver(self) -> None:
        """Everything, once the evidence has settled."""
        if not self._is_over:
            self._deliver(first=False)

    def deliver_unsigned(self) -> None:
        """What the receipt will change nothing of, while it is being signed. Whatever fails is `deliver`'s to tell."""
        from databom.tasks.evidence import FOLDER

        owed = self._last
        if not self._attach or owed is None or self.server.is_shut_off:
            return
        documents = {f"{FOLDER}/{name}": data for name, data in self._closing.documents.items()}
        files = {path: data for path, data in owed.files.items() if path != f"{FOLDER}/{BOM_FILE}"}
        with suppress(BaseException):
            self._send(_Owed(owed.inputs, owed.manifests, {**files, **documents}, {}), first=False)

    def _deliver_last(self) -> None:
        self._deliver(first=False)

    def _submit(self, job: Callable[[], None], due: float = 0.0) -> bool:
        try:
            self.server.submit(job, due=due)
        except RuntimeError:  # the interpreter shuts down
            return False
        return True

    def _deliver(self, *, first: bool) -> bool:
        owed = self._owed()
        try:
            self._send(owed, first=first)
        except Refused:
            self._keep(NO_TIME, owed)
            return False
        except BaseException as error:  # noqa: BLE001  # in our thread MLflow's stores may raise anything; its text may hold a password
            self._keep(type(error).__name__, owed)
            return False
        if not first:
            spool.forget(self.here.root, self.run_id)
            self._handed_over()
        return True

    def _handed_over(self) -> None:
        from databom.tasks.receipts import handed_over

        if self._ready is not None and self._ready.is_logged:
            handed_over(Path(self.here.root), self._ready.id)

    def _send(self, owed: _Owed, *, first: bool) -> None:
        server, tracking, run_id = self.server, self._tracking, self.run_id
        if owed.inputs and not self._has_inputs:
            server.call(lambda: tracking.log_inputs(run_id, owed.inputs))
            self._has_inputs = True
        for files in (owed.manifests,) if first else (owed.manifests, owed.files):
            if new := {path: data for path, data in files.items() if self._files.get(path) != _digest(data)}:
                server.call(lambda new=new: tracking.put(run_id, self._artifact_uri, new))  # type: ignore[misc]
                self._files.update((path, _digest(data)) for path, data in new.items())
        if first:
            return
        if owed.credit is not None:
            for page in [page for page, said in list(self._pages.items()) if said != owed.credit]:
                server.call(lambda page=page: credit(tracking, page, owed.credit))  # type: ignore[misc]
                self._pages[page] = owed.credit
        tags = {key: value for key, value in owed.tags.items() if self._tags.get(key) != value}
        if "databom.receipt" in tags:  # an earlier ending's receipt may have been delivered meanwhile
            tags[VERDICT_TAG] = owed.tags[VERDICT_TAG]
        if tags:
            server.call(lambda: tracking.set_tags(run_id, tags))
            self._tags.update(tags)
        parcel = self._parcel(owed)
        if parcel.models and not self._has_told_models:
            server.call(lambda: spool.send_to_models(tracking, parcel))
            self._has_told_models = True

    # --- what there is to say -----------------------------------------------------------------------

    def _evidence(self) -> RunEvidence | None:
        from databom.tasks.use import snapshot

        evidence = self.gathering.evidence
        if evidence is None:
            return None
        with self._lock:
            paths = tuple(self._paths)
        floor = "fail" if self._earlier.get(VERDICT_TAG) == "fail" else None
        return replace(evidence.used(snapshot(self.here.root), paths), floor=floor)

    def _owed(self) -> _Owed:
        """Everything there is to say now. Where the project cannot be read, the tags alone."""
        from databom.bom.attribution import attribution, brief
        from databom.tasks.evidence import FOLDER, format_tags

        if self._last is not None:
            return self._last
        try:
            evidence = self._evidence()
            if evidence is not None:
                if not self._attach:
                    return _Owed((), {}, {}, evidence.tags())
                tags = evidence.tags()
                replaced = {
                    key: value for key, value in self._earlier.items() if tags.get(key, value) != value
                }
                bom = evidence.bom(self.run_id)
                report = evidence.report(self.run_id, replaced)
                credits_ = evidence.credits()
                page = attribution(credits_)
                return _Owed(
                    evidence.inputs(),
                    {f"{FOLDER}/manifests/{name}": data for name, data in evidence.manifests().items()},
                    {
                        f"{FOLDER}/{BOM_FILE}": bom,
                        f"{FOLDER}/report.json": report,
                        **({f"{FOLDER}/ATTRIBUTION.md": page} if page is not None else {}),
                    },
                    {**tags, "databom.bom": _digest(bom)},
                    brief(credits_, run_id=self.run_id),
                )
        except Exception as error:  # noqa: BLE001  # a broken project must not hurt the run
            warn.once(
                f"could not make the evidence of a run ({type(error).__name__}); it carries its tags and no more"
            )
        verdict = "fail" if self.here.problem or self.gathering.broken else "unverified"
        return _Owed((), {}, {}, format_tags(self.here.pins, verdict=verdict))

    def _parcel(self, owed: _Owed) -> spool.Parcel:
        return spool.Parcel(
            run_id=self.run_id,
            tracking=self._shown,
            tags=owed.tags,
            files=owed.files,
            inputs=owed.inputs,
            manifests={path.rpartition("/")[2]: _digest(data) for path, data in owed.manifests.items()},
            versions=tuple(self._pages) if owed.credit is not None else (),
            credit=owed.credit or "",
            models=self._ready.models if self._ready is not None and self._attach else (),
        )

    def _keep(self, why: str, owed: _Owed | None = None, *, quiet: bool = False) -> None:
        """Spool what the run is owed, and say so once for each server."""
        root = self.here.root
        try:
            kept = spool.put(root, self._parcel(owed or self._owed()))
            if kept:
                self._handed_over()
        except Exception:  # noqa: BLE001  # a disk that is full too must not hurt the run
            kept = False
        where = (
            f"is kept in {root}/.databom/spool and delivered later" if kept else "could not be kept either"
        )
        if not quiet and self.server.is_first_trouble():
            warn.once(
                f"the evidence of runs could not be delivered to {self._shown} ({why}); "
                f"it {where}. The runs themselves are not affected"
            )


def credit(tracking: Tracking, version: tuple[str, str], block: str) -> None:
    """Put the credits on a registered version's page, leaving all else on it as it is."""
    from databom.bom.attribution import on_page

    if not tracking.add_to_page(*version, lambda page: on_page(page, block)):
        warn.once(
            f"the page of {version[0]}, version {version[1]}, has no room for the credits of its data: "
            "add what `databom bom --run RUN_ID --spec attribution` prints by hand"
        )


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
