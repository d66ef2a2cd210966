"""`databom affected` with a tracking server: it adds runs and registered models, and takes nothing away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import databom
from databom.model.affected import Affected
from databom.tasks import affected
from support.tracking import Switchboard

pytestmark = pytest.mark.mlflow


def a_run() -> str:
    import mlflow

    databom.use("pack")
    with mlflow.start_run() as run:
        mlflow.log_text("weights", "model.txt")
    return f"mlflow:{run.info.run_id}"


def runs(found: Affected) -> dict[str, str]:
    return {one.run: one.use for one in found.runs}


def versions(found: Affected) -> dict[str, tuple[tuple[str, ...], str]]:
    return {one.uri: (one.aliases, one.run) for one in found.versions}


def test_the_registered_versions_of_its_runs(inside: Path) -> None:
    from mlflow.tracking import MlflowClient

    first, second = a_run(), a_run()
    client = MlflowClient()
    client.create_registered_model("cats")
    for run in (first, second, None):
        ident = run.removeprefix("mlflow:") if run else None
        client.create_model_version("cats", f"runs:/{ident}/m" if run else "/somewhere/m", run_id=ident)
    client.set_registered_model_alias("cats", "champion", "1")
    client.set_registered_model_alias("cats", "beta", "1")
    client.copy_model_version("models:/cats/2", "copied")
    found = affected("creator:alice")
    assert found.is_whole
    assert runs(found) == {first: "declared", second: "declared"}
    assert versions(found) == {
        "models:/cats/1": (("beta", "champion"), first),
        "models:/cats/2": ((), second),
        "models:/copied/1": ((), second),
    }
    assert [line.about for line in found.lines() if line.question == "registered"] == [*versions(found)]
    assert affected("creator:bob").versions == ()


def test_tags_add_runs_and_take_none_away(
    inside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    receipted, other = a_run(), a_run()
    client = MlflowClient()
    [release] = affected("pack").releases
    monkeypatch.chdir(tmp_path)  # elsewhere: no pins, no receipts
    ident = client.create_run("0", tags={"databom.pack.manifest": release.manifest}).info.run_id
    used = client.create_run(
        "0", tags={"databom.pack.manifest": release.manifest, "databom.pack.use": "read"}
    ).info.run_id
    monkeypatch.chdir(inside)
    client.create_registered_model("cats")
    client.create_model_version("cats", f"runs:/{used}/m", run_id=used)
    client.create_model_version("cats", f"runs:/{ident}/m", run_id=ident)
    client.delete_run(used)
    for name in ("manifest", "use", "release"):
        client.delete_tag(receipted.removeprefix("mlflow:"), f"databom.pack.{name}")
    found = affected("creator:alice")
    assert runs(found) == {
        receipted: "declared",
        other: "declared",
        f"mlflow:{used}": "read",
        f"mlflow:{ident}": "present",
    }
    [deleted] = [one for one in found.runs if one.run == f"mlflow:{used}"]
    assert (deleted.receipt, deleted.strength, deleted.status) == (None, "declared", "running, deleted")
    assert "no receipt" in deleted.because[1]
    assert [*versions(found)] == ["models:/cats/1"]  # nothing is followed from what was only present


def test_a_server_that_does_not_answer_leaves_it_unanswered(
    inside: Path, board: Switchboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    from databom.hosts import tracking

    run = a_run()
    monkeypatch.setattr(tracking, "READ_SECONDS", 1.0)
    board.mode = "hang"
    mlflow.set_tracking_uri(f"http://user:hunter2@{board.url.partition('//')[2]}")
    found = affected("pack")
    assert runs(found) == {run: "declared"}
    [untold] = found.untold
    assert "no answer within" in untold.what
    assert "hunter2" not in str(found.to_dict())
    board.released.set()


def test_nobody_is_asked_where_no_server_is_configured(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_run()
    monkeypatch.setattr("databom.tasks.affected_tracked.is_configured", lambda: False)
    found = affected("pack")
    assert (found.registry, len(found.runs)) == (None, 1)
    [untold] = found.untold  # a run that was tracked somewhere may have become a model there
    assert "1 run were not looked for" in untold.what
    assert affected("creator:nobody").is_whole


def test_versions_that_name_no_run_are_found_by_where_they_come_from(inside: Path) -> None:
    """`create_model_version` asks for no run id, and believes any; a copy has that of what it copies."""
    import mlflow
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    with mlflow.start_run() as other:  # the pin was there
        pass
    run = a_run()
    ident = run.removeprefix("mlflow:")
    client.create_registered_model("cats")
    client.create_model_version("cats", f"runs:/{ident}/m")
    client.create_model_version("cats", f"{mlflow.get_run(ident).info.artifact_uri}/m")
    client.create_model_version("cats", f"runs:/{ident}/m", run_id=other.info.run_id)
    client.create_model_version("cats", f"runs:/{other.info.run_id}/m")
    client.copy_model_version("models:/cats/1", "copied")
    client.copy_model_version("models:/copied/1", "again")
    found = versions(affected("creator:alice"))
    assert found == {
        f"models:/{one}": ((), run) for one in ("again/1", "cats/1", "cats/2", "cats/3", "copied/1")
    }


@pytest.mark.parametrize("uses", [("present", "read"), ("read", "present")])
def test_a_use_is_not_hidden_by_another_pin_that_was_only_present(
    inside: Path, market: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uses: tuple[str, str]
) -> None:
    from mlflow.tracking import MlflowClient

    from databom.tasks import add

    add(str(market.manifest), name="again", project=inside, dvc=False)
    [release] = affected("pack").releases
    assert release.pins == ("again", "pack")
    monkeypatch.chdir(tmp_path)
    tags = {f"databom.{name}.manifest": release.manifest for name in release.pins}
    tags |= {f"databom.{name}.use": use for name, use in zip(release.pins, uses, strict=True)}
    ident = MlflowClient().create_run("0", tags=tags).info.run_id
    monkeypatch.chdir(inside)
    [run] = affected("pack").runs
    assert (run.run, run.use, run.direct) == (f"mlflow:{ident}", "read", True)
    assert {f"{use} {release.release} as {name}" for name, use in zip(release.pins, uses, strict=True)} < set(
        run.because
    )


def test_more_runs_than_are_looked_at_are_told(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_run()
    a_run()
    monkeypatch.setattr("databom.hosts.tracked.MAX_RUNS", 2)
    monkeypatch.setattr("databom.tasks.affected_tracked.MAX_RUNS", 2)
    [untold] = affected("pack").untold
    assert "2 runs or more" in untold.what


# --- revoke: versions lose their aliases ----------------------------------------------------------------------


@pytest.fixture
def notice(inside: Path, tmp_path: Path) -> Path:
    """A signed notice about the release that `pack` pins."""
    from databom.model.lock import parse_lock
    from databom.tasks import new_key, trust_add
    from databom.tasks.keyring import read_private_key
    from databom.trust.proof import sign_proof

    key = tmp_path / "revocation.pem"
    new_key(key)
    trust_add(key.with_suffix(".pem.pub"), role="revocation", project=inside)
    pin = parse_lock((inside / "databom.lock").read_bytes()).pins["pack"]
    says = {"issued_at": "2026-11-01T00:00:00Z", "reason": "withdrawn"}
    raw = sign_proof("urn:databom:revocation:v1", pin.release, pin.manifest, says, [read_private_key(key)])
    path = tmp_path / "notice.dsse.json"
    path.write_bytes(raw)
    return path


def registered(*ids: str) -> Any:
    """Versions 1, 2, … of `cats`, one a run, each with an alias of its own."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    client.create_registered_model("cats")
    for number, run in enumerate(ids, 1):
        ident = run.removeprefix("mlflow:")
        client.create_model_version("cats", f"runs:/{ident}/m", run_id=ident)
        client.set_registered_model_alias("cats", f"alias-{number}", str(number))
    return client


