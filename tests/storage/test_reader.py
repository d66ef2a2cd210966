from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from databom.errors import (
    ConfigError,
    DeniedError,
    InputError,
    MissingError,
    StorageError,
    TruncatedError,
    UnreachableError,
)
from databom.storage.answers import busy
from databom.storage.location import parse_location
from databom.storage.reader import (
    CHUNK,
    FsspecReader,
    Pace,
    Patience,
    Reader,
    Stream,
    open_reader,
    read_document,
    read_optional_document,
    with_retries,
)
from databom.storage.redact import HIDDEN, hide_secrets_in_logs, redact


def read_all(stream: Stream, n: int = CHUNK) -> bytes:
    with stream:
        return b"".join(iter(lambda: stream.read(n), b""))


# --- retries -------------------------------------------------------------------------------------------


class World:
    """A clock that moves when somebody sleeps, and a call that fails as it is told."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.calls = 0
        self.slept: list[float] = []
        self.now = 100.0

    def call(self) -> str:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return "done"

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def run(self, call: Callable[[], str] | None = None, **options: float) -> str:
        return with_retries(
            call or self.call,
            sleep=self.sleep,
            clock=lambda: self.now,
            jitter=lambda: 0.5,
            **options,  # type: ignore[arg-type]
        )


def test_f11_retryable_errors_are_tried_again_with_growing_pauses() -> None:
    world = World(UnreachableError("a"), TruncatedError("b"))
    assert world.run(attempts=3, pause=1.0) == "done"
    assert world.slept == [0.5, 1.0]


def test_f11_the_last_failure_is_raised_after_the_last_attempt() -> None:
    last = UnreachableError("third")
    world = World(UnreachableError("first"), UnreachableError("second"), last, UnreachableError("fourth"))
    with pytest.raises(UnreachableError) as caught:
        world.run(attempts=3)
    assert caught.value is last
    assert world.calls == 3


@pytest.mark.parametrize(
    "error", [DeniedError("x"), MissingError("x"), StorageError("x"), ConfigError("x"), ValueError()]
)
def test_what_will_not_change_is_not_tried_again(error: Exception) -> None:
    world = World(error)
    with pytest.raises(type(error)):
        world.run()
    assert world.calls == 1
    assert world.slept == []


def test_f11_retry_after_is_honoured() -> None:
    world = World(busy("s3://b/k", "HTTP 429", "7"), busy("s3://b/k", "HTTP 503", None))
    assert world.run(attempts=3, pause=1.0, budget=30.0) == "done"
    assert world.slept == [7.0, 1.0]


@pytest.mark.parametrize("header", ["3600", "99999999", "60", "1" + "0" * 19])
def test_f11_a_pause_beyond_the_budget_is_not_begun(header: str) -> None:
    world = World(busy("s3://b/k", "HTTP 429", header))
    with pytest.raises(UnreachableError):
        world.run(budget=45.0)
    assert world.slept == []


@pytest.mark.parametrize(
    "header", [None, "", "soon", "-5", "1e9", "Wed, 21 Oct 2026 07:28:00 GMT", "٣", "1" * 99]
)
def test_a_retry_after_that_is_no_number_counts_as_absent(header: str | None) -> None:
    assert busy("s3://b/k", "HTTP 429", header).retry_after == 0.0


def test_time_spent_in_the_calls_counts_towards_the_budget() -> None:
    world = World(*[UnreachableError(str(i)) for i in range(9)])

    def hang() -> str:
        world.now += 30.0
        return world.call()

    with pytest.raises(UnreachableError):
        world.run(hang, attempts=9, budget=45.0)
    assert world.calls == 2


def test_nested_retries_do_not_multiply() -> None:
    world = World(*[UnreachableError(str(i)) for i in range(99)])
    with pytest.raises(UnreachableError):
        world.run(lambda: world.run(attempts=3), attempts=3)
    assert world.calls == 3


def test_an_outer_retry_still_repeats_what_the_inner_one_has_not_seen() -> None:
    world = World(TruncatedError("mid-body"))
    opened = 0

    def whole() -> str:
        nonlocal opened
        opened += 1
        world.run(lambda: "stream")
        return world.call()

    assert world.run(whole) == "done"
    assert opened == 2


# --- pace ----------------------------------------------------------------------------------------------


def test_f06_a_drip_is_given_up_however_long_the_body() -> None:
    pace = Pace(Patience(window=30.0, least_rate=8192), "s3://b/k")
    pace.add(29.0, 5 * 2**30)  # a fast start buys no patience
    pace.add(1.0, 0)
    for _ in range(59):
        pace.add(0.5, 1)
    with pytest.raises(UnreachableError, match="too slow: 60 bytes in 30 s") as caught:
        pace.add(0.5, 1)
    assert caught.value.where == "s3://b/k"


def test_f06_a_slow_line_that_keeps_its_pace_is_left_alone() -> None:
    pace = Pace(Patience(window=30.0, least_rate=8192), "s3://b/k")
    for _ in range(10_000):
        pace.add(1.0, 8192)


# --- fsspec --------------------------------------------------------------------------------------------


@pytest.fixture
def memory() -> MemoryFileSystem:
    fs = MemoryFileSystem()
    fs.pipe({"/rel/a/cat.jpg": b"meow" * 1000, "/rel/empty": b""})
    return fs


@pytest.fixture(params=["memory", "local"])
def any_fsspec(request: pytest.FixtureRequest, tmp_path: Path) -> FsspecReader:
    if request.param == "memory":
        return FsspecReader(request.getfixturevalue("memory"), "/rel/")
    (tmp_path / "rel/a").mkdir(parents=True)
    (tmp_path / "rel/a/cat.jpg").write_bytes(b"meow" * 1000)
    (tmp_path / "rel/empty").touch()
    return FsspecReader(fsspec.filesystem("file"), f"{tmp_path}/rel")


def test_any_fsspec_filesystem_is_a_reader(any_fsspec: Reader) -> None:
    assert read_all(any_fsspec.open("a/cat.jpg"), 7) == b"meow" * 1000
    assert read_all(any_fsspec.open("empty")) == b""
    with pytest.raises(MissingError, match="no such object"):
        any_fsspec.open("a/dog.jpg")
    with pytest.raises(StorageError):
        any_fsspec.open("a").read(1)
    with pytest.raises(InputError):
        any_fsspec.open("../rel/a/cat.jpg")
    assert "://" in any_fsspec.shown


def test_fsspec_errors_are_translated_and_only_their_type_is_told() -> None:
    class Broken(MemoryFileSystem):
        protocol = "broken"
        error: Exception = OSError()

        def _open(self, path: str, mode: str = "rb", **_: object) -> object:
            if mode == "rb" and path.endswith("late"):
                return self
            raise self.error

        size = 10

        def read(self, _: int) -> bytes:
            return b""

        def close(self) -> None:
            return

    fs = Broken()
    reader = FsspecReader(fs, "x")
    for error, kind in [
        (PermissionError("X-Amz-Signature=c4n4ry"), DeniedError),
        (ValueError("X-Amz-Signature=c4n4ry"), UnreachableError),
        (MissingError("ours"), MissingError),
    ]:
        fs.error = error
        with pytest.raises(kind) as caught:
            reader.open("y")
        assert "c4n4ry" not in str(caught.value)
    with pytest.raises(TruncatedError, match="after 0 bytes, before the 10 bytes announced"):
        reader.open("late").read(5)


def test_fsspec_errors_while_reading_are_translated(tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(b"meow")
    stream = FsspecReader(fsspec.filesystem("file"), str(tmp_path)).open("cat.jpg")
    stream._file.close()  # type: ignore[attr-defined]
    with pytest.raises(UnreachableError, match="ValueError"):
        stream.read(1)


# --- documents and readers ----------------------------------------------------------------------------


def test_local_documents_and_trees(tmp_path: Path) -> None:
    (tmp_path / "rel").mkdir()
    (tmp_path / "rel/m.json").write_bytes(b"{}")
    manifest = parse_location("rel/m.json", base=tmp_path)
    assert read_document(manifest, limit=2) == b"{}"
    with pytest.raises(InputError, match=r"manifest\.limit"):
        read_document(manifest, limit=1)
    with pytest.raises(MissingError):
        read_document(manifest.sibling(".dsse"), limit=1)
    assert read_optional_document(manifest.sibling(".dsse"), limit=1) is None
    assert read_optional_document(manifest, limit=2) == b"{}"
    assert read_all(open_reader(manifest.parent).open("m.json")) == b"{}"


@pytest.mark.parametrize("root", ["s3://bucket/rel", "r2://bucket/rel", "https://h.example/rel?sig=c4n4ry"])
def test_a_reader_connects_to_nothing_until_it_opens_and_can_be_pickled(root: str) -> None:
    reader = open_reader(parse_location(root), name="pin", marketplace="market")
    copy = pickle.loads(pickle.dumps(reader))
    assert copy.shown == reader.shown == root.partition("?")[0]
    assert "c4n4ry" not in repr(reader) + repr(copy)


# --- redaction -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "GET https://h.example/x?X-Amz-Signature=c4n4ry&b=c4n4ry HTTP/1.1",
        '"GET /x?X-Amz-Security-Token=c4n4ry&X-Amz-Credential=c4n4ry HTTP/1.1" 200',
        "https://user:c4n4ry@h.example/x",
        "postgresql://user:c4n4ry@h.example/x",
        "Authorization: AWS4-HMAC-SHA256 Credential=c4n4ry/20260101/auto/s3/aws4_request, Signature=c4n4ry",
        "{'Authorization': b'AWS4-HMAC-SHA256 Credential=c4n4ry', 'X-Amz-Security-Token': 'c4n4ry'}",
        "authorization: Bearer c4n4ryc4n4ry",
        "curl -H 'x: Bearer c4n4ryc4n4ry'",
        "aws_session_token=c4n4ry",
        "AWSAccessKeyId=c4n4ry&Signature=c4n4ry&Expires=1",
        "<Error><AWSAccessKeyId>c4n4ry</AWSAccessKeyId><StringToSign>AWS4\nc4n4ry</StringToSign></Error>",
        "CanonicalRequest:\nGET\n/\nx-amz-security-token:c4n4ry",
        "Signature:\nc4n4ry",
        "Cookie: session=c4n4ry; other=c4n4ry",
    ],
)
def test_k02_secrets_are_hidden_wherever_they_stand(text: str) -> None:
    hidden = redact(text)
    assert "c4n4ry" not in hidden
    assert HIDDEN in hidden
    assert redact(hidden) == hidden


def test_ordinary_text_is_left_alone() -> None:
    text = "s3://bucket/a b/cat.jpg: no such object (HTTP 404, NoSuchKey); 3 of 12 assets"
    assert redact(text) == text


def test_k04_a_logged_exception_loses_the_traceback_that_would_repeat_the_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hide_secrets_in_logs()
    hide_secrets_in_logs()
    logger = logging.getLogger("aiobotocore.httpsession")
    assert len(logger.filters) == 1
    with caplog.at_level(logging.DEBUG, logger.name):
        try:
            raise ValueError("X-Amz-Security-Token=c4n4ry")
        except ValueError:
            logger.debug("sending %s", "https://h.example/x?sig=c4n4ry", exc_info=True)
    assert "sending" in caplog.text
    assert "c4n4ry" not in caplog.text
