"""`databom bundle`: an archive that an auditor checks offline, and that says no to whatever was done to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

import databom
from cli.test_x402 import PAYLOAD, URL, by_joserfc, trust
from databom.log.events import Pinned
from databom.model import times
from databom.model.audit_bundle import INDEX, Absent
from databom.model.digest import sha256
from databom.storage.storedzip import pack, unpack
from databom.tasks import Project, verify_bundle
from databom.tasks.remembering import remember
from databom.trust.proof import sign_proof
from support.bundled import Made, absent_in, files_of, made, put_together, with_old_index
from support.explained import alone, committed, many_pins, own_key, trained
from support.house import House
from support.payments import NOW, PAID, Team, team
from support.receipts import every_file

__all__ = ["alone", "made", "team"]

MANIFEST = "provenance/manifests/pets.json"


def judged(raw: bytes, made: Made, tmp_path: Path, **how: Any) -> tuple[int, dict[str, str], Any]:
    """The exit code, each finding's code with its severity, and the whole answer."""
    file = tmp_path / "given.zip"
    file.write_bytes(raw)
    answer = verify_bundle(file, **(how or {"trust_digest": made.trust}))
    found = {one.code: one.severity.value for one in answer.report.findings}
    return answer.report.verdict.exit_code, found, answer


# --- what it says -------------------------------------------------------------------------------------------


def test_an_auditor_is_answered_without_project_or_network(house: House, made: Made) -> None:
    file = house.base / "run.zip"
    file.write_bytes(made.raw)
    elsewhere = house.base / "audit"
    elsewhere.mkdir()
    answer = house.json("bundle", "verify", file, "--trust-digest", made.trust, cwd=elsewhere)
    assert answer.code == 0, answer.out
    assert answer.codes == {"bundle.incomplete"}
    said = {
        (one["pin"], one["about"]): (one["answer"], one["strength"])
        for one in answer.report["bundle"]["explanation"]["lines"]
    }
    assert said["pets", "supplied by"][0].startswith("human-native; creator creator:alice; signed by ")
    assert said["pets", "supplied by"][1] == "verified"
    assert said["pets", "checked"][1] == "verified"
    assert said["pets", "judged as of its end"] == ("allowed", "verified")
    assert said["pets", "decided now"] == ("allowed", "verified")
    assert said[None, "in the log"] == ("proved", "verified")
    assert said[None, "trust root"] == ("the same as when the run ended", "verified")
    assert said[None, "model.bin"][1] == "verified"
    assert said["pets", "paid"] == ("no payment is stated", "missing")
    text = house.ok("bundle", "verify", file, "--trust", made.root, cwd=elsewhere).out
    for told in (
        "supplied by",
        "fetched",
        "paid",
        "license",
        "judged as of its end",
        "rerun",
        "verdict: pass",
    ):
        assert told in text
    assert list(elsewhere.iterdir()) == []  # it reads only


def test_whom_to_believe(house: House, made: Made, tmp_path: Path) -> None:
    file = house.base / "run.zip"
    file.write_bytes(made.raw)
    outside = house.base / "outside"
    outside.mkdir()
    nobody = house.json("bundle", "verify", file, cwd=outside)
    assert (nobody.code, nobody.blocking) == (3, {"trust.unanswered"})
    [finding] = [one for one in nobody.findings if one["code"] == "trust.unanswered"]
    assert finding["found"] == made.trust
    strengths = {one["strength"] for one in nobody.report["bundle"]["explanation"]["lines"]}
    assert "verified" not in strengths
    # The project's own root, where one stands in it; another project's believes nobody of these.
    assert house.cli("bundle", "verify", file, cwd=made.project).code == 0
    assert house.cli("bundle", "verify", file, "--project", made.project, cwd=outside).code == 0
    house.ok("init")
    stranger = house.json("bundle", "verify", file)
    assert (stranger.code, stranger.blocking) == (1, {"receipt.unsigned"})
    # A digest believes the enclosed root, wherever one stands, and only if it is that one.
    assert house.cli("bundle", "verify", file, "--trust-digest", made.trust).code == 0
    wrong = house.json("bundle", "verify", file, "--trust-digest", "sha256:" + 64 * "0", cwd=outside)
    assert (wrong.code, wrong.blocking) == (1, {"trust.changed"})
    assert wrong.report["bundle"]["explanation"] is None
    assert house.cli("bundle", "verify", file, "--trust-digest", "sha256:0", cwd=outside).code == 2
    assert house.cli("bundle", "verify", file, "--trust", house.base / "no.json", cwd=outside).code == 2


