"""The recorded verification of a pin: `provenance/reports/<name>.json`, which `sync` leaves behind on a pass.

Whether it speaks for the pin as it is now: of this very manifest, tree, trust root and policy, and on the word of
approvals that still hold. Nothing is verified here; that no file changed since is asked by `databom.tasks.recorded`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from databom.errors import ConfigError, DatabomError
from databom.model import strictjson, times
from databom.model.digest import sha256
from databom.model.lock import Pin
from databom.model.manifest import MAX_MANIFEST_BYTES
from databom.storage.files import read_bounded
from databom.tasks.project import Project, read_optional
from databom.tasks.rootfile import digests_in_force

MAX_REPORT_BYTES = 64 * 1024 * 1024
MAX_APPROVAL_BYTES = 1 << 20


def recorded_approvals(project: Project, name: str) -> tuple[Mapping[str, Any], ...]:
    """What people accepted of a pin, by its recorded verification; nothing where that does not speak for it."""
    doubt, _, approvals = recorded(project, name, project.pin(name), trust_in_force(project, os.environ))
    return () if doubt else approvals


def trust_in_force(project: Project, environ: Mapping[str, str]) -> str | None:
    """The digest of the trust root in force; None where there is none."""
    try:
        # The user's own root, if any, is held against the stat record: a report names the root in force alone.
        return digests_in_force(project, environ=environ)[0]
    except ConfigError:
        return None


class Recorded(NamedTuple):
    """What is recorded about a pin."""

    doubt: str | None
    """Why the recorded verification does not speak for its pin; None where it does."""
    counts: dict[str, int] = {}  # noqa: RUF012  # never changed
    approvals: tuple[Mapping[str, Any], ...] = ()


def recorded(project: Project, name: str, pin: Pin, trust: str | None) -> Recorded:
    """What is recorded about a pin, held against the digest of the trust root in force."""
    where = f"provenance/reports/{name}.json"
    try:
        raw = read_optional(project.report_path(name), MAX_REPORT_BYTES)
        if raw is None:
            return Recorded(f"no verification is recorded: there is no {where}; run `databom sync {name}`")
        report = strictjson.loads(raw, prefix="report", limit=MAX_REPORT_BYTES)
        if not isinstance(report, dict):
            return Recorded(f"{where} is not a report")
        kept = sha256(read_bounded(project.manifest_path(name), MAX_MANIFEST_BYTES))
    except DatabomError:
        return Recorded(f"{where} or the manifest kept for {name} cannot be read")
    counts = {key: report.get(key) for key in ("assets", "bytes", "checked", "failed")}
    checked = {key: value for key, value in counts.items() if type(value) is int}
    expected = {
        "verdict": ("pass", f"the recorded verification did not pass; run `databom sync {name}`"),
        "manifest": (pin.manifest, "the recorded verification is of another manifest than is pinned"),
        "tree": (pin.tree, "the recorded verification is of another tree than is pinned"),
        "trust": (trust, "the trust root changed since the recorded verification"),
        "policy": (project.config.policy_digest, "the policy changed since the recorded verification"),
    }
    for key, (wanted, reason) in expected.items():
        if wanted is None or report.get(key) != wanted:
            return Recorded(reason, checked)
    if kept != pin.manifest:
        return Recorded(
            f"the manifest kept in provenance/manifests/{name}.json is not the one that was pinned", checked
        )
    approvals = _approvals(report)
    return Recorded(_lapsed(project, name, approvals), checked, approvals)


def _approvals(report: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The approvals in a stage's report, whatever else it holds."""
    whole = report.get("report")
    listed = whole.get("approvals") if isinstance(whole, dict) else None
    return tuple(one for one in listed if isinstance(one, dict)) if isinstance(listed, list) else ()


def _lapsed(project: Project, name: str, approvals: tuple[Mapping[str, Any], ...]) -> str | None:
    """Why a recorded verification holds no more that held by somebody's word."""
    for one in approvals:
        try:
            is_over = times.parse(str(one.get("expires_at"))) <= times.now()
            file = project.evidence_dir(name) / Path(str(one.get("file"))).name
            is_there = sha256(read_bounded(file, MAX_APPROVAL_BYTES)) == one.get("digest")
        except (DatabomError, ValueError):
            is_over = is_there = False
        if is_over or not is_there:
            state = "has expired" if is_over else "is gone, or is not the one that was recorded"
            return f"an approval that the recorded verification rests on {state}; run `databom sync {name}`"
    return None
