"""`databom.toml`: what the team decided, in git.

The keys are data (`_TABLES`): one row says a key's default, what it may be, and the comment `init` writes.
Signature, integrity and license are always required; no key lowers them. An unknown key is an error that
names the nearest valid one, because a policy with a typo is a policy that does not hold.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from msgspec import Struct, field

from databom.errors import ConfigError
from databom.model.countries import CODES as COUNTRIES
from databom.model.digest import sha256

MAX_CONFIG_BYTES = 1024 * 1024
FILE = "databom.toml"


class _Key(NamedTuple):
    default: str | bool | tuple[str, ...]
    choices: Collection[str] | None
    """What the value, or each member of a list, must be one of."""
    comment: str = ""


_MAX_LISTED = 20
"""Choices that a message lists."""
_LEVELS = ("off", "warn", "require")
ROLES = ("legal", "billing", "steward", "mlops")
"""Roles of people who may accept what a check alone cannot."""
_TABLES: dict[str, dict[str, _Key]] = {
    "use": {
        "purpose": _Key(
            "train", ("train", "fine-tune", "evaluate", "retrieve"), "train | fine-tune | evaluate | retrieve"
        ),
        "commercial": _Key(True, None, "whether the model, or what it makes, is used commercially"),
        "distribute": _Key("none", ("none", "api", "weights"), "none | api | weights"),
        "territory": _Key(
            (), COUNTRIES, 'ISO 3166-1 codes of where it is used, ["DE", "US"]; [] is not said'
        ),
        "model": _Key(
            "generative", ("generative", "discriminative"), "what is trained: generative | discriminative"
        ),
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
        "scanners": _Key((), None, "scanners that must have looked, beside the built-in ones"),
        "coverage": _Key("warn", _LEVELS, "data no pin covers: off | warn | require"),
        "risk": _Key("normal", ("normal", "high"), "normal | high (legal approves every pin)"),
        "allow": _Key((), None, "SPDX ids that are always allowed"),
        "deny": _Key((), None, "SPDX ids that are never allowed"),
        "payer": _Key("", None, 'who a receipt must say has paid; "" is anybody'),
        "own": _Key((), None, "globs of paths of the team's own data, which no pin covers"),
    },
    "accept": {
        "license": _Key(("legal",), ROLES, "who may accept a license that needs a review"),
        "payment": _Key(("billing",), ROLES, "who may accept a payment that is not shown"),
        "personal_data": _Key(("legal", "steward"), ROLES, "who may waive what a scanner found"),
        "coverage": _Key(("steward",), ROLES, "who may accept data that no pin covers"),
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
    "use": "# What the data is used for: every license is judged against it.",
    "policy": "# What must hold. Signature, integrity and license are always required and cannot be lowered.",
    "accept": "# Which roles of the trust root may accept what (`databom approve`).",
    "trust": "# Who is believed.",
    "log": "# Where the evidence is kept.",
    "mlflow": "# What every MLflow run started in this project carries.",
}
_REQUIRED = ("use", "policy")
_VALUES = ("permit", "deny", "conditional", "unknown")
OBLIGATIONS = {
    "attribution": "attribution",
    "notice": "keeping its notices",
    "indicate_changes": "indicating changes",
    "share_alike": "share alike",
    "source_offer": "offering the source",
    "use_restrictions": "passing its use restrictions on",
}
"""What a license may ask in return, and how a sentence calls it."""
RIGHTS = {
    "reproduction": "keeping and reading copies",
    "commercial_use": "commercial use",
    "derivatives": "derivatives",
    "redistribution": "passing the data on",
    "ai_training": "training models",
    "genai_training": "training generative models",
    "sublicense_model": "giving away a model that was trained on it",
}
"""What a license may permit, and how a reason calls it."""
LICENSE = "license"
"""The table of the team's own licenses: `[license."LicenseRef-acme"]`."""
_LICENSE_KEYS = {
    "name": _Key("", None),
    "url": _Key("", None),
    "clause": _Key("", None),
    **{right: _Key("unknown", _VALUES) for right in RIGHTS},
    "obligations": _Key((), tuple(OBLIGATIONS)),
    "revocable": _Key("unknown", ("no", "yes", "on-breach", "unknown")),
    "territory": _Key((), COUNTRIES),
}


class Use(Struct, frozen=True):
    """The intended use."""

    purpose: str
    commercial: bool
    distribute: str
    territory: tuple[str, ...] = ()
    model: str = "generative"


class Policy(Struct, frozen=True):
    """What must hold before training, beyond signature, integrity and license."""

    payment: str
    attribution: str
    completeness: str
    personal_data: str
    coverage: str
    risk: str = "normal"
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    payer: str = ""
    own: tuple[str, ...] = ()
    scanners: tuple[str, ...] = ()


class Accept(Struct, frozen=True):
    """Which roles may accept what; an empty tuple: nobody."""

    license: tuple[str, ...] = ("legal",)
    payment: tuple[str, ...] = ("billing",)
    personal_data: tuple[str, ...] = ("legal", "steward")
    coverage: tuple[str, ...] = ("steward",)


