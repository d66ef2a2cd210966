"""Write the two reference pages that can be read off the program: `reference/cli.md` and `reference/manifest.md`.

And the other way, for SARIF, what the page Findings says about each code: `src/databom/checks/formats/codes.json`.

`python docs/reference.py` writes them; `python docs/reference.py --check` says whether they are up to date (exit 1 when
not). A test asks the same, so none can fall behind.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import click

from databom.cli import cli

PAGES = Path(__file__).resolve().parent / "reference"
CODES = PAGES.parents[1] / "src" / "databom" / "checks" / "formats" / "codes.json"
WIDTH = 100

CLI_HEAD = """\
# Commands

<!-- Written by docs/reference.py. Do not edit. -->

stdout carries the answer, stderr the progress and one summary sentence. Exit codes, everywhere: **0** yes · **1** no ·
**2** usage or configuration · **3** could not answer · 130 Ctrl-C · 143 SIGTERM. An internal error is 3, never 1.

An argument that is a URL, holds `/` or ends in `.json` is a MANIFEST; anything else is a pin's NAME.
"""

MANIFEST_HEAD = """\
# Manifest

<!-- Written by docs/reference.py. Do not edit. -->

The signed JSON document that describes one release. The reference is the JSON Schema (2020-12) `{id}`,
which the package ships as `databom/model/schemas/manifest.v1.json`. How it is signed is in
[Marketplaces](../marketplaces.md#the-two-forms-of-signature). A [Croissant document](../marketplaces.md#croissant) can
stand in its place: it is read into the members below, and held to the same rules.

{comment}

A time is RFC 3339 with `Z`. Money is a decimal number in a string. Strings that are shown on one line hold no control
or invisible characters.
"""

SHARDS = """\
## Shards

A manifest lists its assets by `assets`, or in shards by `asset_index`, never by both. The shards together are the list:
`assetCount`, `totalBytes` and `dirHash1` of the signed statement are over all of them, and no two paths may collide
wherever they are listed. Shards may come in any order; a list that was sorted by path before it was cut is checked
fastest. A shard's bytes are held against `sha256` and `size` before anything parses them, and only once the manifest's
signature holds.

**NDJSON** (`application/x-ndjson`):

```text
shard = 1*( asset LF )         LF is 0x0A
asset                          an asset object as in `assets`, strict JSON (UTF-8), without a line feed in it
```

- One object a line and nothing else: no space around it, no empty line, no carriage return, no byte order mark.
- The last line ends in a line feed. The number of lines is `count`.
- What is refused in a manifest is refused here: repeated members, fractions, unsafe paths, and so on. Unknown members
  are kept and reported. A finding names the place as `<uri>:<line>/<member>`.
- Nothing is decompressed.

**Parquet** (`application/vnd.apache.parquet`; `pip install 'databom[parquet]'` reads it):

| column | type | |
|---|---|---|
| `path`, `sha256` | string | required, no nulls |
| `size` | an integer | |
| `media_type`, `license`, `creator_id`, `consent` | string | |
| `flags` | list of strings | |
| `redacted_from` | struct with `sha256`, a string | |

- One row an asset; the number of rows is `count`. A null is an absent member. Other columns of these types are kept and
  reported, like unknown members; columns of other types (floats, binary, nested structs) are refused.
- Any compression pyarrow reads. Decompressed, as NDJSON, a shard has at most 256 MiB, like every other.

| limit | |
|---|---|
| shards in an index | 10,000 |
| bytes of a shard | 268,435,456 |
| assets in a shard | 1,000,000 |
"""

MEANINGS = {
    "manifest.manifest_version": "the version of this format; absent means 1",
    "manifest.dataset_id": "the dataset's id at the marketplace",
    "manifest.version": "the release's version; never ordered, only compared for equality",
    "manifest.creator_id": "who made the data; sufficient attribution together with the release and the license",
    "manifest.marketplace_id": "the marketplace; then only its own role of the trust root may speak",
    "manifest.sequence": "grows with every release of the dataset: going back is `release.rollback`",
    "manifest.supersedes": "the manifest this one replaces, by digest; recorded",
    "manifest.issued_at": "when the marketplace said this",
    "manifest.expires_at": "from then on the marketplace no longer stands by it: `release.expired`",
    "manifest.license": "the terms, as the marketplace states them",
    "manifest.payment": "what was agreed and paid, as the marketplace states it; not a receipt",
    "manifest.consents": "consents the marketplace refers to: what allows it to hold data about people",
    "manifest.provenance": "where the data comes from; recorded",
    "manifest.classification": "how sensitive it is; recorded",
    "manifest.data-risk-reducing": "what was redacted, and how; recorded",
    "manifest.assets": "every file of the release, and nothing else; required unless there is an `asset_index`",
    "manifest.asset_index": "instead of `assets`: the [shards](#shards) that list every file of a large release",
    "manifest.signature": "the embedded signature; empty means that there is none",
    "hash.sha256": "other bytes, by their SHA-256",
    "asset.path": "where the file is, below the release's root",
    "asset.sha256": "of all its bytes",
    "asset.size": "its length in bytes; a download stops one byte after it",
    "asset.media_type": "recorded",
    "asset.license": "of this file, where it differs; judged for it",
    "asset.creator_id": "of this file, where it differs; credited too",
    "asset.consent": "which of `consents` covers it; recorded",
    "asset.flags": "recorded",
    "asset.redacted_from": "the file it was made from by redaction, by digest; recorded",
    "shard.uri": "where the shard is: a path below the manifest's own directory, by the rules for assets' paths; "
    "or an `https://`, `s3://` or `r2://` location without a query. Nothing else is accepted from a document",
    "shard.sha256": "of all its bytes",
    "shard.size": "its length in bytes",
    "shard.count": "how many assets it lists",
    "shard.media_type": "its form; it is never guessed",
    "license.type": "the marketplace's own word, as commercial or non-commercial; it can only narrow",
    "license.spdx": "the license; without it a release is refused (`license.missing`)",
    "license.revocable": "whether it can be taken back; held against the license",
    "license.text": "where the text is, and its digest; recorded",
    "license.valid_from": "from when it holds; before, it is `license.expired`",
    "license.valid_until": "until when it holds: then `license.expired`; in the BOM as its expiration",
    "license.permits": "RSL's usage words: what is permitted, and nothing else",
    "license.prohibits": "RSL's usage words: what is refused",
    "license.user": "RSL: which kinds of user",
    "license.geo": "RSL: where it may be used; ISO 3166-1 codes, EU, EEA or worldwide",
    "license.attribution": "what is to be said about the creator, in `ATTRIBUTION.md` and on a model's page",
    "license.signals": "what others say about using the data, as found; see [signals](../licenses.md#contradictions)",
    "signal.kind": "whose words: `rsl`, `aipref`, `content-signal`, `cawg` or `tdmrep`; another is left to a person",
    "signal.value": "the words themselves",
    "signal.uri": "where they were found; recorded",
    "payment.model": "how it is paid for",
    "payment.transaction_id": "which sale; missing is `payment.missing`, unless the model is free",
    "payment.amount": "a receipt must say the same",
    "payment.payer": "a receipt must say the same",
    "payment.payee": "a receipt must say the same",
    "payment.paid_at": "recorded",
    "payment.period": "of a subscription; as `{start, end}` in times or dates, it must not be over",
    "payment.schedule": "of a royalty; recorded",
    "payment.allocation": "which share goes to which creator: parts of 1 that add up to 1",
    "consent.subject": "whose",
    "consent.uri": "where it is",
    "consent.sha256": "its digest",
    "consent.scope": "for what",
    "consent.expires_at": "until when",
}
"""What each member means. A member of the schema that is not here stops this script."""


def commands(
    group: click.Group, path: tuple[str, ...] = ("databom",)
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with its full name, groups before what they hold."""
    context = click.Context(group)
    for name in sorted(group.list_commands(context)):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def help_of(path: tuple[str, ...]) -> str:
    """What `--help` prints, at a fixed width."""
    command: click.Command = cli
    context = click.Context(cli, info_name=path[0], terminal_width=WIDTH, **cli.context_settings)
    for name in path[1:]:
        assert isinstance(command, click.Group)
        found = command.get_command(context, name)
        assert found is not None
        command = found
        context = click.Context(
            command, info_name=name, parent=context, terminal_width=WIDTH, **command.context_settings
        )
    return command.get_help(context)


def cli_page() -> str:
    """The page of commands."""
    parts = [CLI_HEAD, f"## databom\n\n```text\n{help_of(('databom',))}\n```\n"]
    parts += [f"## {' '.join(path)}\n\n```text\n{help_of(path)}\n```\n" for path, _ in commands(cli)]
    return "\n".join(parts)


def manifest_page() -> str:
    """The page of the manifest's members."""
    text = (files("databom") / "model" / "schemas" / "manifest.v1.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    parts = [MANIFEST_HEAD.format(id=schema["$id"], comment=schema["$comment"])]
    parts.append(_members("The manifest", "manifest", schema, schema["$defs"]))
    for name, part in schema["$defs"].items():
        if "properties" in part:
            parts.append(_members(f"`{name}`", name, part, schema["$defs"]))
    parts.append(SHARDS)
    return "\n".join(parts)


def _members(title: str, owner: str, part: dict[str, Any], known: dict[str, Any]) -> str:
    required = set(part.get("required", ()))
    rows = ["| member | meaning | form |", "|---|---|---|"]
    for name, member in part["properties"].items():
        mark = " (required)" if name in required else ""
        rows.append(f"| `{name}`{mark} | {MEANINGS[f'{owner}.{name}']} | {_what(member, known)} |")
    return f"## {title}\n\n" + "\n".join(rows) + "\n"


def _what(member: dict[str, Any], known: dict[str, Any]) -> str:
    if "else" in member:  # an optional member: null, or what it is
        member = member["else"]
    if "$ref" in member:
        name = member["$ref"].rpartition("/")[2]
        target = known[name]
        return f"{_text(target)}: see [{name}](#{name})" if "properties" in target else _text(target)
    if member.get("type") == "array" and "$ref" in member.get("items", {}):
        return f"{_text(member)}, each: {_what(member['items'], known)}"
    if member.get("type") == "object" and "properties" in member:
        inside = "; ".join(f"`{name}`: {_what(one, known)}" for name, one in member["properties"].items())
        return f"{_text(member)} ({inside})"
    return _text(member)


def _text(part: dict[str, Any]) -> str:
    text = str(part.get("description") or part.get("type") or "")
    return text.replace("|", "\\|").replace(", none of them control or invisible characters", "")


def codes() -> str:
    """What each code says and what to do about it, as plain text, a code a line; of a code with two rows, both."""
    known: dict[str, list[list[str]]] = {}
    for line in (PAGES / "findings.md").read_text(encoding="utf-8").splitlines():
        cells = [_plain(cell) for cell in line.strip("|").split(" | ")]
        if (
            line.startswith("| `") and len(cells) > 2
        ):  # with two cells: of a file, where no report can be made
            known.setdefault(cells[0], []).append(cells[-2:])
    rows = {
        code: ["; or: ".join(dict.fromkeys(said)) for said in zip(*rows, strict=True)]
        for code, rows in known.items()
    }
    lines = (
        f"{json.dumps(code)}: {json.dumps(row, ensure_ascii=False)}" for code, row in sorted(rows.items())
    )
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _plain(cell: str) -> str:
    """A cell without its Markdown."""
    return re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", cell).replace("`", "").replace("**", "").strip()


def main(arguments: list[str]) -> int:
    """Write or check the files; the exit code."""
    stale = []
    texts = {PAGES / "cli.md": cli_page(), PAGES / "manifest.md": manifest_page(), CODES: codes()}
    for path, text in texts.items():
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(path.relative_to(PAGES.parents[1]))
        if "--check" not in arguments:
            path.write_text(text, encoding="utf-8")
    verb = "would be" if "--check" in arguments else "was"
    for name in stale:
        print(f"{name} {verb} rewritten")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
