"""`databom trust`: look at the trust root, change its keys, move to its next version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
import msgspec

from databom.cli.options import Common, common, reporting, write

if TYPE_CHECKING:
    from databom.tasks.rotating import RootUpdate
    from databom.trust.root_changes import Change

FILE = click.Path(path_type=Path, dir_okay=False)
DRAFT = click.option(
    "--draft", type=FILE, metavar="FILE", help="Change this draft of the next version instead of the root."
)


@click.group()
def trust() -> None:
    """Decide which keys speak for which marketplace.

    \b
    Version 1 is plain JSON, edited in place and reviewed in git. Every later one is signed by the root keys:
      databom trust draft next.json               the next version, to edit
      databom trust remove KEYID --draft next.json
      databom trust add KEY.pub --marketplace ID --datasets GLOB --draft next.json
      databom trust sign next.json --key ME.pem   each of the root keys' owners, in turn
      databom trust diff next.json                what changes, and whether it would be accepted
      databom trust update next.json
    """  # noqa: D301  # \b is click's mark for a verbatim paragraph


@trust.command("add")
@click.argument("file", type=FILE, metavar="FILE.pub")
@click.option("--marketplace", metavar="ID", help="The marketplace this key speaks for.")
@click.option(
    "--datasets", metavar="GLOB", multiple=True, help="The dataset ids it may sign (repeatable), as hn-*."
)
@click.option("--role", metavar="ROLE", help="Instead of a marketplace: root, receipt, log, payment, …")
@click.option(
    "--threshold", type=click.IntRange(min=1), metavar="N", help="From now on N of the role's keys must sign."
)
@DRAFT
@common
def trust_add(
    options: Common,
    file: Path,
    marketplace: str | None,
    datasets: tuple[str, ...],
    role: str | None,
    threshold: int | None,
    draft: Path | None,
) -> None:
    """Add a public key to the project's version-1 trust root, or to a draft. Review the change like code."""
    from databom.tasks.keyring import trust_add as task

    keyid = task(
        file,
        marketplace=marketplace,
        datasets=datasets,
        role=role,
        threshold=threshold,
        draft=draft,
        project=options.project,
    )
    place = f"marketplace {marketplace} for {', '.join(datasets)}" if marketplace else f"role {role}"
    then = f" in {draft}, once that version is in force" if draft else "; commit the trust root"
    options.show(
        {
            "keyid": keyid,
            "marketplace": marketplace,
            "datasets": datasets,
            "role": role,
            "threshold": threshold,
        },
        keyid,
    )
    options.say(f"{keyid[:16]}… {'speaks' if draft else 'now speaks'} as {place}{then}")


@trust.command("remove")
@click.argument("keyid")
@DRAFT
@common
def trust_remove(options: Common, keyid: str, draft: Path | None) -> None:
    """Remove a key, from every role it holds. KEYID may be cut to its first 8 digits or more.

    A marketplace or role that is left without keys goes with it.
    """
    from databom.tasks.keyring import trust_remove as task

    whole, removed = task(keyid, draft=draft, project=options.project)
    options.show({"keyid": whole, "roles": removed.roles, "emptied": removed.emptied}, whole)
    gone = f"; no key is left for {', '.join(removed.emptied)}" if removed.emptied else ""
    where = f" in {draft}" if draft else "; commit the trust root"
    options.say(f"{whole[:16]}… no longer speaks as {', '.join(removed.roles) or 'anything'}{gone}{where}")


@trust.command("draft")
@click.argument("file", type=FILE)
@common
def trust_draft(options: Common, file: Path) -> None:
    """Write the next version of the project's trust root to FILE, unsigned, to edit and then to sign."""
    from databom.tasks.rotating import trust_draft as task

    root = task(file, project=options.project)
    options.show({"draft": str(file), "version": root.version, "digest": root.digest}, str(file))
    options.say(
        f"{file} is a draft of version {root.version}: edit it, then `databom trust sign {file} --key …`"
    )


@trust.command("sign")
@click.argument("file", type=FILE)
@click.option(
    "--key", "keys", type=FILE, multiple=True, required=True, help="A root key's private half (repeatable)."
)
@common
def trust_sign(options: Common, file: Path, keys: tuple[Path, ...]) -> None:
    """Sign a draft, or add signatures to one that others have signed, in place.

    Look at `databom trust diff FILE` first: you vouch for every key in it.
    """
    from databom.tasks.rotating import trust_sign as task

    signed = task(file, keys=keys, project=options.project)
    options.show(
        {
            "file": str(file),
            "version": signed.version,
            "digest": signed.digest,
            "signed_by": signed.signed_by,
        },
        "\n".join(signed.signed_by),
    )
    count = len(signed.signed_by)
    options.say(f"version {signed.version} now has {count} signature{'' if count == 1 else 's'}")


@trust.command("diff")
@click.argument("new", type=FILE, metavar="NEW.json")
@reporting
def trust_diff(options: Common, new: Path) -> None:
    """Show what an update would change, and whether it would be accepted. Writes nothing; exits as the update would."""
    from databom.tasks.rotating import trust_diff as task

    _answer(options, task(new, project=options.project), "would be accepted")


@trust.command("update")
@click.argument("new", type=FILE, metavar="NEW.json")
@reporting
def trust_update(options: Common, new: Path) -> None:
    """Move to the next version of the trust root, signed by enough keys of this version and of its own.

    Its version and digest are remembered in databom.lock: no older one is believed again. A refusal writes
    nothing. `databom trust diff` shows the same without doing it.
    """
    from databom.tasks.rotating import trust_update as task

    update = task(new, project=options.project)
    done = "is in force: commit the trust root and databom.lock" if update.changes else "was in force already"
    _answer(options, update, done)


@trust.command("show")
@click.option(
    "--trust", "trust_file", type=FILE, help="Another trust root than the one in force; also a draft."
)
@common
def trust_show(options: Common, trust_file: Path | None) -> None:
    """Print the trust root in force so that a person can review it."""
    from databom.cli.review import as_dict, as_text
    from databom.model import times
    from databom.tasks.keyring import trust_show as task

    root, now = task(project=options.project, trust=trust_file), times.now()
    # The document as it is written: it was read strictly before.
    options.show({**as_dict(root, now), **json.loads(root.payload)}, as_text(root, now))


def _answer(options: Common, update: RootUpdate, accepted: str) -> NoReturn:
    report = update.report.strict() if options.strict else update.report
    code = report.verdict.exit_code
    if options.json:
        changes = [msgspec.structs.asdict(change) for change in update.changes]
        value: dict[str, Any] = {**report.to_dict(), "version": update.version, "changes": changes}
        write(json.dumps(value, indent=2, ensure_ascii=False))
    else:
        if options.format == "text":
            for change in update.changes:
                write(_line(change))
        options._replace(quiet=True).write_report(report)
    count = len(report.blocking)
    refused = f"is refused for {count} reason{'' if count == 1 else 's'}"
    options.say(f"version {update.version} {refused if code else accepted}: {report.verdict.value}")
    raise click.exceptions.Exit(code)


def _line(change: Change) -> str:
    mark = {"added": "+", "removed": "-", "changed": "~"}[change.kind]
    values = [value for value in (change.before, change.after) if value is not None]
    shown = " → ".join(values) if not change.what.endswith(f" {values[-1]}") else ""
    text = f"{mark} {change.what}{': ' if shown else ''}{shown}"
    return click.style(text + "  (widens)", fg="yellow") if change.widens else text


COMMANDS = (trust,)
