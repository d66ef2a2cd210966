"""CycloneDX 1.6 JSON, one `data` component for each pin.

    component          type data, bom-ref dataset:<id>@<version>
    .hashes            SHA-256 of the manifest's bytes; the manifest lists the assets by digest
    .supplier .authors the marketplace that signed; the creators
    .licenses          one list of licenses with the purchase in `licensing`, or exactly one SPDX expression,
                       which CycloneDX 1.6 gives no place for a purchase: that moves to the properties
    .data[]            type dataset, where the bytes are, who owns them
    .externalReferences  distribution: where the manifest was fetched, without a query, with its hash
    .properties        what CycloneDX has no word for, all under `databom:`

    dependencies       what the run (or project) was made from
    compositions       datasets `incomplete` (their files are listed elsewhere), a run's dependencies `unknown`
                       (databom knows of pins, not of data that no pin covers)

No timestamp and no tool version: identical pins give identical bytes. Assets stay in the manifest, also
because schema validators compare components pairwise (10,000 of them take minutes).
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from msgspec import Struct

from databom.errors import InputError
from databom.model import times
from databom.model.approvals import shown
from databom.model.digest import hex_of
from databom.model.expression import NOASSERTION, Atom, atoms, parse_expression
from databom.model.spdx_ids import EXCEPTIONS
from databom.model.text import printable
from databom.model.trainings import PROOF_FILE, RECEIPT_FILE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from databom.model.lock import Pin
    from databom.model.manifest import License, Manifest, Payment

SPEC_VERSION = "1.6"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:databom:bom")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)")
_TEXT_CHARS = 1_000
MAX_LISTED = 100
"""Creators, or licenses of single assets, that a component lists; how many there are is said beside them."""

LICENSE_TYPES = {
    "one-time": "perpetual",
    "subscription": "subscription",
    "per-use": "custom-metric",
    "royalty": "custom-metric",
    "free": "other",
}
"""Our payment models in CycloneDX's enumeration of license types."""


class BomEntry(Struct, frozen=True):
    """One pin of the BOM. `use` says how a run came to it: read, stage, input, declared or present."""

    pin: Pin
    manifest: Manifest
    use: str | None = None
    approvals: tuple[Mapping[str, Any], ...] = ()
    """What people accepted of it, as a report says it."""
    receipts: tuple[str, ...] = ()
    """Digests of the verified payment receipts that are held for it."""


def build_bom(
    entries: Iterable[BomEntry], *, run_id: str | None = None, name: str | None = None
) -> dict[str, Any]:
    """The BOM of some pins, as CycloneDX 1.6 in plain dicts and lists.

    The order of `entries` does not matter, and entries that say the same are one component. With `run_id` the
    BOM is about that MLflow run, called `name`; with `name` alone about a project; with neither about nothing
    but the data.

    The run stands there as a `machine-learning-model`, though it may have made none or several: it is the one
    kind of component that may carry a model card, where readers of ML-BOMs look for the datasets. A pin that
    was only `present` is listed, but neither in that card nor as a dependency: false lineage is worse than
    none.
    """
    components = _numbered(_component(entry) for entry in entries)
    used = [
        part["bom-ref"]
        for part in components
        if _property("databom:use", "present") not in part["properties"]
    ]
    refs = [part["bom-ref"] for part in components]
    subject = _subject(run_id, name, used)
    metadata: dict[str, Any] = {"tools": {"components": [{"type": "application", "name": "databom"}]}}
    dependencies: list[dict[str, Any]] = [{"ref": ref} for ref in refs]
    compositions: list[dict[str, Any]] = [{"aggregate": "incomplete", "assemblies": refs}] if refs else []
    if subject:
        metadata["component"] = subject
        dependencies.insert(0, {"ref": subject["bom-ref"], "dependsOn": used})
        compositions.append({"aggregate": "unknown", "dependencies": [subject["bom-ref"]]})
    content = {
        "metadata": metadata,
        "components": components,
        "dependencies": dependencies,
        "compositions": compositions,
    }
    return _whole(content)


def with_receipt(raw: bytes, receipt: str) -> bytes:
    """The BOM of a run (of `dumps`) that points to the run's receipt and its proof, which lie beside it.

    The proof has no digest here: any later one for the same receipt is as good.

    Args:
        raw: a BOM that this module wrote.
        receipt: the digest of the receipt's bytes.
    """
    bom = json.loads(raw)
    content = {name: bom[name] for name in ("metadata", "components", "dependencies", "compositions")}
    content["metadata"]["component"]["externalReferences"] = [
        {
            "type": "attestation",
            "url": RECEIPT_FILE,
            "hashes": [{"alg": "SHA-256", "content": hex_of(receipt)}],
        },
        {"type": "log", "url": PROOF_FILE},
    ]
    return dumps(_whole(content))


