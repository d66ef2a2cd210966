"""The life of a run as databom sees it: creating, created (or resumed), fed, ending.

    creating    enforce: the gate, before the store is asked for anything. Else: look at the project, wait at most
                100 ms, put the tags into the very call that creates the run (no call of ours)
    created     in the background: inputs and manifests at once; BOM, report and what changed in the tags a second
                later, when the sweep is done too, so that they are written once (`evidence settles`)
    ending      deliver what is missing or has changed; wait at most what is left of the run's budget; spool the rest

For one signed pin that is one call for the inputs, one batch of tags, and eight files in three uploads: two manifest
files; the report and the two documents that the receipt names, while it is being signed; BOM, receipt, proof. Three
more (BOM, report, tags) where the run takes longer than a second: these are then written twice.

Every function here is called from a wrap around MLflow's client and keeps one promise: in `observe` nothing but a
Ctrl-C leaves it. State is kept by (tracking URI, run id): a client may be bound to another server than the default.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

from databom.mlflow import place, switch, warn
from databom.mlflow.background import Background, is_ours
from databom.mlflow.budget import Budget
from databom.mlflow.closing import crashed
from databom.mlflow.delivery import Server
from databom.mlflow.gathering import Gatherer, Gathering
from databom.mlflow.place import Place
from databom.mlflow.record import Record
from databom.mlflow.telling import Hashing, Telling

MAX_OPEN_RUNS = 4096
"""Runs that began and did not end in this process (bare clients may never end one); the oldest are let go."""
TAGS_ARGUMENT = 2
"""Position of `tags` in `create_run(experiment_id, start_time, tags, run_name)`."""


class Ticket(NamedTuple):
    """What `creating` leaves to `created`."""

    here: Place
    auto: str
    gathering: Gathering
    tags: Mapping[str, str]
    budget: Budget
    """What the run may still be made to wait."""
    is_gated: bool
    """Whether the run is allowed by the gate of `enforce`."""


class _State:
    """All that this process knows. Made anew in a forked child: threads and locks do not survive a fork."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.gatherer = Gatherer()
        self.ledgers = Background("databom-receipts")
        self.servers: dict[str, Server] = {}
        self.open: OrderedDict[tuple[str, str], Record] = OrderedDict()
        self.latest: dict[str, Gathering] = {}
        self.is_exiting = False
        self.local = threading.local()
        """`created`: the id of this thread's newest run; `status`: what `get_run` last said of one."""

    def server(self, uri: str) -> Server:
        with self.lock:
            return self.servers.setdefault(uri, Server())

    def add(self, record: Record) -> bool:
        """Remember a run; False when it is known already."""
        with self.lock:
            if record.key in self.open:
                return False
            self.open[record.key] = record
            dropped = self.open.popitem(last=False)[1] if len(self.open) > MAX_OPEN_RUNS else None
        if dropped is not None:
            dropped.let_go()
        return True

    def take(self, key: tuple[str, str]) -> Record | None:
        with self.lock:
            return self.open.pop(key, None)

    def get(self, key: tuple[str, str]) -> Record | None:
        with self.lock:
            return self.open.get(key)

    def records(self) -> list[Record]:
        with self.lock:
            return list(self.open.values())


_state = _State()
_prepared = False


def prepare() -> None:
    """What the wraps need of this process, once: a fresh state after a fork, a last delivery at exit."""
    global _prepared  # noqa: PLW0603  # once a process
    if not _prepared:
        _prepared = True
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_after_fork)
        # Registered after MLflow's own, so it runs before: then MLflow ends the run that the program left open.
        atexit.register(at_exit)


def _after_fork() -> None:
    global _state  # noqa: PLW0603
    _state = _State()


# --- creating ---------------------------------------------------------------------------------------


def creating(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Ticket | None, tuple[Any, ...], dict[str, Any]]:
    """Before `create_run`: the ticket for `created`, and the arguments with our tags among them.

    Raises:
        DatabomError: in `enforce`, the run must not be created.
    """
    if is_ours():
        return None, args, kwargs
    here, is_gated = _gated()
    ticket = None
    try:
        if here is None or (auto := switch.effective(here).auto) == "off":
            return None, args, kwargs
        gathering = _state.gatherer.start(here.root)
        budget = Budget()
        try:
            with budget.spending():
                gathering.wait_full(_state.gatherer.patience(here.root))
            _state.latest[here.root] = gathering
            tags = _tags(here, gathering)
            new = _with_tags(args, kwargs, tags)
            ticket = Ticket(here, auto, gathering, tags, budget, is_gated)
        finally:
            if ticket is None:
                gathering.leave()
    except Exception:  # noqa: BLE001  # the hook must not hurt the run
        warn.once("could not look at the project when a run started; the run carries less evidence")
        return None, args, kwargs
    return ticket, *new


