"""`databom log`: what happened, in order; proved; held against what was kept; witnessed."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from databom.errors import ConfigError, InputError
from databom.log.events import Approved, Paid, Pinned, Verified, read_entry
from databom.tasks.initializing import init
from databom.tasks.logs import log_key
from databom.tasks.project import Project
from databom.tasks.remembering import can_remember, remember, remember_entries
from databom.trust.keys import PrivateKey
from support.fixtures_r2 import Web
from support.house import House
from support.tlog import outsider_checks_proof, outsider_opens

DIGEST = "sha256:" + "ab" * 32
PET = {"name": "pets", "release": "hn-pets@1", "manifest": DIGEST}
PINNED = Pinned(**PET, tree=DIGEST, source="https://market.example/m.json", keyids=("ab" * 32,), trust=DIGEST)
VERIFIED = Verified(
    **PET,
    tree=DIGEST,
    verdict="pass",
    trust=DIGEST,
    policy=DIGEST,
    assets=3,
    bytes=4,
    failed=0,
    report=DIGEST,
)
PAID = Paid(**PET, evidence=DIGEST, transaction_id="TX-1", value="12.50", currency="EUR")
START = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


@pytest.fixture
def place(house: House) -> Project:
    """A project whose log has three entries."""
    init(house.project)
    place = Project.load(house.project)
    remember(place, PINNED, now=START)
    remember(place, VERIFIED, PAID, now=START + timedelta(seconds=1))
    return place


def folder(house: House) -> Path:
    return house.project / ".databom" / "log"


def test_what_happened_is_shown_in_order(house: House, place: Project) -> None:
    lines = house.ok("log", "show").out.splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["0", "2026-11-26T12:00:00Z", "pinned"],
        ["1", "2026-11-26T12:00:01Z", "verified"],
        ["2", "2026-11-26T12:00:01Z", "paid"],
    ]
    assert "hn-pets@1" in lines[0]
    assert house.ok("log", "show", "--limit", "1").out.splitlines() == lines[2:]
    one = json.loads(house.ok("log", "show", "2", "--format", "json").out)
    assert (one["index"], one["kind"], one["entry"]["value"]) == (2, "paid", "12.50")
    assert one["entry"]["_type"] == "urn:databom:event:v1"
    assert house.ok("log", "show", "0").out.splitlines()[0] == lines[0]
    refused = house.cli("log", "show", "3")
    assert (refused.code, "there is no entry 3" in refused.err) == (2, True)


def test_a_whole_log_is_verified_and_kept_in_two_places(house: House, place: Project) -> None:
    answer = house.json("log", "verify")
    assert (answer.code, answer.codes) == (0, {"log.development"})
    log = answer.report["log"]
    raw = (house.project / "provenance" / "checkpoint").read_bytes()
    origin, size, root = outsider_opens(raw, log["vkeys"][0])
    assert (log["origin"], log["size"], log["root"]) == (origin, size, f"sha256:{root.hex()}")
    assert origin == place.config.log_origin
    assert (size, sorted(log["anchors"])[1]) == (3, "provenance/checkpoint")
    assert min(log["anchors"]).startswith(".databom/checkpoints/")
    assert house.ok("log", "verify").err == f"{origin}: 3 entries, held against 2 kept checkpoints: pass\n"


def test_an_entry_is_proved_to_an_outsider(house: House, place: Project) -> None:
    vkey = house.json("log", "verify").report["log"]["vkeys"][0]
    digest = json.loads(house.ok("log", "show", "1", "--format", "json").out)["digest"]
    entry = VERIFIED.entry(START + timedelta(seconds=1))
    house.ok("log", "proof", "1", "-o", "by-index.tlog-proof")
    house.ok("log", "proof", digest, "-o", "by-digest.tlog-proof")
    proof = (house.project / "by-index.tlog-proof").read_bytes()
    assert (house.project / "by-digest.tlog-proof").read_bytes() == proof
    assert house.ok("log", "proof", "1").out.encode() == proof
    assert outsider_checks_proof(proof, entry, vkey)
    assert not outsider_checks_proof(proof, entry.replace(b"pass", b"fail"), vkey)
    for wrong, said in (("3", "no entry 3"), (DIGEST, "no entry of the log"), ("abc", "neither"), ("-1", "")):
        refused = house.cli("log", "proof", wrong)
        assert (refused.code, said in refused.err) == (2, True), wrong


def test_h01_a_changed_byte_is_a_no_everywhere(house: House, place: Project) -> None:
    path = folder(house) / "tile" / "entries" / "000.p" / "3"
    path.write_bytes(path.read_bytes().replace(b"TX-1", b"TX-2"))
    answer = house.json("log", "verify")
    assert (answer.code, answer.blocking) == (1, {"log.corrupt"})
    assert answer.findings[0]["subject"] == "entry 2"
    for command in (("show",), ("show", "2"), ("proof", "2")):
        refused = house.cli("log", *command)
        assert (refused.code, "log.corrupt" in refused.err) == (1, True), command
    assert house.ok("log", "show", "0").out


def test_h03_c08_a_log_that_went_back_is_found_from_either_place(house: House, place: Project) -> None:
    old = shutil.copytree(folder(house), house.base / "old")
    remember(place, PINNED, now=START)
    shutil.rmtree(folder(house))
    shutil.copytree(old, folder(house))
    memory = house.project / ".databom" / "checkpoints"
    for gone in ("nothing", memory, house.project / "provenance" / "checkpoint"):
        if isinstance(gone, Path):
            shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
        answer = house.json("log", "verify")
        if gone == house.project / "provenance" / "checkpoint":
            assert answer.code == 0  # whoever kept nothing cannot know
        else:
            assert (answer.code, answer.blocking) == (1, {"log.rolled-back"})
            with pytest.raises(InputError, match=r"log\.rolled-back"):
                remember(place, PINNED)
    # The anchors that are still there are those of the cut log, since the verify above.
    assert house.json("log", "verify").code == 0


def test_h04_another_history_under_the_same_key(house: House, place: Project) -> None:
    kept = (house.project / "provenance" / "checkpoint").read_bytes()
    shutil.rmtree(folder(house))
    shutil.rmtree(house.project / ".databom" / "checkpoints")
    (house.project / "provenance" / "checkpoint").unlink()
    remember(place, PAID, PAID, PAID, PAID, now=START)
    (house.base / "kept").write_bytes(kept)
    assert house.json("log", "verify").code == 0
    answer = house.json("log", "verify", "--checkpoint", house.base / "kept")
    assert (answer.code, answer.blocking) == (1, {"log.forked"})
    [told] = [one for one in answer.findings if one["code"] == "log.forked"]
    assert "3 entries" in told["expected"]
    assert "4 entries" in told["found"]


def test_a_checkpoint_that_cannot_be_used(house: House, place: Project) -> None:
    (house.base / "bad").write_bytes(b"garbage")
    answer = house.json("log", "verify", "--checkpoint", house.base / "bad")
    assert (answer.code, answer.blocking) == (1, {"log.corrupt"})
    assert house.cli("log", "verify", "--checkpoint", house.base / "none").code == 2
    anchor = house.project / "provenance" / "checkpoint"
    anchor.write_bytes(b"<<<<<<< HEAD\n" + anchor.read_bytes())
    with pytest.raises(ConfigError) as caught:
        remember(place, PINNED)
    assert "merge conflict" in (caught.value.hint or "")
    assert house.cli("log", "verify").code == 1


def test_a_log_that_is_gone(house: House, place: Project) -> None:
    shutil.rmtree(folder(house))
    answer = house.json("log", "verify")
    assert (answer.code, answer.blocking) == (1, {"log.rolled-back"})
    with pytest.raises(InputError, match=r"log\.rolled-back"):
        remember(place, PINNED)
    # In another clone only git knows it: there it is elsewhere, not gone.
    shutil.rmtree(house.project / ".databom" / "checkpoints")
    answer = house.cli("log", "verify")
    assert (answer.code, "written in another clone" in answer.err) == (3, True)
    with pytest.raises(ConfigError, match="git knows a log"):
        remember(place, PINNED)


def test_two_clones_that_each_keep_a_directory(
    house: House, place: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have the key. Once git knows a checkpoint the second begins no log; where both began, it is a fork."""
    monkeypatch.setenv("DATABOM_LOG_KEY", str(house.project / ".databom/keys/log.pem"))
    other = house.base / "clone"
    shutil.copytree(house.project, other, ignore=shutil.ignore_patterns(".databom"))
    answer = house.cli("sync", cwd=other)
    assert answer.code == 2  # no pins; what follows asks the log alone
    clone = Project.load(other)
    with pytest.raises(ConfigError, match="git knows a log") as caught:
        remember(clone, PINNED)
    assert "share one log" in (caught.value.hint or "")
    assert not (other / ".databom/log").exists()

    anchor = other / "provenance/checkpoint"
    theirs = anchor.read_bytes()
    anchor.unlink()
    for _ in range(5):
        remember(clone, PINNED)
    anchor.write_bytes(theirs)  # git merged, and this side was kept
    answer = house.json("log", "verify", cwd=other)
    assert (answer.code, answer.blocking) == (1, {"log.forked"})
    [told] = [one for one in answer.findings if one["code"] == "log.forked"]
    assert "two clones" in told["do"]
    with pytest.raises(InputError, match=r"log\.forked"):
        remember(clone, PINNED)