def codes(report: Any) -> dict[str | None, str]:
    return {one.subject: one.code for one in report.findings}


def frozen_events() -> list[dict[str, Any]]:
    from databom.tasks import log_show

    return [one.document for one in log_show() if one.kind == "frozen"]


def test_versions_are_marked_and_lose_their_aliases(inside: Path, notice: Path) -> None:
    from databom.tasks import revoke

    first, second = a_run(), a_run()
    client = registered(first, second)
    client.set_registered_model_alias("cats", "champion", "1")
    done = revoke(notice)
    assert done.report.verdict.value == "pass"
    assert codes(done.report) == {
        "pack": "revocation.recorded",
        "models:/cats/1": "revocation.frozen",
        "models:/cats/2": "revocation.frozen",
    }
    assert dict(client.get_registered_model("cats").aliases) == {}
    tags = client.get_model_version("cats", "1").tags
    [release] = affected("pack").releases
    assert (tags["databom.revoked"], tags["databom.revoked.aliases"]) == (
        release.manifest,
        "alias-1,champion",
    )
    assert [(one["model"], one["aliases"]) for one in frozen_events()] == [
        ("models:/cats/1", ["alias-1", "champion"]),
        ("models:/cats/2", ["alias-2"]),
    ]
    from databom.tasks import gate_model

    assert "revocation.revoked" in {one.code for one in gate_model("models:/cats/1").blocking}
    # Again: nothing is left to do. An alias that somebody sets again is taken away again.
    assert revoke(notice).report.verdict.value == "pass"
    assert len(frozen_events()) == 2
    client.set_registered_model_alias("cats", "beta", "2")
    assert revoke(notice).report.verdict.value == "pass"
    assert dict(client.get_registered_model("cats").aliases) == {}
    assert client.get_model_version("cats", "2").tags["databom.revoked.aliases"] == "alias-2,beta"


