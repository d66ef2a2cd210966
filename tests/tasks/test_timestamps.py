"""Time stamps through the verbs: fetched, kept, watched by DVC, and asked by every one of them."""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from databom.hosts.dvc_yaml import StageSpec
from databom.model.finding import Verdict
from databom.tasks.adding import add
from databom.tasks.believing import load_trust
from databom.tasks.initializing import init
from databom.tasks.judging import judge_pin
from databom.tasks.project import Project
from databom.tasks.verifying import verify
from trust.making import IDS, VECTORS, A, root_document

pytest.importorskip("rfc3161_client", reason="needs the extra `timestamps`")

FILES = VECTORS / "rfc3161"
STAMPED = datetime.fromisoformat((FILES / "time.txt").read_text().strip())
LATER = STAMPED + timedelta(days=9)


@pytest.fixture
def sold(tmp_path: Path) -> Path:
    folder = tmp_path / "sold"
    folder.mkdir()
    for name in ("manifest.json", "manifest.json.dsse"):
        shutil.copy(FILES / name, folder)
    shutil.copy(FILES / "good.tsr", folder / "manifest.json.dsse.tsr")
    return folder / "manifest.json"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose trust root let the key speak until an hour after the time stamp."""
    folder = tmp_path / "project"
    init(folder, now=STAMPED)
    document = root_document(A, expires="2100-01-01T00:00:00Z")
    document["keys"][IDS[A]]["valid_until"] = (STAMPED + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    document["roles"]["tsa"] = {"roots": [(FILES / "root.pem").read_text()]}
    (folder / "provenance" / "trust.json").write_text(json.dumps(document))
    return folder


def test_add_keeps_the_token_and_the_pin_stays_believed(sold: Path, project: Path) -> None:
    report = add(str(sold), name="pack", project=project, dvc=False, now=LATER)
    assert report.verdict is Verdict.PASS
    place = Project.load(project)
    assert place.timestamps_path("pack").read_bytes() == (FILES / "good.tsr").read_bytes()
    assert judge_pin(place, "pack", load_trust(place), now=LATER).is_believed

    place.timestamps_path("pack").unlink()
    judged = judge_pin(place, "pack", load_trust(place), now=LATER)
    assert [finding.code for finding in judged.doubts] == ["signature.expired"]


def test_a_token_that_is_gone_at_the_source_is_gone_here(sold: Path, project: Path) -> None:
    during = STAMPED + timedelta(minutes=1)
    assert add(str(sold), name="pack", project=project, dvc=False, now=during).verdict is Verdict.PASS
    sold.with_name("manifest.json.dsse.tsr").unlink()
    assert add(str(sold), name="pack", project=project, dvc=False, now=during).verdict is Verdict.PASS
    assert not Project.load(project).timestamps_path("pack").exists()
    report = add(str(sold), name="pack", project=project, dvc=False, now=LATER)
    assert [finding.code for finding in report.blocking] == ["signature.expired"]


def test_a_manifest_is_verified_with_the_token_beside_it(sold: Path, project: Path) -> None:
    def codes() -> set[str]:
        return {finding.code for finding in verify(str(sold), project=project, now=LATER).findings}

    assert "signature.expired" not in codes()
    assert "integrity.unlisted" not in codes()
    sold.with_name("manifest.json.dsse.tsr").unlink()
    assert "signature.expired" in codes()


def test_the_stage_depends_on_the_token() -> None:
    stage = StageSpec(pin="pack", path="data/pack", has_envelope=True, has_timestamps=True)
    assert stage.body()["deps"][-3:-1] == [
        "provenance/manifests/pack.json.dsse",
        "provenance/manifests/pack.json.dsse.tsr",
    ]
