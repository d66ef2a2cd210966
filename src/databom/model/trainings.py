"""The words of training receipts: what a statement about a run calls itself, how a run can end, what it tells.

Imported when a training starts: nothing of this imports anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:databom:training:v1"
BUILDER = "urn:databom:builder:v1"
ROLE = "receipt"
"""The role of the trust root whose keys sign receipts."""

COMPLETED, FAILED, ABORTED = "completed", "failed", "aborted"

RECEIPT_FILE, PROOF_FILE = "receipt.dsse.json", "receipt.tlog-proof"
SUBJECTS_FILE, DEPENDENCIES_FILE = "receipt.subjects.json", "receipt.dependencies.json"
"""Lists that were moved out of a receipt that would have got too long."""
CHECKPOINT_TAG = "databom.checkpoint"
"""The tag of a run that holds the log's checkpoint under which its receipt was proved."""
VERDICT_TAG = "databom.verdict"
"""The tag of a run that says what was known of its data. It is written together with that of its receipt."""
RECORD_FILE, ENVIRONMENT_FILE, BOM_FILE = "run.json", "environment.txt", "bom.cdx.json"


def was_killed(internal: Mapping[str, Any]) -> bool:
    """Whether nobody saw a run's end, by its receipt's internalParameters: whoever closed it knows of no verdict."""
    return bool(internal["status"] == ABORTED and internal["verdict"] == "unverified")


def verdict_to_show(internal: Mapping[str, Any], shown: str | None) -> str:
    """What a run's tag has to say of its data, where it says `shown`: a no stays of a run that was killed."""
    return "fail" if was_killed(internal) and shown == "fail" else str(internal["verdict"])


@dataclass(slots=True)
class Told:
    """What a run has said about itself so far."""

    params: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    config: dict[str, str] = field(default_factory=dict)
    """Config files: SHA-256 in hex by the name they are shown under."""
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By name: what was written last is what the run left behind."""
    missed: set[str] = field(default_factory=set)
    """What could not be looked at: `outputs`, `config`."""

    def made(self, found: Iterable[dict[str, Any]]) -> None:
        """Outputs that were hashed."""
        self.outputs.update((one["name"], one) for one in found)
