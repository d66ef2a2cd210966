"""`databom explain`: each answer with what shows it, and nothing that somebody else says taken for evidence."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from databom.model.digest import sha256
from support.explained import alone, committed, explained, git, lines, own_key, strengths, trained
from support.house import House
from support.payments import PAID, Team, team
from support.receipts import logged

__all__ = ["alone", "team"]


# --- what it says -------------------------------------------------------------------------------------------


def test_a_run_whose_everything_is_known(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.init()
    own_key(house, monkeypatch)
    house.ok("add", house.release(), "--name", "pets")
    house.ok("sync")
    commit = committed(house)
    run = trained()
    answer = explained(house, run.id)
    raw = run.receipt.read_bytes()
    assert (answer["run"], answer["receipt"]) == (f"databom:{run.id}", sha256(raw))
    assert answer["index"] == 2
    found = lines(answer)
    manifest = json.loads(Path("databom.lock").read_text())["pins"]["pets"]
    assert found["supplied by"][0].startswith("human-native; creator creator:alice; signed by ")
    assert manifest["keyids"][0][:16] in found["supplied by"][0]
    assert found["checked"][1:] == ("verified", "log entry 1")
    assert "log entry 0" in found["fetched"][2]
    assert found["license"][0] == "CC-BY-4.0"
    assert found["decided then"][:2] == ("allow", "verified")
    assert "provenance/reports/pets.json" in found["decided then"][2]
    assert found["decided now"][0] == "allowed"
    assert found["model.bin"][:2] == (f"sha256 {sha256(b'weights')[7:]}", "verified")
    assert found["code"][0].startswith(commit)
    assert found["in the log"][2] == "log entry 2"
    said = strengths(answer)
    assert said.pop("command")  # however these tests were started
    assert {about for about, one in said.items() if one == "missing"} == {"paid"}  # none is stated
    assert {about for about, one in said.items() if one == "declared"} == {"when", "fetched", "assets"}
    assert set(answer["missing"]) <= {"command"}
    assert answer["reproducible"] == (not answer["missing"])


def test_a_development_key_declares(house: House) -> None:
    house.synced()
    committed(house)
    said = strengths(explained(house, trained().id))
    assert {said[about] for about in ("ended", "release", "in the log", "checked", "model.bin", "code")} == {
        "declared"
    }
    assert {said[about] for about in ("receipt", "supplied by", "license")} == {"verified"}


def test_paid_by_receipt_by_word_and_not(team: Team) -> None:
    house = team.house
    (house.project / "provenance/trust.json").write_bytes(team.sim.trust_role("log", "log"))
    (house.project / "provenance/trust.json").write_bytes(team.sim.trust_role("receipt", "receipt"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABOM_LOG_KEY", team.sim.key("log").pem().decode())
        patch.setenv("DATABOM_RECEIPT_KEY_PEM", team.sim.key("receipt").pem().decode())
        release = team.pin(payment=PAID)
        house.ok("sync")
        run = trained()
        answer, strength, evidence = lines(explained(house, run.id))["paid"]
        assert (answer, strength) == ("declared: one-time, txn_sim-pets_1, says the manifest", "declared")
        assert team.attach(json.dumps({"transaction_id": PAID["transaction_id"]}).encode()).code == 0
        told = [one for one in explained(house, run.id)["lines"] if one["about"] == "paid"]
        assert [one["strength"] for one in told] == ["declared", "declared"]
        assert told[0]["answer"].startswith("unsigned: ")
        assert team.attach(team.sim.receipt(release)).code == 0
        answer, strength, evidence = lines(explained(house, run.id))["paid"]
        assert answer.startswith("receipt: txn_sim-pets_1")
        assert (strength, evidence.startswith("provenance/evidence/pets/payment-")) == ("verified", True)


def test_what_a_second_run_lacks(house: House) -> None:
    house.init()
    house.ok("add", house.release({"a.txt": b"a"}, "--sequence", "1"), "--name", "pets")
    house.ok("sync")
    committed(house)
    Path("new.py").write_text("print(1)\n")
    run = trained()
    newer = house.release({"b.txt": b"b"}, "--sequence", "2", version="2", folder="v2")
    house.ok("update", "pets", newer)
    answer = explained(house, run.id)
    found = lines(answer, "rerun")
    assert "differed" in found["code"][0]
    assert found["manifest"][1:2] == ("verified",)
    assert found["manifest"][2].startswith(".databom/seen/")
    assert set(answer["missing"]) - {"command"} == {"code", "assets of pets"}
    assert not answer["reproducible"]
    # The clone forgets; git does not.
    for path in (house.project / ".databom/seen").iterdir():
        path.unlink()
    assert " in git at " in lines(explained(house, run.id), "rerun")["manifest"][2]
    git(house, "update-ref", "-d", "HEAD")
    (house.project / ".git").rename(house.base / "git")
    answer = explained(house, run.id)
    assert {"manifest of pets", "assets of pets", "code"} <= set(answer["missing"])
    assert lines(answer)["supplied by"][1] == "missing"
    assert lines(answer)["license"][:2] == ("CC-BY-4.0", "declared")


def test_text_and_html(house: House) -> None:
    house.synced()
    run = trained()
    page = house.base / "page.html"
    answer = house.ok("explain", run.id, "--html", page)
    assert "verified  supplied by" in answer.out
    assert "by provenance/manifests/pets.json" in answer.out
    assert "it cannot be run again as it was" in answer.err.strip().splitlines()[-1]  # no git here
    first = page.read_bytes()
    assert b"CC-BY-4.0" in first
    house.ok("explain", run.id, "--html", page)
    assert page.read_bytes() == first


class Page(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_a_page_holds_only_text(house: House) -> None:
    """No markup of a document becomes markup of the page, and the page names nothing outside."""
    house.init()
    evil = '<img src=x onerror=alert(1)>"><script>'
    place = house.market / "v1"
    place.mkdir(parents=True)
    (place / "a.txt").write_bytes(b"a")
    house.ok(
        *("publish", place, "--dataset-id", "hn-pets", "--version", "1", "--license", "CC-BY-4.0"),
        *("--creator", evil, "--key", house.key),
    )
    house.ok("add", place / "manifest.json", "--name", "pets")
    house.ok("sync")
    page = house.base / "page.html"
    house.ok("explain", trained().id, "--html", page)
    text = page.read_text()
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    found = Page(text)
    assert found.tags <= {
        *(
            "html",
            "head",
            "meta",
            "title",
            "style",
            "body",
            "main",
            "h1",
            "h2",
            "p",
            "dl",
            "dt",
            "dd",
            "small",
        ),
        *("table", "thead", "tbody", "tr", "th", "td"),
    }
    assert found.attributes <= {"lang", "charset", "http-equiv", "content", "class", "name", "scope"}
    assert "http" not in text.replace("http-equiv", "")


# --- what it believes ---------------------------------------------------------------------------------------


def test_no_receipt_is_no_answer(house: House) -> None:
    house.synced()
    answer = house.cli("explain", "0123abcd")
    assert (answer.code, answer.out) == (3, "")
    assert "no receipt of 0123abcd was found" in answer.err
    trained()
    assert house.cli("explain", "0123abcd").code == 3
    assert house.cli("explain", "../x").code == 2
    assert house.cli("explain", "models:/x").code == 2
    assert house.cli("explain", "x", cwd=house.base).code == 2
    assert not (house.project / "mlflow.db").exists()


def test_the_newest_ending_counts(house: House) -> None:
    """Two receipts of one run: the later one of those that are believed."""
    from databom.tasks.project import Project
    from databom.tasks.remembering import remember_entries

    house.synced()
    run = trained()
    (raw,) = logged(house.project)
    remember_entries(Project.load(house.project), [raw])
    assert explained(house, run.id)["index"] == 3
    forged = json.loads(raw)
    forged["signatures"][0]["sig"] = "AAAA" + forged["signatures"][0]["sig"][4:]
    remember_entries(Project.load(house.project), [json.dumps(forged).encode()])
    answer = explained(house, run.id)
    assert answer["index"] == 3
    assert lines(answer)["not believed"][:2] == ("log entry 4: receipt.invalid", "missing")


def test_a_log_that_was_changed_answers_nothing(house: House) -> None:
    house.synced()
    run = trained()
    place = house.project / ".databom/log"
    bundle = place / "tile/entries/000.p/3"
    raw = bundle.read_bytes()
    bundle.chmod(0o644)
    bundle.write_bytes(raw.replace(b'"verified"', b'"verifieD"'))
    (house.project / "provenance/reports/pets.json").unlink()
    assert (
        house.cli("explain", run.id).code == 0
    )  # that entry is no event any more, and is not believed to be one
    bundle.write_bytes(raw.replace(b'"verdict":"pass"', b'"verdict":"pass" '))
    answer = house.cli("explain", run.id)
    assert answer.code == 3
    assert "databom log verify" in answer.err


def test_a_forked_log_answers_nothing(house: House, tmp_path: Path) -> None:
    import shutil

    house.pinned()
    log = house.project / ".databom/log"
    shutil.copytree(log, tmp_path / "older")
    house.ok("sync")
    run = trained()
    shutil.rmtree(log)
    shutil.copytree(tmp_path / "older", log)
    answer = house.cli("explain", run.id)
    assert answer.code == 3
    assert "not one to be believed" in answer.err


def test_without_the_log_the_kept_receipt_and_its_proof(house: House) -> None:
    house.synced()
    run = trained()
    (house.project / ".databom/log").rename(house.base / "log")
    answer = explained(house, run.id)
    assert answer["index"] is None
    assert lines(answer)["in the log"][1:] == (
        "declared",
        "receipt.tlog-proof beside it: entry 2 of a log of 3",
    )
    assert lines(answer)["checked"][1] == "declared"
    assert lines(answer)["log"][:2] == ("it is gone: this clone has seen it before", "missing")
    proof = run.receipt.with_name("receipt.tlog-proof")
    proof.write_bytes(proof.read_bytes().replace(b"index 2", b"index 1"))
    assert strengths(explained(house, run.id))["in the log"] == "missing"
    run.receipt.write_bytes(run.receipt.read_bytes().replace(b'"sig": "', b'"sig": "AAAA'))
    assert house.cli("explain", run.id).code == 3


def test_whoever_is_not_trusted_any_more_says_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.init()
    own_key(house, monkeypatch)
    house.ok("add", house.release(), "--name", "pets")
    house.ok("sync")
    run = trained()
    root = json.loads(Path("provenance/trust.json").read_text())
    root["roles"]["marketplace"] = {}
    Path("provenance/trust.json").write_text(json.dumps(root))
    answer = explained(house, run.id)
    assert strengths(answer)["supplied by"] == strengths(answer)["license"] == "declared"
    assert "signature.untrusted" in lines(answer)["supplied by"][0]
    assert "decided now" not in lines(answer)
    root["roles"]["receipt"]["keyids"] = (
        root["roles"]["log"]["keyids"][:0] or root["roles"]["receipt"]["keyids"][:1]
    )
    Path("provenance/trust.json").write_text(json.dumps(root))
    assert house.cli("explain", run.id).code == 3
