"""What is checked in rounds gets the answer of what is checked at once."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from databom.checks import streaming
from databom.checks.integrity import MOST_LISTED, check_integrity, check_unlisted
from databom.checks.streaming import check_all, check_unlisted_in_order
from databom.errors import InputError
from databom.model import listings as listing
from databom.model.finding import Report, Severity, Subject
from databom.model.manifest import Manifest
from databom.storage.tree import LocalTree
from support.trees import MemoryReader, manifest_of, plant

FILES = {f"{n % 7}/{n:03}.txt": f"file {n}".encode() for n in range(60)}


@pytest.fixture(autouse=True)
def rounds_of_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "ROUND", 10)
    monkeypatch.setattr(streaming, "AT_ONCE", 0)
    monkeypatch.setattr(listing, "PART", 4)
    monkeypatch.setattr(listing, "FEW", 4)


def told(findings: object) -> object:
    return Report(Subject(), tuple(findings)).findings  # type: ignore[arg-type]


def both(manifest: Manifest, tree: LocalTree) -> Report:
    """The two answers are one; it as a report."""
    whole = check_integrity(manifest, tree)
    findings, summary = check_all(manifest, tree)
    assert told(findings) == told(whole.findings)
    assert summary == whole.summary
    paths = [asset.path for asset in manifest.assets]
    unlisted = check_unlisted_in_order(manifest, tree)
    assert told(unlisted) == told(check_unlisted(paths, tree))
    return Report(Subject(), (*findings, *unlisted), summary)


def test_a_tree_as_it_should_be(tmp_path: Path) -> None:
    manifest = manifest_of(FILES)
    assert isinstance(manifest.assets, listing.Encoded)
    report = both(manifest, LocalTree(plant(tmp_path, FILES)))
    assert report.findings == ()
    assert report.summary.checked == 60


def test_a_release_that_could_be_checked_at_once_is_told_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounds for memory's sake alone leave no finding out."""
    monkeypatch.setattr(streaming, "AT_ONCE", 1_000)
    monkeypatch.setattr(streaming, "MANY", 50)
    files = {f"{n % 7}/{n:03}.txt": b"%03d" % n for n in range(3 * MOST_LISTED)}
    root = plant(tmp_path, dict.fromkeys(files, b"bad"))
    whole = check_integrity(manifest_of(files), LocalTree(root))
    findings, summary = check_all(manifest_of(files), LocalTree(root))
    assert told(findings) == told(whole.findings)
    assert len(findings) == len(files)
    assert summary == whole.summary


def test_a_tree_with_everything_wrong(tmp_path: Path) -> None:
    root = plant(tmp_path, FILES)
    (root / "1/001.txt").write_bytes(b"File 1")
    (root / "2/002.txt").write_bytes(b"longer than it was")
    (root / "3/003.txt").unlink()
    (root / "4/004.txt").unlink()
    (root / "4/004.txt").symlink_to("011.txt")
    for path in ("0/0", "0-extra", "2/new/deep.txt", "6/\u00e9.txt", ".hidden", "zz"):
        plant(root, {path: b"x"})
    (root / "5/empty").mkdir()
    report = both(manifest_of(FILES), LocalTree(root))
    assert {one.code for one in report.findings} == {
        *(
            "integrity.mismatch",
            "integrity.size",
            "integrity.missing",
            "integrity.unsafe-file",
            "integrity.unlisted",
        ),
    }
    assert report.summary.failed == 4


def test_a_directory_whose_assets_are_missing_is_not_unlisted(tmp_path: Path) -> None:
    root = plant(tmp_path, {path: data for path, data in FILES.items() if not path.startswith("3/")})
    (root / "3").mkdir()
    assert {one.code for one in both(manifest_of(FILES), LocalTree(root)).findings} == {"integrity.missing"}


def test_no_tree_at_all_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    findings, summary = check_all(manifest_of(FILES), LocalTree(tmp_path / "file"))
    assert [one.code for one in findings] == ["integrity.unsafe-file"]
    assert (summary.assets, summary.checked) == (60, 0)
    assert check_unlisted_in_order(manifest_of(FILES), LocalTree(tmp_path / "nothing")) == []


def test_hard_links_between_rounds_lie_inside_the_release(tmp_path: Path) -> None:
    twins = {**FILES, "0/000.txt": b"twin", "6/055.txt": b"twin"}
    root = plant(tmp_path, twins)
    (root / "6/055.txt").unlink()
    os.link(root / "0/000.txt", root / "6/055.txt")
    assert both(manifest_of(twins), LocalTree(root)).findings == ()
    os.link(root / "0/000.txt", tmp_path.parent / f"{tmp_path.name}-outside")
    findings = both(manifest_of(twins), LocalTree(root)).findings
    assert [(one.code, one.severity) for one in findings] == [("integrity.unsafe-file", Severity.WARN)] * 2


