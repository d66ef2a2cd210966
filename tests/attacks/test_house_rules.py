"""Cases that are no documents: what is used is what was verified (B14), and where settings come from (L04-L07)."""

from __future__ import annotations

import ast
import importlib.metadata
import re
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.registry import _registry

import databom
from attacks import make
from databom.model.manifest import read_manifest

SOURCE = Path(databom.__file__).parent


@pytest.fixture
def placed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A good release and its trust root in a folder."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / "case"
    for path, data in {**make.signed(make.manifest()), "trust.json": make.dump(make.trust())}.items():
        folder.mkdir(exist_ok=True)
        (folder / path).write_bytes(data)
        (folder / path).chmod(0o644)
    for path, data in make.FILES.items():
        target = folder / "assets" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    folder.chmod(0o755)
    return folder


def verify(folder: Path, **options: Any) -> databom.Report:
    report = databom.verify(
        folder / "manifest.json", trust=folder / "trust.json", root=str(folder / "assets"), **options
    )
    assert isinstance(report, databom.Report)
    return report


class Swapper:
    """Exchanges the manifest and its envelope once their signature has been verified."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.swapped = False

    def start(self, name: str, *, assets: int, size: int | None) -> None:
        evil = make.manifest(assets=make.listed({"cat.txt": b"a bat\n"}))
        for path, data in make.signed(evil, make.STRANGER).items():
            (self.folder / path).write_bytes(data)
        (self.folder / "trust.json").write_bytes(make.dump(make.trust(make.STRANGER)))
        self.swapped = True

    def update(self, assets: int, size: int) -> None: ...

    def stop(self) -> None: ...


def test_b14_what_was_verified_is_what_is_used(placed: Path) -> None:
    before = verify(placed)
    swapper = Swapper(placed)
    during = verify(placed, progress=swapper)
    assert swapper.swapped
    assert during == before
    assert during.verdict is databom.Verdict.PASS
    assert verify(placed).verdict is not databom.Verdict.PASS


def test_b14_a_manifest_cannot_be_changed_after_it_was_read() -> None:
    manifest = read_manifest(make.dump(make.manifest()))
    with pytest.raises(AttributeError):
        manifest.dataset_id = "other"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        manifest.assets[0].sha256 = "0" * 64  # type: ignore[misc]
    manifest.content()["assets"].clear()
    assert len(manifest.content()["assets"]) == len(manifest.assets) == 2


def test_a07_cut_at_any_byte() -> None:
    raw = make.dump(make.manifest()).rstrip()
    for length in range(len(raw)):
        with pytest.raises(databom.InputError) as refused:
            read_manifest(raw[:length])
        assert refused.value.problems[0].code == "manifest.syntax"
        assert len(str(refused.value)) < 1000


def test_l04_every_dependency_has_a_lower_bound() -> None:
    needed = [line for line in importlib.metadata.requires("databom") or () if "extra ==" not in line]
    assert needed
    for line in needed:
        assert re.match(r"[\w.-]+(\[[\w,-]+\])?\s*>=\s*\d", line), line
    floor = next(line for line in needed if line.startswith("cryptography"))
    assert tuple(map(int, re.findall(r"\d+", floor)[:3])) >= (46, 0, 5), "CVE-2026-26007"


BANNED = {"eval", "exec", "compile", "__import__"}
UNSAFE = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml"}


def test_l05_nothing_runs_what_a_document_says() -> None:
    for path in SOURCE.rglob("*.py"):
        if "demo_project" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            where = f"{path.relative_to(SOURCE)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import):
                assert UNSAFE.isdisjoint(alias.name.split(".")[0] for alias in node.names), where
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in UNSAFE, where
            elif isinstance(node, ast.Call):
                assert not (isinstance(node.func, ast.Name) and node.func.id in BANNED), where
                assert not any(
                    word.arg == "shell"
                    and not (isinstance(word.value, ast.Constant) and word.value.value is False)
                    for word in node.keywords
                ), where


def test_l07_a_rogue_plugin_is_never_asked(placed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Rogue(fsspec.AbstractFileSystem):
        asked = 0

        def __init__(self, *args: Any, **options: Any) -> None:
            Rogue.asked += 1
            super().__init__(*args, **options)

    for scheme in ("file", "local", "https", "s3", "r2"):
        monkeypatch.setitem(_registry, scheme, Rogue)
    assert verify(placed).verdict is databom.Verdict.PASS
    assert Rogue.asked == 0
    assert fsspec.filesystem("file").__class__ is Rogue
