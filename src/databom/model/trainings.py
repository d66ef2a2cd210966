"""The words of training receipts: what a statement about a run calls itself, how a run can end, what it tells.

Imported when a training starts: nothing of this imports anything.
"""

from __future__ import annotations

from collections.abc import Iterable
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
RECORD_FILE, ENVIRONMENT_FILE, BOM_FILE = "run.json", "environment.txt", "bom.cdx.json"


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
