"""Where the hashing runs: `--executor URL` by name, and Dask's workers as an executor.

| URL | runs on |
|---|---|
| `dask://HOST:PORT` | the workers of that Dask scheduler |
| `dask+tls://HOST:PORT` | the same over TLS, with the certificates of Dask's own configuration |
| `processes:N` | N processes of this machine |
| `threads:N` | N threads of this process |

    with executor_at("dask://scheduler:8786") as executor:
        report = verify("imagepack", executor=executor)

Workers read the assets themselves, with the credentials and the mounts they have; what comes back is how many are
right, and the sizes and digests of those that are not (`databom.checks.measuring.Found`). The report is the same, byte
for byte, as without an executor.

Nothing here makes a worker's answer more than its word: whoever can start tasks on the cluster can make it say that bad
bytes are good. An executor is as trusted as this machine (docs/adr/0014).
"""

from __future__ import annotations

import contextlib
import functools
import re
import secrets
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, InvalidStateError, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from databom import __version__
from databom.checks.measuring import Batch, Found, measure, shown_path
from databom.checks.outcome import Outcome
from databom.errors import (
    ConfigError,
    DatabomError,
    MissingError,
    PluginError,
    Problem,
    StorageError,
    UnreachableError,
)
from databom.model.text import printable
from databom.storage.tree import LocalTree

if TYPE_CHECKING:
    from databom.storage.reader import Reader

ACCEPTED = "dask://HOST:PORT, dask+tls://HOST:PORT, processes:N or threads:N"
CONNECT_SECONDS = 15
"""How long a scheduler may take to answer, and to have its first worker."""
LONELY_SECONDS = 60.0
"""How long a cluster may be without any worker before the work is given up."""
REMOTE_AT_ONCE = 8
"""Assets of a remote location that one task reads at the same time."""
MOST_LOCAL = 256
"""Processes or threads that may be asked for."""

_DASK = re.compile(r"dask(\+tls)?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})/?")
_LOCAL = re.compile(r"(processes|threads):([0-9]{1,3})")
_SAME_DATABOM = (
    f"install databom {__version__}, with the same extras, where the scheduler and the workers run"
)


@contextlib.contextmanager
def executor_at(url: str | None) -> Iterator[Executor | None]:
    """The executor a URL names, for as long as the block lasts; None for None: this process.

    Raises:
        ConfigError: no such kind of executor, or its extra is not installed.
        UnreachableError: the scheduler does not answer, or has no worker.
        PluginError: a worker has another databom, or none.
    """
    if url is None:
        yield None
        return
    if local := _LOCAL.fullmatch(url):
        with _local(local[1], int(local[2])) as executor:
            yield executor
        return
    address = _DASK.fullmatch(url)
    if address is None or not 0 < int(address[3]) < 65536:
        raise ConfigError(
            f"--executor {printable(url, 200)} is none this databom knows", hint=f"use {ACCEPTED}"
        )
    with _connected(f"{'tls' if address[1] else 'tcp'}://{address[2]}:{address[3]}", url) as client:
        yield Cluster(client, url)


def adapted(executor: Executor | None) -> Executor | None:
    """What `databom.verify(executor=...)` was given; `client.get_executor()` of Dask becomes a `Cluster`."""
    if type(executor).__module__.partition(".")[0] == "distributed":
        client = getattr(executor, "_client", None)
        if client is not None:
            return Cluster(client, "dask")
    return executor


def _local(kind: str, count: int) -> Executor:
    if not 0 < count <= MOST_LOCAL:
        raise ConfigError(f"--executor {kind}:{count} asks for {count}", hint=f"use 1 to {MOST_LOCAL}")
    if kind == "threads":
        return ThreadPoolExecutor(count, thread_name_prefix="databom")
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    # Never by fork: who asks for processes may have threads (databom.checks.forking has the rule).
    return ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"))