def before_receipt(raw: bytes) -> bytes:
    """What `with_receipt` made a BOM of.

    Raises:
        ValueError: it did not make this one.
    """
    try:
        bom = json.loads(raw)
        component = bom["metadata"]["component"]
        (reference,) = component["externalReferences"][0]["hashes"]
        del component["externalReferences"]
        content = {name: bom[name] for name in ("metadata", "components", "dependencies", "compositions")}
        before = dumps(_whole(content))
        if with_receipt(before, f"sha256:{reference['content']}") == raw:
            return before
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("this is no BOM of a run that points to its receipt") from error
    raise ValueError("this is no BOM of a run that points to its receipt")


def _whole(content: dict[str, Any]) -> dict[str, Any]:
    serial = uuid.uuid5(_NAMESPACE, hashlib.sha256(dumps(content)).hexdigest())
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        **content,
    }


def dumps(bom: dict[str, Any]) -> bytes:
    """A BOM as bytes: UTF-8, two-space indent, a final newline."""
    return (json.dumps(bom, indent=2, ensure_ascii=False) + "\n").encode()


def _subject(run_id: str | None, name: str | None, used: list[str]) -> dict[str, Any] | None:
    if run_id is not None:
        ref = f"mlflow:{run_id}"
        return {
            "type": "machine-learning-model",
            "bom-ref": ref,
            "name": name or run_id,
            "modelCard": {"modelParameters": {"datasets": [{"ref": each} for each in used]}},
            "properties": [_property("databom:run:id", ref)],
        }
    if name:
        return {"type": "application", "bom-ref": f"project:{name}", "name": name}
    return None


