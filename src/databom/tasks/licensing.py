"""`databom license`: what is decided about a license, and why. Reads only; asks no manifest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from databom.checks.deciding import Decision, Outcome, Rules, decide
from databom.checks.license import described
from databom.errors import ConfigError
from databom.model.config import FILE, OBLIGATIONS, Use, choices, default_config
from databom.model.rights import Terms, own_terms, table
from databom.model.text import printable
from databom.tasks.project import Project


class Explained(Struct, frozen=True):
    """A decision about one expression for one use."""

    expression: str
    use: Use
    decision: Decision
    policy: str | None
    """Digest of the project's policy; None where there is no project, and `init`'s defaults decided."""

    @property
    def is_allowed(self) -> bool:
        """Whether nobody needs to be asked."""
        return self.decision.outcome is Outcome.ALLOW

    def to_dict(self) -> dict[str, Any]:
        """As `--format json` writes it."""
        decision, use = self.decision, self.use
        return {
            "expression": self.expression,
            "decision": str(decision.outcome),
            "use": {
                "purpose": use.purpose,
                "commercial": use.commercial,
                "distribute": use.distribute,
                "territory": list(use.territory),
                "model": use.model,
            },
            "picked": None if decision.branch is None else printable(str(decision.branch), 1_000),
            "reasons": [
                {
                    "license": one.license or None,
                    "decision": str(one.outcome),
                    "code": one.code,
                    "right": one.right,
                    "what": one.text,
                    "clause": one.clause or None,
                    "note": one.note or None,
                }
                for one in decision.reasons
            ],
            "obligations": [
                {
                    "name": one.name,
                    "license": one.license,
                    "clause": one.clause or None,
                    "url": one.url or None,
                }
                for one in decision.obligations
            ],
            "licenses": [row_dict(one) for one in decision.terms],
            "policy": self.policy,
        }

    def to_text(self) -> str:
        """For people."""
        decision = self.decision
        lines = [f"{decision.outcome}: {self.expression}, to {described(self.use)}"]
        if decision.branch is not None and decision.outcome is not Outcome.DENY:
            lines.append(f"  by {printable(str(decision.branch), 1_000)}")
        lines += [f"  {one.outcome}: {one}" for one in decision.reasons]
        lines += [f"    {note}" for note in dict.fromkeys(one.note for one in decision.reasons if one.note)]
        for license_ in dict.fromkeys(one.license for one in decision.obligations):
            asked = [one for one in decision.obligations if one.license == license_]
            listed = (f"{OBLIGATIONS[one.name]}{f' ({one.clause})' if one.clause else ''}" for one in asked)
            lines.append(f"  {license_} asks for {', '.join(listed)}")
        for row in decision.terms:
            read = f", row of {row.reviewed}" if row.reviewed else ", defined in databom.toml"
            lines.append(f"  {row.id}: {row.name or 'no name'} {row.url}{read}".rstrip())
        return "\n".join(lines)


def explain_license(
    expression: str,
    *,
    purpose: str | None = None,
    commercial: bool | None = None,
    distribute: str | None = None,
    territory: tuple[str, ...] | None = None,
    model: str | None = None,
    project: Path | str | None = None,
) -> Explained:
    """Decide about an SPDX expression by the project's `[use]`, `[policy]` and own licenses, or by `init`'s defaults.

    What is given here takes the place of that key of `[use]`. What a manifest states beside its expression (dates,
    places, signals) is not asked: `databom check` does.

    Raises:
        ConfigError: the project's `databom.toml` cannot be used, or a value is none of its key's.
    """
    place = _project(project)
    config = default_config() if place is None else place.config
    given: dict[str, Any] = {
        "purpose": purpose,
        "commercial": commercial,
        "distribute": distribute,
        "territory": territory,
        "model": model,
    }
    for key, value in given.items():
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, str) and one not in choices("use", key):
                what = (
                    "an ISO 3166-1 code as DE"
                    if key == "territory"
                    else f"one of {', '.join(choices('use', key))}"
                )
                raise ConfigError(f"{key} must be {what}, found {one!r}")
    use = replace(config.use, **{key: value for key, value in given.items() if value is not None})
    decision = decide(expression, Rules.of(config, use))
    return Explained(
        printable(expression, 1_000), use, decision, place.config.policy_digest if place else None
    )


def licenses(*, project: Path | str | None = None) -> tuple[Terms, ...]:
    """Every license the decision knows: the team's own, then those of the table that databom ships.

    Raises:
        ConfigError: the project's `databom.toml` cannot be used.
    """
    place = _project(project)
    own = own_terms(place.config.licenses) if place else {}
    return (*own.values(), *(row for row in table() if row.id.casefold() not in own))


def row_dict(row: Terms) -> dict[str, Any]:
    """A license as `--format json` writes it."""
    return {
        "id": row.id,
        "name": row.name or None,
        "url": row.url or None,
        "rights": {
            right: {"value": value, "clause": clause or None} for right, (value, clause) in row.rights.items()
        },
        "obligations": row.obligations,
        "revocable": row.revocable[0],
        "territory": list(row.territory),
        "note": row.note or None,
        "reviewed": row.reviewed or None,
    }


def _project(folder: Path | str | None) -> Project | None:
    """The project that is named or around here; None where there is none."""
    if folder is None and not os.environ.get("DATABOM_PROJECT"):
        here = Path.cwd()
        if not any((one / FILE).is_file() for one in (here, *here.parents)):
            return None
    return Project.load(folder)
