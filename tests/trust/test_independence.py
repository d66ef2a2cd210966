"""A verdict rests on its own document: on no other that was judged before, and on no signature's bytes."""

from __future__ import annotations

import base64
import itertools
import json
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from databom.model.finding import Verdict
from databom.model.lock import Pin
from databom.tasks import adding
from databom.tasks.initializing import init
from databom.tasks.project import Project
from trust.making import (
    NOW,
    STRANGER,
    A,
    C,
    article,
    as_root,
    codes,
    detached,
    embedded,
    full,
    opened,
    root,
    root_document,
)

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def twin(envelope: bytes) -> bytes:
    """The same envelope with the other signature that ECDSA makes of the first: (r, n - s)."""
    value = json.loads(envelope)
    r, s = decode_dss_signature(base64.b64decode(value["signatures"][0]["sig"]))
    value["signatures"][0]["sig"] = base64.b64encode(encode_dss_signature(r, P256_ORDER - s)).decode()
    return (json.dumps(value, indent=2) + "\n").encode()


def test_verifying_x_then_y_is_verifying_y() -> None:
    good, ecdsa, strange = detached(full(), A), detached(full(), C), detached(full(), STRANGER)
    inside = embedded(full(), A)
    cases = [
        good,
        ecdsa,
        (ecdsa[0], twin(ecdsa[1])),
        strange,
        (good[0], strange[1]),
        (full_bytes(version="other"), good[1]),
        (good[0], None),
        (good[0], b"{"),
        (inside, None),
        (inside.replace(b"txn_01J9ZK", b"txn_01J9ZX"), None),
        (inside, good[1]),
        (json.dumps(article()).encode(), good[1]),
    ]
    expired = root_document(A, C)
    expired["keys"][A.public.keyid]["valid_until"] = "2026-02-01T00:00:00Z"
    roots = [root(A, C), root(), as_root(expired), root(A, C, threshold=2)]
    asked = list(itertools.product(cases, roots))
    alone = [opened(*case, trusted) for case, trusted in asked]
    assert any(codes(answer) for answer in alone)
    assert not all(codes(answer) for answer in alone)
    for before, its_root in asked:
        for (case, trusted), answer in zip(asked, alone, strict=True):
            opened(*before, its_root)
            assert opened(*case, trusted) == answer


def full_bytes(**changes: str) -> bytes:
    return json.dumps(full(**changes)).encode()


def test_the_twin_of_a_signature_is_the_same_release(tmp_path: Path) -> None:
    raw, envelope = detached(full(), C)
    other = twin(envelope)
    assert other != envelope
    assert opened(raw, other, root(C)) == opened(raw, envelope, root(C))
    pins: list[Pin] = []
    for name, sidecar in (("one", envelope), ("two", other)):
        sold, project = tmp_path / f"sold-{name}", tmp_path / name
        sold.mkdir()
        (sold / "manifest.json").write_bytes(raw)
        (sold / "manifest.json.dsse").write_bytes(sidecar)
        init(project, now=NOW)
        (project / "provenance" / "trust.json").write_text(json.dumps(root_document(C)))
        report = adding.add(str(sold / "manifest.json"), name="pack", project=project, dvc=False, now=NOW)
        assert report.verdict is Verdict.PASS, [finding.to_dict() for finding in report.findings]
        pins.append(Project.load(project).pin("pack"))
        # ... and the twin beside what is pinned already is no news.
        (sold / "manifest.json.dsse").write_bytes(other)
        report = adding.add(str(sold / "manifest.json"), name="pack", project=project, dvc=False, now=NOW)
        assert report.verdict is Verdict.PASS
        assert Project.load(project).pin("pack") == pins[-1]
    first, second = (msgspec.structs.replace(pin, source="", root="") for pin in pins)
    assert first == second
