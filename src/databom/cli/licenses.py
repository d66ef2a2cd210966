"""`databom license`."""

from __future__ import annotations

import click

from databom.cli.options import Common, common
from databom.model.config import choices


@click.group("license")
def license_() -> None:
    """What licenses permit, by the rights table and the project's rules."""


@license_.command()
@common
@click.argument("expression", metavar="EXPR")
@click.option("--purpose", type=click.Choice(choices("use", "purpose")), help="What the data is used for.")
@click.option("--commercial/--non-commercial", default=None, help="Whether the use is commercial.")
@click.option(
    "--distribute", type=click.Choice(choices("use", "distribute")), help="What others get of the model."
)
@click.option(
    "--territory", metavar="CODE", multiple=True, help="ISO 3166-1 code of where it is used; repeatable."
)
@click.option("--model", type=click.Choice(choices("use", "model")), help="What kind of model it is.")
def explain(
    options: Common,
    expression: str,
    purpose: str | None,
    commercial: bool | None,
    distribute: str | None,
    territory: tuple[str, ...],
    model: str | None,
) -> None:
    """Say whether EXPR, an SPDX license expression, permits a use, why, and what it asks in return.

    In a project its [use], [policy] and own licenses decide; an option takes the place of a key of [use].
    Elsewhere the defaults of `databom init` decide. Exit 0: allowed; 1: refused, or a person has to look.
    """
    from databom.tasks.licensing import explain_license

    found = explain_license(
        expression,
        purpose=purpose,
        commercial=commercial,
        distribute=distribute,
        territory=territory or None,
        model=model,
        project=options.project,
    )
    options.show(found.to_dict(), found.to_text())
    raise click.exceptions.Exit(0 if found.is_allowed else 1)


@license_.command("list")
@common
def list_(options: Common) -> None:
    """List every license the decision knows, the project's own first, and what each says of each right."""
    from databom.tasks.licensing import licenses, row_dict

    rows = licenses(project=options.project)
    signs = {"permit": "+", "deny": "-", "conditional": "?", "unknown": "?"}
    text = [
        f"{row.id}  {' '.join(f'{signs[row.value(right)]}{right}' for right in row.rights)}"
        f"  [{' '.join(row.obligations)}]"
        for row in rows
    ]
    options.show([row_dict(row) for row in rows], "\n".join(text))


COMMANDS = (license_,)