def _with_tags(
    args: tuple[Any, ...], kwargs: dict[str, Any], tags: Mapping[str, str]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of `create_run` with `tags` over whatever the caller (or a provider, a moment ago) said."""
    if len(args) > TAGS_ARGUMENT:
        merged = {**(args[TAGS_ARGUMENT] or {}), **tags}
        return (*args[:TAGS_ARGUMENT], merged, *args[TAGS_ARGUMENT + 1 :]), kwargs
    return args, {**kwargs, "tags": {**(kwargs.get("tags") or {}), **tags}}


def _gated() -> tuple[Place | None, bool]:
    """The project, after its gate where `enforce` holds; and whether it does.

    Raises:
        DatabomError: `enforce`, and the data fails the gate, or the gate could not answer.
    """
    demanded = False
    try:
        demanded = switch.demands_enforcement()
        here = place.find()
        enforce = demanded or (here is not None and switch.effective(here).enforce)
    except Exception as error:
        if not demanded:
            warn.once("could not look for a project when a run started; the run carries no evidence")
            return None, False
        from databom.errors import PluginError

        raise PluginError("the project could not be looked for, so the run is not created") from error
    if enforce:
        from databom.mlflow.enforcing import require_gate

        require_gate(here, [record for record in _state.records() if here and record.here.root == here.root])
    return here, enforce


def current_tags(here: Place) -> Mapping[str, str]:
    """The tags a provider gives now: the newest answer there is about this project. Starts and waits for nothing."""
    return _tags(here, _state.latest.get(here.root))


def _tags(here: Place, gathering: Gathering | None) -> dict[str, str]:
    from databom.tasks.evidence import format_tags
    from databom.tasks.use import snapshot

    evidence = gathering.evidence if gathering is not None else None
    if evidence is not None and {one.name: one.pin.manifest for one in evidence.pins} == {
        name: pin.get("manifest") for name, pin in here.pins.items()
    }:
        used = evidence.used(snapshot(here.root))
        return format_tags(here.pins, verdict=used.verdict, uses=used.uses)
    broken = here.problem is not None or (gathering is not None and gathering.broken)
    return format_tags(here.pins, verdict="fail" if broken else "unverified")


# --- created, resumed -------------------------------------------------------------------------------


def created(ticket: Ticket | None, client: Any, run: Any) -> None:
    """After `create_run`: begin to deliver, in the background. Without a ticket the run is only known as a new one."""
    if is_ours():
        return
    try:
        _state.local.created = run.info.run_id
        if ticket is not None:
            _begin(ticket, client, run)
    except Exception:  # noqa: BLE001  # the hook must not hurt the run
        if ticket is not None:
            ticket.gathering.leave()
        warn.once("could not begin to record a run; it carries its tags and no more")


def abandoned(ticket: Ticket | None) -> None:
    """`create_run` failed: there is no run to look for."""
    if ticket is not None:
        ticket.gathering.leave()


def _begin(ticket: Ticket, client: Any, run: Any, earlier: Mapping[str, str] | None = None) -> None:
    record = Record(
        ticket.here,
        ticket.gathering,
        _state.server(str(client.tracking_uri)),
        _state.ledgers,
        client=client,
        run_id=run.info.run_id,
        artifact_uri=run.info.artifact_uri,
        attach=ticket.auto == "full",
        sent=ticket.tags if earlier is None else {},
        earlier=earlier or {},
        budget=ticket.budget,
        is_gated=ticket.is_gated,
    )
    if not _state.add(record):
        ticket.gathering.leave()
        return
    record.begin()


def activating(run: Any) -> None:
    """Before a fluent run becomes active. New ones have been through `created`; what is left is a resumed run.

    Raises:
        DatabomError: in `enforce`, the run must not go on.
    """
    try:
        from databom.hosts.tracking import default_client

        client = default_client()
        run_id = run.info.run_id
        is_new = getattr(_state.local, "created", None) == run_id
        _state.local.created = None
        known = is_new or _state.get((str(client.tracking_uri), run_id)) is not None
    except Exception:  # noqa: BLE001  # the hook must not hurt the run
        warn.once("could not look at a run that became active")
        return
    if known or is_ours():
        return
    try:
        here, is_gated = _gated()
    except Exception:
        _put_back(client, run_id)
        raise
    try:
        if here is None or (auto := switch.effective(here).auto) == "off":
            return
        gathering = _state.gatherer.start(here.root)
        _state.latest[here.root] = gathering
        earlier = {key: value for key, value in run.data.tags.items() if key.startswith("databom.")}
        _begin(Ticket(here, auto, gathering, {}, Budget(), is_gated), client, run, earlier)
    except Exception:  # noqa: BLE001  # the hook must not hurt the run
        warn.once("could not begin to record a resumed run")


def seen(run: Any) -> None:
    """After `get_run`: MLflow reads a run just before it resumes it, and this is the last time its status is true."""
    try:
        if not is_ours() and run.info.status != "RUNNING":
            _state.local.status = (run.info.run_id, run.info.status)
    except Exception:  # noqa: BLE001  # the hook must not hurt the run
        return


def _put_back(client: Any, run_id: str) -> None:
    """A refused run was already set to RUNNING by MLflow; give it back the status it had."""
    try:
        from databom.hosts.tracking import Tracking

        known, status = getattr(_state.local, "status", (None, None))
        if known != run_id or status is None:
            return
        done = threading.Event()
        server = _state.server(str(client.tracking_uri))

        def restore() -> None:
            try:
                server.call(lambda: Tracking(client).restore_status(run_id, status))
            finally:
                done.set()

        server.submit(restore)
        done.wait(Budget().left)
    except Exception:  # noqa: BLE001  # the refusal itself is what must come through
        warn.once("a refused run may still be shown as running")


# --- fed, ending ------------------------------------------------------------------------------------


def fed(client: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """After `log_inputs`: where the datasets came from that the run's own code logged."""
    if is_ours():
        return
    try:
        from databom.hosts.tracking import input_sources
        from databom.tasks.use import local_path

        run_id = kwargs.get("run_id", args[0] if args else "")
        datasets = kwargs.get("datasets", args[1] if len(args) > 1 else ())
        record = _state.get((str(client.tracking_uri), run_id))
        if record is not None:
            # Made absolute now: a relative path means the working directory of this moment.
            sources = input_sources(datasets)
            record.add_inputs(local_path(one) or one for one in sources if one and "\0" not in one)
    except Exception:  # noqa: BLE001  # the hook must not hurt the run
        warn.once("could not look at a dataset that a run logged")


def registered(client: Any, version: Any) -> None:
    """After a model version was registered: its page is owed the credits of the data that its run used.

    A run that is still open delivers them with the rest. Else the run is asked which pins it used, in the background,
    and waited for a little: the process may end with the registration.
    """
    if is_ours():
        return
    try:
        run_id = getattr(version, "run_id", None)
        if not run_id:
            return
        name, number = str(version.name), str(version.version)
        record = _state.get((str(client.tracking_uri), run_id))
        if record is not None:
            record.add_version(name, number)
            return
        here = place.find()
        if here is None or here.problem or switch.effective(here).auto != "full":
            return
        server, done = _state.server(str(client.tracking_uri)), threading.Event()

        def job() -> None:
            from databom.mlflow.late import credit_late

            try:
                credit_late(server, client, here.root, run_id, (name, number))
            finally:
                done.set()

        server.submit(job)
        if not server.is_late and not done.wait(Budget().left):
            server.was_late()
    except Exception:  # noqa: BLE001  # the hook must not hurt the registration
        warn.once("could not credit the data on the page of a registered model; `databom gate` finds it")


def told(client: Any, run_id: object) -> Telling | None:
    """Where to note what a call tells about a run; None for a run that is not ours to watch, or a call of our own."""
    if is_ours() or not isinstance(run_id, str):
        return None
    record = _state.get((str(client.tracking_uri), run_id))
    return None if record is None else record.telling


def model_of(client: Any, run_id: object, models: object) -> None:
    """A run says which logged models it made."""
    telling = told(client, run_id)
    for one in models if telling is not None and isinstance(models, (list, tuple)) else ():
        if isinstance(model_id := getattr(one, "model_id", None), str):
            assert telling is not None
            telling.model(model_id)


def told_by_model(client: Any, model_id: object) -> Telling | None:
    """The same for a logged model: of the run that made it."""
    if is_ours():
        return None
    uri = str(client.tracking_uri)
    return next(
        (
            record.telling
            for record in _state.records()
            if record.key[0] == uri and model_id in record.telling.models
        ),
        None,
    )


def hashing(
    telling: Telling, prefix: str, below: object, place: object = None, **named: object
) -> Hashing | None:
    """Have files hashed that are about to be uploaded; None where they cannot be."""
    local = place if place is not None else named.get("local_path", named.get("local_dir"))
    parts = [prefix, *(part for part in str(below or "").split("/") if part)]
    try:
        return Hashing(telling, "/".join(parts), os.fspath(local)).start()  # type: ignore[call-overload]
    except (TypeError, RuntimeError):
        telling.missed("outputs")
        return None


def ending(client: Any, run_id: str, status: str | None = None) -> None:
    """Before a run's terminal status is set: deliver what is left, within the run's budget."""
    if is_ours():
        return
    try:
        _state.local.created = None
        record = _state.take((str(client.tracking_uri), run_id))
        if record is not None:
            record.finish(status=crashed(status, at_exit=_state.is_exiting))
    except Exception:  # noqa: BLE001  # the hook must not hurt the run
        warn.once("could not record the end of a run")


def at_exit() -> None:
    """At the interpreter's end: runs that nobody ended get what they lack, all of them within one budget."""
    try:
        _state.is_exiting = True
        deadline = time.monotonic() + Budget().left
        for record in _state.records():
            record.finish(max(0.0, deadline - time.monotonic()), last=False)
    except Exception:  # noqa: BLE001  # nothing may disturb an exit
        return
