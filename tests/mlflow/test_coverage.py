"""Datasets that a run logs and no pin covers: told in its report, by the weight of the policy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.mlflow


def logged(*sources: str) -> tuple[str, dict[str, Any]]:
    """The verdict and the report of a run that logs datasets from these places."""
    import mlflow
    import numpy as np

    with mlflow.start_run() as run:
        for source in sources:
            mlflow.log_input(mlflow.data.from_numpy(np.zeros(3), source=source))
    run_id = run.info.run_id
    report = json.loads(
        Path(
            mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="databom/report.json")
        ).read_text()
    )
    return mlflow.get_run(run_id).data.tags["databom.verdict"], report


def subjects(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(one["code"], one["severity"], one["subject"]) for one in report.get("findings", [])]


def policy(project: Path, old: str, new: str) -> None:
    """Another policy; verified again, so that the recorded verification is of it."""
    from databom.tasks import sync

    path = project / "databom.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    sync(project=project).require()


def test_data_without_a_pin_is_in_the_report_and_no_path_of_this_machine(
    inside: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "private" / "scraped.csv"
    outside.parent.mkdir()
    outside.write_text("x\n")
    (inside / "dvc.yaml").write_text("stages:\n  prep:\n    cmd: 'true'\n    outs: [features.csv]\n")
    (inside / "features.csv").write_text("x\n")
    verdict, report = logged(
        str(inside / "data/pack/labels.csv"),
        str(inside / "features.csv"),
        str(inside / "train.csv"),
        str(outside),
        "https://user:pw@example.org/train.csv?token=abc",
    )
    found = subjects(report)
    assert {one[:2] for one in found} == {("coverage.unpinned", "warn")}
    named = [one[2] for one in found]
    assert {"train.csv", "…/scraped.csv"} < set(named)
    assert len(named) == 3
    text = json.dumps(report)
    assert "pw@" not in text
    assert "token=abc" not in text
    assert str(tmp_path) not in json.dumps(report["findings"])
    assert verdict == "pass"


def test_the_policy_decides_about_the_verdict(inside: Path) -> None:
    policy(inside, 'coverage = "warn"', 'coverage = "require"')
    verdict, report = logged(str(inside / "train.csv"))
    assert (verdict, subjects(report)) == ("fail", [("coverage.unpinned", "block", "train.csv")])
    verdict, report = logged(str(inside / "data/pack/labels.csv"))
    assert (verdict, subjects(report)) == ("pass", [])
    policy(inside, "own = []", 'own = ["train*"]')
    assert logged(str(inside / "train.csv"))[0] == "pass"
    policy(inside, 'coverage = "require"', 'coverage = "off"')
    assert subjects(logged(str(inside / "other.csv"))[1]) == []
