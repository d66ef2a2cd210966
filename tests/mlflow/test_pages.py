"""The credits of the data reach the run and the registered model's page; `databom gate` finds where they do not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from databom.bom.attribution import BEGIN, END
from databom.errors import ConfigError, PluginError
from databom.model.finding import Report
from databom.tasks import gate_model
from support.house import House

pytestmark = pytest.mark.mlflow
CREDIT = ("hn-imagepack@2026-01-10", "creator:alice", "https://creativecommons.org/licenses/by/4.0/")


def client() -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient()


def page(name: str = "cats", version: str = "1") -> str:
    return client().get_model_version(name, version).description or ""


def train(*, use: bool = True, register: bool = True, description: str | None = None) -> str:
    """A run that uses the pin, and a version that is registered while it is open."""
    import mlflow

    import databom

    with mlflow.start_run() as run:
        if use:
            databom.use("pack")
        if register:
            made(run.info.run_id, description)
    return run.info.run_id


def made(run_id: str, description: str | None = None) -> None:
    registry = client()
    if not registry.search_registered_models("name = 'cats'"):
        registry.create_registered_model("cats")
    registry.create_model_version("cats", f"runs:/{run_id}/model", run_id, description=description)


def codes(report: Report) -> dict[str, str]:
    return {finding.code: finding.severity.value for finding in report.findings if finding.severity != "info"}


def policy(project: Path, old: str, new: str) -> None:
    path = project / "databom.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


# --- the run and the page ----------------------------------------------------------------------------------


def test_a_used_pin_is_credited_in_the_run_and_on_the_page(inside: Path) -> None:
    import mlflow

    run_id = train(description="Mine.\n")
    text = mlflow.artifacts.load_text(f"runs:/{run_id}/databom/ATTRIBUTION.md")
    said = page()
    assert said.startswith("Mine.\n")
    for one in CREDIT:
        assert one in text
        assert one in said
    assert said.count(BEGIN) == said.count(END) == 1
    assert codes(gate_model("models:/cats/1")) == {"receipt.development": "warn"}


def test_a_pin_that_was_only_present_is_not_credited(inside: Path) -> None:
    run_id = train(use=False)
    assert "databom/ATTRIBUTION.md" not in [one.path for one in client().list_artifacts(run_id, "databom")]
    assert page() == ""
    assert codes(gate_model("models:/cats/1"))["capture.present"] == "warn"


def test_a_model_logged_and_registered_in_one_go_is_credited(inside: Path) -> None:
    import mlflow
    from sklearn.linear_model import LogisticRegression

    import databom

    with mlflow.start_run():
        databom.use("pack")
        model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
        mlflow.sklearn.log_model(model, name="model", registered_model_name="cats")
    assert CREDIT[0] in page()


def test_a_version_registered_after_its_run_is_credited_too(inside: Path) -> None:
    run_id = train(register=False)
    made(run_id, "Later.")
    assert page().startswith("Later.\n\n")
    assert all(one in page() for one in CREDIT)


def test_what_is_said_twice_stands_once(inside: Path) -> None:
    import mlflow

    run_id = train(description="Mine.")
    before = page()
    with mlflow.start_run(run_id=run_id):
        made(run_id)
    assert page() == before
    assert page(version="2").count(BEGIN) == 1


def test_tags_alone_attach_nothing(inside: Path) -> None:
    policy(inside, 'auto = "full"', 'auto = "tags"')
    train()
    assert page() == ""


def test_a_page_without_room_is_left_as_it_is(inside: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = "x" * 4_990
    train(description=text)
    assert page() == text
    assert "no room" in caplog.text
    assert codes(gate_model("models:/cats/1"))["attribution.missing"] == "warn"


def test_a_registration_that_we_cannot_look_at_is_not_hurt(
    inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from databom.mlflow import runs

    def broken(client: Any, version: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(runs, "registered", broken)
    train()
    assert client().get_model_version("cats", "1").run_id


def test_the_credits_of_a_run_are_printed_by_the_bom(inside: Path, house: House) -> None:
    answer = house.ok("bom", "--run", train(use=False, register=False), "--spec", "attribution")
    assert "creator" not in answer.out
    answer = house.ok("bom", "--run", train(), "--spec", "attribution")
    assert all(one in answer.out for one in CREDIT)
    assert CREDIT[0] in house.ok("bom", "--spec", "attribution").out


# --- the gate ------------------------------------------------------------------------------------------------


def test_the_gate_reads_only_and_passes(inside: Path, house: House) -> None:
    train()
    client().set_registered_model_alias("cats", "best", "1")
    before = {
        path: path.read_bytes()
        for path in inside.rglob("*")
        if path.is_file() and ".databom" not in path.parts
    }
    for uri in ("models:/cats/1", "models:/cats@best"):
        answer = house.json("gate", uri)
        assert answer.code == 0, answer.out
        assert answer.err.strip().splitlines()[-1] == "models:/cats/1: pass"
    for form in ("text", "sarif", "junit", "markdown"):
        assert house.cli("gate", "models:/cats/1", "--format", form).code == 0
    assert before == {path: path.read_bytes() for path in before}


def test_a_page_that_lost_its_credit_is_found(inside: Path, house: House) -> None:
    run_id = train()
    client().update_model_version("cats", "1", description="Better words.")
    assert codes(gate_model("models:/cats/1"))["attribution.missing"] == "warn"
    assert house.json("gate", "models:/cats/1", "--strict").code == 1
    policy(inside, 'attribution = "warn"', 'attribution = "require"')
    answer = house.json("gate", "models:/cats/1")
    assert (answer.code, answer.blocking) == (1, {"attribution.missing"})
    assert "attribution.missing" not in codes(gate_model(f"runs:/{run_id}/model"))  # a run has no page
    # By hand, as it is documented.
    text = house.ok("bom", "--run", run_id, "--spec", "attribution").out
    client().update_model_version("cats", "1", description=f"Better words.\n\n{text}")
    assert house.json("gate", "models:/cats/1").code == 0


@pytest.mark.parametrize("verdict", ["fail", "unverified", "PASS", ""])
def test_a_run_that_did_not_pass_blocks(inside: Path, verdict: str) -> None:
    run_id = train()
    client().set_tag(run_id, "databom.verdict", verdict)
    assert codes(gate_model("models:/cats/1"))["capture.verdict"] == "block"


def test_tags_that_say_pass_do_not_make_a_pass(inside: Path, house: House) -> None:
    """The run says that all was well; the project's own evidence is asked all the same."""
    train()
    policy(inside, 'payment = "declared"', 'payment = "signed"')
    answer = house.json("gate", "models:/cats/1")
    assert (answer.code, answer.blocking) == (1, {"payment.missing"})
    kept = inside / "provenance/manifests/pack.json"
    kept.write_text(kept.read_text().replace("creator:alice", "creator:mallo"))
    assert {"signature.invalid", "release.mismatch"} & set(codes(gate_model("models:/cats/1")))


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"databom.pins": "../../etc"}, "capture.unanswered"),
        ({"databom.pack.manifest": "sha256:" + "0" * 64}, "capture.unanswered"),
        ({"databom.pack.manifest": "../x"}, "capture.unanswered"),
        ({"databom.pins": "pack,nobody"}, "capture.unanswered"),
        ({"databom.pins": "pack,nobody", "databom.nobody.manifest": "sha256:" + "0" * 64, "databom.nobody.use": "read"},
         "capture.unanswered"),
    ],
)  # fmt: skip
def test_what_the_project_cannot_answer_for_is_no_pass(
    inside: Path, house: House, tags: dict[str, str], expected: str
) -> None:
    run_id = train()
    for key, value in tags.items():
        client().set_tag(run_id, key, value)
    answer = house.json("gate", "models:/cats/1")
    assert answer.code == 3
    assert expected in answer.blocking


