"""Mutated manifests, envelopes and statements: believed only where the content is the one that was signed.

A hundred thousand in the slow step; DATABOM_FUZZ_MANIFESTS asks for another number, such as a million.
"""

from __future__ import annotations

import base64
import json
import os
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from databom.errors import InputError
from databom.model.manifest import Manifest, read_manifest
from databom.trust import dsse
from databom.trust.opening import open_manifest, sign_manifest
from fuzz.mutating import Tape, mutated, parsed, written
from trust.making import NOW, ed, full, p256, root

MANIFESTS = int(os.environ.get("DATABOM_FUZZ_MANIFESTS", "100000"))
PARTS = 20
KEYS = [ed(1), p256(1)]
ROOT = root(*KEYS)
DETACHED = [sign_manifest(full(), key, embed=False) for key in KEYS]
EMBEDDED = [sign_manifest(full(), key, embed=True)[0] for key in KEYS]


def meaning(manifest: Manifest) -> Any:
    """All that anybody reads of a manifest but its bytes; the order of unknown members says nothing."""
    return msgspec.structs.replace(manifest, raw=b"", digest="", unknown=tuple(sorted(manifest.unknown)))


def content(raw: bytes) -> str:
    # Python's own reader and writer: a second opinion on what is equal, which tells 1 from true and 1.0.
    value = json.loads(raw)
    value.pop("signature", None)
    return json.dumps(value, sort_keys=True)


SAID = {raw: (content(raw), meaning(read_manifest(raw))) for raw in EMBEDDED}


def is_believed(raw: bytes, envelope: bytes | None) -> Manifest | None:
    try:
        manifest = read_manifest(raw)
    except InputError:
        return None
    answer = open_manifest(manifest, envelope, ROOT, now=NOW)
    assert all(finding.code.startswith("signature.") for finding in answer.findings)
    return None if answer.findings else manifest


def try_embedded(which: int, tape: Tape) -> str:
    signed = EMBEDDED[which]
    changed = mutated(signed, tape)
    manifest = is_believed(changed, None)
    if manifest is None:
        return "refused"
    text, value = SAID[signed]
    assert (content(changed), meaning(manifest)) == (text, value)
    return "believed" if changed == signed else "believed, spelled otherwise"


def try_detached(which: int, tape: Tape) -> str:
    raw, envelope = DETACHED[which]
    assert envelope is not None
    what = tape.number(8)
    changed, beside = raw, envelope
    if what < 4:
        changed = mutated(raw, tape)
    elif what < 7:
        beside = mutated(envelope, tape)
    else:  # the statement inside: whatever is changed there has not been signed
        outer = json.loads(envelope)
        statement = mutated(base64.b64decode(outer["payload"]), tape)
        beside = written(
            parsed(json.dumps({**outer, "payload": base64.b64encode(statement).decode()}).encode()), tape
        ).encode()
    if is_believed(changed, beside) is None:
        return "refused"
    assert changed == raw
    signed, found = dsse.parse_envelope(envelope), dsse.parse_envelope(beside)
    assert (found.payload, found.payload_type) == (signed.payload, signed.payload_type)
    assert {one.sig for one in signed.signatures} <= {one.sig for one in found.signatures}
    return "believed" if beside == envelope else "believed, spelled otherwise"


def hunt(part: int, examples: int) -> None:
    attempt = (try_embedded, try_detached)[part % 2]
    which = part // 2 % 2
    verdicts: Counter[str] = Counter()

    @seed(part)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(st.binary(min_size=0, max_size=600))
    def inner(data: bytes) -> None:
        verdicts[attempt(which, Tape(data))] += 1

    inner()
    assert verdicts.total() >= examples
    # Else it proved less than it says: some spellings are the same content, most changes are not.
    assert verdicts["believed, spelled otherwise"]
    assert verdicts["refused"] > examples / 10


@pytest.mark.parametrize("part", range(4))
def test_some_mutated_manifests(part: int) -> None:
    hunt(part + 1000, 250)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_mutated_manifests(part: int) -> None:
    hunt(part, -(-MANIFESTS // PARTS))
