"""`databom approve`: people in roles settle what a check alone could not, and nothing else does."""

from __future__ import annotations

import base64
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from databom import tasks
from databom.model.times import format as written
from databom.tasks.project import Project
from databom.trust import dsse
from databom.trust.keys import PrivateKey
from databom.trust.proof import sign_proof
from support.house import FILES, House

A_MONTH = ("--expires", "30")
WHY = ("--reason", "read on Monday")
RISK = {"code": "license.review", "subject": "risk"}


@pytest.fixture
def risky(house: House) -> House:
    """A synced project that then calls the risk high, with a key of legal."""
    house.synced()
    set_policy(house, 'risk = "normal"', 'risk = "high"')
    colleague(house, "legal")
    return house


def set_policy(house: House, old: str, new: str) -> None:
    path = house.project / "databom.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def colleague(house: House, role: str, name: str = "", *extra: str) -> Path:
    """Somebody's key, in a role of the trust root."""
    key = house.base / f"{name or role}.pem"
    house.ok("key", "new", key)
    house.ok("trust", "add", f"{key}.pub", "--role", role, *extra)
    return key


def approve(house: House, role: str = "legal", *extra: str, key: str = "") -> Any:
    return house.json(
        "approve",
        "pets",
        "--key",
        house.base / f"{key or role}.pem",
        "--role",
        role,
        *WHY,
        *A_MONTH,
        *extra,
    )


def kept(house: House, name: str = "pets") -> list[Path]:
    folder = house.project / "provenance/evidence" / name
    return sorted(folder.glob("*.dsse.json")) if folder.exists() else []


def forge(house: House, key: Path, name: str = "forged", **members: Any) -> Path:
    """An approval with other members than the command would write, signed by a key, put into the folder by hand."""
    project = Project.load(house.project)
    predicate = {
        "policy": project.config.policy_digest,
        "role": "legal",
        "settles": [RISK],
        "reason": "because",
        "expires_at": written(datetime.now(UTC) + timedelta(days=9)),
        **members,
    }
    manifest = predicate.pop("manifest", project.pin("pets").manifest)
    raw = sign_proof(
        "urn:databom:approval:v1", "hn-pets@1", manifest, predicate, [PrivateKey.from_pem(key.read_bytes())]
    )
    path = house.project / "provenance/evidence/pets" / f"{name}.dsse.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    return path


def stands(house: House) -> set[str]:
    """What blocks the pin in every verb that asks the gate; they must agree."""
    checked = house.json("check").blocking
    assert house.json("sync", "pets").blocking == checked
    ran = house.project / "ran"
    assert house.cli("exec", "pets", "--", "true").code != 0 if checked else True
    assert not ran.exists()
    return checked


# --- the good way --------------------------------------------------------------------------------------


def test_risk_high_asks_legal_and_legal_settles_it(risky: House) -> None:
    assert stands(risky) == {"license.review"}
    shown = risky.ok("approve", "pets").out
    assert "license.review:risk" in shown
    assert "may be settled by legal" in shown
    assert [one["roles"] for one in json.loads(risky.ok("approve", "pets", "--format", "json").out)] == [
        ["legal"]
    ]

    done = approve(risky)
    assert done.code == 0
    assert done.codes == {"license.review"}
    [file] = kept(risky)
    [report] = risky.json("check").report["reports"]
    assert report["verdict"] == "pass"
    [approval] = report["approvals"]
    assert (approval["kind"], approval["roles"], approval["settles"]) == ("approval", ["legal"], [RISK])
    assert approval["file"] == file.name
    assert approval["reason"] == "read on Monday"
    [settled] = [one for one in report["findings"] if one["code"] == "license.review"]
    assert settled["severity"] == "info"
    assert f"accepted by legal ({approval['keyids'][0][:16]})" in settled["what"]
    risky.ok("sync", "pets")
    assert (
        risky.cli(
            "approve", "pets", "--key", risky.base / "legal.pem", "--role", "legal", *WHY, *A_MONTH
        ).code
        == 2
    )