def test_a_development_key_is_told(house: House) -> None:
    house.synced()
    run, file = trained(), house.base / "run.zip"
    assert house.ok("bundle", run.id, "-o", file).out.startswith(f"{file}\n")
    answer = house.json("bundle", "verify", file)
    assert (answer.code, "receipt.development" in answer.codes) == (0, True)
    assert house.cli("bundle", "verify", file, "--strict").code == 1
    text = house.ok("bundle", "verify", file, "-q").out
    assert "proved by a development key" in text
    for format_ in ("sarif", "junit", "markdown"):
        assert house.ok("bundle", "verify", file, "--format", format_).out


def test_the_same_state_gives_the_same_bytes(house: House) -> None:
    house.synced()
    run, archives = trained(), []
    for name in ("a", "b"):
        house.ok("bundle", run.id, "-o", house.base / name, "-q")
        archives.append((house.base / name).read_bytes())
    assert archives[0] == archives[1]
    assert house.ok("bundle", f"databom:{run.id}", "-o", house.base / "c")
    assert (house.base / "c").read_bytes() == archives[0]


def test_nothing_is_overwritten_and_a_run_has_to_be_known(house: House) -> None:
    house.synced()
    run, file = trained(), house.base / "run.zip"
    file.write_bytes(b"mine")
    answer = house.cli("bundle", run.id, "-o", file)
    assert (answer.code, file.read_bytes()) == (2, b"mine")
    assert "is not overwritten" in answer.err
    assert "do: choose another name" in answer.err
    assert house.cli("bundle", "nosuchrun", "-o", house.base / "x").code == 3
    assert house.cli("bundle", "no such run", "-o", house.base / "x").code == 2
    assert not (house.base / "x").exists()
    for args in (("-o", "x"), (run.id,), ("verify",), ("verify", "a", "b")):
        assert house.cli("bundle", *args).code == 2, args
    assert "mlflow:verify" in house.ok("bundle", "--help").out
    # A run that is called like the other command.
    assert house.cli("bundle", "mlflow:verify", "-o", house.base / "x").code == 3
    # Options may stand before the run.
    house.ok("bundle", "-o", house.base / "y", run.id)


def test_no_secret_goes_in(house: House, monkeypatch: pytest.MonkeyPatch, made: Made) -> None:
    every = b"".join(files_of(made.raw).values()) + made.raw
    assert b"s3cr3t-as-a-param" not in every
    keys = list((made.project / ".databom/keys").iterdir()) + list(made.project.parent.glob("*.pem"))
    assert keys
    for key in keys:
        assert key.read_bytes().splitlines()[1] not in every
    assert b"PRIVATE KEY" not in every
    assert b"a cat" not in every
    assert ("params", None) in {(one.what, one.about) for one in absent_in(made.raw)}
    house.synced()
    toml = house.project / "databom.toml"
    toml.write_text(toml.read_text() + "# see https://wiki.example/?token=t0ps3cr3t\n")
    monkeypatch.setenv("SOME_TOKEN", "of-the-environment")
    run = trained(learning="rate")
    answer = house.json("bundle", run.id, "-o", house.base / "run.zip")
    assert (answer.code, answer.blocking) == (3, {"bundle.unanswered"})
    found = b"".join(unpack((house.base / "run.zip").read_bytes(), max_files=99, max_name=240).values())
    assert b"t0ps3cr3t" not in found
    assert b"of-the-environment" not in found
    assert house.cli("bundle", run.id, "--params", "-o", house.base / "params.zip").code == 3
    assert b'"learning"' in b"".join(files_of((house.base / "params.zip").read_bytes()).values())
    assert b'"learning"' in every_file(house.project)


