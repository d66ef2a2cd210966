"""An HTTP server that tells the truth until a rule says otherwise.

It stands in front of an *origin*: an S3 server (`forward`), the R2 façade around one (`r2facade.r2`), or a
dictionary of bodies (`static`). Rules match a part of the request's path; each rule's fault gets the origin's
true answer and sends what it likes instead. Every request is recorded as it came.

    proxy = FaultProxy(forward(seaweed.endpoint))
    proxy.rule("cat1.jpg", truncate(1000), times=1)
"""

from __future__ import annotations

import dataclasses
import gzip
import http.client
import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import unquote, urlsplit

Headers = list[tuple[str, str]]


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: Headers
    body: bytes

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    @property
    def query(self) -> str:
        return urlsplit(self.target).query

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Headers
    body: bytes
    head: bool = False

    def with_header(self, name: str, value: str | None) -> Answer:
        kept = [(key, old) for key, old in self.headers if key.lower() != name.lower()]
        return dataclasses.replace(self, headers=kept if value is None else [*kept, (name, value)])

    def with_body(self, body: bytes) -> Answer:
        return dataclasses.replace(self, body=body).with_header("Content-Length", str(len(body)))


Origin = Callable[[Request], Answer]
Fault = Callable[[Request, Answer, "Wire"], None]


def answer(status: int, body: bytes = b"", headers: Headers | None = None) -> Answer:
    return Answer(status, [*(headers or []), ("Content-Length", str(len(body)))], body)


def static(bodies: Mapping[str, bytes]) -> Origin:
    """An origin that serves `bodies` by decoded path; everything else is 404."""

    def serve(request: Request) -> Answer:
        body = bodies.get(request.path)
        return answer(404, b"no such thing") if body is None else answer(200, body)

    return serve


def forward(endpoint: str) -> Origin:
    """An origin that asks `endpoint`, with the client's own Host, so that its signature still holds."""
    upstream = urlsplit(endpoint)
    assert upstream.hostname is not None

    def ask(request: Request) -> Answer:
        connection = http.client.HTTPConnection(upstream.hostname or "", upstream.port, timeout=60)
        try:
            connection.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
            for key, value in request.headers:
                if key.lower() not in {"connection", "expect", "transfer-encoding"}:
                    connection.putheader(key, value)
            connection.endheaders(request.body or None)
            response = connection.getresponse()
            body = response.read()
            headers = [
                (k, v)
                for k, v in response.getheaders()
                if k.lower() not in {"connection", "transfer-encoding"}
            ]
            given = Answer(response.status, headers, body, head=request.method == "HEAD")
            return given if given.head else given.with_body(body)
        finally:
            connection.close()

    return ask


class Wire:
    """What a fault may do to the client's connection."""

    def __init__(self, handler: _Handler) -> None:
        self._handler = handler

    def head(self, given: Answer) -> None:
        handler = self._handler
        handler.send_response_only(given.status)
        for key, value in given.headers:
            handler.send_header(key, value)
        handler.end_headers()

    def send(self, given: Answer) -> None:
        self.head(given)
        if not given.head:
            self.write(given.body)

    def write(self, data: bytes) -> None:
        self._handler.wfile.write(data)
        self._handler.wfile.flush()

    def close(self) -> None:
        self._handler.close_connection = True

    def reset(self) -> None:
        """End the connection with RST: unsent and unread bytes are lost."""
        sock = self._handler.connection
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Not the SSL object's close: it would say goodbye politely.
        socket.socket.close(sock)
        self.close()

    def wait(self, seconds: float | None = None) -> bool:
        """Do nothing until the test is over (True) or the seconds have passed (False)."""
        return self._handler.proxy.over.wait(seconds)


# --- faults -----------------------------------------------------------------------------------------


def truncate(at: int) -> Fault:
    """The announced length is true, the connection ends after `at` bytes."""

    def fault(_: Request, given: Answer, wire: Wire) -> None:
        wire.head(given)
        wire.write(given.body[:at])
        wire.close()

    return fault


def reset(at: int) -> Fault:
    def fault(_: Request, given: Answer, wire: Wire) -> None:
        wire.head(given)
        wire.write(given.body[:at])
        wire.wait(0.05)
        wire.reset()

    return fault


def hang_up(_: Request, __: Answer, wire: Wire) -> None:
    """End the connection without an answer."""
    wire.close()