def test_before_the_first_event_there_is_nothing_to_say(house: House) -> None:
    house.ok("init")
    for command in (("verify",), ("show",), ("proof", "0")):
        answer = house.cli("log", *command)
        assert (answer.code, "there is no log" in answer.err) == (3, True), command


# --- who speaks ----------------------------------------------------------------------------------------


def test_the_key_is_the_clones_own_or_the_one_that_is_named(
    house: House, place: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = house.project / ".databom" / "keys" / "log.pem"
    pem = own.read_text()
    assert can_remember(place)
    (house.base / "other").mkdir()
    house.ok("init", cwd=house.base / "other")
    monkeypatch.setenv("DATABOM_TRUST", str(house.base / "other" / "provenance" / "trust.json"))
    assert not can_remember(place)
    monkeypatch.delenv("DATABOM_TRUST")
    own.unlink()
    assert not can_remember(place)
    with pytest.raises(ConfigError, match="no key to sign the log") as caught:
        remember(place, PINNED)
    assert "DATABOM_LOG_KEY" in (caught.value.hint or "")
    (house.base / "log.pem").write_text(pem)
    (house.base / "log.pem").chmod(0o600)
    for value in (str(house.base / "log.pem"), pem):
        monkeypatch.setenv("DATABOM_LOG_KEY", value)
        assert can_remember(place)
        assert remember(place, PINNED).indexes.stop > 3
        assert pem.splitlines()[1] not in repr(log_key(place))
    monkeypatch.setenv("DATABOM_LOG_KEY", PrivateKey.generate().pem().decode())
    with pytest.raises(ConfigError, match="role `log`"):
        remember(place, PINNED)


def test_a_role_that_asks_for_more_keys_than_sign_here_says_so(house: House) -> None:
    """The key is one of the role; that it signs alone is what is wrong."""
    house.ok("init")
    house.ok("key", "new", house.base / "second.pem")
    house.ok("trust", "add", house.base / "second.pem.pub", "--role", "log", "--threshold", "2")
    with pytest.raises(ConfigError, match="asks for 2 keys, and 1 of its 2") as caught:
        remember(Project.load(house.project), PINNED)
    assert "threshold" in (caught.value.hint or "")
    assert "role `log`" in str(caught.value)


def test_a_log_is_verified_without_a_project(house: House, place: Project) -> None:
    trust = house.project / "provenance" / "trust.json"
    answer = house.json("log", "verify", "--log", folder(house), "--trust", trust, cwd=house.base)
    assert (answer.code, answer.report["log"]["size"]) == (0, 3)
    assert house.cli("log", "verify", "--log", folder(house), cwd=house.base).code == 2
    assert house.cli("log", "verify", "--trust", trust, cwd=house.base).code == 2
    # Whoever is not believed does not speak.
    (house.base / "other").mkdir()
    house.ok("init", cwd=house.base / "other")
    other = house.base / "other" / "provenance" / "trust.json"
    answer = house.json("log", "verify", "--log", folder(house), "--trust", other, cwd=house.base)
    assert (answer.code, answer.blocking) == (1, {"signature.untrusted"})


def test_a_copy_of_the_log_elsewhere_is_held_against_what_was_kept(house: House, place: Project) -> None:
    copy = shutil.copytree(folder(house), house.base / "copy")
    remember(place, PINNED)
    answer = house.json("log", "verify", "--log", copy)
    assert (answer.code, answer.blocking) == (1, {"log.rolled-back"})


def test_a_log_that_only_a_development_key_signs_is_told(
    house: House, place: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a receipt: a warning, until a key that was made for it signs the same history."""
    answer = house.json("log", "verify")
    [told] = [one for one in answer.findings if one["code"] == "log.development"]
    assert (answer.code, told["severity"], told["subject"]) == (0, "warn", "checkpoint")
    assert house.cli("log", "verify", "--strict").code == 1
    trust = ("--trust", house.project / "provenance" / "trust.json")
    elsewhere = house.json("log", "verify", "--log", folder(house), *trust, cwd=house.base)
    assert (elsewhere.code, elsewhere.codes) == (0, {"log.development"})
    house.ok("key", "new", house.base / "real.pem")
    house.ok("trust", "add", house.base / "real.pem.pub", "--role", "log")
    assert house.json("log", "verify").codes == {"log.development"}
    monkeypatch.setenv("DATABOM_LOG_KEY", str(house.base / "real.pem"))
    remember(Project.load(house.project), PINNED)
    assert house.json("log", "verify", "--strict").codes == set()


# --- entries of others, and of tomorrow ------------------------------------------------------------------


def test_h12_whatever_is_in_the_log_is_kept_shown_and_harmless(house: House, place: Project) -> None:
    tomorrow = (
        b'{"_type":"urn:databom:event:v1","event":"reviewed","name":"pets","new":{"a":[1]},'
        b'"time":"2027-01-01T00:00:00Z"}'
    )
    entries = [
        tomorrow,
        b"\x1b[2Jnot JSON\nat all",
        b'{"event":"\\u001b[31mpinned","_type":"urn:databom:event:v1","name":"\\u202ex\\n","time":"\\u0007"}',
        b"[1]",
        b"",
        b'{"payloadType":"x"}',
        b"[" * 5000,
    ]
    remember_entries(place, entries)
    shown = house.ok("log", "show")
    assert len(shown.out.splitlines()) == 3 + len(entries)
    assert "reviewed (unknown)" in shown.out
    assert not {"\x1b", "\u202e", "\x07"} & set(shown.out)
    for index in range(3, 3 + len(entries)):
        one = house.ok("log", "show", str(index)).out
        assert not {"\x1b", "\u202e", "\x07"} & set(one)
    assert json.loads(house.ok("log", "show", "3", "--format", "json").out)["entry"] == json.loads(tomorrow)
    assert house.ok("log", "verify").code == 0


def test_h13_a_clock_that_went_back_is_shown_and_the_order_stays(house: House, place: Project) -> None:
    remember(place, PINNED, now=START - timedelta(days=1))
    *_, last = house.ok("log", "show").out.splitlines()
    assert last.split()[0] == "3"
    assert "earlier than the entry before it" in last


def test_an_event_that_is_too_long_is_not_written(house: House, place: Project) -> None:
    long = Approved(**PET, evidence=DIGEST, codes=("x" * 60_000,), roles=("legal",), keyids=("ab",))
    with pytest.raises(ConfigError, match="60,000"):
        remember(place, long)
    assert house.json("log", "verify").report["log"]["size"] == 3


def test_a_receipt_is_an_entry_as_it_is(house: House, place: Project) -> None:
    from databom.trust import dsse

    statement = json.dumps(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [],
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": {"runDetails": {"metadata": {"finishedOn": "2026-11-26T13:00:00Z"}}},
        }
    ).encode()
    raw = dsse.format_envelope(dsse.sign("application/vnd.in-toto+json", statement, [PrivateKey.generate()]))
    (index,) = remember_entries(place, [raw]).indexes
    entry = read_entry(index, raw)
    assert (entry.kind, entry.time, entry.is_known) == ("trained", "2026-11-26T13:00:00Z", True)
    assert " trained " in house.ok("log", "show", str(index)).out.splitlines()[0]


# --- witnesses -------------------------------------------------------------------------------------------


@pytest.fixture
def witness(house: House, place: Project) -> Path:
    """A witness's key, which the project's trust root knows."""
    house.ok("key", "new", house.base / "witness.pem")
    house.ok("trust", "add", house.base / "witness.pem.pub", "--role", "witness")
    return house.base / "witness.pem"


def test_a_witness_signs_what_continues_what_it_saw(house: House, place: Project, witness: Path) -> None:
    assert house.json("log", "verify").codes == {"log.unwitnessed", "log.development"}
    assert house.cli("log", "verify", "--strict").code == 1
    line = house.ok("log", "witness", "--key", witness).out
    assert line.startswith("— databom.witness/")
    assert house.json("log", "verify").codes == {"log.unwitnessed", "log.development"}
    house.ok("log", "witness", "--key", witness, "--attach", "--name", "witness.example/w1")
    answer = house.json("log", "verify")
    assert (answer.code, answer.codes) == (0, {"log.development"})
    assert len(answer.report["log"]["witnesses"]) == 1
    assert "witness.example/w1" in house.ok("log", "proof", "0").out
    remember(place, PINNED)
    assert house.json("log", "verify").codes == {"log.unwitnessed", "log.development"}
    house.ok("log", "witness", "--key", witness)


def test_h05_a_witness_does_not_sign_a_second_history(house: House, place: Project, witness: Path) -> None:
    old = shutil.copytree(folder(house), house.base / "old")
    remember(place, PINNED)
    house.ok("log", "witness", "--key", witness)
    state = (house.project / ".databom" / "witness").read_bytes()
    answer = house.json("log", "witness", "--key", witness, old)
    assert (answer.code, answer.blocking) == (1, {"log.rolled-back"})
    assert answer.report["witnessed"][0]["cosignature"] is None
    remember(place, PAID)
    shutil.rmtree(folder(house))
    shutil.copytree(old, folder(house))
    shutil.rmtree(house.project / ".databom" / "checkpoints")
    (house.project / "provenance" / "checkpoint").unlink()
    remember(place, PAID, PAID)
    answer = house.json("log", "witness", "--key", witness)
    assert (answer.code, answer.blocking) == (1, {"log.forked"})
    assert (house.project / ".databom" / "witness").read_bytes() == state


def test_a_witness_needs_no_project_and_reads_over_https(
    house: House, place: Project, witness: Path, web: Web
) -> None:
    vkey = house.json("log", "verify").report["log"]["vkeys"][0]
    for path in folder(house).rglob("*"):
        if path.is_file():
            web.put(f"/logs/pets/{path.relative_to(folder(house)).as_posix()}", path.read_bytes())
    where = web.location("/logs/pets").stored
    arguments = ("log", "witness", where, "--key", witness, "--vkey", vkey, "--state", house.base / "state")
    assert house.ok(*arguments, cwd=house.base).out.startswith("— ")
    assert (house.base / "state").read_bytes().count(b"\n3\n") == 1
    refused = house.cli(*arguments, "--attach", cwd=house.base)
    assert (refused.code, "can only be read" in refused.err) == (2, True)
    web.put("/logs/pets/tile/0/000.p/3", b"x" * 96)
    answer = house.json(*arguments, cwd=house.base)
    assert (answer.code, answer.blocking) == (1, {"log.corrupt"})


def test_who_cannot_be_a_witness(house: House, place: Project, witness: Path) -> None:
    own = house.project / ".databom" / "keys" / "log.pem"
    vkey = house.json("log", "verify").report["log"]["vkeys"][0]
    for arguments, said in (
        (("--key", own), "own witness"),
        (("--key", witness, "--name", "a b"), "cannot be called"),
        (("--key", witness, "--vkey", vkey), "no LOCATION"),
        (("--key", witness, "--vkey", "x", folder(house)), "no vkey"),
        (("--key", house.base / "none"), "no key file"),
    ):
        refused = house.cli("log", "witness", *arguments)
        assert (refused.code, said in refused.err) == (2, True), said
    (house.project / ".databom" / "witness").write_bytes(b"cut")
    answer = house.json("log", "witness", "--key", witness)
    assert (answer.code, answer.blocking) == (1, {"log.corrupt"})


@pytest.mark.s3
def test_a_team_shares_one_log_in_a_bucket(
    house: House, r2_bucket: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.ok("init")
    toml = house.project / "databom.toml"
    toml.write_text(toml.read_text().replace('".databom/log"', f'"{r2_bucket}/team"'))
    place = Project.load(house.project)
    remember(place, PINNED)
    clone = house.base / "clone"
    shutil.copytree(house.project, clone, ignore=shutil.ignore_patterns(".databom"))
    monkeypatch.setenv("DATABOM_LOG_KEY", str(house.project / ".databom" / "keys" / "log.pem"))
    remember(Project.load(clone), VERIFIED)
    monkeypatch.delenv("DATABOM_LOG_KEY")
    assert len(house.ok("log", "show").out.splitlines()) == 2
    answer = house.json("log", "verify", cwd=clone)
    assert (answer.code, answer.report["log"]["size"]) == (0, 2)
    assert not (house.project / ".databom" / "log").exists()


@pytest.mark.parametrize("left", [b"", bytes(200)])
def test_g02_a_power_cut_that_takes_what_was_kept_takes_nothing_else(
    house: House, place: Project, left: bytes
) -> None:
    remember(place, PAID)
    (memory,) = (house.project / ".databom" / "checkpoints").glob("[0-9a-f]*")
    anchor = house.project / "provenance" / "checkpoint"
    for path in (memory, anchor):
        path.write_bytes(left)
    house.ok("log", "verify")
    remember(place, PAID)
    assert memory.read_bytes() == anchor.read_bytes() == (folder(house) / "checkpoint").read_bytes()