def _numbered(components: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sorted, without repetitions, every bom-ref unique: one release may be pinned twice, with two uses."""
    ordered = [json.loads(text) for text in sorted({json.dumps(component) for component in components})]
    ordered.sort(key=lambda component: component["bom-ref"])
    refs = [component["bom-ref"] for component in ordered]
    for place, component in enumerate(ordered):
        ref = component["bom-ref"]
        if refs.count(ref) > 1:
            number = refs[: place + 1].count(ref)
            # No release gives a bom-ref of this form by itself.
            component["bom-ref"] = ref.replace("dataset:", f"dataset#{number}:", 1)
    return ordered


def _stated(classification: str | dict[str, Any]) -> str:
    """One classification in a line: its own word, or the object OASIS writes as JSON."""
    if isinstance(classification, str):
        return classification
    return json.dumps(classification, sort_keys=True, ensure_ascii=False)


def _component(entry: BomEntry) -> dict[str, Any]:
    pin, manifest = entry.pin, entry.manifest
    hashes = [{"alg": "SHA-256", "content": hex_of(manifest.digest)}]
    licenses, homeless = _licenses(manifest)
    creators = _creators(manifest)
    marketplace = pin.marketplace or manifest.marketplace_id
    data: dict[str, Any] = {"type": "dataset", "name": manifest.release}
    if pin.root:
        data["contents"] = {"url": _iri(pin.root)}
    if manifest.classification:
        data["classification"] = printable(", ".join(map(_stated, manifest.classification)), _TEXT_CHARS)
    if creators:
        data["governance"] = {"owners": [{"contact": {"name": creator}} for creator in creators[:MAX_LISTED]]}
    component: dict[str, Any] = {
        "type": "data",
        "bom-ref": f"dataset:{manifest.release}",
        "supplier": {"name": marketplace} if marketplace else None,
        "authors": [{"name": creator} for creator in creators[:MAX_LISTED]],
        "name": manifest.dataset_id,
        "version": manifest.version,
        "hashes": hashes,
        "licenses": licenses,
        "externalReferences": [{"type": "distribution", "url": _iri(pin.source), "hashes": hashes}]
        if pin.source
        else [],
        "data": [data],
        "properties": _properties(entry, homeless, len(creators)),
    }
    return {key: value for key, value in component.items() if value}


def _creators(manifest: Manifest) -> list[str]:
    """The release's creator first, then those of single assets."""
    others = {asset.creator_id for asset in manifest.assets if asset.creator_id} - {manifest.creator_id}
    return [*([manifest.creator_id] if manifest.creator_id else []), *sorted(filter(None, others))]


# --- license and purchase -----------------------------------------------------------------------------


def _licenses(manifest: Manifest) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """The component's `licenses`, and the properties of a purchase that has no place in them."""
    terms, payment = manifest.license, manifest.payment
    kind, text = _kind(terms.spdx)
    purchase = _licensing(terms, payment, manifest.creator_id)
    if kind == "expression":
        paid = [
            _property("databom:payment:payer", payment.payer if payment else None),
            _property("databom:payment:paid_at", purchase.get("lastRenewal")),
            _property("databom:license:valid_until", purchase.get("expiration")),
        ]
        return [{"expression": text, "acknowledgement": "declared"}], [
            each for each in paid if "value" in each
        ]
    license_: dict[str, Any] = {kind: text, "acknowledgement": "declared"}
    if terms.text and terms.text.uri and terms.text.uri.startswith(("https://", "http://")):
        license_["url"] = _iri(terms.text.uri)
    if purchase:
        license_["licensing"] = purchase
    return [{"license": license_}], []


def _kind(spdx: str | None) -> tuple[str, str]:
    """Which member of CycloneDX a license goes into: `id`, `expression` or `name`, and its text there."""
    if spdx is None:
        return "name", NOASSERTION
    try:
        expression = parse_expression(spdx)
    except InputError:
        return "name", printable(spdx, _TEXT_CHARS)
    if isinstance(expression, Atom) and not expression.exception:
        if expression.is_known and not expression.or_later:
            return "id", expression.name
        if not expression.is_known:
            return "name", printable(spdx, _TEXT_CHARS)
    if all((one.is_known or one.is_reference) and _is_exception(one.exception) for one in atoms(expression)):
        return "expression", str(expression)
    return "name", printable(spdx, _TEXT_CHARS)


def _is_exception(name: str | None) -> bool:
    return name is None or name in EXCEPTIONS or name.startswith("AdditionRef-")


def _licensing(terms: License, payment: Payment | None, creator: str | None) -> dict[str, Any]:
    """CycloneDX `licensing`: who licenses what to whom, by which purchase; only what the manifest states."""
    found: dict[str, Any] = {}
    payer = {"organization": {"name": payment.payer}} if payment and payment.payer else None
    if creator:
        found["licensor"] = {"individual": {"name": creator}}
    elif payment and payment.payee:
        found["licensor"] = {"organization": {"name": payment.payee}}
    if payer:
        found |= {"licensee": payer, "purchaser": payer}
    if payment:
        if payment.transaction_id:
            found["purchaseOrder"] = payment.transaction_id
        found["licenseTypes"] = [LICENSE_TYPES[payment.model]]
        if payment.paid_at:
            found["lastRenewal"] = times.format(payment.paid_at)
    if terms.valid_until:
        found["expiration"] = times.format(terms.valid_until)
    return found


# --- properties ------------------------------------------------------------------------------------------


def _properties(entry: BomEntry, homeless: list[dict[str, str]], creators: int) -> list[dict[str, str]]:
    """What CycloneDX has no member for. Only known values; a name may occur more than once."""
    pin, manifest = entry.pin, entry.manifest
    terms, payment = manifest.license, manifest.payment
    assets = sorted({asset.license for asset in manifest.assets if asset.license})
    text = terms.attribution.text if terms.attribution else None
    revocable = None if terms.revocable is None else str(terms.revocable).lower()
    rows: list[tuple[str, str | None]] = [
        ("databom:manifest:id", manifest.release),
        ("databom:tree", manifest.tree),
        ("databom:assets", str(manifest.asset_count)),
        ("databom:bytes", None if manifest.total_bytes is None else str(manifest.total_bytes)),
        *(("databom:keyid", keyid) for keyid in pin.keyids),
        ("databom:use", entry.use),
        ("databom:creators", str(creators) if creators > MAX_LISTED else None),
        ("databom:license:type", terms.type),
        ("databom:license:revocable", revocable),
        ("databom:license:attribution", None if text is None else printable(text, _TEXT_CHARS)),
        *(("databom:license:asset", license_) for license_ in assets[:MAX_LISTED]),
        ("databom:license:assets", str(len(assets)) if len(assets) > MAX_LISTED else None),
        ("databom:payment:model", payment.model if payment else None),
        ("databom:payment:transaction_id", payment.transaction_id if payment else None),
        # What a manifest says of a payment is a claim; a receipt is a document of its own.
        ("databom:payment:signed", str(bool(entry.receipts)).lower() if payment or entry.receipts else None),
        *(("databom:payment:receipt", digest) for digest in sorted(entry.receipts)),
        *(("databom:approval", shown(approval)) for approval in entry.approvals),
    ]
    return [*(_property(name, value) for name, value in rows if value is not None), *homeless]


def _property(name: str, value: str | None) -> dict[str, str]:
    return {"name": name} if value is None else {"name": name, "value": value}


def _iri(place: str) -> str:
    """A location as an RFC 3987 reference: no query, fragment or user, everything unusual percent-encoded."""
    if url := _URL.match(place):
        scheme, authority, path = url.groups()
        host = quote(authority.rpartition("@")[2], safe="[]:%") if scheme.lower() != "file" else ""
        return f"{scheme.lower()}://{host}{_path(path, ':')}"
    path = _path(place, "")  # a colon in a relative path would make a scheme of what stands before it
    return "/" + path.lstrip("/") if path.startswith("//") else path


def _path(path: str, colon: str) -> str:
    known = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", path)
    return quote(known, safe=f"/@!$&'()*+,;=~%{colon}")
