"""Trees and proofs: the vectors of others, a reference word for word from the RFC, and every bit flipped."""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databom.log import merkle
from databom.log.merkle import (
    EMPTY_ROOT,
    Peaks,
    check_consistency,
    check_inclusion,
    leaf_hash,
    perfect_root,
    prove_consistency,
    prove_inclusion,
    root_of,
)
from support.tlog import naive_root

VECTORS = Path(__file__).parents[1] / "vectors" / "merkle-rfc6962"
LEAVES = [leaf_hash(b"%d" % number) for number in range(300)]
SIZES = st.integers(1, 130)


def node(level: int, index: int) -> bytes:
    return naive_root(LEAVES[index << level : (index + 1) << level])


def vectors(kind: str) -> list[Path]:
    found = sorted((VECTORS / kind).rglob("*.json"))
    assert len(found) > 50
    return found


@pytest.mark.parametrize("path", vectors("inclusion"), ids=lambda path: path.parent.name + "-" + path.stem)
def test_the_public_vectors_of_inclusion(path: Path) -> None:
    case = json.loads(path.read_text())
    proof = [base64.b64decode(one) for one in case["proof"] or ()]
    leaf, root = base64.b64decode(case["leafHash"]), base64.b64decode(case["root"])
    assert check_inclusion(leaf, case["leafIdx"], case["treeSize"], proof, root) is not case["wantErr"]


@pytest.mark.parametrize("path", vectors("consistency"), ids=lambda path: path.parent.name + "-" + path.stem)
def test_the_public_vectors_of_consistency(path: Path) -> None:
    case = json.loads(path.read_text())
    proof = [base64.b64decode(one) for one in case["proof"] or ()]
    roots = [base64.b64decode(case[name]) for name in ("root1", "root2")]
    assert check_consistency(case["size1"], case["size2"], proof, *roots) is not case["wantErr"]


def test_it_imports_nothing_of_ours() -> None:
    text = Path(merkle.__file__).read_text()
    assert "databom" not in text


@given(size=st.integers(0, 300))
def test_a_root_is_that_of_the_rfc(size: int) -> None:
    assert root_of(LEAVES[:size]) == naive_root(LEAVES[:size])
    assert naive_root([]) == EMPTY_ROOT == sha256(b"").digest()


@given(height=st.integers(0, 8))
def test_a_perfect_tree(height: int) -> None:
    assert perfect_root(LEAVES[: 1 << height]) == naive_root(LEAVES[: 1 << height])


@given(parts=st.lists(st.integers(0, 5), max_size=8))
def test_peaks_take_subtrees_of_any_size_that_fits(parts: list[int]) -> None:
    peaks = Peaks()
    for level in parts:
        if peaks.size % (1 << level) == 0:
            peaks.add(level, node(level, peaks.size >> level))
    assert peaks.root() == naive_root(LEAVES[: peaks.size])


def test_every_proof_of_every_small_tree_holds_and_no_changed_one_does() -> None:
    for size in range(1, 40):
        root = naive_root(LEAVES[:size])
        for index in range(size):
            proof = prove_inclusion(index, size, node)
            assert check_inclusion(LEAVES[index], index, size, proof, root)
            assert not check_inclusion(LEAVES[index + 1], index, size, proof, root)
            for at in range(len(proof)):
                changed = [*proof[:at], bytes([proof[at][0] ^ 1]) + proof[at][1:], *proof[at + 1 :]]
                assert not check_inclusion(LEAVES[index], index, size, changed, root)
        for old in range(1, size + 1):
            older = naive_root(LEAVES[:old])
            proof = prove_consistency(old, size, node)
            assert check_consistency(old, size, proof, older, root)
            assert not check_consistency(old, size, proof, bytes(32), root)
            assert not check_consistency(old, size, proof, older, bytes(32))
            for at in range(len(proof)):
                changed = [*proof[:at], bytes([proof[at][0] ^ 1]) + proof[at][1:], *proof[at + 1 :]]
                assert not check_consistency(old, size, changed, older, root)


@given(SIZES, st.data())
def test_a_proof_is_of_one_place_in_one_tree(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    root, proof = naive_root(LEAVES[:size]), prove_inclusion(index, size, node)
    other, length = data.draw(st.integers(-1, 130)), data.draw(st.integers(0, 130))
    if (other, length) != (index, size) and check_inclusion(LEAVES[index], other, length, proof, root):
        # The same leaf, and the same way up: sizes alone may differ where the tree's shape above is the same.
        assert other == index
    assert not check_inclusion(LEAVES[index], index, size, (*proof, bytes(32)), root)
    assert not check_inclusion(LEAVES[index], index, size, proof, root[:-1])
    assert not check_inclusion(b"short", index, size, proof, root)


@given(st.integers(0, 6), st.integers(0, 6), st.lists(st.binary(min_size=30, max_size=33), max_size=4))
def test_no_proof_whatever_breaks_the_checks(old: int, new: int, proof: list[bytes]) -> None:
    assert check_consistency(old, new, proof, bytes(32), bytes(32)) in (True, False)
    assert check_inclusion(bytes(32), old, new, proof, bytes(32)) in (True, False)


def test_there_is_no_proof_of_what_is_not() -> None:
    with pytest.raises(ValueError, match="no leaf 3"):
        prove_inclusion(3, 3, node)
    with pytest.raises(ValueError, match="does not begin"):
        prove_consistency(4, 3, node)
    assert prove_consistency(0, 3, node) == prove_consistency(3, 3, node) == ()