def test_every_format_shows_who_accepted_what(risky: House) -> None:
    approve(risky)
    for form in ("text", "sarif", "junit", "markdown"):
        out = risky.ok("check", "--format", form).out
        assert "license.review risk by legal" in out, form
        assert "read on Monday" in out
    bom = json.loads(risky.ok("bom").out)
    assert not [one for one in bom["components"][0]["properties"] if one["name"] == "databom:approval"]
    risky.ok("sync", "pets")
    bom = json.loads(risky.ok("bom").out)
    [said] = [one["value"] for one in bom["components"][0]["properties"] if one["name"] == "databom:approval"]
    assert said.startswith("license.review risk by legal")


def test_a_reason_cannot_forge_a_report(risky: House) -> None:
    bad = risky.cli(
        "approve",
        "pets",
        "--key",
        risky.base / "legal.pem",
        "--role",
        "legal",
        *A_MONTH,
        "--reason",
        "a\x1b[2Jb",
    )
    assert bad.code == 2
    forge(risky, risky.base / "legal.pem", reason="x\x1b[31m\nverdict: pass <script>|](http://evil)")
    for form in ("text", "markdown", "junit"):
        out = risky.ok("check", "--format", form, "-v").out
        assert "\x1b[31m" not in out
        assert "\nverdict: pass <" not in out
        assert form == "text" or "<script>" not in out


# --- who may not ---------------------------------------------------------------------------------------


def test_a_key_that_does_not_speak_in_the_role_keeps_nothing(risky: House) -> None:
    risky.ok("key", "new", risky.base / "nobody.pem")
    colleague(risky, "billing")
    for key in ("nobody", "billing"):
        answer = approve(risky, key=key)
        assert (answer.code, answer.blocking) == (1, {"approval.invalid"})
        assert kept(risky) == []
    assert (
        risky.cli(
            "approve", "pets", "--key", risky.base / "billing.pem", "--role", "billing", *WHY, *A_MONTH
        ).code
        == 2
    )


@pytest.mark.parametrize(
    "end", ["yesterday", "0", "2020-01-01", "2020-01-01T00:00:00Z", "2027-02-30", "99999", "-3"]
)
def test_an_end_that_is_none_or_past_is_refused(risky: House, end: str) -> None:
    answer = risky.cli(
        "approve", "pets", "--key", risky.base / "legal.pem", "--role", "legal", *WHY, f"--expires={end}"
    )
    assert answer.code == 2
    assert kept(risky) == []


@pytest.mark.parametrize("scope", ["license.unknown", "license.review:other", "integrity.mismatch", ""])
def test_only_what_is_open_can_be_named(risky: House, scope: str) -> None:
    answer = risky.cli(
        *("approve", "pets", "--key", risky.base / "legal.pem", "--role", "legal", *WHY, *A_MONTH),
        *("--settles", scope),
    )
    assert answer.code == 2
    assert kept(risky) == []
    assert approve(risky, "legal", "--settles", "license.review:risk").code == 0


@pytest.mark.parametrize(
    "options",
    [
        ["--reason", "x"],
        ["--key", "legal.pem", "--role", "legal"],
        ["--key", "legal.pem", *WHY, *A_MONTH],
        ["--key", "legal.pem", "--waive", "animal", "--role", "legal", *WHY, *A_MONTH],
        ["--key", "legal.pem", "--waive", "animals", "--asset", "empty.bin", *WHY, *A_MONTH],
        ["--key", "legal.pem", "--waive", "animal", *WHY, *A_MONTH],
        ["--key", "legal.pem", "--waive", "animal", "--asset", "nothing.png", *WHY, *A_MONTH],
        ["--key", "legal.pem", "--role", "legal", "--asset", "empty.bin", *WHY, *A_MONTH],
        ["--key", "legal.pem", "--role", "legal", *A_MONTH, "--reason", " "],
        ["--key", "legal.pem", "--add", "nothing.dsse.json"],
        ["--key", "none.pem", "--role", "legal", *WHY, *A_MONTH],
    ],
)
def test_usage(risky: House, options: list[str]) -> None:
    options = [str(risky.base / one) if one.endswith(".pem") else one for one in options]
    assert risky.cli("approve", "pets", *options).code == 2
    assert kept(risky) == []


# --- what does not hold --------------------------------------------------------------------------------


def flipped(path: Path) -> None:
    envelope = json.loads(path.read_text())
    payload = bytearray(base64.b64decode(envelope["payload"]))
    at = payload.index(b'"reason":"') + 10
    payload[at] ^= 1
    envelope["payload"] = base64.b64encode(bytes(payload)).decode()
    path.write_text(json.dumps(envelope))