def lost_ack(_: Request, __: Answer, wire: Wire) -> None:
    """The origin has done what it was asked, and nobody is told: RST instead of an answer."""
    wire.reset()


def short_length(by: int) -> Fault:
    """A clean answer that is `by` bytes shorter than the object, and says so."""

    def fault(_: Request, given: Answer, wire: Wire) -> None:
        wire.send(given.with_body(given.body[:-by]))

    return fault


def no_length(drop: int = 0) -> Fault:
    """No Content-Length: the end of the connection is the end of the body, minus `drop` bytes."""

    def fault(_: Request, given: Answer, wire: Wire) -> None:
        wire.head(given.with_header("Content-Length", None).with_header("Connection", "close"))
        wire.write(given.body[: len(given.body) - drop])
        wire.close()

    return fault


def chunked(cut: bool = False) -> Fault:
    """Chunked transfer; with `cut` the last chunk never comes."""

    def fault(_: Request, given: Answer, wire: Wire) -> None:
        wire.head(given.with_header("Content-Length", None).with_header("Transfer-Encoding", "chunked"))
        wire.write(b"%x\r\n%s\r\n" % (len(given.body), given.body))
        if cut:
            wire.close()
        else:
            wire.write(b"0\r\n\r\n")

    return fault


def flip(at: int) -> Fault:
    def fault(_: Request, given: Answer, wire: Wire) -> None:
        body = bytearray(given.body)
        body[at] ^= 1
        wire.send(dataclasses.replace(given, body=bytes(body)))

    return fault


def replace(body: bytes) -> Fault:
    """Another body, honestly announced: the object was overwritten."""

    def fault(_: Request, given: Answer, wire: Wire) -> None:
        wire.send(given.with_body(body))

    return fault


def oversize(extra: bytes = b"!") -> Fault:
    def fault(_: Request, given: Answer, wire: Wire) -> None:
        wire.send(given.with_body(given.body + extra))

    return fault


def endless(limit: int = 1 << 30) -> Fault:
    """A body without length that does not end (before `limit` bytes, so that a bug ends too)."""

    def fault(_: Request, given: Answer, wire: Wire) -> None:
        wire.head(given.with_header("Content-Length", None).with_header("Connection", "close"))
        block = bytes(1 << 20)
        for _i in range(limit >> 20):
            wire.write(block)
        wire.close()

    return fault


def drip(every: float = 0.02) -> Fault:
    """One byte at a time."""

    def fault(_: Request, given: Answer, wire: Wire) -> None:
        wire.head(given)
        for i in range(len(given.body)):
            wire.write(given.body[i : i + 1])
            if wire.wait(every):
                break
        wire.close()

    return fault


def stall(after: int | None = None) -> Fault:
    """Silence: before the answer, or after its headers and `after` bytes of the body."""

    def fault(_: Request, given: Answer, wire: Wire) -> None:
        if after is not None:
            wire.head(given)
            wire.write(given.body[:after])
        wire.wait()
        wire.close()

    return fault


def drip_headers(every: float = 0.02) -> Fault:
    """Headers that never end, byte by byte."""

    def fault(_: Request, given: Answer, wire: Wire) -> None:
        wire.write(b"HTTP/1.1 200 OK\r\nX-Padding: ")
        while not wire.wait(every):
            wire.write(b"x")
        wire.close()

    return fault


def drip_chunk_size(every: float = 0.02) -> Fault:
    """A chunk's size line that never ends: bytes come, a body never does."""

    def fault(_: Request, given: Answer, wire: Wire) -> None:
        wire.head(given.with_header("Content-Length", None).with_header("Transfer-Encoding", "chunked"))
        while not wire.wait(every):
            wire.write(b"0")
        wire.close()

    return fault


def gzipped(body: bytes | None = None) -> Fault:
    def fault(_: Request, given: Answer, wire: Wire) -> None:
        packed = gzip.compress(given.body if body is None else body)
        wire.send(given.with_body(packed).with_header("Content-Encoding", "gzip"))

    return fault


def redirect(to: str, code: int = 307) -> Fault:
    def fault(_: Request, __: Answer, wire: Wire) -> None:
        wire.send(answer(code, headers=[("Location", to)]))

    return fault


def status(code: int, body: bytes = b"", headers: Headers | None = None) -> Fault:
    def fault(_: Request, given: Answer, wire: Wire) -> None:
        wire.send(dataclasses.replace(answer(code, body, headers), head=given.head))

    return fault


