"""`databom.toml`: what the team decided, in git.

The keys are data (`_TABLES`): one row says a key's default, what it may be, and the comment `init` writes.
Signature, integrity and license are always required; no key lowers them. An unknown key is an error that
names the nearest valid one, because a policy with a typo is a policy that does not hold.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from databom.errors import ConfigError
from databom.model.digest import sha256

MAX_CONFIG_BYTES = 1024 * 1024
FILE = "databom.toml"


class _Key(NamedTuple):
    default: str | bool
    choices: tuple[str, ...] | None
    comment: str = ""


_LEVELS = ("off", "warn", "require")
_TABLES: dict[str, dict[str, _Key]] = {
    "use": {
        "purpose": _Key(
            "train", ("train", "fine-tune", "evaluate", "retrieve"), "train | fine-tune | evaluate | retrieve"
        ),
        "commercial": _Key(True, None, "whether the model, or what it makes, is used commercially"),
        "distribute": _Key("none", ("none", "api", "weights"), "none | api | weights"),
    },
    "policy": {
        "payment": _Key(
            "declared",
            ("off", "declared", "signed"),
            "off | declared (a transaction id) | signed (a verified receipt)",
        ),
        "attribution": _Key("warn", _LEVELS, "off | warn | require"),
        "completeness": _Key(
            "warn", _LEVELS, "issued_at, creator_id, sizes, payment id: off | warn | require"
        ),
        "personal_data": _Key("off", _LEVELS, "off | warn | require"),
        "coverage": _Key("warn", _LEVELS, "data no pin covers: off | warn | require"),
    },
    "trust": {"root": _Key("provenance/trust.json", None, "which keys speak for which marketplace")},
    "log": {
        "location": _Key(".databom/log", None, "or s3://, r2://"),
        "origin": _Key("", None, "the log's own name; unique to this project"),
    },
    "mlflow": {
        "auto": _Key("full", ("full", "tags", "off"), "full | tags | off"),
        "mode": _Key("observe", ("observe", "enforce"), "observe | enforce"),
    },
}
_COMMENTS = {
    "use": "# What the data is used for. Recorded in every report; this version judges no license against it.",
    "policy": "# What must hold. Signature, integrity and license are always required and cannot be lowered.",
    "trust": "# Who is believed.",
    "log": "# Where the evidence is kept.",
    "mlflow": "# What every MLflow run started in this project carries.",
}
_REQUIRED = ("use", "policy")


@dataclass(frozen=True, slots=True)
class Use:
    """The intended use."""

    purpose: str
    commercial: bool
    distribute: str


@dataclass(frozen=True, slots=True)
class Policy:
    """What must hold before training, beyond signature, integrity and license."""

    payment: str
    attribution: str
    completeness: str
    personal_data: str
    coverage: str


@dataclass(frozen=True, slots=True)
class Config:
    """The whole of `databom.toml`, defaults filled in."""

    use: Use
    policy: Policy
    trust_root: str
    log_location: str
    log_origin: str
    mlflow_auto: str
    mlflow_mode: str

    @property
    def policy_digest(self) -> str:
        """`sha256:<hex>` of the RFC 8785 form of `{"policy": …, "use": …}`: goes into every report.

        All members are strings and booleans with ASCII keys, for which sorted compact JSON is RFC 8785.
        """
        value = {
            "policy": {key: getattr(self.policy, key) for key in _TABLES["policy"]},
            "use": {key: getattr(self.use, key) for key in _TABLES["use"]},
        }
        return sha256(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())


def parse_config(raw: bytes, *, where: str = FILE) -> Config:
    """Read `databom.toml`.

    Raises:
        ConfigError: not TOML, an unknown table or key (with the nearest valid name), a wrong type, a value
            outside its choices, a top-level key, or no `[use]` or `[policy]` table.
    """
    if len(raw) > MAX_CONFIG_BYTES:
        raise ConfigError(f"{where} is larger than {MAX_CONFIG_BYTES:,} bytes")
    import tomllib

    try:
        document = tomllib.loads(raw.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where} is not TOML: {error}", hint="see `databom init` for the form") from None
    # Before what is absent: a misspelled [policy] is both, and its own name is what helps.
    for name in document:
        if name not in _TABLES:
            raise ConfigError(f"{where}: unknown table or key '{name}'{_nearest(name, _TABLES)}")
    values = {name: _table(name, document, where) for name in _TABLES}
    return Config(
        use=Use(**values["use"]),
        policy=Policy(**values["policy"]),
        trust_root=values["trust"]["root"],
        log_location=values["log"]["location"],
        log_origin=values["log"]["origin"],
        mlflow_auto=values["mlflow"]["auto"],
        mlflow_mode=values["mlflow"]["mode"],
    )


def _table(name: str, document: dict[str, Any], where: str) -> dict[str, Any]:
    keys = _TABLES[name]
    table = document.get(name)
    if table is None:
        if name in _REQUIRED:
            raise ConfigError(
                f"{where} has no [{name}] table",
                hint=f"an absent [{name}] decides nothing; `databom init` in an empty folder shows the default",
            )
        table = {}
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: '{name}' must be a table, written [{name}]")
    for key, value in table.items():
        if key not in keys:
            raise ConfigError(f"{where}: unknown key '{name}.{key}'{_nearest(key, keys)}")
        _check(f"{name}.{key}", value, keys[key], where)
    return {key: table.get(key, spec.default) for key, spec in keys.items()}


def _check(name: str, value: object, spec: _Key, where: str) -> None:
    wanted = type(spec.default)
    if type(value) is not wanted:
        kind = "true or false" if wanted is bool else "a string"
        raise ConfigError(f"{where}: {name} must be {kind}, found {value!r}")
    if spec.choices and value not in spec.choices:
        raise ConfigError(
            f"{where}: {name} must be one of {', '.join(spec.choices)}, found {value!r}"
            f"{_nearest(str(value), spec.choices)}"
        )


def _nearest(word: str, valid: Any) -> str:
    import difflib

    close = difflib.get_close_matches(word, list(valid), n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; valid are {', '.join(valid)}"


def default_config_text(origin: str) -> str:
    """What `databom init` writes: every key with its default and a comment; only tables."""
    lines = ["# databom: train only on data this project can account for.", ""]
    for name, keys in _TABLES.items():
        lines += [_COMMENTS[name], f"[{name}]"]
        for key, spec in keys.items():
            value = origin if (name, key) == ("log", "origin") else spec.default
            text = f"{key} = {json.dumps(value)}"
            lines.append(f"{text:<36} # {spec.comment}" if spec.comment else text)
        lines.append("")
    return "\n".join(lines)
