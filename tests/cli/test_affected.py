"""`databom affected`: what stands on a creator, a dataset, a file or a pin, and nothing that does not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from support.affecting import alone, ask, asset, digest, move, pin, releases, runs, team, train
from support.explained import git, many_pins, own_key
from support.house import House
from support.payments import Team

__all__ = ["alone", "team"]


# --- what is asked about ------------------------------------------------------------------------------------


def test_a_creator_a_dataset_a_release_a_pin_and_a_file(team: Team) -> None:
    release = pin(team, "pets", creator_id="creator:alice")
    pin(team, "cars", {"car.txt": b"car"}, creator_id="creator:bob", dataset_id="sim-cars")
    used, other = train("pets"), train("cars")
    both = train("pets", "cars")
    for target in (
        *("creator:alice", "dataset:sim-pets", "dataset:sim-pets@1", "pets"),
        *(release.digest, digest(b"a"), digest(b"a").upper().replace("SHA", "sha")),
    ):
        answer = ask(team, target)
        assert answer.code == 0, answer.out + answer.err
        assert releases(answer).keys() == {"sim-pets@1"}, target
        found = runs(answer)
        assert {run for run, use in found.items() if use != "present"} == {used, both}, target
        assert found[other] == "present"  # the pin was there
        assert answer.report["complete"] is True
    tree = json.loads(Path("databom.lock").read_text())["pins"]["pets"]["tree"]
    assert releases(ask(team, tree)).keys() == {"sim-pets@1"}
    for target in ("creator:carol", "dataset:sim-pets@2", "dataset:sim", digest(b"other")):
        answer = ask(team, target)
        assert (answer.code, answer.report["releases"], answer.report["runs"]) == (0, [], []), target


@pytest.mark.parametrize("target", ["", "creator:", "sha256:ab", "a b", "pts", "models:/m/1", "../pets"])
def test_what_is_nothing_to_ask_about_is_usage(team: Team, target: str) -> None:
    pin(team, "pets")
    answer = ask(team, target)
    assert answer.code == 2
    assert "do: " in answer.err
    assert answer.out == ""


@pytest.mark.parametrize("kind", ["creator", "dataset"])
def test_what_is_asked_about_is_shown_safely(team: Team, kind: str) -> None:
    pin(team, "pets")
    answer = team.house.ok("affected", f"{kind}:\x1b[31m\u202e")
    assert not set("\x1b\u202e") & set(answer.out + answer.err)


def test_only_the_assets_of_the_creator_reach_further(team: Team) -> None:
    assets = [asset("a.txt", b"a", creator_id="creator:alice"), asset("b.txt", b"bb")]
    pin(team, "pets", creator_id="creator:bob", assets=assets)
    pin(team, "hers", {"x.txt": b"a"}, creator_id="creator:eve", dataset_id="sim-hers")
    pin(team, "his", {"y.txt": b"bb"}, creator_id="creator:eve", dataset_id="sim-his")
    answer = ask(team, "creator:alice")
    assert releases(answer) == {
        "sim-hers@2": ["holds the same bytes in 1 of 1 asset: x.txt"],
        "sim-pets@1": ["is the creator of 1 of 2 assets: a.txt"],
    }
    assert releases(ask(team, "creator:bob")).keys() == {"sim-his@3", "sim-pets@1"}


def test_a_share_and_a_consent_name_somebody_too(team: Team) -> None:
    paid = {
        "model": "royalty",
        "transaction_id": "t-1",
        "allocation": [{"creator_id": "creator:carol", "share": "1"}],
    }
    consents = [{"subject": "creator:dave", "uri": "https://c.example/1"}]
    pin(team, "pets", creator_id="creator:alice", payment=paid, consents=consents)
    assert releases(ask(team, "creator:carol")) == {"sim-pets@1": ["has a share of its payment"]}
    assert releases(ask(team, "creator:dave")) == {"sim-pets@1": ["is the subject of a consent"]}


# --- what it reaches ----------------------------------------------------------------------------------------


def test_bytes_are_followed_under_another_name_and_through_redaction(team: Team) -> None:
    pin(team, "pets", {"a.txt": b"a", "empty": b""}, creator_id="creator:alice")
    pin(team, "copied", {"z/other.name": b"a", "own": b"own", "empty": b""}, dataset_id="sim-copied")
    made = [asset("clean.txt", b"-", redacted_from={"sha256": digest(b"a").removeprefix("sha256:")})]
    pin(team, "clean", {"clean.txt": b"-"}, dataset_id="sim-clean", assets=made)
    pin(team, "again", {"q": b"-"}, dataset_id="sim-again")
    pin(team, "apart", {"own": b"own", "empty": b""}, dataset_id="sim-apart")
    train_again = train("again")
    answer = ask(team, "creator:alice")
    assert releases(answer) == {
        "sim-pets@1": ["creator creator:alice"],
        "sim-copied@2": ["holds the same bytes in 1 of 3 assets: z/other.name"],
        "sim-clean@3": ["holds what redaction made of them in 1 of 1 asset: clean.txt"],
        "sim-again@4": ["holds the same bytes in 1 of 1 asset: q"],
    }
    assert runs(answer) == {train_again: "declared"}
    assert releases(ask(team, digest(b"own"))).keys() == {"sim-copied@2", "sim-apart@5"}


def test_what_a_run_made_is_the_data_of_the_next(team: Team) -> None:
    """M05: a model trained on what a model made is found."""
    pin(team, "pets", creator_id="creator:alice")
    first = train("pets", made={"synthetic.bin": b"made of pets"})
    pin(team, "second", {"s.bin": b"made of pets"}, dataset_id="sim-second", creator_id="creator:team")
    second = train("second", made={"model2.bin": b"model of it"})
    pin(team, "third", {"m": b"model of it"}, dataset_id="sim-third", creator_id="creator:team")
    third = train("third", made={"model3.bin": b"end"})
    answer = ask(team, "creator:alice")
    assert {run for run, use in runs(answer).items() if use == "declared"} == {first, second, third}
    assert releases(answer).keys() == {"sim-pets@1", "sim-second@2", "sim-third@3"}
    [one] = [one for one in answer.report["runs"] if one["run"] == third]
    assert one["models"] == [{"name": "model3.bin", "sha256": digest(b"end")[7:]}]
    # From the middle, only what comes after.
    assert {run for run, use in runs(ask(team, "second")).items() if use == "declared"} == {second, third}
    # By what it made: the run, and what was made of that alone.
    made = ask(team, digest(b"made of pets"))
    assert runs(made)[first] == "made"
    assert {run for run, use in runs(made).items() if use == "declared"} == {second, third}


def test_what_a_whole_model_was_made_into_is_found_by_the_digest_of_the_model(team: Team) -> None:
    import databom

    pin(team, "pets", creator_id="creator:alice")
    with databom.training("train") as run:
        databom.use("pets")
        Path("model").mkdir()
        Path("model/w.bin").write_bytes(b"weights!")
        run.produced("model")
    pin(team, "second", {"w": b"weights!"}, dataset_id="sim-second", creator_id="creator:team")
    second = train("second", made={})
    [model] = next(one for one in ask(team, "pets").report["runs"] if one["models"])["models"]
    for target in (f"sha256:{model['dirHash1']}", model["weights"]):
        answer = ask(team, target)
        assert runs(answer) == {f"databom:{run.id}": "made", second: "declared"}
        assert releases(answer).keys() == {"sim-second@2"}


def test_a_pin_that_was_only_present_reaches_nothing(team: Team) -> None:
    pin(team, "pets", creator_id="creator:alice")
    only_there = train(made={"m.bin": b"of nothing"})
    pin(team, "next", {"m": b"of nothing"}, dataset_id="sim-next", creator_id="creator:team")
    answer = ask(team, "creator:alice")
    assert releases(answer).keys() == {"sim-pets@1"}
    [one] = answer.report["runs"]
    assert (one["run"], one["use"], one["possible"]) == (only_there, "present", True)
    text = team.house.ok("affected", "creator:alice").out
    assert "possible runs" in text
    assert "\nmodels" not in text


def test_every_release_that_a_name_ever_pinned(team: Team) -> None:
    """Earlier ones from what the pin left behind, and in another clone from git."""
    pin(team, "pets", creator_id="creator:alice")
    first = train("pets")
    git(team.house, "init", "-q")
    git(team.house, "add", "-A")
    git(team.house, "commit", "-q", "-m", "one")
    move(team, "pets", {"c.txt": b"c"}, creator_id="creator:bob")
    second = train("pets")
    assert runs(ask(team, "pets")) == {first: "declared", second: "declared"}
    answer = ask(team, "creator:alice")
    assert runs(answer) == {first: "declared"}
    [one] = answer.report["releases"]
    assert (one["pinned"], one["strength"]) == (False, "verified")
    assert one["evidence"].startswith(".databom/seen/")
    shutil.rmtree(team.house.project / ".databom/seen")
    answer = ask(team, "creator:alice")
    assert (answer.code, runs(answer)) == (0, {first: "declared"})
    assert " in git at " in answer.report["releases"][0]["evidence"]


# --- how strong it is, and what is not known ----------------------------------------------------------------


def test_a_key_of_ones_own_verifies(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.init()
    own_key(house, monkeypatch)
    house.ok("add", house.release(), "--name", "pets")
    house.ok("sync")
    train("pets")
    [run] = house.json("affected", "pets").report["runs"]
    assert (run["strength"], run["index"]) == ("verified", 2)
    [release] = house.json("affected", "pets").report["releases"]
    assert release["strength"] == "verified"


def test_a_manifest_that_is_gone_leaves_it_unanswered(team: Team) -> None:
    pin(team, "pets", creator_id="creator:alice")
    run = train("pets")
    move(team, "pets", {"c.txt": b"c"}, creator_id="creator:bob")
    shutil.rmtree(team.house.project / ".databom/seen")
    answer = ask(team, "creator:alice")
    assert answer.code == 3
    assert answer.report["complete"] is False
    assert [one["about"] for one in answer.report["untold"]] == ["sim-pets@1"]
    assert "unanswered" in answer.err
    # By name it is known all the same, and that its bytes are not.
    answer = ask(team, "dataset:sim-pets@1")
    assert (answer.code, runs(answer)) == (3, {run: "declared"})


def test_a_lock_that_calls_a_release_by_another_name_hides_nothing(team: Team) -> None:
    """The manifest says what it is called."""
    pin(team, "pets")
    run = train("pets")
    edit_pin(team, release="other@1", dataset_id="other")
    for target in ("dataset:sim-pets", "dataset:sim-pets@1"):
        assert runs(ask(team, target)) == {run: "declared"}, target


def test_what_is_pinned_and_no_manifest_leaves_it_unanswered(team: Team) -> None:
    pin(team, "pets")
    run = train("pets")
    (team.house.project / "provenance/manifests/pets.json").write_bytes(b"no manifest")
    edit_pin(team, manifest=digest(b"no manifest"))
    for target in ("pets", "creator:alice", digest(b"no manifest")):
        answer = ask(team, target)
        assert answer.code == 3, target
        assert any("cannot be read as a manifest" in one["what"] for one in answer.report["untold"])
    assert runs(ask(team, "pets")) == {run: "declared"}
    assert team.house.json("drill").code == 3


def edit_pin(team: Team, **members: str) -> None:
    path = team.house.project / "databom.lock"
    lock = json.loads(path.read_text())
    lock["pins"]["pets"] |= members
    path.write_text(json.dumps(lock))


@pytest.mark.parametrize("raw", [b"", b"{", b" " * 20_000_000])
def test_a_receipt_that_was_broken_here_is_told(team: Team, raw: bytes) -> None:
    pin(team, "pets")
    train("pets")
    [path] = (team.house.project / ".databom/receipts/runs").rglob("receipt.dsse.json")
    path.write_bytes(raw)
    answer = ask(team, "pets")
    assert answer.code == 3
    [told] = answer.report["untold"]
    assert told["about"].endswith("receipt.dsse.json: it is no receipt of a run")


@pytest.mark.parametrize("folder", ["open", "pending"])
def test_a_record_that_was_broken_here_is_told(team: Team, folder: str) -> None:
    pin(team, "pets")
    train("pets")
    (team.house.project / ".databom/receipts" / folder / "18ebbf876cc5892b-c2cd0d4f.json").write_bytes(b"{")
    answer = ask(team, "pets")
    assert answer.code == 3
    [told] = answer.report["untold"]
    assert told["about"] == f".databom/receipts/{folder}/18ebbf876cc5892b-c2cd0d4f.json"
    assert "cannot be read" in told["what"]


def test_a_receipt_that_is_not_believed_is_told(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    pin(team, "pets")
    train("pets")
    root = team.house.project / "provenance/trust.json"
    value = json.loads(root.read_text())
    value["roles"].pop("receipt")
    root.write_text(json.dumps(value))
    answer = ask(team, "pets")
    assert (answer.code, answer.report["runs"]) == (3, [])
    assert [one["about"] for one in answer.report["untold"]] == ["log entry 2: receipt.unsigned"]


def test_a_log_that_is_gone_is_told(team: Team) -> None:
    pin(team, "pets")
    run = train("pets")
    shutil.rmtree(team.house.project / ".databom/log")
    answer = ask(team, "pets")
    assert (answer.code, runs(answer)) == (3, {run: "declared"})  # this clone keeps its receipt
    assert answer.report["runs"][0]["index"] is None
    assert "the log is not here" in answer.report["untold"][0]["what"]


def test_a_log_that_was_edited_answers_nothing(team: Team) -> None:
    pin(team, "pets")
    train("pets")
    bundle = max(
        (team.house.project / ".databom/log/tile/entries").rglob("*.p/*"), key=lambda one: int(one.name)
    )
    raw = bytearray(bundle.read_bytes())
    raw[40] ^= 1
    bundle.write_bytes(raw)
    answer = ask(team, "pets")
    assert answer.code == 3
    assert "databom log verify" in answer.err


def test_a_run_that_goes_on_and_one_that_waits(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    import databom

    pin(team, "pets")
    with databom.training("train") as going:
        answer = ask(team, "pets")
        [run] = answer.report["runs"]
        assert (run["run"], run["status"], run["use"]) == (f"databom:{going.id}", "begun", "present")
    monkeypatch.delenv("DATABOM_RECEIPT_KEY_PEM")
    shutil.move(team.house.project / ".databom/keys", team.house.base / "keys")
    waiting = train("pets")
    answer = ask(team, "pets")
    [run] = [one for one in answer.report["runs"] if one["run"] == waiting]
    assert (run["use"], run["receipt"], run["strength"]) == ("declared", None, "declared")
    assert "databom log flush" in run["evidence"]


def test_the_list_of_releases_that_moved_out_of_a_receipt(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = many_pins(house, monkeypatch)
    name = f"{'pets' * 20}-7"
    answer = house.json("affected", name)
    assert (answer.code, [one["run"] for one in answer.report["runs"]]) == (0, [f"databom:{run.id}"])
    for path in (house.project / ".databom/receipts").rglob("receipt.dependencies.json"):
        path.unlink()
    for path in (house.project / ".databom/receipts").rglob("ending.json"):
        path.unlink()
    answer = house.json("affected", name)
    assert (answer.code, answer.report["runs"]) == (3, [])
    assert "moved out" in answer.report["untold"][0]["what"]


def test_text_shows_what_shows_it(team: Team) -> None:
    pin(team, "pets", creator_id="creator:alice")
    run = train("pets")
    answer = team.house.ok("affected", "creator:alice")
    assert "creator creator:alice; pinned as pets" in answer.out
    assert run in answer.out
    assert "log entry" in answer.out
    assert "model.bin" in answer.out
    assert answer.err.startswith("creator:alice: 1 release, 1 run, 1 output")
    nothing = team.house.ok("affected", "creator:nobody")
    assert "nothing that is known here" in nothing.out
    assert team.house.cli("affected", "-q", "creator:alice").err == ""


# --- scale --------------------------------------------------------------------------------------------------


def long_log(team: Team, count: int) -> None:
    """Receipts of so many runs in the log, the releases of the market in turn."""
    from databom.bom.receipt import Training, build_statement, completed, descriptor
    from databom.model import times
    from databom.tasks import Project
    from databom.tasks.remembering import remember_entries
    from databom.tasks.surroundings import pin_descriptor
    from databom.trust import dsse
    from databom.trust.statement import PAYLOAD_TYPE

    key, now = team.sim.key("receipt"), times.format(times.now())
    entries = []
    for number in range(count):
        manifest = team.sim.releases[number % len(team.sim.releases)].digest
        training = Training(
            invocation=f"databom:run-{number}",
            status="completed",
            verdict="pass",
            started=now,
            finished=now,
            version="1",
            record=b"{}",
            outputs=(descriptor("m.bin", digest(f"{number}".encode())),),
            pins=(pin_descriptor("pets", "sim-pets@1", manifest, manifest, {"use": "read"}),),
        )
        statement, _ = build_statement(training)
        payload = completed(statement, development=False, supersedes=None)
        entries.append(dsse.format_envelope(dsse.sign(PAYLOAD_TYPE, payload, [key])))
    remember_entries(Project.load(), entries)


def test_m05_a_long_log(team: Team) -> None:
    """2,000 models, half of them of the creator; nothing about it is quadratic (10,000 take seconds)."""
    pin(team, "pets", creator_id="creator:alice")
    move(team, "pets", {"c.txt": b"c"}, creator_id="creator:bob")
    long_log(team, 2_000)
    answer = ask(team, "creator:alice")
    assert answer.code == 0
    found = runs(answer)
    assert set(found) == {f"databom:run-{number}" for number in range(0, 2_000, 2)}
    assert "… and 800 more" in team.house.ok("affected", "creator:alice").out
