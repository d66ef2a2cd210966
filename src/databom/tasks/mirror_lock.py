"""Is what a mirror holds kept from being deleted? As far as S3 can say, and the command that makes it so.

An object that was stored under a condition is not overwritten by us. Only a lock keeps everybody else from it: a bucket
lock rule at R2, object lock at S3. The first cannot be seen through S3 at all (R2's answer to the question is a dummy
that looks like a fresh bucket), so there the answer is "unknown", never "no".
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping

from databom.errors import StorageError
from databom.model.finding import Finding, Severity
from databom.storage.location import Location
from databom.storage.s3upload import Retention, S3Writer

CODE = "mirror.lock"


def lock_finding(writer: S3Writer, mirror: Location, *, environ: Mapping[str, str] = os.environ) -> Finding:
    """What is known about the lock: `found` is `locked`, `not locked` or `unknown`, `do` the command that locks.

    A warning where the mirror is known not to be locked, else information.

    Raises:
        ConfigError: s3fs is missing, or the endpoint is not said.
    """
    if writer.is_cloudflare:
        return _finding(
            Severity.INFO,
            mirror,
            "whether these objects are locked is not known: R2 shows bucket locks only through Cloudflare's own API",
            "unknown",
            r2_command(mirror, environ.get("R2_JURISDICTION", "")),
        )
    try:
        retention = writer.default_retention()
    except StorageError:
        retention = Retention.UNKNOWN
    if retention is Retention.KEPT:
        what = "the bucket's object lock keeps what is stored, by a default retention in compliance mode"
        return _finding(Severity.INFO, mirror, what, "locked", None)
    if retention is Retention.UNKNOWN:
        what = "whether these objects are locked is not known: the store does not tell these credentials"
        return _finding(Severity.INFO, mirror, what, "unknown", s3_command(mirror))
    what = (
        "these objects are not locked: the bucket has no default retention in compliance mode, so whoever may delete "
        "can delete them"
    )
    return _finding(Severity.WARN, mirror, what, "not locked", s3_command(mirror))


def r2_command(mirror: Location, jurisdiction: str = "") -> str:
    """The command that locks a mirror at R2 for good. An administrator can remove the rule again."""
    prefix = mirror.path.strip("/")
    rule = "databom-" + (re.sub(r"[^A-Za-z0-9]+", "-", prefix).strip("-").lower() or "all")
    words = ["npx", "wrangler", "r2", "bucket", "lock", "add", mirror.host, "--name", rule[:60]]
    words += ["--prefix", f"{prefix}/" if prefix else "", "--retention-indefinite"]
    if jurisdiction.lower() not in ("", "default"):
        words += ["--jurisdiction", jurisdiction.lower()]
    return shlex.join(words)


def s3_command(mirror: Location) -> str:
    """The command that gives a bucket at S3 a default retention of one year: object lock knows no prefixes."""
    bucket = shlex.quote(mirror.host)
    rule = (
        '{"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Years": 1}}}'
    )
    return (
        f"aws s3api put-bucket-versioning --bucket {bucket} --versioning-configuration Status=Enabled && "
        f"aws s3api put-object-lock-configuration --bucket {bucket} --object-lock-configuration {shlex.quote(rule)}"
    )


def _finding(severity: Severity, mirror: Location, what: str, found: str, command: str | None) -> Finding:
    return Finding(CODE, severity, mirror.shown, what, expected="locked", found=found, do=command)
