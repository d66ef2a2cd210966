"""Digests and the tree digest, against the tools they are defined by."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databom.model.digest import hex_of, sha256, tree_digest

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_sha256_names_its_algorithm() -> None:
    assert sha256(b"") == f"sha256:{EMPTY}"
    assert hex_of(sha256(b"abc")) == hashlib.sha256(b"abc").hexdigest()


@pytest.mark.parametrize(
    "text",
    [
        "",
        EMPTY,
        f"sha256:{EMPTY} ",
        f"sha256:{EMPTY}\n",
        f" sha256:{EMPTY}",
        f"SHA256:{EMPTY}",
        f"sha256:{EMPTY.upper()}",
        f"sha256:{EMPTY[:-1]}",
        f"sha256:{EMPTY}0",
        f"sha256:{EMPTY[:-1]}g",
        f"sha256:{EMPTY[:-1]}\uff10",
        f"sha1:{EMPTY}",
        f"sha256:sha256:{EMPTY}",
    ],
)
def test_hex_of_takes_nothing_else(text: str) -> None:
    with pytest.raises(ValueError, match="a digest is sha256: and 64 lower-case hex digits"):
        hex_of(text)


def test_tree_digest_is_what_the_shell_says(tmp_path: Path) -> None:
    contents = {
        "b": b"1",
        "a/b": b"2",
        "a.b": b"3",
        "a-b/c/d": b"",
        "Z": b"4",
        "é": b"5",
        "\U0001d482": b"6",
        "\uffee": b"7",
    }
    for name, data in contents.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    command = "find . -type f | cut -c3- | LC_ALL=C sort | xargs -r sha256sum | sha256sum"
    said = subprocess.run(
        ["sh", "-c", command],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},
    ).stdout
    pairs = [(name, hashlib.sha256(data).hexdigest()) for name, data in contents.items()]
    assert tree_digest(pairs) == f"sha256:{said.split()[0]}"
    assert tree_digest(sorted(pairs), is_sorted=True) == tree_digest(pairs)


def test_tree_digest_of_nothing() -> None:
    assert tree_digest([]) == f"sha256:{EMPTY}"


def test_tree_digest_of_many_is_one_stream_of_lines() -> None:
    pairs = [(f"{index:06d}", EMPTY) for index in range(25_000)]
    lines = "".join(f"{digest}  {path}\n" for path, digest in pairs)
    assert tree_digest(reversed(pairs)) == sha256(lines.encode())


PATHS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), min_size=1)
HEXES = st.binary(min_size=32, max_size=32).map(bytes.hex)


@given(st.dictionaries(PATHS, HEXES, min_size=1), st.randoms(), st.data())
def test_order_never_matters_and_every_name_and_content_does(
    tree: dict[str, str], random: object, data: st.DataObject
) -> None:
    pairs = list(tree.items())
    random.shuffle(pairs)  # type: ignore[attr-defined]
    digest = tree_digest(pairs)
    assert digest == tree_digest(sorted(tree.items(), key=lambda pair: pair[0].encode()), is_sorted=True)
    victim = data.draw(st.sampled_from(sorted(tree)))
    renamed = {(path + "x" if path == victim else path): value for path, value in tree.items()}
    if len(renamed) == len(tree):
        assert tree_digest(renamed.items()) != digest
    changed = {**tree, victim: "0" * 63 + ("1" if tree[victim].endswith("0") else "0")}
    assert (tree_digest(changed.items()) == digest) == (changed == tree)