class Config(Struct, frozen=True):
    """The whole of `databom.toml`, defaults filled in."""

    use: Use
    policy: Policy
    accept: Accept
    trust_root: str
    log_location: str
    log_origin: str
    mlflow_auto: str
    mlflow_mode: str
    licenses: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The team's own licenses by their `LicenseRef-…`, every key filled in; sorted."""

    @property
    def policy_digest(self) -> str:
        """`sha256:<hex>` of the RFC 8785 form of `{"accept": …, "policy": …, "use": …}`: goes into every report.

        A project that defines licenses has them there as `"license"`. All members are strings, booleans and lists of
        strings with ASCII keys, for which sorted compact JSON is RFC 8785.
        """
        parts = {"accept": self.accept, "policy": self.policy, "use": self.use}
        value: dict[str, Any] = {
            name: {key: getattr(part, key) for key in _TABLES[name]} for name, part in parts.items()
        }
        if self.licenses:
            value[LICENSE] = self.licenses
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
    return _config_of(document, where)


def _config_of(document: dict[str, Any], where: str) -> Config:
    # Before what is absent: a misspelled [policy] is both, and its own name is what helps.
    for name in document:
        if name not in _TABLES and name != LICENSE:
            raise ConfigError(f"{where}: unknown table or key '{name}'{_nearest(name, (*_TABLES, LICENSE))}")
    values = {name: _table(name, document, where) for name in _TABLES}
    for key in ("allow", "deny"):
        for one in values["policy"][key]:
            _check_license(f"policy.{key}", one, where)
    return Config(
        use=Use(**values["use"]),
        policy=Policy(**values["policy"]),
        accept=Accept(**values["accept"]),
        trust_root=values["trust"]["root"],
        log_location=values["log"]["location"],
        log_origin=values["log"]["origin"],
        mlflow_auto=values["mlflow"]["auto"],
        mlflow_mode=values["mlflow"]["mode"],
        licenses=_licenses(document.get(LICENSE, {}), where),
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
    return _filled(name, table, keys, where)


def _filled(name: str, table: object, keys: Mapping[str, _Key], where: str) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: '{name}' must be a table, written [{name}]")
    for key, value in table.items():
        if key not in keys:
            raise ConfigError(f"{where}: unknown key '{name}.{key}'{_nearest(key, keys)}")
        _check(f"{name}.{key}", value, keys[key], where)
    values = {key: table.get(key, spec.default) for key, spec in keys.items()}
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def _licenses(tables: object, where: str) -> dict[str, dict[str, Any]]:
    """The team's own licenses. Only a `LicenseRef-…` can be defined: what an SPDX id means is no choice of a team."""
    if not isinstance(tables, dict):
        raise ConfigError(f"{where}: '{LICENSE}' must hold tables, written [{LICENSE}.\"LicenseRef-…\"]")
    found: dict[str, dict[str, Any]] = {}
    for name, table in sorted(tables.items()):
        from databom.model.expression import is_reference

        if not is_reference(name):
            raise ConfigError(
                f"{where}: '{LICENSE}.{name}' must be named LicenseRef- and letters, digits, dots and hyphens",
                hint="[policy] allow and deny decide about SPDX ids",
            )
        if name.casefold() in map(str.casefold, found):
            raise ConfigError(
                f"{where}: '{LICENSE}.{name}' is defined twice; case does not tell licenses apart"
            )
        shown = f'{LICENSE}."{name}"'
        found[name] = _filled(shown, table, _LICENSE_KEYS, where)
    return found


def _check_license(name: str, text: str, where: str) -> None:
    """A policy that names a license nobody knows would never apply."""
    from databom.model.expression import unknown_in
    from databom.model.spdx_ids import IDS

    if (unknown := unknown_in(text)) is not None:
        raise ConfigError(
            f"{where}: {name} must list SPDX license ids, found {unknown!r}{_nearest(unknown, IDS, 5)}"
        )


def _check(name: str, value: object, spec: _Key, where: str) -> None:
    if isinstance(spec.default, tuple):
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise ConfigError(f"{where}: {name} must be a list of strings, found {value!r}")
        values = value
    else:
        wanted = type(spec.default)
        if type(value) is not wanted:
            kind = "true or false" if wanted is bool else "a string"
            raise ConfigError(f"{where}: {name} must be {kind}, found {value!r}")
        values = [value]
    for one in values:
        if spec.choices and one not in spec.choices:
            few = len(spec.choices) <= _MAX_LISTED
            known = ", ".join(spec.choices) if few else "the two-letter codes of ISO 3166-1, in capitals"
            near = _nearest(str(one), spec.choices, most=0) if few else ""
            raise ConfigError(f"{where}: {name} must be one of {known}, found {one!r}{near}")


def _nearest(word: str, valid: Iterable[str], most: int = 30) -> str:
    import difflib

    every = sorted(valid) if isinstance(valid, frozenset) else list(valid)
    # Case is what is mistaken most often.
    folded = {one.casefold(): one for one in every}
    close = difflib.get_close_matches(word.casefold(), list(folded), n=1, cutoff=0.5)
    if close:
        return f"; did you mean '{folded[close[0]]}'?"
    return f"; valid are {', '.join(every)}" if len(every) <= most else ""


def default_config() -> Config:
    """What `init` decides, for where there is no project."""
    return _config_of({name: {} for name in _REQUIRED}, FILE)


def choices(table: str, key: str) -> tuple[str, ...]:
    """The values that a key can have."""
    return tuple(_TABLES[table][key].choices or ())


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
