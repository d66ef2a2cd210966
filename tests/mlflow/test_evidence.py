"""What a run is told about its pins: verdicts with reasons, uses, tags that fit, documents that agree."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databom.errors import ConfigError
from databom.mlflow.place import find
from databom.model.digest import sha256
from databom.model.lock import SeenRoot
from databom.tasks import evidence, sync, use
from databom.tasks.evidence import bounded, for_run, format_tags
from databom.tasks.project import Project


@pytest.fixture(autouse=True)
def forgetful() -> Any:
    yield
    use._read.clear()
    use._declared.clear()


def told(project: Path, **environ: str) -> tuple[str, str | None]:
    """Verdict and reason of the one pin, with nothing left to compare."""
    (one,) = for_run(project, environ).compared().pins
    return one.verdict, one.reason


def edit(path: Path, **members: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **members}))


# --- the verdict ------------------------------------------------------------------------------------------


def test_passes_only_after_the_comparison(project: Path) -> None:
    before = for_run(project)
    assert before.verdict == "unverified"
    assert [(one.verdict, one.reason) for one in before.pins] == [("unverified", evidence.PENDING)]
    assert before.compared().verdict == "pass"
    assert before.compared(stop=lambda: True).verdict == "unverified"
    assert b'"verdict": "pass"' not in before.report("run")


def no_report(project: Path) -> None:
    (project / "provenance/reports/pack.json").unlink()


def report_did_not_pass(project: Path) -> None:
    edit(project / "provenance/reports/pack.json", verdict="fail")


def report_of_another_manifest(project: Path) -> None:
    edit(project / "provenance/reports/pack.json", manifest="sha256:" + "0" * 64)


def report_of_another_tree(project: Path) -> None:
    edit(project / "provenance/reports/pack.json", tree="sha256:" + "0" * 64)


def report_is_a_list(project: Path) -> None:
    (project / "provenance/reports/pack.json").write_text("[]")


def report_is_broken(project: Path) -> None:
    (project / "provenance/reports/pack.json").write_text('{"verdict": "pass", "verdict": "pass"}')


def trust_changed(project: Path) -> None:
    with open(project / "provenance/trust.json", "a") as file:
        file.write("\n")


def trust_gone(project: Path) -> None:
    (project / "provenance/trust.json").unlink()


def policy_changed(project: Path) -> None:
    path = project / "databom.toml"
    path.write_text(path.read_text().replace("commercial = true", "commercial = false"))


def manifest_changed(project: Path) -> None:
    with open(project / "provenance/manifests/pack.json", "a") as file:
        file.write("\n")


def manifest_gone(project: Path) -> None:
    (project / "provenance/manifests/pack.json").unlink()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (no_report, "no verification is recorded"),
        (report_did_not_pass, "the recorded verification did not pass"),
        (report_of_another_manifest, "the recorded verification is of another manifest than is pinned"),
        (report_of_another_tree, "the recorded verification is of another tree than is pinned"),
        (report_is_a_list, "is not a report"),
        (report_is_broken, "cannot be read"),
        (trust_changed, "the trust root changed since the recorded verification"),
        (trust_gone, "the trust root changed since the recorded verification"),
        (policy_changed, "the policy changed since the recorded verification"),
        (manifest_changed, "is not the one that was pinned"),
        (manifest_gone, "cannot be read"),
    ],
)
def test_anything_else_fails(project: Path, change: Callable[[Path], None], reason: str) -> None:
    change(project)
    verdict, why = told(project)
    assert verdict == "fail"
    assert reason in str(why)
    found = for_run(project).compared()
    assert json.loads(found.report("run"))["verdict"] == found.tags()["databom.verdict"] == "fail"


def test_another_root_in_force_is_another_verification(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`DATABOM_TRUST` decides at the run as it decides at the verification."""
    other = tmp_path / "elsewhere" / "trust.json"
    other.parent.mkdir(mode=0o755)
    other.write_bytes((project / "provenance/trust.json").read_bytes() + b"\n")
    other.chmod(0o644)
    monkeypatch.setenv("DATABOM_TRUST", str(other))
    changed = ("fail", "the trust root changed since the recorded verification")
    assert told(project, DATABOM_TRUST=str(other)) == changed
    sync(project=project).require()
    assert told(project, DATABOM_TRUST=str(other)) == ("pass", None)
    monkeypatch.delenv("DATABOM_TRUST")
    assert told(project) == changed