# --- Dask ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _connected(address: str, url: str) -> Iterator[Any]:
    try:
        from distributed import Client
    except ImportError:
        raise ConfigError(
            f"--executor {url} needs Dask, which is not installed", hint="pip install 'databom[dask]'"
        ) from None
    trouble = f"the Dask scheduler at {url}"
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, TimeoutError) as error:
        _close_half_made(error)
        raise UnreachableError(
            f"{trouble} does not answer",
            where=url,
            hint="see that it runs and that this machine may reach it",
        ) from error
    except Exception as error:
        _close_half_made(error)
        raise PluginError(
            f"{trouble} cannot be used: {_words(error)}",
            hint="compare the versions of dask and distributed there and here; for TLS, see Dask's configuration",
        ) from error
    try:
        _require_workers(client, trouble, url)
        yield client
    finally:
        with contextlib.suppress(Exception):  # it may be gone; what it had to say has been said
            client.close(timeout=5)


def _close_half_made(error: BaseException) -> None:
    """Close the client whose making ended in this error; only the frames of the error know it.

    Its finalizer would do it, whenever the garbage collector comes to it. But that takes a lock of distributed's that
    is not reentrant, and if the same thread holds it just then, for its next client, it waits for itself for ever.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        client: Any = frame.f_locals.get("self")
        if hasattr(client, "wait_for_workers"):
            with contextlib.suppress(Exception):
                client.close(timeout=5)
            return


def _require_workers(client: Any, trouble: str, url: str) -> None:
    try:
        client.wait_for_workers(1, timeout=CONNECT_SECONDS)
    except TimeoutError as error:
        raise UnreachableError(
            f"{trouble} has no workers", where=url, hint=f"start some: dask worker {url.partition('//')[2]}"
        ) from error
    try:
        versions = client.run(version_here, on_error="return")
    except Exception as error:
        raise PluginError(
            f"a worker of {url} cannot run databom: {_words(error)}", hint=_SAME_DATABOM
        ) from error
    for version in versions.values():
        if version != __version__:
            has = (
                f"has databom {printable(version, 40)}"
                if isinstance(version, str)
                else f"says {_words(version)}"
            )
            raise PluginError(f"a worker of {url} {has}; here is {__version__}", hint=_SAME_DATABOM)


def version_here() -> str:
    """The version of databom where this is called: on a worker."""
    return __version__


class Cluster(Executor):
    """The workers of a Dask client, as an executor for `databom.checks.measuring.measure`.

    A task that is lost with its worker is run again by another (Dask's `allowed-failures`, three by default). A
    cluster that stays without any worker for `LONELY_SECONDS`, or whose scheduler goes away, fails every task with
    `PluginError` instead of letting it wait. Does not close the client.
    """

    def __init__(self, client: Any, name: str, *, lonely_seconds: float = LONELY_SECONDS) -> None:
        self._client = client
        self._name = name
        self._theirs = client.get_executor(pure=False)
        self._errand: _Errand | None = None
        self._reader: Reader | None = None
        self._flying: set[Future[Any]] = set()
        self._lock = threading.Lock()
        self._lonely_seconds = lonely_seconds
        self._watch: threading.Thread | None = None

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Send one batch: `measure(reader, batch, md5=...)`, and nothing else.

        Raises:
            PluginError: the connection to the scheduler is gone.
        """
        assert fn is measure
        reader, batch = args
        if self._errand is None or reader is not self._reader:
            self._reader, self._errand = reader, _Errand(secrets.token_hex(8), reader)
        mine: Future[Any] = Future()
        with self._lock:
            self._flying.add(mine)
            if self._watch is None:
                self._watch = threading.Thread(target=self._watch_over, name="databom-cluster", daemon=True)
                self._watch.start()
        try:
            theirs = self._theirs.submit(self._errand, tuple(batch), **kwargs)
        except Exception as error:
            raise self._failed(error) from error
        mine.add_done_callback(functools.partial(self._landed, theirs))
        theirs.add_done_callback(functools.partial(self._hand_over, mine))
        return mine

    def _landed(self, theirs: Future[Any], mine: Future[Any]) -> None:
        with self._lock:
            self._flying.discard(mine)
        if mine.cancelled():
            theirs.cancel()

    def _hand_over(self, mine: Future[Any], theirs: Future[Any]) -> None:
        with contextlib.suppress(InvalidStateError):  # given up or canceled meanwhile
            if theirs.cancelled():
                mine.set_exception(self._gone())
            elif (error := theirs.exception()) is not None:
                mine.set_exception(self._failed(error))
            else:
                mine.set_result(theirs.result())

    # --- trouble -----------------------------------------------------------------------------

    def _watch_over(self) -> None:
        """While tasks fly: fail them all once the cluster has been without workers for too long."""
        lonely = 0.0
        pause = min(2.0, self._lonely_seconds / 4)
        while True:
            time.sleep(pause)
            with self._lock:
                flying = list(self._flying)
                if not flying:
                    self._watch = None
                    return
            try:
                workers = len(self._client.scheduler_info().get("workers", ()))
            except Exception:  # noqa: BLE001  # no answer, no worker; the client itself gives up in its own time
                workers = 0
            lonely = 0.0 if workers else lonely + pause
            if lonely >= self._lonely_seconds:
                for mine in flying:
                    with contextlib.suppress(InvalidStateError):
                        mine.set_exception(self._gone())

    def _gone(self) -> DatabomError:
        return PluginError(
            f"the Dask cluster at {self._name} lost its scheduler or all its workers",
            hint="start it again, then run the same command again; nothing of this run was kept",
        )

    def _failed(self, error: BaseException) -> DatabomError:
        if type(error).__name__ == "KilledWorker":
            return PluginError(
                f"several workers of {self._name} died over the same assets",
                hint="look into the workers' logs: a memory limit is the usual reason",
            )
        return PluginError(f"a task on {self._name} failed: {_words(error)}", hint=_SAME_DATABOM)


# --- on a worker -----------------------------------------------------------------------------------


class _Errand:
    """Measures batches with one reader. A worker keeps the first copy of it, so that connections are made once.

    `key` is new for each run: a folder of the same name may be another folder by the next one.
    """

    def __init__(self, key: str, reader: Reader) -> None:
        self._key = key
        self._reader = reader

    def __reduce__(self) -> tuple[Any, ...]:
        return (_arrived, (self._key, self._reader))

    def __repr__(self) -> str:  # Dask's logs show it; a reader may hold the query of a presigned URL
        return "<databom>"

    def __call__(self, batch: Batch, **how: Any) -> Found:
        reader = self._reader
        if not isinstance(reader, LocalTree):
            if len(batch) == 1:
                return measure(reader, batch, **how)
            with ThreadPoolExecutor(min(REMOTE_AT_ONCE, len(batch))) as pool:
                return _sum(pool.map(lambda asset: measure(reader, [asset], **how), batch))
        try:
            reader.check_root()
        except MissingError as error:
            # The machine that asks sees this folder: its files are not missing, they cannot be seen from here.
            what = f"a worker does not see this folder: {printable(str(error), 400)}"
            do = "mount it at the same path on every worker, or verify without --executor"
            problems = (
                (asset.path, Problem("storage.unreachable", shown_path(asset.path), what, do=do))
                for asset in batch
            )
            return Found([Outcome(path, error=problem) for path, problem in problems])
        except StorageError:
            pass  # each file says it
        return measure(reader, batch, **how)


def _sum(parts: Iterable[Found]) -> Found:
    outcomes: list[Outcome] = []
    right = size = 0
    for part in parts:
        outcomes += part.outcomes
        right += part.right
        size += part.size
    return Found(outcomes, right, size)


_KEPT: dict[str, Reader] = {}
_KEPT_LOCK = threading.Lock()
MOST_KEPT = 4
"""Readers a worker keeps: of the runs that are going on."""


def _arrived(key: str, reader: Reader) -> _Errand:
    with _KEPT_LOCK:
        kept = _KEPT.setdefault(key, reader)
        while len(_KEPT) > MOST_KEPT:
            del _KEPT[next(iter(_KEPT))]
    return _Errand(key, kept)


def _words(error: object) -> str:
    return printable(str(error).partition("\n")[0], 300) or type(error).__name__