def test_a_model_of_no_run_is_no_pass(inside: Path, house: House, tmp_path: Path) -> None:
    registry = client()
    registry.create_registered_model("cats")
    registry.create_model_version("cats", "file:///nowhere/model")
    answer = house.json("gate", "models:/cats/1")
    assert (answer.code, answer.blocking) == (1, {"capture.off"})


def test_the_release_that_was_used_is_asked_about_after_the_pin_moved_on(
    inside: Path, house: House, market: Any
) -> None:
    from databom.tasks import publish, update

    train()
    newer = house.base / "newer"
    newer.mkdir()
    (newer / "labels.csv").write_text("more\n")
    fields = {
        "dataset_id": "hn-imagepack",
        "version": "2026-02-10",
        "creator_id": "creator:alice",
        "license": {"type": "commercial", "spdx": "CC-BY-4.0"},
    }
    publish(newer, key=market.key, fields=fields, output=newer / "manifest.json")
    update("pack", str(newer / "manifest.json"), project=inside)
    report = gate_model("models:/cats/1")
    assert not report.blocking
    import shutil

    shutil.rmtree(inside / ".databom/seen")
    assert codes(gate_model("models:/cats/1"))["capture.unanswered"] == "block"


def test_i16_a_model_whose_data_was_revoked(inside: Path, house: House) -> None:
    """Registered and promoted, and then the license is taken back."""
    from databom.tasks import new_key, trust_add
    from databom.tasks.keyring import read_private_key
    from databom.tasks.project import Project
    from databom.trust.proof import sign_proof

    run_id = train()
    client().set_registered_model_alias("cats", "champion", "1")
    assert house.json("gate", "models:/cats@champion").code == 0
    key = house.base / "revoker.key"
    new_key(key)
    trust_add(f"{key}.pub", role="revocation", project=inside)
    pin = Project.load(inside).pin("pack")
    says = {"issued_at": "2026-11-01T00:00:00Z", "reason": "the creator withdraws it"}
    notice = sign_proof("urn:databom:revocation:v1", pin.release, pin.manifest, says, [read_private_key(key)])
    (house.base / "notice.dsse.json").write_bytes(notice)
    house.cli("attach", "pack", house.base / "notice.dsse.json")
    for uri in ("models:/cats@champion", "models:/cats/1", f"runs:/{run_id}"):
        answer = house.json("gate", uri)
        assert (answer.code, "revocation.revoked" in answer.blocking) == (1, True), answer.out


