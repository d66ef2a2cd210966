"""What S3 servers, botocore and aiohttp raise, in databom's words.

Every text is built here from the location, the HTTP status and codes of our own list. Nothing a server said
is repeated: servers echo signatures, session tokens and whole requests.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from databom.errors import (
    ConfigError,
    DatabomError,
    DeniedError,
    MissingError,
    StorageError,
    UnreachableError,
)
from databom.storage.answers import busy, redirected, unexpected

_MISSING: Final = frozenset({"NoSuchKey", "NoSuchBucket", "NotFound"})
_EXPIRED: Final = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "ExpiredRequest", "RequestExpired", "TokenRefreshRequired"}
)
_DENIED: Final = frozenset(
    {
        "AccessDenied",
        "AccountProblem",
        "AllAccessDisabled",
        "Forbidden",
        "InvalidAccessKeyId",
        "InvalidToken",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "Unauthorized",
    }
)
_REGION: Final = frozenset(
    {"AuthorizationHeaderMalformed", "InvalidRegionName", "IllegalLocationConstraintException"}
)
_BUSY: Final = frozenset(
    {"SlowDown", "TooManyRequests", "ServiceUnavailable", "InternalError", "RequestTimeout", "Throttling"}
)
_LOCKED: Final = frozenset({"ObjectLockedByBucketPolicy"})
_DAMAGED: Final = frozenset({"BadDigest", "XAmzContentSHA256Mismatch"})
_SHOWN: Final = _MISSING | _EXPIRED | _DENIED | _REGION | _BUSY | _LOCKED | _DAMAGED

_CREDENTIALS: Final = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (for temporary credentials AWS_SESSION_TOKEN too) "
    "or AWS_PROFILE"
)
_R2: Final = (
    f"{_CREDENTIALS}; check R2_ACCOUNT_ID (or AWS_ENDPOINT_URL_S3) and that the token covers this bucket"
)
_S3: Final = f"{_CREDENTIALS}; if the bucket is not at AWS, set AWS_ENDPOINT_URL_S3 (for R2: use r2://)"


class ExpiredError(DeniedError):
    """Credentials that were good and are no more: the only denial that fresh ones may cure by themselves."""


class ConflictError(StorageError):
    """A conditional write met an object that is already there, or one that a bucket lock keeps from being replaced."""


class ContendedError(ConflictError):
    """409: another write of the same object is under way. S3 asks to try again; then it is there, or ours."""

    retryable = True


def translate(error: BaseException, where: str, scheme: str) -> DatabomError:  # a table
    """`error` as one of ours; `where` holds no secret, `scheme` decides which variables a hint names."""
    if isinstance(error, DatabomError):
        return error
    import botocore.exceptions as boto

    if isinstance(error, boto.ClientError):
        return answered(error.response, where, scheme)
    if isinstance(
        error,
        (
            boto.NoCredentialsError,
            boto.PartialCredentialsError,
            boto.CredentialRetrievalError,
            boto.TokenRetrievalError,
            boto.SSOError,
        ),
    ):
        return DeniedError(f"{where}: no usable credentials", where=where, hint=_hint(scheme))
    if isinstance(error, boto.SSLError):
        return StorageError(
            f"{where}: the store's TLS certificate was not accepted",
            where=where,
            hint="if a private authority signed it, name its certificates in AWS_CA_BUNDLE",
        )
    if isinstance(
        error,
        (boto.ParamValidationError, boto.NoRegionError, boto.InvalidEndpointConfigurationError, ValueError),
    ):
        return ConfigError(
            f"{where}: the S3 configuration cannot be used ({type(error).__name__})",
            hint="check AWS_ENDPOINT_URL_S3, AWS_REGION and the bucket's name",
        )
    if isinstance(error, (asyncio.TimeoutError, boto.ReadTimeoutError, boto.ConnectTimeoutError)):
        return UnreachableError(
            f"{where}: the store did not answer in time",
            where=where,
            hint="check the network and the endpoint",
        )
    return UnreachableError(
        f"{where}: the store could not be reached ({type(error).__name__})",
        where=where,
        hint="check the network and AWS_ENDPOINT_URL_S3 or R2_ACCOUNT_ID",
    )


def answered(response: Any, where: str, scheme: str) -> StorageError:
    """The store's refusal, as botocore hands it over; statuses decide where codes are unknown."""
    code = str(response.get("Error", {}).get("Code", ""))
    meta = response.get("ResponseMetadata", {})
    status = int(meta.get("HTTPStatusCode", 0))
    said = f"HTTP {status}" + (f", {code}" if code in _SHOWN else "")
    if 300 <= status < 400 or code == "PermanentRedirect":
        return redirected(where)
    if code in _MISSING or (status == 404 and code not in _SHOWN):
        return MissingError(
            f"{where}: no such object ({said})", where=where, hint="check the bucket, the root and the path"
        )
    if code in _EXPIRED:
        return ExpiredError(
            f"{where}: the credentials have expired ({said})", where=where, hint=_hint(scheme)
        )
    if code in _REGION:
        return DeniedError(
            f"{where}: signed for the wrong region ({said})",
            where=where,
            hint="set AWS_REGION to the bucket's region",
        )
    if (refused := _write_refused(code, status, where, said)) is not None:
        return refused
    if code in _DENIED or status in {401, 403}:
        return DeniedError(f"{where}: the store denied access ({said})", where=where, hint=_hint(scheme))
    if status == 429 or code in _BUSY or (status >= 500 and status != 501):
        return busy(where, said, meta.get("HTTPHeaders", {}).get("retry-after"))
    return unexpected(where, status)


def _write_refused(code: str, status: int, where: str, said: str) -> StorageError | None:
    """What only a write is answered."""
    if status == 409:
        return ContendedError(f"{where}: another write of it is under way ({said})", where=where)
    if (
        status == 412 or code in _LOCKED
    ):  # R2 does not say whether it looks at the lock or the condition first
        return ConflictError(f"{where}: there is another object of this name already ({said})", where=where)
    if code in _DAMAGED:
        return UnreachableError(
            f"{where}: other bytes arrived at the store than were sent ({said})",
            where=where,
            hint="run this again; if it repeats, a proxy in between changes uploads",
        )
    return None


def is_truncation(error: BaseException) -> bool:
    """Whether a body ended before its announced end, rather than by a broken connection."""
    from aiohttp import ClientPayloadError
    from botocore.exceptions import IncompleteReadError

    return isinstance(error, (ClientPayloadError, IncompleteReadError))


def _hint(scheme: str) -> str:
    return _R2 if scheme == "r2" else _S3
