"""`databom affected` and `databom revoke`: which models must go, and taking them out of use."""

from __future__ import annotations

import json
from pathlib import Path

import click

from databom.cli.lines import lines_as_text
from databom.cli.options import Common, common, reporting, write


@click.command()
@click.argument("target")
@common
def affected(options: Common, target: str) -> None:
    """List the releases, runs and models that stand on a creator, a dataset, a file or a pin.

    \b
    TARGET is one of
      creator:ID              everything that a manifest says is this creator's
      dataset:ID[@VERSION]    a dataset, or one release of it
      sha256:HEX              a file, a manifest, a tree, or a model that a run made, by its digest
      NAME                    every release that was ever pinned by this name

    The signed receipts in the log decide which run used what. Bytes are followed by their digest, under any name,
    through redaction, and through what a run made where that is the data of the next. A pin that was only present
    is a possible use, listed apart. Where a tracking server is configured, its runs and registered models are added,
    as its word.

    Exit 0: this is all that is known here; 3: something could not be looked at, and the answer says what.
    """  # noqa: D301  # \b is click's mark for a verbatim paragraph
    from databom.hosts.tracking import be_brief
    from databom.tasks.affecting import affected as task

    be_brief()
    answer = task(target, project=options.project, progress=options.bars())
    text = lines_as_text(answer.target, answer.lines(), quiet=options.quiet)
    nothing = "" if answer.releases or answer.runs else "\n\nnothing that is known here stands on it"
    options.show(answer.to_dict(), text + nothing)
    options.say(answer.sentence())
    if not answer.is_whole:
        raise click.exceptions.Exit(3)


@click.command()
@click.argument("notice", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--related", is_flag=True, help="Also freeze models of releases that only hold the same bytes.")
@reporting
def revoke(options: Common, notice: Path, related: bool) -> None:
    """Carry out NOTICE, a signed statement that takes the license of a release back.

    It is kept beside every pin of the release and logged: check, sync, exec, the stage and gate refuse it from then on.
    Registered versions of models whose run used it are marked (the tag databom.revoked) and lose their aliases; the log
    and another tag keep what those were. Nothing is deleted; what only shares bytes with it is told. A license that was
    given as irrevocable is not taken back by a notice: that is a claim, and legal decides.

    Exit 0: all of it is done; 1: the notice does not hold, nothing was done; 3: call it again, it does what is left.
    """
    from databom.hosts.tracking import be_brief
    from databom.tasks.revoking import revoke as task

    be_brief()
    done = task(notice, related=related, project=options.project, progress=options.bars())
    if done.affected is not None and options.json:
        report = done.report.strict() if options.strict else done.report
        value = {**report.to_dict(), "affected": done.affected.to_dict()}
        write(json.dumps(value, indent=2, ensure_ascii=False))
        options.say(report.sentence())
        raise click.exceptions.Exit(report.verdict.exit_code)
    if done.affected is not None and options.format == "text" and not options.quiet:
        write(lines_as_text(done.affected.target, done.affected.lines(), quiet=False) + "\n")
    options.answer(done.report)


@click.command()
@reporting
def drill(options: Common) -> None:
    """Go through the revocation of every pin without carrying it out: would it work here, today? Writes nothing.

    May anybody take a license back, would the log hear of it, does the tracking server answer; and of every pin, what
    stands on it. Exit 0: it would be carried out; 1: it would be refused; 3: something could not be looked at.
    """
    from databom.hosts.tracking import be_brief
    from databom.model.text import counted
    from databom.tasks.drilling import drill as task

    be_brief()
    done = task(project=options.project, progress=options.bars())
    options.say(f"what stands on {counted(len(done.affected), 'pin')} was found in {done.seconds:.1f} s")
    options._replace(verbose=True).answer(done.report)


COMMANDS = (affected, drill, revoke)
