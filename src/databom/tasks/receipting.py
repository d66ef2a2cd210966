"""Making and reading receipts: all that is known at a run's end as one `Training`, and `verify_receipt`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from databom.bom.receipt import Descriptor, Training, config_of, descriptor, run_record, sorted_outputs
from databom.checks.receipt import check_receipt
from databom.errors import ConfigError, InputError
from databom.model import times
from databom.model.digest import sha256
from databom.model.finding import Finding
from databom.model.trainings import BOM_FILE, ENVIRONMENT_FILE, RECEIPT_FILE, RECORD_FILE, Told
from databom.tasks.project import Project
from databom.tasks.rootfile import read_root, root_in_force
from databom.tasks.surroundings import Surroundings, pin_descriptor, raw_pins
from databom.tasks.taken_back import notices_of
from databom.trust.root import TrustRoot, parse_root

if TYPE_CHECKING:
    from databom.tasks.evidence import RunEvidence

REPORT_FILE = "report.json"


def compose(
    run: str,
    status: str,
    told: Told,
    *,
    started: str,
    verdict: str,
    version: str,
    evidence: RunEvidence | None,
    around: Surroundings | None,
    pins: Mapping[str, Mapping[str, Any]],
    report: bytes | None,
    bom: bytes | None = None,
    parameters: Mapping[str, Any],
) -> tuple[Training, dict[str, bytes]]:
    """A run that has ended, and the documents that its receipt names.

    Args:
        run: its invocation.
        status: how it ended.
        told: what it said about itself.
        started: when, RFC 3339.
        verdict: of its data, as far as that was checked by now.
        version: of databom.
        evidence: of its data; None where the project could not be read.
        around: code, environment and the rest; None where there was no time.
        pins: the lock's pins as JSON, for where there is no evidence.
        report: the report's bytes.
        bom: the BOM's bytes, before it points to the receipt.
        parameters: how it was started.
    """
    record = run_record(run, status, told.params, told.metrics)
    unknown = {*told.missed, *(around.unknown if around else ("code", "environment"))}
    attached = {RECORD_FILE: record}
    byproducts = []
    if around is not None:
        attached[ENVIRONMENT_FILE] = around.environment
    if report is not None:
        byproducts.append(descriptor(REPORT_FILE, sha256(report)))
    if bom is not None:
        byproducts.append(descriptor(BOM_FILE, sha256(bom), annotations={"before": RECEIPT_FILE}))
    training = Training(
        invocation=run,
        status=status,
        verdict=verdict,
        started=started,
        finished=times.format(times.now()),
        version=version,
        record=record,
        parameters=parameters,
        outputs=sorted_outputs(told.outputs.values()),
        pins=tuple(_pins(evidence, around, pins)),
        others=(
            config_of(told.params, told.config),
            *(
                descriptor(f"config/{path}", {"sha256": digest})
                for path, digest in sorted(told.config.items())
            ),
            *(around.others if around else ()),
        ),
        byproducts=tuple(byproducts),
        unknown=tuple(unknown),
    )
    return training, attached


def _pins(
    evidence: RunEvidence | None, around: Surroundings | None, raw: Mapping[str, Mapping[str, Any]]
) -> list[Descriptor]:
    if evidence is None:
        return raw_pins(raw)
    known = {one["name"]: one for one in around.pins} if around is not None else {}
    found = []
    for one in evidence.pins:
        pin = one.pin
        base = known.get(one.name) or pin_descriptor(
            one.name, pin.release, pin.manifest, pin.tree, {"license": pin.license, "payment": pin.payment}
        )
        notes = {**base.get("annotations", {}), "use": one.use}
        if notices := notices_of(evidence.project, one.name, pin.manifest):
            notes["revoked"] = notices  # by now: while the run went on, or before
        found.append({**base, "annotations": notes})
    return found


def verify_receipt(
    raw: bytes,
    root: TrustRoot | Path | str | None = None,
    *,
    attachments: Mapping[str, bytes] | None = None,
    project: Path | str | None = None,
) -> tuple[Finding, ...]:
    """What is to be said against a receipt: nothing, where enough keys of the role `receipt` signed these very bytes.

    Args:
        raw: the bytes of `receipt.dsse.json`.
        root: the trust root, or its file; by default the one in force in the project.
        attachments: lists that were moved out of the receipt, by name.
        project: the project's folder; by default the one around the working directory. Not needed where a root is
            named.

    Returns:
        `receipt.unsigned`, `receipt.invalid` (blocking), `receipt.development` (a warning).

    Raises:
        ConfigError: there is no trust root, or it cannot be used.
    """
    if not isinstance(root, TrustRoot):
        place = None if root is not None else Project.load(project)
        file = root_in_force(place, Path(root) if root is not None else None)
        try:
            root = parse_root(read_root(file.path))
        except InputError as error:
            raise ConfigError(f"{file.path} is not a trust root: {error}", hint=error.hint) from None
    return check_receipt(raw, root, attachments).findings