def test_it_imports_neither_mlflow_nor_dvc_and_opens_no_connection(made: Made, tmp_path: Path) -> None:
    file = tmp_path / "run.zip"
    file.write_bytes(made.raw)
    code = (
        "import socket, sys\n"
        "def no(*a, **k): raise SystemExit('a connection')\n"
        "socket.socket.connect = no\nsocket.create_connection = no\n"
        "from databom.tasks import verify_bundle\n"
        f"answer = verify_bundle({str(file)!r}, trust_digest={made.trust!r})\n"
        "print(answer.report.verdict.value, *sorted(sys.modules))\n"
    )
    env = {**os.environ, "PATH": str(tmp_path)}  # nor any program
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path, env=env
    )
    verdict, *modules = done.stdout.split()
    assert verdict == "pass"
    assert {"mlflow", "dvc", "fsspec", "boto3", "obstore"}.isdisjoint(modules)
    assert [path.name for path in tmp_path.iterdir()] == ["run.zip"]


def test_the_index_fits_its_schema(made: Made) -> None:
    from jsonschema import Draft202012Validator

    schema = json.loads((resources("databom.model") / "schemas" / "audit-bundle.v1.json").read_text())
    Draft202012Validator.check_schema(schema)
    index = json.loads(unpack(made.raw, max_files=99, max_name=240)[INDEX])
    Draft202012Validator(schema).validate(index)
    for change in ({"_type": "urn:databom:audit-bundle:v2"}, {"more": 1}, {"run": ""}, {"files": [{}]}):
        assert not Draft202012Validator(schema).is_valid({**index, **change})
    whats = {one["what"] for one in index["files"]}
    assert whats <= set(schema["$defs"]["what"]["enum"])


# --- what was done to it ------------------------------------------------------------------------------------


def test_every_file_is_what_the_index_says(made: Made, tmp_path: Path) -> None:
    files = files_of(made.raw)
    for path, raw in files.items():
        at = len(raw) // 2
        bent = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        without = {name: data for name, data in files.items() if name != path}
        for what, other in (
            ("changed", {**files, path: bent}),
            ("cut", {**files, path: raw[:-1]}),
            ("removed", without),
            ("renamed", {**without, f"{path}x": raw}),
        ):
            code, found, answer = judged(with_old_index(other, made.raw), made, tmp_path)
            assert (code, set(found)) == (1, {"bundle.changed"}), (path, what)
            assert answer.explanation is None
    code, found, _ = judged(with_old_index({**files, "run/more.txt": b"x"}, made.raw), made, tmp_path)
    assert (code, set(found)) == (1, {"bundle.changed"})
    code, found, _ = judged(with_old_index(files, made.other), made, tmp_path)
    assert (code, set(found)) == (1, {"bundle.changed"})


UNSIGNED = {"databom.lock", "databom.toml"}
"""Beside what the receipt names, these hold what is nobody's word: comments, and where things came from."""


