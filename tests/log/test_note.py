"""Notes, checkpoints and proofs as text: the example of the specification, one spelling each, nothing else."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databom.errors import ConfigError, InputError
from databom.log.checkpoint import (
    Checkpoint,
    Speakers,
    cosign,
    cosigned_at,
    open_checkpoint,
    parse_checkpoint,
    sign_checkpoint,
)
from databom.log.note import (
    COSIGNATURE,
    ED25519,
    Note,
    format_vkey,
    holds,
    is_name,
    key_id,
    parse_note,
    parse_vkey,
    sign_note,
)
from databom.log.tlogproof import TlogProof, parse_proof
from databom.trust.keys import PrivateKey
from databom.trust.root import TrustedKey
from support.tlog import NOW, ORIGIN, outsider_opens

# https://c2sp.org/signed-note, "Example"
VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE = """\
This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
""".encode()
KEY, OTHER, WITNESS = (PrivateKey.generate() for _ in range(3))
STATED = Checkpoint(ORIGIN, 7, bytes(range(32)))


def codes(error: InputError) -> list[str]:
    return [problem.code for problem in error.problems]


def test_the_example_of_the_specification() -> None:
    name, kind, key = parse_vkey(VKEY)
    note = parse_note(EXAMPLE)
    assert (name, kind) == ("example.com/foo", ED25519)
    assert note.text == "This is an example message.\n"
    assert holds(note.lines[0], key, note.text) is True
    assert holds(note.lines[0], key, "This is another message.\n") is False
    assert holds(note.lines[0], KEY.public, note.text) is None
    assert bytes(note) == EXAMPLE
    assert format_vkey(name, kind, key) == VKEY


LINE = EXAMPLE.split(b"\n\n")[1]


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"text\n",
        b"\n\n" + LINE,
        b"text\n" + LINE,
        b"text\n\n",
        b"text\n\n" + LINE[:-1],
        b"text\r\n\n" + LINE,
        b"te\0xt\n\n" + LINE,
        b"te\txt\n\n" + LINE,
        b"\xff\n\n" + LINE,
        b"text\n\n" + LINE + b"\n",
        b"text\n\n" + LINE + b"no line\n",
        b"text\n\n" + LINE.replace("—".encode(), b"-"),
        b"text\n\n" + LINE.replace(b"foo", b"f+o"),
        b"text\n\n" + LINE.replace(b"example.com/foo", "example.com/f\u00a0oo".encode()),
        b"text\n\n" + LINE.replace(b"QM=", b"QN="),
        b"text\n\n" + LINE.replace(b"Uw2", b"Uw\n2"),
        b"text\n\n" + LINE.replace(b"=", b""),
        b"text\n\n" + "— a AAAA\n".encode(),
        b"text\n\n" + LINE * 65,
        b"x" * 300_000 + b"\n\n" + LINE,
    ],
)
def test_what_is_no_note(bad: bytes) -> None:
    with pytest.raises(InputError) as caught:
        parse_note(bad)
    assert codes(caught.value) == ["log.corrupt"]


def test_a_text_may_have_empty_lines_and_sixteen_signatures_are_read() -> None:
    note = parse_note(b"a\n\nb\n\n" + LINE * 16)
    assert (note.text, len(note.lines)) == ("a\n\nb\n", 16)


@given(st.binary(max_size=300))
def test_no_bytes_break_the_readers(data: bytes) -> None:
    for parse in (parse_note, parse_proof, lambda data: parse_checkpoint(data.decode("latin-1"))):
        try:
            parse(data)
        except InputError as error:
            found = codes(error)
        else:
            found = ["log.corrupt"]
        assert found == ["log.corrupt"]


@given(st.integers(0, len(EXAMPLE) * 8 - 1))
def test_a_flipped_bit_is_found(bit: int) -> None:
    data = bytearray(EXAMPLE)
    data[bit // 8] ^= 1 << bit % 8
    _, _, key = parse_vkey(VKEY)
    try:
        note = parse_note(bytes(data))
    except InputError:
        return
    assert not any(line.name == "example.com/foo" and holds(line, key, note.text) for line in note.lines)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u2003b", "a\tb", "\u202eab"])
def test_a_name_is_one_word(name: str) -> None:
    assert not is_name(name)
    with pytest.raises(ConfigError):
        parse_vkey(VKEY.replace("example.com/foo", name))


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "a",
        "a+b",
        VKEY[:-4],
        VKEY.replace("530d903a", "530d903b"),
        VKEY.replace("+Aek", "+Bek"),
        "a+" + "0" * 8 + "+",
    ],
)
def test_what_is_no_vkey(vkey: str) -> None:
    with pytest.raises(ConfigError, match="is no vkey"):
        parse_vkey(vkey)


def test_a_log_signs_with_ed25519_alone() -> None:
    with pytest.raises(ConfigError, match="Ed25519"):
        key_id("name", ED25519, PrivateKey.generate("ecdsa-p256").public)


# --- checkpoints -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "o\n7\n",
        "o\n7\nAAAA\n",
        "o\n07\n" + base64.b64encode(bytes(32)).decode() + "\n",
        "o\n-1\n" + base64.b64encode(bytes(32)).decode() + "\n",
        "o\n\u0667\n" + base64.b64encode(bytes(32)).decode() + "\n",
        "o\n9007199254740992\n" + base64.b64encode(bytes(32)).decode() + "\n",
        "\n7\n" + base64.b64encode(bytes(32)).decode() + "\n",
        "o\n7\n" + base64.b64encode(bytes(31)).decode() + "\n",
        "o\n7\n" + base64.b64encode(bytes(32)).decode()[:-2] + "B=\n",
        "o\n7\n" + base64.b64encode(bytes(32)).decode() + "\n\nmore\n",
        "o\n7\n" + base64.b64encode(bytes(32)).decode(),
    ],
)
def test_what_is_no_checkpoint(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_checkpoint(text)
    assert codes(caught.value) == ["log.corrupt"]


@given(st.integers(0, 2**53 - 1), st.binary(min_size=32, max_size=32))
def test_a_checkpoint_round_trips(size: int, root: bytes) -> None:
    stated = Checkpoint(ORIGIN, size, root)
    assert parse_checkpoint(stated.text) == parse_checkpoint(stated.text + "an extension\n") == stated
    raw = sign_checkpoint(stated, [KEY])
    assert open_checkpoint(raw, Speakers.by_keys([KEY.public]), ORIGIN, now=NOW).checkpoint == stated
    assert outsider_opens(raw, format_vkey(ORIGIN, ED25519, KEY.public)) == (ORIGIN, size, root)


def test_who_speaks_for_a_log() -> None:
    raw = sign_checkpoint(STATED, [KEY])
    both = sign_checkpoint(STATED, [KEY, OTHER])
    hour = timedelta(hours=1)

    def opened(
        raw: bytes, *keys: TrustedKey, threshold: int = 1, origin: str = ORIGIN, **more: object
    ) -> str:
        speakers = Speakers({one.key.keyid: one for one in keys}, threshold)
        try:
            open_checkpoint(raw, speakers, origin, now=NOW, **more)  # type: ignore[arg-type]
        except InputError as error:
            (code,) = codes(error)
            return code
        return "opened"

    mine, other = TrustedKey(KEY.public), TrustedKey(OTHER.public)
    past = TrustedKey(KEY.public, None, NOW - hour)
    assert opened(raw, mine) == opened(raw, mine, other) == opened(both, mine, other, threshold=2) == "opened"
    assert opened(raw) == opened(raw, other) == "signature.untrusted"
    assert opened(raw, mine, other, threshold=2) == "signature.threshold"
    assert opened(raw, past) == "signature.expired"
    assert opened(raw, TrustedKey(KEY.public, NOW + hour, None)) == "signature.expired"
    assert opened(raw, past, ever=True) == opened(raw, past, known=[STATED]) == "opened"
    assert opened(raw, past, known=[Checkpoint(ORIGIN, 8, bytes(32))]) == "signature.expired"
    assert opened(raw, mine, origin="another.example") == "log.corrupt"
    assert opened(raw.replace(b"\n7\n", b"\n8\n"), mine) == "signature.invalid"
    # The same key twice is one key.
    twice = parse_note(raw)
    assert opened(bytes(Note(twice.text, twice.lines * 2)), mine, other, threshold=2) == "signature.threshold"
    # A note of the log that is no checkpoint, and a checkpoint under another name than the log's.
    assert opened(bytes(sign_note("text\n", ORIGIN, [KEY])), mine) == "log.corrupt"
    assert opened(bytes(sign_note(STATED.text, "another.example", [KEY])), mine) == "signature.untrusted"


def test_a_witness_says_when_and_only_of_this_text() -> None:
    line = cosign(STATED.text, "witness.example/w1", WITNESS, NOW)
    assert cosigned_at(line, WITNESS.public, STATED.text) == NOW
    assert cosigned_at(line, WITNESS.public, Checkpoint(ORIGIN, 8, STATED.root).text) is False
    assert cosigned_at(line, OTHER.public, STATED.text) is None
    assert cosigned_at(line._replace(name="witness.example/w2"), WITNESS.public, STATED.text) is None
    later = line._replace(signature=(int(NOW.timestamp()) + 1).to_bytes(8) + line.signature[8:])
    assert cosigned_at(later, WITNESS.public, STATED.text) is False
    assert cosigned_at(line._replace(signature=b"\xff" * 72), WITNESS.public, STATED.text) is False
    assert key_id("a", ED25519, KEY.public) != key_id("a", COSIGNATURE, KEY.public)


def test_a_cosignature_is_no_signature_of_the_log_and_the_other_way_round() -> None:
    line = cosign(STATED.text, ORIGIN, KEY, NOW)
    speakers = Speakers.by_keys([KEY.public])
    with pytest.raises(InputError) as caught:
        open_checkpoint(bytes(Note(STATED.text, (line,))), speakers, ORIGIN, now=NOW)
    assert codes(caught.value) == ["signature.untrusted"]
    signed = parse_note(sign_checkpoint(STATED, [WITNESS])).lines[0]
    assert cosigned_at(signed, WITNESS.public, STATED.text) is None


def test_a_witness_who_saw_it_in_time_keeps_an_old_key_alive() -> None:
    day = timedelta(days=1)
    note = parse_note(sign_checkpoint(STATED, [KEY]))
    seen = Note(note.text, (*note.lines, cosign(note.text, "w", WITNESS, NOW - 2 * day)))
    late = Note(note.text, (*note.lines, cosign(note.text, "w", WITNESS, NOW)))
    ahead = Note(note.text, (*note.lines, cosign(note.text, "w", WITNESS, NOW + day)))
    wrong = Note(note.text, (*note.lines, cosign("another\n", "w", WITNESS, NOW)))
    expired = {KEY.public.keyid: TrustedKey(KEY.public, None, NOW - day)}

    def opened(note: Note, witness: TrustedKey) -> list[str]:
        speakers = Speakers(expired, 1, {witness.key.keyid: witness}, 1)
        try:
            return sorted(open_checkpoint(bytes(note), speakers, ORIGIN, now=NOW).witnesses)
        except InputError as error:
            return codes(error)

    witness = TrustedKey(WITNESS.public)
    assert opened(seen, witness) == [WITNESS.public.keyid]
    assert opened(late, witness) == ["signature.expired"]
    assert opened(ahead, witness) == ["signature.expired"]
    assert opened(wrong, witness) == ["signature.invalid"]
    assert opened(seen, TrustedKey(WITNESS.public, None, NOW - day)) == ["signature.expired"]
    # Nobody is his own witness.
    own = Note(note.text, (*note.lines, cosign(note.text, "w", KEY, NOW - 2 * day)))
    assert opened(own, TrustedKey(KEY.public)) == ["signature.expired"]


# --- proofs ------------------------------------------------------------------------------------------


@given(st.integers(0, 2**53), st.lists(st.binary(min_size=32, max_size=32), max_size=63))
def test_a_proof_round_trips(index: int, hashes: list[bytes]) -> None:
    proof = TlogProof(index, tuple(hashes), sign_checkpoint(STATED, [KEY]))
    assert parse_proof(bytes(proof)) == proof
    extra = bytes(proof).replace(b"@v1\n", b"@v1\nextra AAAA\n", 1)
    assert parse_proof(extra) == proof


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"c2sp.org/tlog-proof@v1\n",
        b"c2sp.org/tlog-proof@v1\n\n",
        b"c2sp.org/tlog-proof@v2\nindex 1\n\n",
        b"c2sp.org/tlog-proof@v1\nindex 01\n\n",
        b"c2sp.org/tlog-proof@v1\nindex -1\n\n",
        b"c2sp.org/tlog-proof@v1\nindex 1\nAAAA\n\n",
        b"c2sp.org/tlog-proof@v1\nextra AAAA\nextra AAAA\nindex 1\n\n",
        b"c2sp.org/tlog-proof@v1\r\nindex 1\n\n",
        b"c2sp.org/tlog-proof@v1\nindex 1\n" + (base64.b64encode(bytes(32)) + b"\n") * 64 + b"\n",
        b"\xff" * 10,
        bytes(400_000),
    ],
)
def test_what_is_no_proof(bad: bytes) -> None:
    with pytest.raises(InputError) as caught:
        parse_proof(bad)
    assert codes(caught.value) == ["log.corrupt"]


def test_time_is_utc() -> None:
    assert cosigned_at(cosign("t\n", "w", WITNESS, NOW), WITNESS.public, "t\n") == datetime(
        2026, 11, 26, tzinfo=UTC
    )
