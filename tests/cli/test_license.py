"""A license that does not permit the use stops every door, and `databom license` says why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from databom.checks.changes import check_policy
from databom.errors import CheckFailed
from databom.model.config import parse_config
from databom.tasks.gating import gate
from support.house import FILES, House


def release(house: House, spdx: str) -> Path:
    manifest = house.release(FILES)
    house.ok(
        *("publish", manifest.parent, "--dataset-id", "hn-pets", "--version", "1", "--license", spdx),
        *("--creator", "creator:alice", "--key", house.key),
    )
    return manifest


def test_a_non_commercial_release_fails_a_commercial_build(house: House) -> None:
    house.init()
    answer = house.json("add", release(house, "CC-BY-NC-4.0"), "--name", "pets")
    assert (answer.code, answer.blocking) == (1, {"license.not-permitted"})
    assert (
        json.loads((house.project / "databom.lock").read_text())["pins"]["pets"]["license"] == "CC-BY-NC-4.0"
    )

    answer = house.json("sync", "pets")
    assert (answer.code, answer.blocking) == (1, {"license.not-permitted"})
    assert not (house.data / "images").exists()  # refused before anything was fetched

    answer = house.json("check")
    assert answer.code == 1
    assert "license.not-permitted" in answer.blocking

    ran = house.project / "ran"
    assert house.cli("exec", "pets", "--", "touch", ran).code == 1
    assert not ran.exists()


def test_the_same_release_is_fine_for_a_use_it_permits(house: House) -> None:
    house.init()
    toml = house.project / "databom.toml"
    toml.write_text(toml.read_text().replace("commercial = true ", "commercial = false"))
    house.ok("add", release(house, "CC-BY-NC-4.0"), "--name", "pets")
    house.ok("sync", "pets")
    assert not [one for one in house.json("check").findings if one["code"].startswith("license.")]


def test_a_refusal_names_the_license_beside_what_else_is_wrong(house: House) -> None:
    """Whoever reads only the exception of a run that was not created must not go and fetch data that it may not use."""
    house.init()
    house.cli("add", release(house, "CC-BY-NC-4.0"), "--name", "pets")
    with pytest.raises(CheckFailed, match=r"integrity\.missing .*; also license\.not-permitted\)"):
        gate(project=house.project).require()


def colleague(house: House) -> Path:
    key = house.base / "legal.pem"
    house.ok("key", "new", key)
    house.ok("trust", "add", f"{key}.pub", "--role", "legal")
    return key


@pytest.mark.parametrize("spdx", ["CC-BY-ND-4.0", "LicenseRef-acme", "no expression"])
def test_legal_accepts_what_needs_a_look(house: House, spdx: str) -> None:
    house.init()
    assert house.cli("add", release(house, spdx), "--name", "pets").code == 1
    key = colleague(house)
    why = ("--reason", "contract 12 read", "--expires", "30")
    house.ok("approve", "pets", "--key", key, "--role", "legal", *why)
    house.ok("sync", "pets")
    report = json.loads(house.ok("check", "--format", "json").out)["reports"][0]
    assert len(report["approvals"]) == 1


def test_nobody_accepts_what_is_refused(house: House) -> None:
    house.init()
    house.cli("add", release(house, "CC-BY-NC-4.0"), "--name", "pets")
    why = ("--reason", "please", "--expires", "30")
    assert house.cli("approve", "pets", "--key", colleague(house), "--role", "legal", *why).code != 0
    scope = ("--settles", "license.not-permitted:hn-pets@1")
    house.cli("approve", "pets", "--key", house.base / "legal.pem", "--role", "legal", *scope, *why)
    assert "license.not-permitted" in house.json("sync", "pets").blocking


def test_a_license_of_the_teams_own(house: House) -> None:
    house.init()
    manifest = release(house, "LicenseRef-acme")
    assert house.json("add", manifest, "--name", "pets").blocking == {"license.unknown"}
    toml = house.project / "databom.toml"
    before = toml.read_text()
    rights = "\n".join(
        f'{one} = "permit"' for one in ("reproduction", "commercial_use", "ai_training", "genai_training")
    )
    toml.write_text(f'{before}\n[license."LicenseRef-acme"]\n{rights}\n')
    house.ok("sync", "pets")
    house.ok("license", "explain", "LicenseRef-acme")
    toml.write_text(f'{before}\n[license."LicenseRef-acme"]\nai_trainin = "permit"\n')
    refused = house.cli("check")
    assert refused.code == 2
    assert "did you mean 'ai_training'?" in refused.err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("CC-BY-4.0",), 0, "allow: CC-BY-4.0"),
        (("cc-by-nc-4.0",), 1, "deny: CC-BY-NC-4.0 does not permit commercial use (section 2(a)(1))"),
        (("cc-by-nc-4.0", "--non-commercial"), 0, "allow"),
        (("CC-BY-SA-4.0", "--distribute", "weights"), 1, "review"),
        (("CC-BY-ND-4.0", "--purpose", "evaluate"), 0, "allow"),
        (
            ("LicenseRef-x", "--territory", "DE", "--model", "discriminative"),
            1,
            "is not defined in databom.toml",
        ),
        (("nonsense here",), 1, "no SPDX expression"),
    ],
)
def test_explain_needs_no_project(house: House, arguments: tuple[str, ...], code: int, says: str) -> None:
    answer = house.cli("license", "explain", *arguments)
    assert answer.code == code
    assert says in answer.out
    report = json.loads(house.cli("license", "explain", *arguments, "--format", "json").out)
    assert report["policy"] is None
    assert (report["decision"] == "allow") is (code == 0)


def test_explain_in_a_project_is_the_projects_answer(house: House) -> None:
    house.ok("init")
    toml = house.project / "databom.toml"
    toml.write_text(
        toml.read_text().replace("deny = []", 'deny = ["mit"]').replace("allow = []", 'allow = ["Beerware"]')
    )
    answer = house.cli("license", "explain", "MIT")
    assert answer.code == 1
    assert "is never allowed here, says [policy] deny" in answer.out
    report = json.loads(house.ok("license", "explain", "Beerware", "--format", "json").out)
    assert report["policy"].startswith("sha256:")


def test_explain_refuses_what_it_does_not_understand(house: House) -> None:
    assert house.cli("license", "explain", "MIT", "--purpose", "sell").code == 2
    assert house.cli("license", "explain", "MIT", "--territory", "XX").code == 2
    assert house.cli("license", "explain").code == 2
    (house.project / "databom.toml").write_text("[use]\n")
    assert house.cli("license", "explain", "MIT").code == 2


def test_list_shows_every_license_and_the_teams_own_first(house: House) -> None:
    house.ok("init")
    with (house.project / "databom.toml").open("a") as file:
        file.write('\n[license."LicenseRef-acme"]\nname = "Acme"\n')
    rows = json.loads(house.ok("license", "list", "--format", "json").out)
    assert rows[0]["id"] == "LicenseRef-acme"
    assert {"CC-BY-4.0", "ODbL-1.0"} <= {row["id"] for row in rows}
    assert "CC-BY-4.0" in house.ok("license", "list").out


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('deny = ["CC-BY-NC-4"]', "did you mean 'CC-BY-NC-4.0'?"),
        ('deny = ["apache2.0"]', "did you mean 'Apache-2.0'?"),
        ('allow = ["MIT OR ISC"]', "must list SPDX license ids"),
        ('allow = ["MIT WITH nothing"]', "found 'nothing'"),
    ],
)
def test_a_policy_that_would_never_apply_is_an_error(house: House, line: str, says: str) -> None:
    (house.project / "databom.toml").write_text(f"[use]\n[policy]\n{line}\n")
    refused = house.cli("check")
    assert refused.code == 2
    assert says in refused.err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[license."CC-BY-4.0"]\n', "must be named LicenseRef-"),
        ('[license."LicenseRef-a"]\nai_training = "maybe"\n', "must be one of permit"),
        ('[license."LicenseRef-a"]\nobligations = ["atribution"]\n', "did you mean 'attribution'?"),
        ('[license."LicenseRef-a"]\nterritory = ["EU"]\n', "ISO 3166-1"),
        ('[license."LicenseRef-a"]\n[license."licenseref-A"]\n', "defined twice"),
        ("[license]\nx = 1\n", "must be named LicenseRef-"),
        ("[licence]\n", "did you mean 'license'?"),
    ],
)
def test_a_definition_that_is_none_is_an_error(house: House, text: str, says: str) -> None:
    (house.project / "databom.toml").write_text(f"[use]\n[policy]\n{text}")
    refused = house.cli("check")
    assert refused.code == 2
    assert says in refused.err


@pytest.mark.parametrize(
    ("before", "after", "weaker"),
    [
        ("", '[license."LicenseRef-a"]\n', True),
        ('[license."LicenseRef-a"]\n', "", True),
        (
            '[license."LicenseRef-a"]\nai_training = "unknown"\n',
            '[license."LicenseRef-a"]\nai_training = "permit"\n',
            True,
        ),
        (
            '[license."LicenseRef-a"]\nai_training = "permit"\n',
            '[license."LicenseRef-a"]\nai_training = "deny"\n',
            False,
        ),
        (
            '[license."LicenseRef-a"]\nobligations = ["attribution"]\n',
            '[license."LicenseRef-a"]\nobligations = []\n',
            True,
        ),
        ('[license."LicenseRef-a"]\n', '[license."LicenseRef-a"]\n', False),
    ],
)
def test_a_branch_that_defines_a_license_anew_is_looked_at(before: str, after: str, weaker: bool) -> None:
    base, head = (parse_config(f"[use]\n[policy]\n{text}".encode()) for text in (before, after))
    found = list(check_policy(base, head, approved=None))
    assert bool(found) is weaker
    assert all(one.severity == "block" and one.subject.startswith("license.LicenseRef-a.") for one in found)
    assert all(one.severity == "info" for one in check_policy(base, head, approved=head.policy_digest))
    assert (base.policy_digest == head.policy_digest) is (base.licenses == head.licenses)
