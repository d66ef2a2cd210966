"""What Cloudflare R2 does and SeaweedFS does not: refusals, as documented in R2's S3 API compatibility pages.

Wrapped around an origin it makes a server that refuses what R2 refuses. It checks no signature: the server
behind it does.
"""

from __future__ import annotations

import re
import threading
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

from support.faultproxy import Answer, Origin, Request, answer

REGIONS = {"auto", "us-east-1", "", "wnam", "enam", "weur", "eeur", "apac", "oc"}
MINIMUM_PART = 5 * 1024 * 1024


def refusal(status: int, code: str, message: str) -> Answer:
    xml = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return answer(status, xml.encode(), [("Content-Type", "application/xml")])


def action(request: Request) -> str:
    """The action of R2's temporary credentials that a request needs."""
    names = parse_qs(request.query, keep_blank_values=True).keys()
    _, _, key = request.path.strip("/").partition("/")
    if "uploads" in names or "uploadId" in names:
        kinds = {"PUT": "UploadPart", "DELETE": "AbortMultipartUpload"}
        whole = "CreateMultipartUpload" if "uploads" in names else "CompleteMultipartUpload"
        return kinds.get(request.method, whole)
    if not key or names & {"object-lock", "versioning"}:
        return "ListObjectsV2" if request.method == "GET" and "list-type" in names else "Bucket"
    return {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject"}.get(request.method, "DeleteObject")


class _R2:
    def __init__(
        self,
        origin: Origin,
        locked: tuple[str, ...],
        actions: frozenset[str] | None = None,
        write_every: float = 0.0,
    ) -> None:
        self.origin = origin
        self.locked = locked
        self.actions = actions
        self.stored: set[str] = set()
        self.parts: dict[str, dict[int, int]] = {}
        self.lock = threading.Lock()
        self.write_every = write_every
        self.written: dict[str, float] = {}
        self.refused_as_too_fast = 0

    def __call__(self, request: Request) -> Answer:
        query = parse_qs(request.query, keep_blank_values=True)
        if self.actions is not None and action(request) not in self.actions:
            return refusal(403, "AccessDenied", "Access Denied")
        refused = self._signed_as_r2_wants(request, query) or self._supported(request, query)
        refused = refused or self._locked(request, query) or self._parts(request, query)
        if refused is not None:
            return refused
        if request.method == "PUT" and self._is_too_fast(request.path):
            return refusal(429, "TooManyRequests", "Reduce your rate of requests for the same object.")
        given = self.origin(request)
        if request.method == "PUT" and given.status == 200:
            with self.lock:
                self.stored.add(request.path)
                self.written[request.path] = time.monotonic()
        return given

    def _is_too_fast(self, path: str) -> bool:
        with self.lock:
            early = time.monotonic() - self.written.get(path, float("-inf")) < self.write_every
            self.refused_as_too_fast += early
        return early

    def _signed_as_r2_wants(self, request: Request, query: dict[str, list[str]]) -> Answer | None:
        if (request.header("x-amz-content-sha256") or "").startswith("STREAMING-"):
            kind = request.header("x-amz-content-sha256")
            return refusal(501, "NotImplemented", f"{kind} not implemented")
        scope = re.search(r"Credential=[^/]+/\d+/([^/]*)/s3/", request.header("authorization") or "")
        if scope and scope[1] not in REGIONS:
            return refusal(400, "InvalidRegionName", f"The region name '{scope[1]}' is not valid.")
        if "X-Amz-Date" in query and "X-Amz-Expires" in query:
            start = datetime.strptime(query["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            if start + timedelta(seconds=int(query["X-Amz-Expires"][0])) < datetime.now(UTC):
                return refusal(400, "ExpiredRequest", "Request has expired")
        return None

    def _supported(self, request: Request, query: dict[str, list[str]]) -> Answer | None:
        names = {key.lower() for key, _ in request.headers}
        if request.method == "GET" and query.keys() & {"versioning", "object-lock"}:
            return answer(200, b'<?xml version="1.0"?><VersioningConfiguration/>')  # a dummy, as R2's is
        if query.keys() & {
            "versioning",
            "object-lock",
            "acl",
            "tagging",
            "policy",
            "versions",
            "notification",
        }:
            return refusal(501, "NotImplemented", "not implemented")
        if any(
            name.startswith(("x-amz-object-lock-", "x-amz-acl", "x-amz-tagging", "x-amz-grant-"))
            for name in names
        ):
            return refusal(501, "NotImplemented", "Header not implemented")
        return None

    def _locked(self, request: Request, query: dict[str, list[str]]) -> Answer | None:
        if request.method not in {"PUT", "DELETE", "POST"} or "uploads" in query:
            return None
        key = request.path.strip("/").partition("/")[2]
        if key.startswith(self.locked) and self.locked and request.path in self.stored:
            return refusal(403, "ObjectLockedByBucketPolicy", "The object is locked by the bucket policy.")
        return None

    def _parts(self, request: Request, query: dict[str, list[str]]) -> Answer | None:
        upload = query.get("uploadId", [""])[0]
        if request.method == "PUT" and upload:
            with self.lock:
                self.parts.setdefault(upload, {})[int(query["partNumber"][0])] = len(request.body)
        if request.method == "POST" and upload:
            sizes = [size for _, size in sorted(self.parts.pop(upload, {}).items())]
            if len(set(sizes[:-1])) > 1 or (len(sizes) > 1 and sizes[-1] > sizes[0]):
                return refusal(400, "InvalidPart", "All non-trailing parts must have the same length.")
            if any(size < MINIMUM_PART for size in sizes[:-1]):
                return refusal(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum.")
        return None


def r2(
    origin: Origin,
    *,
    locked: tuple[str, ...] = (),
    actions: frozenset[str] | None = None,
    write_every: float = 0.0,
) -> Origin:
    """`origin` with R2's refusals; keys that start with one of `locked` cannot be overwritten or deleted.

    `actions` are what the credentials may do (names as in R2's temporary credentials); None is everything.
    `write_every` is how many seconds R2 wants between two writes of one key: one, where a test says so.
    """
    return _R2(origin, locked, actions, write_every)