def s3_error(code: int, name: str, message: str = "no", headers: Headers | None = None) -> Fault:
    xml = f'<?xml version="1.0"?><Error><Code>{name}</Code><Message>{message}</Message></Error>'
    return status(code, xml.encode(), [*(headers or []), ("Content-Type", "application/xml")])


def echo_secrets(code: int = 403, name: str = "AccessDenied") -> Fault:
    """A refusal that repeats all it was sent, as careless servers do."""

    def fault(request: Request, given: Answer, wire: Wire) -> None:
        told = f"{request.method} {request.target} " + " ".join(f"{k}: {v}" for k, v in request.headers)
        told = told.replace("&", "&amp;").replace("<", "&lt;")
        s3_error(code, name, told, [("X-Echo", told[:2000])])(request, given, wire)

    return fault


# --- the server -------------------------------------------------------------------------------------


@dataclass
class Rule:
    part: str
    fault: Fault
    times: int | None = None
    after: int = 0
    method: str | None = None
    asked: bool = True
    seen: int = field(default=0)

    def takes(self, request: Request) -> bool:
        if self.part not in request.path or self.method not in (None, request.method):
            return False
        self.seen += 1
        count = self.seen - self.after
        return count > 0 and (self.times is None or count <= self.times)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    proxy: FaultProxy

    def setup(self) -> None:
        self.proxy.connections += 1
        if self.proxy.tls is not None:
            # In the connection's own thread: a client that fails the handshake must not stop the others.
            self.request = self.proxy.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(self.command, self.path, list(self.headers.items()), body)
        fault, given = self.proxy.decide(request)
        wire = Wire(self)
        if fault is None:
            wire.send(given)
        else:
            fault(request, given, wire)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients hang up in the middle here: that is what the tests are about."""


class FaultProxy:
    """The server. `requests` holds what came; `rule` and `clear` change what goes back."""

    def __init__(self, origin: Origin, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.origin = origin
        self.tls = tls
        self.requests: list[Request] = []
        self.connections = 0
        self.over = threading.Event()
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = _Server((host, 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """For S3 endpoints by address; for TLS by name, as the certificate says."""
        return f"http://127.0.0.1:{self.port}" if self.tls is None else f"https://localhost:{self.port}"

    def rule(
        self,
        part: str,
        fault: Fault,
        *,
        times: int | None = None,
        after: int = 0,
        method: str | None = None,
        asked: bool = True,
    ) -> Rule:
        """Answer requests whose decoded path holds `part` by `fault`, from the `after`-th on, `times` times.

        `method` takes only requests of that method. With `asked=False` the origin never hears of them: what they
        would have stored is not stored.
        """
        rule = Rule(part, fault, times, after, method, asked)
        with self._lock:
            self._rules.append(rule)
        return rule

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()
            self.requests.clear()

    def count(self, part: str = "") -> int:
        return sum(part in request.path for request in self.requests)

    def decide(self, request: Request) -> tuple[Fault | None, Answer]:
        with self._lock:
            self.requests.append(request)
            rule = next((rule for rule in self._rules if rule.takes(request)), None)
        if rule is not None and not rule.asked:
            return rule.fault, answer(500)
        return None if rule is None else rule.fault, self.origin(request)

    def stop(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class RawServer:
    """A TCP server whose every connection is handed to `talk`, for what is not even HTTP."""

    def __init__(self, talk: Callable[[socket.socket, threading.Event], None]) -> None:
        self.over = over = threading.Event()
        self.connections = 0
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                outer.connections += 1
                try:
                    talk(self.request, over)
                except OSError:
                    return

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


def black_hole(sock: socket.socket, over: threading.Event) -> None:
    """Accept, and say nothing."""
    over.wait()


def drip_handshake(sock: socket.socket, over: threading.Event) -> None:
    """The start of a TLS record, one byte at a time."""
    sock.sendall(b"\x16\x03\x03\x40\x00")
    while not over.wait(0.02):
        sock.sendall(b"\x00")


def connect_proxy(sock: socket.socket, over: threading.Event) -> None:
    """An HTTP CONNECT proxy."""
    file = sock.makefile("rb")
    target = file.readline().split()[1].decode()
    while file.readline().strip():
        pass
    host, _, port = target.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as upstream:
        sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        there = threading.Thread(target=_pump, args=(sock, upstream), daemon=True)
        there.start()
        _pump(upstream, sock)
        there.join(5)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return