@pytest.mark.parametrize("uri", ["cats", "models:/cats", "models:/cats/latest", "models:/cats/Production", "runs:/", "",
                                 "models:/a/b/1", "file:///x"])  # fmt: skip
def test_another_form_of_uri_is_usage(inside: Path, uri: str) -> None:
    with pytest.raises(ConfigError):
        gate_model(uri)


@pytest.mark.parametrize("uri", ["models:/nobody/1", "models:/nobody@best", "runs:/nobody"])
def test_a_model_that_cannot_be_had_is_no_answer(inside: Path, house: House, uri: str) -> None:
    with pytest.raises(PluginError):
        gate_model(uri)
    assert house.cli("gate", uri).code == 3


def test_no_pins_is_usage(inside: Path, tmp_path: Path) -> None:
    from databom.tasks import init

    init(tmp_path / "empty")
    with pytest.raises(ConfigError):
        gate_model("models:/cats/1", project=tmp_path / "empty")


# --- through a server ----------------------------------------------------------------------------------------


def test_what_could_not_be_delivered_is_delivered_later(
    inside: Path, board: Any, make_project: Callable[..., Path]
) -> None:
    """The registration went through, and then the server was gone: the spool remembers the page."""
    import mlflow

    import databom

    mlflow.set_tracking_uri(board.url)
    registry = client()
    registry.create_registered_model("dogs")
    with mlflow.start_run() as run:
        databom.use("pack")
        registry.create_model_version("dogs", f"runs:/{run.info.run_id}/model", run.info.run_id)
        from databom.mlflow import runs

        [record] = runs._state.records()
        record.server.shut_off()
    [entry] = (inside / ".databom/spool").glob("*.json")
    parcel = json.loads(entry.read_text())
    assert parcel["versions"] == [["dogs", "1"]]
    from databom.hosts.tracking import Tracking
    from databom.mlflow import spool

    assert spool.drain(str(inside), Tracking(registry), parcel["tracking"], go_on=lambda: True) == 1
    assert CREDIT[0] in page("dogs")


def test_a_server_that_never_answers_is_no_answer(
    inside: Path, house: House, board: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    from databom.hosts import tracking

    monkeypatch.setattr(tracking, "READ_SECONDS", 0.5)
    for name in tracking._BRIEF:  # what a command sets for its own process, and for no other test
        monkeypatch.setenv(name, "1")
    mlflow.set_tracking_uri(board.url)
    board.mode = "hang"
    for command in ("gate", "explain"):
        for uri in ("models:/cats/1", "models:/cats@best"):
            answer = house.cli(command, uri)
            assert answer.code == 3
            assert "did not answer" in answer.err or "cannot be read" in answer.err
