"""What an audit finds: every changed bit, every cut, every rewrite that somebody kept a checkpoint of."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from databom.checks.log import Audit, audit, open_anchors
from databom.errors import InputError
from databom.log.checkpoint import Checkpoint, Speakers, cosign, open_checkpoint
from databom.log.merkle import leaf_hash, root_of
from databom.log.note import Note, parse_note
from databom.log.tiles import format_bundle
from databom.log.witnessing import format_state, parse_state, require_signable
from databom.model.finding import findings_of
from databom.trust.keys import PrivateKey
from databom.trust.root import TrustedKey
from support.tlog import NOW, ORIGIN, SmallLog

ENTRIES = [b"entry %d" % number for number in range(300)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> SmallLog:
    small = SmallLog(tmp_path_factory.mktemp("whole") / "log")
    small.append(*ENTRIES[:100])
    small.append(*ENTRIES[100:])
    return small


@pytest.fixture
def copy(whole: SmallLog, tmp_path: Path) -> SmallLog:
    shutil.copytree(whole.folder, tmp_path / "log")
    return SmallLog(tmp_path / "log", whole.key)


def look(small: SmallLog, **kept: Checkpoint) -> list[tuple[str, str | None]]:
    """Codes and subjects of what an audit finds."""
    try:
        found = audit(small.reader(), kept, small.speakers)
    except InputError as error:
        found = Audit(findings_of(error))
    return [(one.code, one.subject) for one in found.findings]


def at(size: int) -> Checkpoint:
    return Checkpoint(ORIGIN, size, root_of(map(leaf_hash, ENTRIES[:size])))


def test_a_log_that_is_whole(whole: SmallLog) -> None:
    assert look(whole) == look(whole, one=at(1), hundred=at(100), all=at(300), none=at(0)) == []


def covered(small: SmallLog) -> list[str]:
    """The files that the newest checkpoint covers."""
    return ["checkpoint", *(name for name in small.files() if (name.startswith("tile/") and "000.p/1" not in name)
            or name == "tile/1/000.p/1")]  # fmt: skip


def test_h01_any_changed_bit_is_found(copy: SmallLog) -> None:
    chance = random.Random(1)
    for name in covered(copy):
        path = copy.folder / name
        good = path.read_bytes()
        # Every byte of the small ones, a sample of the large ones.
        for place in range(len(good)) if len(good) < 300 else chance.sample(range(len(good)), 60):
            path.write_bytes(
                good[:place] + bytes([good[place] ^ 1 << chance.randrange(8)]) + good[place + 1 :]
            )
            assert look(copy), (name, place)
        path.write_bytes(good)
    assert look(copy) == []


def rewrite(small: SmallLog, entries: list[bytes]) -> None:
    """Put other entries into the bundles, as many as there were, or fewer or more."""
    (small.folder / "tile/entries/000").write_bytes(format_bundle(entries[:256]))
    (small.folder / "tile/entries/001.p/44").write_bytes(format_bundle(entries[256:]))


@pytest.mark.parametrize(
    ("changed", "first"),
    [
        ([*ENTRIES[:7], b"other", *ENTRIES[8:]], "entry 7"),
        ([*ENTRIES[:7], ENTRIES[8], ENTRIES[7], *ENTRIES[9:]], "entry 7"),
        ([*ENTRIES[:7], *ENTRIES[8:]], "entry 7"),
        ([*ENTRIES[:8], *ENTRIES[7:299]], "entry 8"),
        ([*ENTRIES[:260], ENTRIES[0], *ENTRIES[261:]], "entry 260"),
        (ENTRIES[:299], "tile/entries/001.p/44"),
        (ENTRIES[:200], "tile/entries/000"),
        ([*ENTRIES, b"one more"], "tile/entries/001.p/44"),
    ],
)
def test_h02_the_first_changed_entry_is_named(copy: SmallLog, changed: list[bytes], first: str) -> None:
    rewrite(copy, changed)
    assert look(copy) == [("log.corrupt", first)]


@pytest.mark.parametrize(
    "name", ["tile/0/000", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/44"]
)
def test_h07_a_file_that_is_gone_or_torn_is_never_skipped(copy: SmallLog, name: str) -> None:
    path = copy.folder / name
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 + 1])
    assert [code for code, _ in look(copy)] == ["log.corrupt"]
    path.unlink()
    assert look(copy) == [("log.corrupt", name)]


def test_h02_a_rewrite_down_to_the_tiles_is_found_at_the_root(copy: SmallLog, tmp_path: Path) -> None:
    other = SmallLog(tmp_path / "other", copy.key)
    other.append(*ENTRIES[:9], b"other", *ENTRIES[10:])
    shutil.rmtree(copy.folder / "tile")
    shutil.copytree(other.folder / "tile", copy.folder / "tile")
    assert look(copy) == [("log.corrupt", "entries")]


def test_h03_a_cut_is_seen_by_whoever_kept_a_checkpoint_and_by_nobody_else(
    whole: SmallLog, tmp_path: Path
) -> None:
    for size in (1, 99, 256, 299):
        cut = SmallLog(tmp_path / f"{size}", whole.key)
        cut.append(*ENTRIES[:size])
        assert look(cut) == []
        assert look(cut, kept=at(300)) == [("log.rolled-back", "kept")]
        assert look(cut, old=at(size), kept=at(300)) == [("log.rolled-back", "kept")]


def test_h04_a_rewrite_with_the_logs_own_key_is_seen_from_any_older_checkpoint(
    whole: SmallLog, tmp_path: Path
) -> None:
    forged = SmallLog(tmp_path / "forged", whole.key)
    forged.append(*ENTRIES[:50], b"other", *ENTRIES[51:], b"more")
    assert look(forged) == []
    for size in (51, 52, 100, 256, 300):
        assert look(forged, kept=at(size)) == [("log.forked", "kept")]
    assert look(forged, kept=at(50)) == []


def test_h05_two_heads_of_one_size_are_evidence_by_themselves(whole: SmallLog, tmp_path: Path) -> None:
    other = SmallLog(tmp_path / "other", whole.key)
    other.append(*ENTRIES[:299], b"another last one")
    theirs = {"shown to somebody else": (other.folder / "checkpoint").read_bytes()}
    anchors, findings = open_anchors(theirs, whole.speakers, ORIGIN, now=NOW)
    assert findings == []
    (finding,) = audit(whole.reader(), anchors, whole.speakers).findings
    assert (finding.code, finding.subject) == ("log.forked", "shown to somebody else")
    assert (finding.expected, finding.found) != (None, None)
    assert "300 entries" in (finding.expected or "")
    assert "300 entries" in (finding.found or "")
    # A witness that saw the one does not sign the other.
    seen = {ORIGIN: whole.reader().checkpoint}
    assert parse_state(format_state(seen)) == seen
    require_signable(whole.reader(), seen)
    with pytest.raises(InputError, match=r"log\.forked"):
        require_signable(other.reader(), seen)


def test_a_witness_does_not_follow_a_log_that_went_back(whole: SmallLog, tmp_path: Path) -> None:
    cut = SmallLog(tmp_path / "cut", whole.key)
    cut.append(*ENTRIES[:299])
    with pytest.raises(InputError, match=r"log\.rolled-back"):
        require_signable(cut.reader(), {ORIGIN: at(300)})
    require_signable(cut.reader(), {ORIGIN: at(299), "another.example": at(300)})


@pytest.mark.parametrize(
    "state",
    [b"x", b"log\n1\n\n", b"\n\n", b"a\n1\nAAAA\n\n", format_state({ORIGIN: at(3)})[:-1], b"\xff\n\n"],
)
def test_a_witness_without_a_memory_that_can_be_read_signs_nothing(state: bytes) -> None:
    with pytest.raises(InputError, match=r"log\.corrupt"):
        parse_state(state)
    assert parse_state(b"") == {}


def test_what_the_log_never_signed_says_nothing_against_it(whole: SmallLog) -> None:
    stranger = SmallLog(whole.folder.parent / "stranger")
    stranger.append(b"x")
    given = {"a": (stranger.folder / "checkpoint").read_bytes(), "b": b"garbage"}
    held, findings = open_anchors(given, whole.speakers, ORIGIN, now=NOW)
    assert held == {}
    assert [(one.code, one.subject) for one in findings] == [
        ("signature.untrusted", "a"),
        ("log.corrupt", "b"),
    ]


def test_witnesses_that_are_asked_for_and_did_not_look(whole: SmallLog) -> None:
    witness = PrivateKey.generate()
    known = {witness.public.keyid: TrustedKey(witness.public)}
    speakers = Speakers(whole.speakers.log, 1, known, 1)
    reader = whole.reader()
    (finding,) = audit(reader, {}, speakers).findings
    assert (finding.code, finding.severity.value) == ("log.unwitnessed", "warn")
    note = parse_note((whole.folder / "checkpoint").read_bytes())
    seen = Note(note.text, (*note.lines, cosign(note.text, "w", witness, NOW)))
    reader.opened = open_checkpoint(bytes(seen), speakers, ORIGIN, now=NOW)
    assert audit(reader, {}, speakers).findings == ()