def test_a_root_of_the_user_asks_for_another_verification(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "config" / "databom" / "trust.json"
    own.parent.mkdir(parents=True, mode=0o755)
    own.write_bytes((project / "provenance/trust.json").read_bytes())
    own.chmod(0o644)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    assert told(project, **environ) == ("unverified", "it was verified here by another trust root")
    sync(project=project).require()
    assert told(project, **environ) == ("pass", None)


def test_the_locks_memory_of_the_trust_root(project: Path) -> None:
    """The run hook reads the lock's pins as before; a root below the accepted one verifies nothing."""
    place = Project.load(project)
    digest = sha256(place.trust_path.read_bytes())
    place = place.save_lock(place.lock.with_trust(SeenRoot(version=1, digest=digest)))
    found = find({"DATABOM_PROJECT": str(project)})
    assert found is not None
    assert (list(found.pins), found.problem) == (["pack"], None)
    assert told(project) == ("pass", None)
    place.save_lock(place.lock.with_trust(SeenRoot(version=2, digest="sha256:" + "0" * 64)))
    assert told(project)[0] == "fail"


def test_the_worst_pin_decides(tmp_path: Path, make_project: Callable[..., Path]) -> None:
    project = make_project(tmp_path / "project", "one", "two", "three")
    assert for_run(project).compared().verdict == "pass"
    (project / ".databom/last/two.stat").unlink()
    assert for_run(project).compared().verdict == "unverified"
    (project / "provenance/reports/three.json").unlink()
    found = for_run(project).compared()
    assert [one.verdict for one in found.pins] == ["pass", "fail", "unverified"]
    assert found.verdict == "fail"


# --- the documents ------------------------------------------------------------------------------------


def test_documents_are_the_same_for_the_same_evidence(project: Path) -> None:
    first, second = for_run(project).compared(), for_run(project).compared()
    assert first.report("r") == second.report("r")
    assert first.bom("r") == second.bom("r")
    assert first.manifests() == second.manifests()
    assert first.inputs() == second.inputs()


def test_a_damaged_manifest_is_in_no_document(project: Path) -> None:
    manifest_changed(project)
    found = for_run(project).compared()
    assert found.manifests() == {}
    assert json.loads(found.bom("r")).get("components", []) == []
    assert [one["verdict"] for one in json.loads(found.report("r"))["pins"]] == ["fail"]


def test_what_is_too_large_to_attach_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "MAX_ATTACHED_BYTES", 10)
    found = for_run(project)
    assert found.manifests() == {}
    assert json.loads(found.report("r"))["not_attached"] == ["provenance/manifests/pack.json"]


def test_a_manifest_is_parsed_once_and_not_kept_without_bound(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evidence._manifests.clear()
    one, two = for_run(project), for_run(project)
    assert one.bom("r") == two.bom("r")
    assert len(evidence._manifests) == 1
    evidence._manifests.clear()
    monkeypatch.setattr(evidence, "MAX_KEPT_ASSETS", 2)
    assert one.bom("r") == two.bom("r")
    assert not evidence._manifests


def test_no_path_of_this_machine_and_no_user_is_told(project: Path) -> None:
    found = for_run(project).compared()
    for data in (found.report("r"), *(one.source.encode() for one in found.inputs())):
        assert str(project).encode() not in data
        assert b"/tmp" not in data


# --- tags that fit --------------------------------------------------------------------------------------

PIN = {"release": "a@1", "manifest": "sha256:" + "1" * 64, "tree": "sha256:" + "2" * 64}


def test_above_ninety_pins_only_the_first_tags() -> None:
    few = {f"pin{number}": PIN for number in range(90)}
    many = {**few, "one-more": PIN}
    assert len(format_tags(few, verdict="pass", bom="sha256:0")) == 3 + 90 * 6
    assert set(format_tags(many, verdict="pass", bom="sha256:0")) == {
        "databom.verdict",
        "databom.pins",
        "databom.bom",
    }


@given(
    st.dictionaries(
        st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_-]{0,99}\Z"),
        st.dictionaries(
            st.sampled_from(["release", "manifest", "tree", "license", "payment"]),
            st.one_of(st.none(), st.integers(), st.text(max_size=3000), st.lists(st.text())),
        ),
        max_size=100,
    )
)
def test_whatever_a_lock_says_the_tags_fit_every_store(pins: Any) -> None:
    for key, value in format_tags(pins, verdict="unverified").items():
        assert len(key) <= 250
        assert 0 < len(value) <= 1000


def test_a_long_value_is_never_cut_silently() -> None:
    assert bounded("x" * 1000) == "x" * 1000
    text = bounded("x" * 1001)
    assert text.startswith("sha256:")
    assert "1,001 characters" in text
    assert "databom/report.json" in text
    assert bounded("x" * 1001) != bounded("y" * 1001)


# --- use --------------------------------------------------------------------------------------------------


def used(project: Path, *inputs: str, **environ: str) -> str:
    found = for_run(project, environ).used(use.snapshot(project), inputs)
    return found.uses["pack"]


def test_present_until_something_better_is_known(project: Path) -> None:
    assert used(project) == "present"