def test_a_freeze_that_fails_half_way_is_taken_up_again(
    inside: Path, notice: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M04: at any version; what is done stays done, what is left is said, and exit 3 until it is done."""
    from mlflow.tracking import MlflowClient

    from databom.tasks import revoke

    ids = [a_run() for _ in range(4)]
    client = registered(*ids)
    real = MlflowClient.delete_registered_model_alias
    calls: list[str] = []

    def broken(self: Any, name: str, alias: str) -> None:
        calls.append(alias)
        if len(calls) > 2:
            raise OSError("secret hunter2")
        real(self, name, alias)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "delete_registered_model_alias", broken)
        report = revoke(notice).report
    assert report.verdict.value == "unanswered"
    assert codes(report) == {
        "pack": "revocation.recorded",
        **dict.fromkeys(["models:/cats/1", "models:/cats/2"], "revocation.frozen"),
        **dict.fromkeys(["models:/cats/3", "models:/cats/4"], "revocation.unanswered"),
    }
    assert "hunter2" not in report.to_json()
    assert sorted(client.get_registered_model("cats").aliases) == ["alias-3", "alias-4"]
    assert len(frozen_events()) == 4  # what they were was told before anything was done
    report = revoke(notice).report
    assert report.verdict.value == "pass"
    assert dict(client.get_registered_model("cats").aliases) == {}


def test_an_alias_that_moved_to_another_version_meanwhile_stays(
    inside: Path, notice: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    from databom.hosts.freezing import Freezer
    from databom.tasks import revoke

    with mlflow.start_run() as run:  # the pin was there
        pass
    used = a_run()
    client = registered(used, f"mlflow:{run.info.run_id}")
    real = Freezer.is_frozen

    def moving(self: Freezer, *args: Any) -> bool:
        client.set_registered_model_alias("cats", "alias-1", "2")
        return real(self, *args)

    monkeypatch.setattr(Freezer, "is_frozen", moving)
    report = revoke(notice).report
    [frozen] = [one for one in report.findings if one.code == "revocation.frozen"]
    assert frozen.found == "no alias"
    assert {key: str(of) for key, of in client.get_registered_model("cats").aliases.items()} == {
        "alias-1": "2",
        "alias-2": "2",
    }


def test_a_model_of_other_data_is_left_alone(inside: Path, notice: Path) -> None:
    import mlflow

    from databom.tasks import revoke

    with mlflow.start_run() as run:  # the pin was there
        pass
    client = registered(f"mlflow:{run.info.run_id}")
    report = revoke(notice).report
    assert codes(report) == {
        "pack": "revocation.recorded",
        f"mlflow:{run.info.run_id}": "revocation.possible",
    }
    assert dict(client.get_registered_model("cats").aliases) == {"alias-1": 1}
    assert dict(client.get_model_version("cats", "1").tags) == {}


def test_a_model_of_the_same_bytes_by_another_way_is_told_and_frozen_on_demand(
    inside: Path, notice: Path, market: Any, tmp_path: Path
) -> None:
    """A license text is the same bytes, too: whoever revokes one release does not stop the models of another."""
    import mlflow

    from databom.tasks import add, publish, revoke, sync
    from databom.tasks.use import use

    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "LICENSE").write_bytes((market.manifest.parent / "labels.csv").read_bytes())
    (folder / "own.bin").write_bytes(b"own")
    fields = {
        "dataset_id": "hn-other",
        "version": "1",
        "creator_id": "creator:bob",
        "license": {"type": "commercial", "spdx": "CC-BY-4.0"},
    }
    publish(folder, key=market.key, fields=fields, output=folder / "manifest.json")
    add(str(folder / "manifest.json"), name="other", project=inside, dvc=False)
    sync("other", project=inside)
    use("other")
    with mlflow.start_run() as run:
        pass
    client = registered(f"mlflow:{run.info.run_id}")
    found = {one.release: one.direct for one in affected("pack").releases}
    assert found == {"hn-imagepack@2026-01-10": True, "hn-other@1": False}
    report = revoke(notice).report
    assert report.verdict.value == "pass"
    assert codes(report)["models:/cats/1"] == "revocation.related"
    assert report.strict().verdict.value == "fail"
    assert dict(client.get_registered_model("cats").aliases) == {"alias-1": 1}
    assert frozen_events() == []
    report = revoke(notice, related=True).report
    assert codes(report)["models:/cats/1"] == "revocation.frozen"
    assert dict(client.get_registered_model("cats").aliases) == {}