def test_a_forged_approval_blocks_and_settles_nothing(risky: House) -> None:
    approve(risky)
    flipped(kept(risky)[0])
    assert stands(risky) == {"license.review", "approval.invalid"}


@pytest.mark.parametrize(
    ("members", "blocks"),
    [
        ({"expires": "2099-01-01T00:00:00Z"}, True),
        ({"role": "boss"}, True),
        ({"settles": []}, True),
        ({"settles": [{"code": "license.review"}]}, True),
        ({"settles": [{"code": "license.not-permitted", "subject": None}, RISK]}, True),
        ({"settles": [{"code": "payment.missing", "subject": None}, RISK]}, True),
        ({"reason": ""}, True),
        ({"expires_at": "soon"}, True),
        ({"settles": [{"code": "license.review", "subject": None}]}, False),
        ({"settles": [{"code": "license.review", "subject": "hn-pets@1"}]}, False),
        ({"policy": "sha256:" + "0" * 64}, False),
        ({"manifest": "sha256:" + "0" * 64}, False),
        ({"expires_at": "2020-01-01T00:00:00Z"}, False),
    ],
)
def test_what_settles_nothing(risky: House, members: dict[str, Any], blocks: bool) -> None:
    forge(risky, risky.base / "legal.pem", **members)
    assert stands(risky) == {"license.review", *({"approval.invalid"} if blocks else set())}


@pytest.mark.parametrize(
    "members",
    [
        {"setles": []},
        {"settles": [{"code": "license.not-permitted", "subject": None}]},
        {"policy": "sha256:" + "0" * 64},
        {"expires_at": "2020-01-01T00:00:00Z"},
    ],
)
def test_attach_keeps_no_approval_that_would_settle_nothing(risky: House, members: dict[str, Any]) -> None:
    made = forge(risky, risky.base / "legal.pem", **members).rename(risky.base / "approval.json")
    answer = risky.json("attach", "pets", made)
    assert (answer.code, answer.blocking) == (1, {"approval.invalid"})
    assert kept(risky) == []
    good = forge(risky, risky.base / "legal.pem").rename(risky.base / "approval.json")
    assert risky.json("attach", "pets", good).code == 0
    assert stands(risky) == set()


def test_a_typo_names_the_nearest_member(risky: House) -> None:
    forge(risky, risky.base / "legal.pem", expires="2099-01-01T00:00:00Z")
    [told] = [one for one in risky.json("check").findings if one["code"] == "approval.invalid"]
    assert "did you mean `expires_at`?" in told["what"]


@pytest.mark.parametrize("role", ["billing", "steward", "mlops"])
def test_another_role_cannot_speak_for_legal(risky: House, role: str) -> None:
    key = colleague(risky, role)
    forge(risky, key)
    assert stands(risky) == {"license.review", "approval.invalid"}
    forge(risky, key, role=role)
    assert stands(risky) == {"license.review", "approval.invalid"}


def test_an_approval_of_one_release_says_nothing_about_the_next(risky: House) -> None:
    approve(risky)
    assert stands(risky) == set()
    newer = risky.release(FILES, "--sequence", "2", version="2", folder="v2")
    risky.json("update", "pets", newer, "--allow-rollback")
    assert stands(risky) == {"license.review"}


def test_an_approval_copied_to_another_pin_says_nothing_about_it(risky: House) -> None:
    approve(risky)
    place = risky.market / "other"
    place.mkdir()
    (place / "a").write_bytes(b"a")
    risky.ok(
        *("publish", place, "--dataset-id", "hn-other", "--version", "1", "--license", "CC-BY-4.0"),
        *("--creator", "creator:alice", "--key", risky.key),
    )
    other = place / "manifest.json"
    assert risky.json("add", other, "--name", "other").code == 1
    theirs = risky.project / "provenance/evidence/other"
    theirs.mkdir()
    shutil.copy(kept(risky)[0], theirs)
    answer = risky.json("check")
    by_name = {one["subject"]["name"]: one for one in answer.report["reports"]}
    assert by_name["pets"]["verdict"] == "pass"
    assert by_name["other"]["approvals"] == []
    assert "license.review" in {f["code"] for f in by_name["other"]["findings"] if f["severity"] == "block"}