def test_a_file_that_was_changed_together_with_the_index(made: Made, tmp_path: Path) -> None:
    files = files_of(made.raw)
    for path, raw in files.items():
        if path in UNSIGNED:
            continue
        for at in (0, len(raw) // 2, len(raw) - 1):
            bent = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
            code, found, _ = judged(put_together({**files, path: bent}, made.raw), made, tmp_path)
            assert code == 1, (path, at, found)
    lax = files["databom.toml"].replace(b'payment = "declared"', b'payment = "off"')
    assert lax != files["databom.toml"]
    code, found, _ = judged(put_together({**files, "databom.toml": lax}, made.raw), made, tmp_path)
    assert (code, found["bundle.mismatch"]) == (1, "block")


def test_a_file_that_was_removed_together_with_its_line(made: Made, tmp_path: Path) -> None:
    files = files_of(made.raw)
    for path in files:
        without = {name: data for name, data in files.items() if name != path}
        code, found, _ = judged(put_together(without, made.raw), made, tmp_path)
        optional = path in {
            "databom.lock",
            "run/environment.txt",
            "run/report.json",
            "provenance/reports/pets.json",
        }
        assert (code == 0) == optional, (path, found)
        owned_up = put_together(without, made.raw, absent=(Absent("document", path, "it was lost"),))
        code, found, _ = judged(owned_up, made, tmp_path)
        assert (code == 0) == optional, (path, found)
        assert "bundle.incomplete" in found or code == 1, path


def swapped(files: dict[str, bytes], one: str, other: str) -> dict[str, bytes]:
    return {**files, one: files[other], other: files[one]}


def test_files_that_changed_places(made: Made, tmp_path: Path) -> None:
    files, others = files_of(made.raw), files_of(made.other)
    renamed = {path.replace("pets", "dogs"): data for path, data in files.items()}
    forged = {
        "entries": swapped(files, "log/0.json", "log/1.json"),
        "proofs": swapped(files, "log/0.tlog-proof", "log/1.tlog-proof"),
        "both": swapped(swapped(files, "log/0.json", "log/1.json"), "log/0.tlog-proof", "log/1.tlog-proof"),
        "a proof twice": {**files, "log/0.tlog-proof": files["log/1.tlog-proof"]},
        "the receipt of another run": {**files, "run/receipt.dsse.json": others["run/receipt.dsse.json"]},
        "its proof": {**files, "run/receipt.tlog-proof": others["run/receipt.tlog-proof"]},
        "its checkpoint": {**files, "log/checkpoint": others["log/checkpoint"]},
        "another name of the pin": renamed,
        "an entry without proof": {**files, "log/7.json": files["log/0.json"]},
        "a proof without entry": {**files, "log/7.tlog-proof": files["log/0.tlog-proof"]},
        "a release that nobody used": {**files, "provenance/manifests/dogs.json": files[MANIFEST]},
        "evidence of nothing": {**files, "provenance/evidence/pets/payment-1.dsse.json": b"{}"},
        "evidence of another pin": {
            **files,
            "provenance/evidence/dogs/x.dsse.json": files[f"{MANIFEST}.dsse"],
        },
        "a root of then that was none": {**files, "run/trust.json": b"{}"},
    }
    for what, changed in forged.items():
        code, found, _ = judged(put_together(changed, made.raw), made, tmp_path)
        assert code == 1, (what, found)
    for other in ({"run": "databom:another"}, {"receipt": "sha256:" + 64 * "0"}):
        code, found, _ = judged(put_together(files, made.raw, **other), made, tmp_path)
        assert (code, "bundle.changed" in found) == (1, True)
    # An index that is of another form, or says of a place what it does not hold.
    stated = json.loads(unpack(made.raw, max_files=99, max_name=240)[INDEX])
    spaced = json.dumps(stated).encode()
    other_what = json.dumps(
        {**stated, "files": [{**stated["files"][0], "what": "receipt"}, *stated["files"][1:]]},
        sort_keys=True,
        separators=(",", ":"),
    ).encode()
    for raw in (spaced, other_what, b"{}", b"[1", b'{"_type":"urn:databom:audit-bundle:v2"}'):
        code, found, _ = judged(pack({**files, INDEX: raw}), made, tmp_path)
        assert (code, found.keys() <= {"bundle.schema", "bundle.syntax"}) == (1, True), raw[:60]
    code, found, _ = judged(pack(files), made, tmp_path)
    assert (code, set(found)) == (1, {"bundle.schema"})


def test_a_whole_bundle_by_somebody_else_is_not_believed(house: House, made: Made, tmp_path: Path) -> None:
    house.synced()
    run, file = trained(), house.base / "run.zip"
    house.ok("bundle", run.id, "-o", file)
    code, found, _ = judged(file.read_bytes(), made, tmp_path, trust=made.root)
    assert (code, found["receipt.unsigned"]) == (1, "block")


# --- what is not there --------------------------------------------------------------------------------------


def test_what_is_not_kept_is_named_and_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.init()
    own_key(house, monkeypatch)
    house.ok("add", house.release({"a.txt": b"a"}, "--sequence", "1"), "--name", "pets")
    house.ok("sync")
    run = trained()
    newer = house.release({"b.txt": b"b"}, "--sequence", "2", version="2", folder="v2")
    house.ok("update", "pets", newer)
    file = house.base / "seen.zip"
    house.ok("bundle", run.id, "-o", file)  # this clone has kept the manifest of the earlier release
    assert house.cli("bundle", "verify", file).code == 0
    for path in (house.project / ".databom/seen").iterdir():
        path.unlink()
    file = house.base / "lost.zip"
    answer = house.json("bundle", run.id, "-o", file)
    assert (answer.code, answer.blocking) == (3, {"bundle.unanswered"})
    assert file.exists()
    answer = house.json("bundle", "verify", file)
    assert (answer.code, answer.blocking) == (3, {"bundle.unanswered"})
    [finding] = [one for one in answer.findings if one["code"] == "bundle.unanswered"]
    assert finding["subject"] == "pets"


def test_a_log_that_is_elsewhere(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.init()
    own_key(house, monkeypatch)
    house.ok("add", house.release(), "--name", "pets")
    house.ok("sync")
    run, file = trained(), house.base / "run.zip"
    (house.project / ".databom/log").rename(house.base / "log")
    answer = house.json("bundle", run.id, "-o", file)
    assert (answer.code, "bundle.incomplete" in answer.codes) == (0, True)  # the proof beside it is enclosed
    answer = house.json("bundle", "verify", file)
    assert (answer.code, answer.codes) == (0, {"bundle.incomplete"})
    receipt = run.receipt.with_name("receipt.tlog-proof")
    receipt.unlink()
    file = house.base / "noproof.zip"
    assert house.cli("bundle", run.id, "-o", file).code == 3
    assert house.json("bundle", "verify", file).blocking == {"bundle.unanswered"}


def test_lists_that_moved_out_of_the_receipt(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    run, file = many_pins(house, monkeypatch), house.base / "run.zip"
    house.cli("bundle", run.id, "-o", file)
    raw = file.read_bytes()
    answer = house.json("bundle", "verify", file)
    assert answer.codes >= {"capture.present"}
    assert "bundle.unanswered" not in answer.codes
    files = files_of(raw)
    listed = files.pop("run/receipt.dependencies.json")
    file.write_bytes(put_together(files, raw))
    assert "bundle.unanswered" in house.json("bundle", "verify", file).blocking
    file.write_bytes(put_together({**files, "run/receipt.dependencies.json": listed + b" "}, raw))
    assert house.json("bundle", "verify", file).blocking == {"receipt.invalid"}


# --- then and now -------------------------------------------------------------------------------------------


def test_the_policy_and_the_root_of_then_come_out_of_git(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.init()
    own_key(house, monkeypatch)
    house.ok("add", house.release(), "--name", "pets")
    house.ok("sync")
    committed(house)
    run, file = trained(), house.base / "run.zip"
    toml = house.project / "databom.toml"
    before = toml.read_bytes()
    toml.write_bytes(before.replace(b'attribution = "warn"', b'attribution = "require"'))
    house.ok("key", "new", house.base / "w.pem")
    house.ok("trust", "add", house.base / "w.pem.pub", "--role", "billing")
    house.ok("bundle", run.id, "-o", file)
    files = files_of(file.read_bytes())
    assert files["databom.toml"] == before
    assert sha256(files["run/trust.json"]) != sha256(files["provenance/trust.json"])
    answer = house.json("bundle", "verify", file)
    assert answer.code == 0, answer.out
    (house.project / ".git").rename(house.base / "git")
    answer = house.json("bundle", run.id, "-o", house.base / "nogit.zip")
    assert (answer.code, {"bundle.unanswered", "bundle.incomplete"} <= answer.codes) == (3, True)
    answer = house.json("bundle", "verify", house.base / "nogit.zip")
    assert (answer.code, answer.blocking) == (3, {"bundle.unanswered"})


@pytest.fixture
def paying(team: Team, monkeypatch: pytest.MonkeyPatch) -> Team:
    """A team with keys for receipts, the log and revocations."""
    for role in ("log", "receipt", "revocation"):
        root = team.sim.trust_role(role, role)
        (team.house.project / "provenance/trust.json").write_bytes(root)
    monkeypatch.setenv("DATABOM_LOG_KEY", team.sim.key("log").pem().decode())
    monkeypatch.setenv("DATABOM_RECEIPT_KEY_PEM", team.sim.key("receipt").pem().decode())
    return team


def test_a_payment_and_what_becomes_of_it(paying: Team) -> None:
    house = paying.house
    paying.policy(payment="signed")
    release = paying.pin(payment=PAID, code=1)
    assert paying.attach(paying.sim.receipt(release)).code == 0
    house.ok("sync")
    run, file = trained(), house.base / "run.zip"
    house.ok("bundle", run.id, "-o", file)
    answer = house.json("bundle", "verify", file)
    assert answer.code == 0, answer.out
    [paid] = [one for one in answer.report["bundle"]["explanation"]["lines"] if one["about"] == "paid"]
    assert (paid["answer"].startswith("receipt: txn_sim-pets_1"), paid["strength"]) == (True, "verified")
    raw = file.read_bytes()
    files = files_of(raw)
    [path] = [one for one in files if one.startswith("provenance/evidence/")]
    proof = files.pop(path)
    file.write_bytes(put_together(files, raw))
    lost = house.json("bundle", "verify", file)
    assert (lost.code, lost.blocking) == (1, {"bundle.mismatch", "payment.missing"})
    assert "bundle.incomplete" in lost.codes  # the log tells of it
    file.write_bytes(put_together({**files, path: proof.replace(b"a", b"b", 1)}, raw))
    assert house.cli("bundle", "verify", file).code == 1


def test_an_x402_receipt_is_for_the_place_that_the_log_names(paying: Team) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    trust(paying, key)
    paying.policy(payment="signed", payer=str(PAYLOAD["payer"]))
    release = paying.pin(code=1)
    paying.repin(release, "pets", source=URL)
    assert paying.attach(by_joserfc(key, "Ed25519", {**PAYLOAD, "transaction": "0xabc"})).code == 0
    house = paying.house
    house.ok("sync")
    run, file = trained(), house.base / "edited.zip"
    house.ok("bundle", run.id, "-o", file)
    answer = house.json("bundle", "verify", file)
    assert (answer.code, answer.blocking) == (1, {"bundle.mismatch"})
    about = {
        "name": "pets",
        "release": "sim-pets@1",
        "manifest": release.digest,
        "tree": "sha256:" + 64 * "0",
    }
    remember(Project.load(), Pinned(**about, source=URL, keyids=(), trust="sha256:" + 64 * "0"))
    house.ok("bundle", run.id, "-o", house.base / "logged.zip")
    answer = house.json("bundle", "verify", house.base / "logged.zip")
    assert answer.code == 0, answer.out
    [paid] = [one for one in answer.report["bundle"]["explanation"]["lines"] if one["about"] == "paid"]
    assert (paid["answer"][:15], paid["strength"]) == ("receipt: 0xabc,"[:15], "verified")


def test_a_license_that_was_taken_back_since(paying: Team) -> None:
    house = paying.house
    release = paying.pin(license={"type": "commercial", "spdx": "CC-BY-4.0"})
    house.ok("sync")
    run, file = trained(), house.base / "run.zip"
    later = times.format(times.parse("2100-01-01T00:00:00Z"))
    says = {"issued_at": later, "reason": "the creator withdraws it"}
    kind = "urn:databom:revocation:v1"
    notice = sign_proof(kind, "sim-pets@1", release.digest, says, [paying.sim.key("revocation")])
    paying.keep(notice, "revocation-1.dsse.json")
    house.ok("bundle", run.id, "-o", file)
    assert house.cli("bundle", "verify", file).code == 0  # it is not in force yet
    after = times.parse("2100-02-01T00:00:00Z")
    answer = verify_bundle(
        file, trust_digest=sha256((house.project / "provenance/trust.json").read_bytes()), now=after
    )
    found = {one.code: one for one in answer.report.findings}
    assert answer.report.verdict.value == "pass"
    assert "revocation.revoked" in str(found["bundle.since"].found)
    says["issued_at"] = times.format(NOW)
    notice = sign_proof(kind, "sim-pets@1", release.digest, says, [paying.sim.key("revocation")])
    paying.keep(notice, "revocation-1.dsse.json")
    house.ok("bundle", run.id, "-o", house.base / "then.zip")
    answer2 = house.json("bundle", "verify", house.base / "then.zip")
    assert (answer2.code, answer2.blocking) == (1, {"revocation.revoked"})


def test_years_later(made: Made, tmp_path: Path) -> None:
    code, found, answer = judged(
        made.raw, made, tmp_path, trust_digest=made.trust, now=times.parse("2040-01-01T00:00:00Z")
    )
    assert code == 0, found
    assert found["trust.expired"] == "warn"
    assert found["bundle.since"] == "warn"
    said = {one.about: one.strength for one in answer.explanation.lines if one.pin in (None, "pets")}
    assert said["supplied by"] == "declared"


def test_a_run_on_data_that_was_not_known_to_hold(house: House) -> None:
    house.init()
    house.ok("add", house.release(), "--name", "never-read-by-any-test")  # and never synced
    with databom.training("cats") as run:
        pass
    file = house.base / "run.zip"
    house.ok("bundle", run.id, "-o", file)
    answer = house.json("bundle", "verify", file)
    assert (answer.code, answer.blocking) == (1, {"capture.verdict"})
    assert "capture.present" in answer.codes, answer.out


# --- whoever means harm -------------------------------------------------------------------------------------


def test_names_that_lead_elsewhere_lead_nowhere(made: Made, tmp_path: Path) -> None:
    files = files_of(made.raw)
    stated = json.loads(unpack(made.raw, max_files=99, max_name=240)[INDEX])
    folder = tmp_path / "in"
    folder.mkdir()
    for name in (
        *(
            "../evil",
            "provenance/../../evil",
            "/tmp/evil",
            "provenance/evidence/../x.jws",
            "C:/evil",
            "a\\b",
            "run/",
        ),
        *(
            "run//x",
            "run/.hidden",
            "provenance/evidence/pets/../../../evil.jws",
            "run/" + 240 * "x",
            "databom.toml/x",
        ),
    ):
        raw = b"evil"
        line = {"path": name, "size": 4, "sha256": sha256(raw), "what": "document", "about": None}
        lines = sorted([*stated["files"], line], key=lambda one: one["path"])
        index = json.dumps(
            {**stated, "files": lines}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
        for listed in (index.encode(), json.dumps(stated, sort_keys=True, separators=(",", ":")).encode()):
            code, found, _ = judged(pack({**files, name: raw, INDEX: listed}), made, folder)
            assert code == 1, name
            assert found.keys() <= {"bundle.schema", "bundle.changed", "bundle.syntax"}, (name, found)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_whatever_bit_is_flipped_the_answer_is_no(made: Made, tmp_path: Path) -> None:
    for at in range(0, len(made.raw), 173):
        bent = made.raw[:at] + bytes([made.raw[at] ^ 4]) + made.raw[at + 1 :]
        code, found, _ = judged(bent, made, tmp_path)
        assert (code, found.keys() <= {"bundle.syntax", "bundle.limit"}) == (1, True), at


def test_a_file_that_cannot_be_read_is_no_answer(house: House) -> None:
    os.mkfifo(house.base / "fifo")
    for name in ("fifo", "nothing.zip", "."):
        assert house.cli("bundle", "verify", house.base / name).code == 3, name
    (house.base / "text").write_text("no zip")
    assert house.json("bundle", "verify", house.base / "text").blocking == {"bundle.syntax"}


# --- the log and the rest -----------------------------------------------------------------------------------


def test_witnesses_are_in_it_and_are_asked_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.init()
    own_key(house, monkeypatch)
    house.ok("key", "new", house.base / "w.pem")
    house.ok("trust", "add", house.base / "w.pem.pub", "--role", "witness")
    house.ok("add", house.release(), "--name", "pets")
    house.ok("sync")
    run = trained()
    house.ok("bundle", run.id, "-o", house.base / "alone.zip")
    assert "log.unwitnessed" in house.json("bundle", "verify", house.base / "alone.zip").codes
    house.ok("log", "witness", "--key", house.base / "w.pem", "--attach")
    house.ok("bundle", run.id, "-o", house.base / "seen.zip")
    answer = house.json("bundle", "verify", house.base / "seen.zip")
    assert (answer.code, answer.codes) == (0, {"bundle.incomplete"})
    raw = (house.base / "seen.zip").read_bytes()
    files = files_of(raw)
    checkpoint = files["log/checkpoint"]
    without = checkpoint[: checkpoint.rindex("—".encode())]
    unseen = {path: data.replace(checkpoint, without) for path, data in files.items()}
    (house.base / "cut.zip").write_bytes(put_together(unseen, raw))
    assert "log.unwitnessed" in house.json("bundle", "verify", house.base / "cut.zip").codes


def test_a_run_that_has_not_ended_yet(made: Made, tmp_path: Path) -> None:
    early = times.parse("2020-01-01T00:00:00Z")
    code, found, _ = judged(made.raw, made, tmp_path, trust_digest=made.trust, now=early)
    assert (code, found["receipt.invalid"]) == (1, "block")


def test_pins_that_differ_in_case_alone(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.init()
    own_key(house, monkeypatch)
    release = house.release()
    for name in ("pets", "Pets"):
        house.ok("add", release, "--name", name, "--path", f"data/{name.encode().hex()}")
    house.ok("sync")
    with databom.training("cats") as run:
        pass
    file = house.base / "run.zip"
    house.ok("bundle", run.id, "-o", file)
    assert house.cli("bundle", "verify", file).code == 0


@pytest.mark.parametrize("name", ["policy", "trust", "environment", "code", "config"])
def test_a_pin_may_be_called_as_something_else_in_a_receipt(
    house: House, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    house.init()
    own_key(house, monkeypatch)
    house.ok("add", house.release(), "--name", name)
    house.ok("sync")
    run, file = trained(name), house.base / "run.zip"
    house.ok("bundle", run.id, "-o", file)
    answer = house.json("bundle", "verify", file)
    assert (answer.code, answer.codes) == (0, {"bundle.incomplete"}), answer.out


def test_the_lists_of_a_large_release(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.init()
    own_key(house, monkeypatch)
    house.ok(
        "add", house.release({f"{n}.txt": b"x%d" % n for n in range(5)}, "--shard", "2"), "--name", "pets"
    )
    house.ok("sync")
    run, file = trained(), house.base / "run.zip"
    house.ok("bundle", run.id, "-o", file)
    raw = file.read_bytes()
    files = files_of(raw)
    shards = [path for path in files if ".index/" in path]
    assert len(shards) > 1
    assert house.cli("bundle", "verify", file).code == 0
    file.write_bytes(put_together({path: data for path, data in files.items() if path != shards[0]}, raw))
    assert house.cli("bundle", "verify", file).code != 0
    file.write_bytes(put_together({**files, shards[0]: files[shards[1]]}, raw))
    assert house.cli("bundle", "verify", file).code == 1
