"""What `check(base=…)` compares, by the Python API, and that no key of the policy is forgotten."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib

import pytest

import databom
from databom.checks.changes import ORDERS, check_policy, settings
from databom.model.config import Config, default_config_text, parse_config
from support.house import House

DEFAULT = default_config_text("origin")
WITHOUT_ORDER = {
    "use.territory",
    "use.model",
    "policy.allow",
    "policy.deny",
    "policy.payer",
    "policy.own",
    "policy.scanners",
    "accept.license",
    "accept.payment",
    "accept.personal_data",
    "accept.coverage",
    "use.purpose",
    "log.location",
    "log.origin",
}


def test_every_key_is_compared_and_orders_name_keys_that_exist() -> None:
    keys = {f"{table}.{key}" for table, keys in tomllib.loads(DEFAULT).items() for key in keys}
    assert set(settings(parse_config(DEFAULT.encode()))) == keys - {"trust.root"}
    assert set(ORDERS) | WITHOUT_ORDER == keys - {"trust.root"}


@pytest.mark.parametrize(
    ("key", "before", "after"), [(key, i, j) for key, order in ORDERS.items() for i in order for j in order]
)
def test_lower_is_weaker_and_higher_is_silent(key: str, before: object, after: object) -> None:
    def policy(value: object) -> Config:
        table, _, name = key.partition(".")
        document = tomllib.loads(DEFAULT)
        document[table][name] = value
        lines = []
        for title, keys in document.items():
            lines.append(f"[{title}]")
            lines += [
                f"{name} = {str(v).lower() if isinstance(v, bool) else repr(v)}" for name, v in keys.items()
            ]
        return parse_config("\n".join(lines).encode())

    order = ORDERS[key]
    found = [one.subject for one in check_policy(policy(before), policy(after), approved=None)]
    assert found == ([key] if order.index(after) < order.index(before) else [])


@pytest.mark.skipif(shutil.which("git") is None, reason="needs the git program")
def test_the_api_answers_what_the_command_line_does(house: House) -> None:
    house.synced()

    def git(*arguments: str) -> None:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        subprocess.run(
            ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments],
            cwd=house.project,
            env={**environ, "GIT_CONFIG_GLOBAL": os.devnull},
            check=True,
        )

    git("init", "-q")
    git("add", "-A", "-f")
    git("commit", "-q", "-m", "x")
    root = house.project / "provenance" / "trust.json"
    root.write_bytes(root.read_bytes() + b" ")
    reports = databom.check(base="HEAD", project=house.project)
    assert reports.to_dict() == house.json("check", "--base", "HEAD").report
    assert reports.verdict.exit_code == 1
    with pytest.raises(databom.CheckFailed, match="changes since HEAD: fail"):
        reports.require()
    with pytest.raises(databom.ConfigError, match="names no commit"):
        databom.check(base="-x", project=house.project)