def test_another_policy_asks_again_and_says_why(risky: House) -> None:
    approve(risky)
    set_policy(risky, "commercial = true", "commercial = false")
    assert stands(risky) == {"license.review"}
    [told] = [one for one in risky.json("check").findings if one["code"] == "approval.invalid"]
    assert told["severity"] == "warn"
    assert "under another policy" in told["what"]
    set_policy(risky, "commercial = false", "commercial = true")
    assert stands(risky) == set()


def test_an_approval_ends(risky: House) -> None:
    end = datetime.now(UTC) + timedelta(days=1)
    approve(risky)
    project = risky.project
    assert tasks.check(project=project, now=end).verdict.value == "pass"
    late = tasks.check(project=project, now=end + timedelta(days=30))
    told = {(f.code, f.severity.value) for report in late.reports for f in report.findings}
    assert {("license.review", "block"), ("approval.invalid", "warn")} <= told
    # strictly: at its very end it is over
    exact = json.loads(base64.b64decode(json.loads(kept(risky)[0].read_text())["payload"]))["predicate"][
        "expires_at"
    ]
    at = datetime.fromisoformat(exact)
    assert tasks.check(project=project, now=at).verdict.value == "fail"
    assert tasks.check(project=project, now=at - timedelta(seconds=1)).verdict.value == "pass"


def test_a_renewed_approval_is_not_spoiled_by_the_old_one(risky: House) -> None:
    forge(risky, risky.base / "legal.pem", "old", expires_at="2020-01-01T00:00:00Z")
    approve(risky)
    report = risky.json("check", "--strict")
    assert report.code == 0
    assert {one["severity"] for one in report.findings if one["code"] == "approval.invalid"} == {"info"}


def test_a_key_that_leaves_the_root_takes_its_word_with_it(risky: House) -> None:
    approve(risky)
    keyid = risky.ok("key", "id", risky.base / "legal.pem").out.strip()
    colleague(risky, "legal", "second")
    risky.ok("trust", "remove", keyid)
    assert stands(risky) == {"license.review", "approval.invalid"}


def test_a_retired_key_does_not_turn_old_approvals_into_refusals(risky: House) -> None:
    forge(risky, risky.base / "legal.pem", "old", expires_at="2020-01-01T00:00:00Z")
    keyid = risky.ok("key", "id", risky.base / "legal.pem").out.strip()
    colleague(risky, "legal", "second")
    risky.ok("trust", "remove", keyid)
    assert approve(risky, key="second").code == 0
    assert stands(risky) == set()


# --- several people ------------------------------------------------------------------------------------


@pytest.fixture
def three(risky: House) -> House:
    """Two of three of legal must agree."""
    colleague(risky, "legal", "ben")
    colleague(risky, "legal", "cho", "--threshold", "2")
    return risky


def test_two_of_three(three: House) -> None:
    first = approve(three)
    assert first.code == 0
    assert {(one["code"], one["severity"]) for one in first.findings} == {("approval.invalid", "warn")}
    [file] = kept(three)
    assert stands(three) == {"license.review"}
    assert "approval.invalid" in three.json("check").codes

    again = three.cli("approve", "pets", "--add", file.name, "--key", three.base / "legal.pem")
    assert again.code == 2  # the same key twice is one signature
    colleague(three, "billing")
    wrong = three.json("approve", "pets", "--add", file.name, "--key", three.base / "billing.pem")
    assert (wrong.code, wrong.blocking) == (1, {"approval.invalid"})

    second = three.json("approve", "pets", "--add", file.name, "--key", three.base / "cho.pem")
    assert (second.code, second.codes) == (0, {"license.review"})
    assert kept(three) == [file]
    [report] = three.json("check").report["reports"]
    assert report["verdict"] == "pass"
    assert len(report["approvals"][0]["keyids"]) == 2


def test_a_signature_is_not_added_to_what_settles_nothing_any_more(three: House) -> None:
    approve(three)
    [file] = kept(three)
    before = file.read_bytes()
    set_policy(three, 'distribute = "none"', 'distribute = "api"')
    answer = three.json("approve", "pets", "--add", file.name, "--key", three.base / "cho.pem")
    assert (answer.code, answer.blocking) == (1, {"approval.invalid"})
    assert file.read_bytes() == before