def test_declared(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import databom

    monkeypatch.chdir(project)
    databom.use("pack")
    assert used(project) == "declared"


def test_a_misspelled_declaration_is_an_error(project: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no pin is called 'pak'"):
        use.use("pak", project=project)
    with pytest.raises(ConfigError):
        use.use("pack", project=tmp_path)
    assert used(project) == "present"


def test_read_through_databom(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import databom

    monkeypatch.chdir(project)
    with databom.open("pack", "labels.csv") as file:
        assert file.read() == b"cat,dog\n"
    assert used(project) == "read"


def test_a_pin_of_another_project_was_not_read_here(
    project: Path, tmp_path: Path, make_project: Callable[..., Path]
) -> None:
    other = make_project(tmp_path / "other")
    use.opened("pack", project=other)
    use.use("pack", project=other)
    assert used(other) == "read"
    assert used(project) == "present"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{data}/labels.csv", "input"),
        ("{data}", "input"),
        ("file://{data}/images", "input"),
        ("file:///etc/{data}", "present"),
        ("{data}-two/labels.csv", "present"),
        ("{data}/..", "present"),
        ("s3://bucket{data}/labels.csv", "present"),
        ("https://[broken", "present"),
        ("nul\0byte", "present"),
        ("", "present"),
    ],
)
def test_input_lies_under_the_pin(project: Path, source: str, expected: str) -> None:
    assert used(project, source.format(data=project / "data/pack")) == expected


STAGES = """\
stages:
  train:
    cmd: python train.py
    deps: [train.py, {dep}]
  each:
    foreach: [a, b]
    do:
      cmd: python train.py ${{item}}
      deps: [data/pack]
  templated:
    cmd: x
    deps: ["${{path}}"]
"""


@pytest.mark.parametrize(
    ("dep", "stage", "expected"),
    [
        ("data/pack", "train", "stage"),
        ("data", "train", "stage"),
        ("data/pack/images", "train", "stage"),
        ("data/pack-two", "train", "present"),
        ("provenance/reports/pack.json", "train", "present"),
        ("data/pack", "nobody", "present"),
        ("x", "each@a", "stage"),
        ("x", "templated", "present"),
        ("data/pack", "dvc.yaml:train", "stage"),
        ("data/pack", "elsewhere/dvc.yaml:train", "present"),
        ("data/pack", "", "present"),
    ],
)
def test_stage_depends_on_the_pin(
    project: Path, dep: str, stage: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    (project / "dvc.yaml").write_text(STAGES.format(dep=dep))
    assert used(project, DVC_STAGE=stage, DVC_ROOT=str(project)) == expected


def test_a_stage_of_a_folder_below(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = project / "models"
    below.mkdir()
    (below / "dvc.yaml").write_text(STAGES.format(dep="../data/pack"))
    monkeypatch.chdir(below)
    assert used(project, DVC_STAGE="train", DVC_ROOT=str(project)) == "stage"
    assert used(project, DVC_STAGE="models/dvc.yaml:train", DVC_ROOT=str(project)) == "stage"


@pytest.mark.parametrize("text", ["", "[", "stages: 3", "\xff", "<<<<<<< HEAD\n"])
def test_a_broken_dvc_yaml_claims_nothing(project: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    (project / "dvc.yaml").write_bytes(text.encode("latin-1"))
    assert used(project, DVC_STAGE="train") == "present"


def test_the_strongest_is_recorded(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    (project / "dvc.yaml").write_text(STAGES.format(dep="data/pack"))
    data = os.fspath(project / "data/pack")
    use.use("pack", project=project)
    assert used(project) == "declared"
    assert used(project, data) == "input"
    assert used(project, data, DVC_STAGE="train") == "stage"
    use.opened("pack", project=project)
    assert used(project, data, DVC_STAGE="train") == "read"
    assert set(use.KINDS) >= {used(project)}


def test_uses_speak_only_of_pins_there_are(project: Path) -> None:
    seen = use.Seen(frozenset({"unknown"}), frozenset({"pack"}))
    assert use.uses(Project.load(project), seen) == {"pack": "declared"}


# --- the BOM ----------------------------------------------------------------------------------------------


def test_a_runs_bom_holds_no_path_of_this_machine(project: Path, market: Any) -> None:
    assert json.loads((project / "databom.lock").read_text())["pins"]["pack"]["source"] == str(
        market.manifest
    )
    bom = for_run(project).bom("run")
    assert str(market.manifest.parent).encode() not in bom
    (component,) = json.loads(bom)["components"]
    assert component["hashes"]
    assert "externalReferences" not in component
    assert "contents" not in component["data"][0]


def test_the_bom_of_a_run_whose_pins_did_not_fit_its_tags(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from databom.hosts import tracking
    from databom.tasks.writing_bom import bom

    pins = {f"pin-{number:03}": {"manifest": f"sha256:{number:064}"} for number in range(91)}
    many = format_tags({"pack": {}, **pins}, verdict="pass")
    long = format_tags({f"{'x' * 90}{number}": {} for number in range(20)}, verdict="pass")
    for tags in (many, long):
        monkeypatch.setattr(tracking, "run_tags", lambda _, tags=tags: tags)
        with pytest.raises(ConfigError, match="do not say which release") as refused:
            bom(run_id="r1", project=project)
        assert "databom/bom.cdx.json" in str(refused.value.hint)
