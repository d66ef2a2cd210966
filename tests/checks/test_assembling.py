"""A release in shards is the release, however the shards are cut and in whatever order they come."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from databom.checks import assembling
from databom.checks.assembling import assemble
from databom.errors import InputError
from databom.model.claims import Shard
from databom.model.listings import in_order
from databom.model.manifest import Manifest, read_manifest
from support.large import Row, entry, lines, manifest_of, row


def cut(parts: Sequence[Sequence[Row]]) -> tuple[Manifest, Any]:
    raws = {f"s/{n}": lines(part) for n, part in enumerate(parts)}
    index = [entry(uri, raw, len(part)) for (uri, raw), part in zip(raws.items(), parts, strict=True)]

    def source(shard: Shard) -> bytes:
        return raws[shard.uri]

    return read_manifest(json.dumps(manifest_of(index)).encode()), source


def whole(rows: Sequence[Row]) -> Manifest:
    document = {**manifest_of([]), "assets": list(rows)}
    del document["asset_index"]
    return read_manifest(json.dumps(document).encode())


def refusal(parts: Sequence[Sequence[Row]]) -> list[tuple[str, str | None]]:
    with pytest.raises(InputError) as caught:
        assemble(*cut(parts))
    assert all(problem.do for problem in caught.value.problems)
    return [(problem.code, problem.found) for problem in caught.value.problems]


@pytest.fixture(params=[True, False], ids=["in memory", "on disk"], autouse=True)
def few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.setattr(assembling, "FEW_ASSETS", 0)


NAMES = st.text(st.sampled_from("aAbB-./0é\u0307ßsK\U0001f600\ue000"), min_size=1, max_size=6)
PARTS = st.lists(st.lists(NAMES, min_size=1, max_size=5), min_size=1, max_size=5)


@settings(max_examples=400, deadline=None)
@given(PARTS)
def test_it_is_refused_when_one_list_would_be_and_has_the_same_tree(names: list[list[str]]) -> None:
    parts = [[row(name, name.encode(), flags=["x"]) for name in part] for part in names]
    rows = [one for part in parts for one in part]
    expected = answer(lambda: whole(rows))
    found = answer(lambda: assemble(*cut(parts)))
    if isinstance(expected, set):
        assert isinstance(found, set)
        assert found <= expected
        return
    assert isinstance(found, Manifest)
    assert tuple(found.assets) == tuple(expected.assets)
    assert (found.tree, found.total_bytes) == (expected.tree, expected.total_bytes)
    for _ in range(2):
        assert list(in_order(found.assets)) == list(in_order(expected.assets))


def answer(ask: Callable[[], Manifest]) -> Manifest | set[str]:
    """A manifest, or the codes of a refusal."""
    try:
        return ask()
    except InputError as error:
        return {problem.code for problem in error.problems}


def test_before_its_shards_are_read_there_is_no_tree_and_no_asset() -> None:
    manifest, source = cut([[row("a"), row("b")], [row("c")]])
    assert (manifest.is_complete, manifest.tree, len(manifest.assets), manifest.asset_count) == (
        False,
        "",
        0,
        3,
    )
    complete = assemble(manifest, source)
    assert (complete.is_complete, len(complete.assets), complete.asset_count) == (True, 3, 3)
    assert (complete.digest, complete.index) == (manifest.digest, manifest.index)
    assert assemble(complete, source) is complete


@pytest.mark.parametrize(
    ("parts", "code", "found"),
    [
        ((["a", "m"], ["m", "z"]), "manifest.duplicate", "m"),
        ((["a", "z"], ["m"], ["b", "m"]), "manifest.duplicate", "m"),
        ((["a"], ["a"]), "manifest.duplicate", "a"),
        ((["a/x"], ["A/X"]), "manifest.path", None),
        ((["ß"], ["b", "ss"]), "manifest.path", None),
        ((["K"], ["\u212a"]), "manifest.path", None),
        ((["a"], ["a/b"]), "manifest.path", "a/b"),
        ((["a/b/c/d"], ["A/B"]), "manifest.path", "a/b/c/d"),
        ((["a", "z"], ["a-b", "a/b"]), "manifest.path", "a/b"),
        ((["a.b", "z"], ["0", "a.b/c", "y"]), "manifest.path", "a.b/c"),
    ],
)
def test_paths_collide_across_shards(parts: Sequence[Sequence[str]], code: str, found: str | None) -> None:
    for order in (parts, parts[::-1]):
        answers = refusal([[row(name) for name in part] for part in order])
        assert [one for one, _ in answers] == [code]
        if found is not None:
            assert answers[0][1] == found


def test_neighbors_that_only_begin_alike_are_kept() -> None:
    parts = [["a-b/c", "a.b"], ["a", "ab/c"], ["a b", "aa"]]
    found = assemble(*cut([[row(name) for name in part] for part in parts]))
    assert found.tree == whole([row(name) for part in parts for name in part]).tree


def test_a_storm_of_collisions_is_told_by_its_first_hundred() -> None:
    rows = [row(f"{n:04}") for n in range(300)]
    assert len(refusal([rows, rows])) == 100


def test_sizes_that_add_up_to_too_much_are_refused() -> None:
    big = {"size": 2**53 - 1}
    assert [code for code, _ in refusal([[{**row("a"), **big}], [{**row("b"), **big}]])] == ["manifest.limit"]


def test_a_shard_that_changes_after_it_was_read_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembling, "FEW_ASSETS", 0)
    manifest, source = cut([[row("a"), row("b")]])
    raws = [source(manifest.index[0])]
    complete = assemble(manifest, lambda _shard: raws[0])
    raws[0] = raws[0].replace(b'"b"', b'"c"')
    with pytest.raises(InputError) as caught:
        list(complete.assets)
    assert caught.value.problems[0].code == "integrity.mismatch"


def test_unknown_members_are_listed_up_to_a_hundred() -> None:
    parts = [[row(f"{n}/{m}", mood="calm") for m in range(60)] for n in range(3)]
    found = assemble(*cut(parts))
    assert len(found.unknown) == 100
    assert found.unknown[:2] == ("s/0:1/mood", "s/0:2/mood")