def test_one_signature_twice_is_one(three: House) -> None:
    approve(three)
    [file] = kept(three)
    envelope = dsse.parse_envelope(file.read_bytes())
    doubled = dsse.Envelope(envelope.payload_type, envelope.payload, envelope.signatures * 2)
    file.write_bytes(dsse.format_envelope(doubled))
    assert stands(three) == {"license.review"}


# --- what is never settled -----------------------------------------------------------------------------


def test_no_word_makes_bytes_or_signatures_right(risky: House) -> None:
    approve(risky)
    (risky.data / "images/cat1.jpg").write_bytes(b"a bat\n")
    assert "integrity.mismatch" in risky.json("check").blocking
    manifest = risky.project / "provenance/manifests/pets.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"alice", b"mallo"))
    assert {"signature.invalid", "release.mismatch"} <= risky.json("check").blocking
    assert risky.cli("approve", "pets").code == 1
    assert approve(risky).code == 1
    assert len(kept(risky)) == 1


def test_a_waiver_is_kept_in_its_exact_form(risky: House) -> None:
    colleague(risky, "steward")
    done = risky.json(
        *("approve", "pets", "--key", risky.base / "steward.pem", *WHY, *A_MONTH),
        *("--waive", "illustration", "--asset", "images/cat1.jpg", "--asset", "images/dog1.jpg"),
    )
    assert done.code == 0
    [file] = kept(risky)
    assert file.name.startswith("waiver-")
    predicate = json.loads(base64.b64decode(json.loads(file.read_text())["payload"]))["predicate"]
    assert set(predicate) == {"policy", "waives", "assets", "reason", "expires_at"}
    assert len(predicate["assets"]) == 2
    assert (
        risky.json(
            *("approve", "pets", "--key", risky.base / "steward.pem", *WHY, *A_MONTH),
            *("--waive", "unscanned:application/octet-stream"),
        ).code
        == 0
    )
    key = colleague(risky, "billing")
    refused = risky.json("approve", "pets", "--key", key, *WHY, *A_MONTH, "--waive", "unscanned:image/png")
    assert refused.blocking == {"approval.invalid"}
    assert len(kept(risky)) == 2


def test_nobody_may_accept_what_the_policy_gives_to_nobody(risky: House) -> None:
    set_policy(risky, 'personal_data = ["legal", "steward"]', "personal_data = []")
    refused = risky.json(
        *("approve", "pets", "--key", risky.base / "legal.pem", *WHY, *A_MONTH),
        *("--waive", "animal", "--asset", "images/cat1.jpg"),
    )
    assert refused.blocking == {"approval.invalid"}
    assert kept(risky) == []


def test_a_run_s_verdict_ends_with_the_approval(risky: House, monkeypatch: pytest.MonkeyPatch) -> None:
    from databom.model import times
    from databom.tasks.evidence import for_run

    approve(risky)
    risky.ok("sync", "pets")
    found = for_run(risky.project).compared()
    assert found.verdict == "pass"
    assert [one["settles"] for one in json.loads(found.report("run"))["pins"][0]["approvals"]] == [[RISK]]
    assert b"databom:approval" in found.bom("run")
    later = datetime.now(UTC) + timedelta(days=31)
    with monkeypatch.context() as patch:
        patch.setattr(times, "now", lambda: later)
        assert "has expired" in str(for_run(risky.project).pins[0].reason)
    kept(risky)[0].unlink()
    found = for_run(risky.project)
    assert found.verdict == "fail"
    assert "is gone" in str(found.pins[0].reason)


@pytest.mark.parametrize("code", ["XX", "de", "Germany"])
def test_a_territory_is_a_country(house: House, code: str) -> None:
    house.init()
    set_policy(house, "territory = []", f'territory = ["DE", "{code}"]')
    answer = house.cli("check")
    assert answer.code == 2
    assert "ISO 3166-1" in answer.err


def test_an_unbearable_number_of_files_is_read_in_bounds(
    risky: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    approve(risky)
    [file] = kept(risky)
    for number in range(200):
        shutil.copy(file, file.with_name(f"copy-{number:03}.dsse.json"))
    [report] = risky.json("check").report["reports"]
    assert report["verdict"] == "pass"
    assert len(report["approvals"]) == 1
    # What is beyond the bound is not read, and that is told: it might have spoken against the pin.
    monkeypatch.setattr("databom.tasks.attached.MAX_PROOFS", 200)
    assert risky.json("check").blocking == {"evidence.invalid"}
