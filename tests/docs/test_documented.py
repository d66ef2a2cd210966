"""The pages and the source name the same things: commands, findings, variables, extras, public names, tests."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import databom
import databom.mlflow
from databom.cli import cli
from databom.model.config import default_config_text
from docs.transcripts import ROOT, SNIPPETS, steps

SOURCE = ROOT / "src" / "databom"
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = [
    ROOT / "README.md",
    *(page for page in sorted(DOCS.rglob("*.md")) if page.parent != SNIPPETS),
]


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def constants() -> Iterator[tuple[Path, str]]:
    """Every string in the source that is not a docstring or part of an f-string."""
    for path in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(read(path))
        inside = {
            id(value) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for value in node.values
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
                yield path, node.value


# --- commands ----------------------------------------------------------------------------------------


def commands(group: Any = cli, path: tuple[str, ...] = ("databom",)) -> Iterator[tuple[tuple[str, ...], Any]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def test_the_generated_pages_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, str(DOCS / "reference.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}run: python docs/reference.py"


@pytest.mark.parametrize(
    ("path", "command"), list(commands()), ids=lambda one: "-".join(one) if type(one) is tuple else ""
)
def test_every_command_and_option_says_what_it_does(path: tuple[str, ...], command: Any) -> None:
    assert f"## {' '.join(path)}\n" in read(REFERENCE / "cli.md")
    assert command.help
    for parameter in command.params:
        if parameter.param_type_name == "option" and parameter.name not in UNHELPED:
            assert parameter.help, f"{' '.join(path)} --{parameter.name} has no help"


UNHELPED = {"keytype", "spec", "payment_model"}
"""Options whose choices say it all."""


def test_every_command_in_a_page_exists() -> None:
    known = {path[1] for path, _ in commands()}
    for page in PAGES:
        for step in steps(read(page)):
            for name in re.findall(r"\bdatabom ([a-z]+)", step.text) if step.kind == "command" else ():
                assert name in known, f"{page.name}: databom {name}"


# --- findings ----------------------------------------------------------------------------------------

ROOMS = (
    *(
        "manifest",
        "signature",
        "trust",
        "policy",
        "release",
        "integrity",
        "license",
        "attribution",
        "payment",
    ),
    *(
        "consent",
        "redaction",
        "pii",
        "approval",
        "coverage",
        "revocation",
        "receipt",
        "log",
        "capture",
        "storage",
        "lock",
    ),
    "mirror",
    "evidence",
    "rerun",
    "drill",
    "bundle",
)
CODE = re.compile(rf"(?:{'|'.join(ROOMS)})\.[a-z]+(?:-[a-z]+)*")
FILES = {
    "bundle.json",
    "receipt.tlog-proof",
    "log.pem",
    "manifest.json",
    "receipt.pem",
    "storage.py",
    "trust.json",
}
"""Look like codes and are file names."""
PREFIXES = {"manifest", "lock", "trust"}
"""Documents the strict reader refuses under codes of their own: `<prefix>.syntax`, `<prefix>.limit`."""


def test_every_finding_is_documented_and_every_documented_finding_exists() -> None:
    emitted = {text for _, text in constants() if CODE.fullmatch(text)} - FILES
    emitted |= {f"{prefix}.{kind}" for prefix in PREFIXES for kind in ("syntax", "limit")}
    page = read(REFERENCE / "findings.md")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    documented = {code for cell in rows for code in re.findall(r"`([^`]+)`", cell)}
    assert emitted - documented == set(), "emitted, not documented"
    assert documented - emitted == set(), "documented, not emitted"


def test_pages_name_no_other_finding() -> None:
    documented = set(CODE.findall(read(REFERENCE / "findings.md")))
    members = set(re.findall(r"payment\.[a-z_]+|license\.[a-z_]+", read(DOCS / "reference.py")))
    members |= {
        f"{table}.{key}" for table, keys in tomllib.loads(default_config_text("x")).items() for key in keys
    }
    for page in PAGES:
        named = set(re.findall(rf"`({CODE.pattern})`", read(page)))
        assert named - documented - members - FILES == set(), page.name


# --- environment variables ---------------------------------------------------------------------------

VARIABLE = re.compile(
    r"(?:DATABOM|AWS|R2|DVC)_[A-Z0-9_]+|NETRC|PYTHONPATH|SSL_CERT_FILE|HTTPS_PROXY|XDG_(?:CONFIG|CACHE)_HOME|(?:LOCAL|OMPI_COMM_WORLD|PMI|HOROVOD)_RANK|SLURM_PROCID"
)
NOT_THE_USERS = {"DVC_NO_ANALYTICS"}
"""Set by the demo for the programs it runs."""
READ_BY_LIBRARIES = {"AWS_SESSION_TOKEN", "AWS_CA_BUNDLE", "NO_PROXY"}
"""Documented because users need them; read by botocore and urllib."""


def test_every_variable_is_documented() -> None:
    read_here = {text for _, text in constants() if VARIABLE.fullmatch(text)} - NOT_THE_USERS
    page = read(REFERENCE / "environment.md")
    documented = {name.replace("<NAME>", "") for name in re.findall(r"`([A-Z0-9_]{4,}(?:<NAME>)?)`", page)}
    documented = {name for name in documented if "_" in name or name in {"NETRC", "PYTHONPATH"}}
    assert read_here - documented == set(), "read, not documented"
    assert documented - read_here - READ_BY_LIBRARIES == set(), "documented, not read"


# --- configuration, extras, public names ---------------------------------------------------------------


def test_every_key_of_the_configuration_is_documented() -> None:
    page = read(REFERENCE / "configuration.md")
    for table, keys in tomllib.loads(default_config_text("origin")).items():
        for key in keys:
            assert f"`{table}.{key}`" in page


def test_every_extra_is_documented() -> None:
    project = tomllib.loads(read(ROOT / "pyproject.toml"))["project"]
    text = read(ROOT / "README.md") + read(DOCS / "index.md") + read(ROOT / "CONTRIBUTING.md")
    named = {
        name
        for group in re.findall(r"'\.\[([a-z0-9,]+)\]'|--extra ([a-z]+)", text)
        for part in group
        for name in part.split(",")
    }
    assert named - {""} <= set(project["optional-dependencies"])
    assert set(project["optional-dependencies"]) - named == set()


def test_every_public_name_is_in_the_reference() -> None:
    headings = set(re.findall(r"heading: (\S+?)\}", read(REFERENCE / "python.md")))
    public = {f"databom.{name}" for name in databom.__all__ if not name.startswith("__")}
    assert public - headings == set(), "public, not documented"
    for heading in headings:
        value: Any = databom
        for part in heading.split(".")[1:]:
            value = (
                __import__(f"databom.{part}", fromlist=["_"])
                if part in {"mlflow", "dvc"}
                else getattr(value, part)
            )


# --- what pages point at -------------------------------------------------------------------------------


def test_every_test_a_guarantee_names_is_there() -> None:
    rows = [line for line in read(DOCS / "security.md").splitlines() if line.startswith("| ")]
    rows = [row for row in rows if not row.endswith("| shown by |")]
    assert len(rows) > 30
    for row in rows:
        *_, shown, end = row.split("|")
        assert end == ""
        named = re.findall(r"`(tests/[^`:]+)::(test_[a-z0-9_]+)`", shown)
        assert named or shown.strip() == "not shown", row
        for path, test in named:
            assert f"def {test}(" in read(ROOT / path), f"{path}::{test}"


def test_every_decision_is_listed() -> None:
    index = read(DOCS / "adr" / "index.md")
    listed = {int(number) for number in re.findall(r"(?m)^\| \[?(\d+)\b", index)}
    for page in (DOCS / "adr").glob("0*.md"):
        assert int(page.name[:4]) in listed
        assert 20 <= len(read(page).splitlines()) <= 90
    for name in re.findall(r"\((0[^)]+)\)", index):
        assert (DOCS / "adr" / name).is_file()


@pytest.mark.parametrize("page", [*ROOT.glob("*.md")], ids=lambda page: page.name)
def test_links_of_the_root_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", read(page)):
        if "://" not in target:
            assert (ROOT / target).exists(), target


def test_the_readme_has_two_set_up_commands_before_any_prose_about_them() -> None:
    text = read(ROOT / "README.md")
    blocks = re.findall(r"^```sh\n(.*?)\n```$", text, re.MULTILINE | re.DOTALL)
    assert blocks == [
        "python -m pip install uv && uv run --extra demo databom demo",
        "python -m pip install uv && uv run --extra dev ./check",
    ]
    above = text[: text.index("```sh")]
    assert "demo" not in above
    assert "./check" not in above


def test_the_example_of_the_floor_plan_is_the_one_in_the_pages() -> None:
    manifest = json.loads(
        re.sub(r"(?s)^.*?```json[^\n]*\n(.*)\n```.*$", r"\1", read(SNIPPETS / "example-manifest.md"))
    )
    for asset in manifest["assets"]:
        asset["sha256"] = "…"
    assert manifest == {
        "dataset_id": "hn-imagepack-2026-01",
        "version": "2026-01-10",
        "creator_id": "creator:alice",
        "license": {"type": "commercial", "spdx": "CC-BY-4.0", "revocable": False},
        "assets": [{"path": "images/cat1.jpg", "sha256": "…"}, {"path": "images/dog1.jpg", "sha256": "…"}],
        "signature": "",
    }
    for page in ("marketplaces.md", "auditors.md"):
        assert '--8<-- "example-manifest.md"' in read(DOCS / page)


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mkdocs",
            "build",
            "--strict",
            "--quiet",
            "--site-dir",
            str(tmp_path / "site"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for page in (tmp_path / "site").rglob("*.html"):
        # What a browser would fetch by itself: nothing from elsewhere.
        assert (
            re.findall(r'(?:<script[^>]+src|<link[^>]+href|<img[^>]+src)="(?:https?:)?//', read(page)) == []
        )
