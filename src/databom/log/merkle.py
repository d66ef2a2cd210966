r"""Merkle trees of RFC 6962 section 2.1 (RFC 9162 has the same): hashes, roots and proofs. Arithmetic, nothing else.

    leaf  = SHA-256(0x00 || entry)
    node  = SHA-256(0x01 || left || right)
    root of n > 1 leaves = node(root of the first k, root of the rest), k the largest power of two below n

A tree of five leaves, its nodes named (level, index):

    level 2           (2,0)
                     /     \
    level 1      (1,0)     (1,1)
                 /   \     /   \
    level 0    (0,0)(0,1)(0,2)(0,3)  (0,4)        root = node((2,0), (0,4))

Only perfect subtrees have such a name; they never change once their leaves are there. Whoever makes a proof hands in a
function that knows their hashes (`Node`); whoever checks one needs nothing but the proof.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()
"""The root of a tree without leaves."""

Node = Callable[[int, int], bytes]
"""`node(level, index)`: the hash of the perfect subtree over the leaves [index * 2**level, (index + 1) * 2**level)."""


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one entry."""
    return sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees."""
    return sha256(b"\1" + left + right).digest()


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """The hash over 2**n subtrees of one size."""
    row = list(hashes)
    while len(row) > 1:
        row = [sha256(b"\1" + left + right).digest() for left, right in zip(row[::2], row[1::2], strict=True)]
    return row[0]


class Peaks:
    """The perfect subtrees a tree is made of, largest first: all it takes to make it grow and to know its root."""

    __slots__ = ("_peaks", "size")

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[tuple[int, bytes]] = []

    def add(self, level: int, hash_: bytes) -> None:
        """Append a perfect subtree of 2**level leaves; the size so far is a multiple of that."""
        assert self.size % (1 << level) == 0
        self.size += 1 << level
        peaks = self._peaks
        while peaks and peaks[-1][0] == level:
            hash_ = node_hash(peaks.pop()[1], hash_)
            level += 1
        peaks.append((level, hash_))

    def root(self) -> bytes:
        """The root of the tree so far."""
        if not self._peaks:
            return EMPTY_ROOT
        *others, (_, root) = self._peaks
        for _, peak in reversed(others):
            root = node_hash(peak, root)
        return root


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over leaf hashes."""
    peaks = Peaks()
    for leaf in leaves:
        peaks.add(0, leaf)
    return peaks.root()


# --- making proofs ---------------------------------------------------------------------------------


def _split(count: int) -> int:
    """The largest power of two below `count`, which is above 1."""
    return 1 << ((count - 1).bit_length() - 1)


def _subtree(start: int, end: int, node: Node) -> bytes:
    """The root over the leaves [start, end) of a subtree that RFC 6962's recursion leads to."""
    count = end - start
    if count & (count - 1) == 0:
        return node(count.bit_length() - 1, start // count)
    middle = start + _split(count)
    return node_hash(_subtree(start, middle, node), _subtree(middle, end, node))


def prove_inclusion(index: int, size: int, node: Node) -> tuple[bytes, ...]:
    """That the leaf `index` is in the tree of `size` leaves. RFC 6962 calls this a Merkle audit path.

    Raises:
        ValueError: there is no such leaf in a tree of this size.
    """
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    proof = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            proof.append(_subtree(middle, end, node))
            end = middle
        else:
            proof.append(_subtree(start, middle, node))
            start = middle
    return tuple(reversed(proof))


def prove_consistency(old: int, new: int, node: Node) -> tuple[bytes, ...]:
    """That the tree of `old` leaves is the beginning of the tree of `new`. Empty where that needs no proof.

    Raises:
        ValueError: the old tree is the larger one.
    """
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {new} leaves does not begin with {old}")
    if old in (0, new):
        return ()
    proof = []
    start, end, whole = 0, new, True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            proof.append(_subtree(middle, end, node))
            end = middle
        else:
            proof.append(_subtree(start, middle, node))
            start, whole = middle, False
    if not whole:
        proof.append(_subtree(start, end, node))
    return tuple(reversed(proof))


# --- checking proofs (RFC 9162 sections 2.1.3.2 and 2.1.4.2) ------------------------------------------


def check_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether the proof shows that the leaf with this hash is number `index` of the tree with this size and root."""
    if not 0 <= index < size or any(len(one) != HASH_BYTES for one in (leaf, root, *proof)):
        return False
    left, last, found = index, size - 1, leaf
    for one in proof:
        if last == 0:
            return False
        if left & 1 or left == last:
            found = node_hash(one, found)
            while left and not left & 1:
                left, last = left >> 1, last >> 1
        else:
            found = node_hash(found, one)
        left, last = left >> 1, last >> 1
    return last == 0 and found == root


def check_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> bool:
    """Whether the proof shows that the tree with the new size and root begins with the old one.

    A tree without leaves is the beginning of every tree, which shows nothing: False.
    """
    if not 0 < old <= new or any(len(one) != HASH_BYTES for one in proof):
        return False
    if old == new:
        return not proof and old_root == new_root
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not proof:
        return False
    left, last = old - 1, new - 1
    while left & 1:
        left, last = left >> 1, last >> 1
    found_old = found_new = path[0]
    for one in path[1:]:
        if last == 0:
            return False
        if left & 1 or left == last:
            found_old, found_new = node_hash(one, found_old), node_hash(one, found_new)
            while left and not left & 1:
                left, last = left >> 1, last >> 1
        else:
            found_new = node_hash(found_new, one)
        left, last = left >> 1, last >> 1
    return last == 0 and found_old == old_root and found_new == new_root
