"""The content of a manifest in pieces is byte for byte what RFC 8785 says."""

from __future__ import annotations

import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from databom.model import listings as listing
from databom.model.manifest import read_manifest
from databom.trust.content import content_digest, content_pieces
from databom.trust.jws import sign_embedded
from support.manifests import CAT, FULL
from trust.making import ed

NAMES = st.sampled_from(
    ["x", "X", "size2", "\u00e9", "\ufb33", "\U0001f600", "\ue000", "", "\x7f", 'a"b', "\n", "\u2028"]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(max_size=8)
    | st.sampled_from(
        ["\x00\x1f\x7f\x80", '\\"/\b\f\n\r\t', "\u2028\u2029", "\ufeff", "\U0001f600", "</script>"]
    )
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
MORE = st.dictionaries(NAMES, VALUES, max_size=3)


@settings(max_examples=400, deadline=None)
@given(
    more=MORE,
    each=st.lists(MORE, min_size=3, max_size=7),
    escaped=st.booleans(),
    indent=st.sampled_from([None, 1]),
    order=st.randoms(use_true_random=False),
)
def test_the_pieces_are_rfc_8785(
    more: dict[str, Any], each: list[dict[str, Any]], escaped: bool, indent: int | None, order: Any
) -> None:
    rows = [{"path": f"{n}", "sha256": CAT, **extra} for n, extra in enumerate(each)]
    document = {**more, **FULL, "assets": rows}
    names = list(document)
    order.shuffle(names)
    raw = json.dumps({name: document[name] for name in names}, ensure_ascii=escaped, indent=indent).encode()
    few, part = listing.FEW, listing.PART
    listing.FEW, listing.PART = 2, 2
    try:
        read = read_manifest(raw)
    finally:
        listing.FEW, listing.PART = few, part
    assert isinstance(read.assets, listing.Encoded)
    del document["signature"]
    assert b"".join(content_pieces(read)) == rfc8785.dumps(document)
    for name in ("payment", "issued_at"):
        del document[name]
    assert b"".join(content_pieces(read, without=("payment", "issued_at"))) == rfc8785.dumps(document)


def test_minus_zero_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "FEW", 0)
    document = {**FULL, "assets": [{"path": "a", "sha256": CAT, "x": "-0"}]}
    read = read_manifest(json.dumps(document).replace('"-0"', "-0").encode())
    assert b'"x":0}' in b"".join(content_pieces(read))


def test_one_content_has_one_digest_however_long_its_list_is(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = json.dumps(FULL, indent=3).encode()
    short = read_manifest(raw)
    monkeypatch.setattr(listing, "FEW", 0)
    long = read_manifest(raw)
    assert isinstance(long.assets, listing.Encoded)
    assert content_digest(long) == content_digest(short)


def test_a_long_list_is_covered_by_its_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    from databom.trust.jws import check_embedded

    monkeypatch.setattr(listing, "FEW", 0)
    key = ed(1)
    document = {**FULL, "signature": sign_embedded(FULL, key)}
    read = read_manifest(json.dumps(document).encode())
    assert read.signature is not None
    ring = {key.public.keyid: key.public}
    for most in (0, 1, len(read.raw), 10 * len(read.raw)):  # however well its length was guessed
        assert check_embedded(read.signature, content_pieces(read), ring, most=most) == key.public.keyid