def test_a_storm_is_told_by_its_first_hundred_and_a_count(tmp_path: Path) -> None:
    files = {f"{n:04}": b"as signed" for n in range(350)}
    root = plant(tmp_path, dict.fromkeys(files, b"otherwise"))
    for path in list(files)[::7]:
        (root / path).unlink()
    findings, summary = check_all(manifest_of(files), LocalTree(root))
    codes = [one.code for one in findings]
    assert codes.count("integrity.mismatch") == MOST_LISTED + 1
    assert codes.count("integrity.missing") == 50
    (rest,) = [one for one in findings if one.subject is None]
    assert rest.what == "200 more assets of the same kind"
    assert summary.failed == 350


def test_a_store_that_stops_answering_is_not_asked_for_everything() -> None:
    files = {f"{n:04}": b"x" for n in range(500)}
    reader = MemoryReader(files, faults=dict.fromkeys(files, "unreachable"))
    streaming.ROUND = 100
    findings, summary = check_all(manifest_of(files), reader)
    assert {one.code for one in findings} == {"storage.unreachable"}
    assert "400 more assets were not tried" in " ".join(one.what for one in findings)
    assert (summary.assets, summary.checked, summary.failed) == (500, 0, 0)


@pytest.mark.parametrize("dead", [1, 3, 2_000])
def test_rounds_tell_of_what_cannot_be_read_as_one_run_does(
    monkeypatch: pytest.MonkeyPatch, dead: int
) -> None:
    monkeypatch.setattr(streaming, "AT_ONCE", 1_000)
    monkeypatch.setattr(streaming, "MANY", 50)
    files = {f"{n:04}": b"x" for n in range(600)}
    faults = {path: "denied" for n, path in enumerate(files) if n % dead == 0 or dead > 1_000}
    whole = check_integrity(manifest_of(files), MemoryReader(files, faults))
    findings, summary = check_all(manifest_of(files), MemoryReader(files, faults))
    assert told(findings) == told(whole.findings)
    assert summary == whole.summary


def test_progress_goes_on_from_round_to_round(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    manifest = manifest_of(FILES)
    check_all(manifest, LocalTree(plant(tmp_path, FILES)), progress=lambda *done: seen.append(done))
    assert seen == sorted(seen)
    assert seen[-1] == (60, manifest.total_bytes)


NAMES = ["a", "a-", "a-b", "a.b", "a0", "A", "b", "é", "\U0001f600"]


@settings(max_examples=150)
@given(
    st.dictionaries(
        st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join),
        st.sampled_from(["file", "file", "file", "empty", "link", "fifo", "absent", "extra"]),
        max_size=12,
    ),
    st.sets(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join), max_size=3),
)
def test_what_is_not_listed_is_found_alike_side_by_side(entries: dict[str, str], allow: set[str]) -> None:
    """By a set of the paths, or by two sorted lists side by side: names that sort around `/`, things in their place."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        listed = {}
        for path, kind in entries.items():
            if kind != "extra":
                listed[path] = b""
            try:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                match kind:
                    case "file" | "extra":
                        (root / path).touch()
                    case "empty":
                        (root / path).mkdir()
                    case "link":
                        (root / path).symlink_to("nowhere")
                    case "fifo":
                        os.mkfifo(root / path)
            except OSError:
                pass  # something else stands there
        try:
            manifest, tree = manifest_of(listed), LocalTree(root)
        except InputError:
            return  # no manifest may list that
        side_by_side = check_unlisted_in_order(manifest, tree, allow=frozenset(allow))
        assert told(side_by_side) == told(check_unlisted(listed, tree, allow=frozenset(allow)))


def test_an_empty_directory_where_a_file_is_listed_is_told_by_whoever_reads_it(tmp_path: Path) -> None:
    root = plant(tmp_path, FILES)
    (root / "3/003.txt").unlink()
    (root / "3/003.txt").mkdir()
    assert {one.code for one in both(manifest_of(FILES), LocalTree(root)).findings} == {
        "integrity.unsafe-file"
    }


def test_the_same_in_any_order_of_the_list(tmp_path: Path) -> None:
    tree = LocalTree(plant(tmp_path, FILES))
    shuffled = dict(sorted(FILES.items(), key=lambda pair: pair[1]))
    assert both(manifest_of(shuffled), tree).findings == both(manifest_of(FILES), tree).findings == ()
    fewer = replace(manifest_of(shuffled), assets=manifest_of(shuffled).assets[:50])
    assert len(check_unlisted_in_order(fewer, tree)) == 10
