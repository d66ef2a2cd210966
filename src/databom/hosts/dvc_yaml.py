"""`dvc.yaml` as text: the stages that are ours.

One stage per pin. Its shape decides what DVC can and cannot skip; each line has a reason:

    databom-<pin>:                       # a namespace of our own, of characters DVC allows in a stage's name
      desc: …
      cmd: databom sync <pin>            # stable: no version, no absolute path, no secret
      deps:                              # changed bytes re-run the stage
      - provenance/trust.json
      - provenance/manifests/<pin>.json  # and .dsse, .dsse.tsr, .index beside it
      - provenance/evidence/<pin>        # a folder that is always there: what is attached, and what is taken away
      params:                            # changed values re-run the stage; `dvc params diff` shows them
      - databom.lock: [pins.<pin>]
      - databom.toml:                    # all of it: a table that is not there yet cannot be named
      outs:
      - data/<pin>:
          cache: false                   # never copied, never `dvc push`ed, and no run cache, which would
          persist: true                  # bring back an old report without running us
          type: dataset
          meta: {release, license, creator}  # shown, never compared
      metrics:
      - provenance/reports/<pin>.json:   # not persisted: DVC deletes it *before* a run, so a run that fails
          cache: false                   # leaves none, and the training that depends on it cannot start
      meta: {databom: {schema: 1, pin: <pin>}}   # we wrote this stage; without the mark we never touch it

Everything here is text in, text out. The caller reads the file as UTF-8 without translating line ends, and
writes it atomically. A stage's own comments are lost when the stage is rewritten; no other line of the file
changes.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from databom.errors import ConfigError
from databom.hosts.dvc_state import in_dvc_project
from databom.hosts.yaml_text import YamlText
from databom.model.text import printable

if TYPE_CHECKING:
    from databom.model.lock import Pin

__all__ = [
    "StageSpec",
    "ensure_line",
    "ignore_line",
    "in_dvc_project",
    "owned_stages",
    "remove_stage",
    "stage_dependencies",
    "stage_for",
    "stage_name",
    "stage_steps",
    "upsert_stage",
]

FILE = "dvc.yaml"
SCHEMA = 1
_TEMPLATED = frozenset({"foreach", "do", "matrix"})
_KEPT = ("always_changed",)
"""What a person may add to our stage and we keep: it can only make the stage run more often."""
_META_CHARS = 500


class StageSpec(Struct, frozen=True, kw_only=True):
    """What a pin's stage says. Paths are POSIX and relative to `dvc.yaml`'s folder, or absolute."""

    pin: str
    path: str
    has_envelope: bool
    has_timestamps: bool = False
    has_index: bool = False
    trust_root: str = "provenance/trust.json"
    release: str | None = None
    license: str | None = None
    creator: str | None = None

    @property
    def name(self) -> str:
        """The stage's name."""
        return stage_name(self.pin)

    def body(self) -> dict[str, Any]:
        """The stage as data. DVC's templating is escaped: a license `${x}` is a text, not a lookup."""
        manifest = f"provenance/manifests/{self.pin}.json"
        beside = [f"{manifest}.dsse"] if self.has_envelope else []
        beside += [f"{manifest}.dsse.tsr"] if self.has_timestamps else []
        beside += [f"provenance/manifests/{self.pin}.index"] if self.has_index else []
        shown = {"release": self.release, "license": self.license, "creator": self.creator}
        meta = {key: printable(value, _META_CHARS) for key, value in shown.items() if value}
        out: dict[str, Any] = {"cache": False, "persist": True, "type": "dataset"}
        escaped: dict[str, Any] = _escaped(
            {
                "desc": f"Fetch and verify the data of pin {self.pin}",
                "cmd": f"databom sync {self.pin}",
                "deps": [self.trust_root, manifest, *beside, f"provenance/evidence/{self.pin}"],
                "params": [{"databom.lock": [f"pins.{self.pin}"]}, {"databom.toml": None}],
                "outs": [{self.path: {**out, "meta": meta} if meta else out}],
                "metrics": [{f"provenance/reports/{self.pin}.json": {"cache": False}}],
                "meta": {"databom": {"schema": SCHEMA, "pin": self.pin}},
            }
        )
        return escaped


def stage_name(pin: str) -> str:
    """The name of a pin's stage.

    The prefix keeps it apart from the team's own stages; a pin's name has only characters that are legal in a
    stage's name, and no dot, which DVC would read as a step into its params.
    """
    return f"databom-{pin}"


def stage_for(
    name: str,
    pin: Pin,
    *,
    trust_root: str,
    has_envelope: bool,
    has_timestamps: bool = False,
    has_index: bool = False,
) -> StageSpec:
    """The stage of a pin of `databom.lock`."""
    return StageSpec(
        pin=name,
        path=pin.path,
        has_envelope=has_envelope,
        has_timestamps=has_timestamps,
        has_index=has_index,
        trust_root=trust_root,
        release=pin.release,
        license=pin.license,
        creator=pin.creator_id,
    )


def upsert_stage(text: str | None, stage: StageSpec) -> str:
    """The text of `dvc.yaml` with our stage added, or brought up to date in place.

    Returns the very same text when the stage already says all this, however it is spelled. `always_changed`
    is kept; other additions to our stage are not (`frozen: true` would switch the verification off).

    Raises:
        ConfigError: the file is broken, a stage of that name is not ours, another stage writes to the same
            place, or the edit cannot be made without touching other lines.
    """
    document = YamlText(text or "", file=FILE)
    stages = document.section("stages")
    body = stage.body()
    if stage.name in stages:
        current = _require_ours(stages[stage.name], stage.name, stage.pin)
        body |= {key: current[key] for key in _KEPT if key in current}
        if current == body:
            return document.text
    for name, other in stages.items():
        if name != stage.name:
            _refuse_clash(str(name), other, stage)
    return document.put("stages", stage.name, body)


def remove_stage(text: str, pin: str) -> str:
    """The text of `dvc.yaml` without the stage of a pin; unchanged when there is none.

    Raises:
        ConfigError: the file is broken, or the stage of that name is not ours.
    """
    document = YamlText(text, file=FILE)
    name = stage_name(pin)
    if name not in document.section("stages"):
        return text
    _require_ours(document.section("stages")[name], name, pin)
    return document.drop("stages", name)


def owned_stages(text: str) -> dict[str, str]:
    """Pin name → stage name of every stage that carries our mark.

    Raises:
        ConfigError: the file is broken.
    """
    stages = YamlText(text, file=FILE).section("stages")
    marked = ((_marked_pin(stage), str(name)) for name, stage in stages.items())
    return {pin: name for pin, name in marked if pin is not None}


def frozen_stages(text: str) -> list[str]:
    """The stages DVC never runs because somebody froze them, sorted.

    Raises:
        ConfigError: the file is broken.
    """
    stages = YamlText(text, file=FILE).section("stages")
    return sorted(
        str(name) for name, stage in stages.items() if isinstance(stage, dict) and stage.get("frozen")
    )


def stage_dependencies(text: str, stage: str) -> list[str]:
    """The paths a stage depends on, relative to `dvc.yaml`'s folder (or absolute), sorted.

    `stage` is a name as `DVC_STAGE` gives it, also `train@item` for a templated one. A path that holds `${…}`
    is left out: only DVC can resolve it, and a dependency missed is a weaker claim, a wrong one a false one.

    Raises:
        ConfigError: the file is broken, or has no such stage.
    """
    return sorted(set(_paths(_stage(YamlText(text, file=FILE).section("stages"), stage), "deps")))


def stage_steps(text: str, stage: str) -> list[tuple[str, tuple[str, ...]]]:
    """What `dvc repro` of a stage runs: names and commands, upstream first, the stage itself last.

    As far as this file says it in plain text: templates are shown as they are written, and upstream are the stages
    one of whose outs is a dependency, or holds it, or lies in it.

    Raises:
        ConfigError: the file is broken, or has no such stage.
    """
    stages = YamlText(text, file=FILE).section("stages")
    bodies = {name: body for name in stages if (body := _body(stages, name)) is not None}
    found: dict[str, tuple[str, ...]] = {}

    def visit(name: str, body: dict[str, Any], path: tuple[str, ...]) -> None:
        wanted = _paths(body, "deps")
        for other, its in bodies.items():
            made = [out for kind in ("outs", "metrics", "plots") for out in _paths(its, kind)]
            if other not in (*path, *found) and any(_meet(one, out) for one in wanted for out in made):
                visit(str(other), its, (*path, other))
        commands = body.get("cmd")
        found[name] = tuple(map(str, commands if isinstance(commands, list) else [commands]))

    visit(stage, _stage(stages, stage), (stage, stage.partition("@")[0]))
    return list(found.items())


def _meet(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def _stage(stages: dict[Any, Any], stage: str) -> dict[str, Any]:
    body = _body(stages, stage if stage in stages else stage.partition("@")[0])
    if body is None:
        raise ConfigError(f"{FILE} has no stage {stage!r}")
    return body


def _body(stages: dict[Any, Any], name: str) -> dict[str, Any] | None:
    """A stage as it is written; of a templated one, the template."""
    body = stages.get(name)
    if isinstance(body, dict) and isinstance(body.get("do"), dict):
        body = body["do"]
    return body if isinstance(body, dict) else None


def ignore_line(path: str) -> tuple[str, str]:
    """Where and how git is told to ignore an out, as `dvc add` would: (folder of the `.gitignore`, its line).

    The leading slash anchors the name to that folder; git's wildcards in the name are escaped.
    """
    folder, name = posixpath.split(posixpath.normpath(path))
    escaped = re.sub(r"([\\*?\[ ])", r"\\\1", name)
    return folder or ".", f"/{escaped}"


def ensure_line(text: str | None, line: str) -> str:
    """The text of a `.gitignore` with `line` in it, at the end if it was not, in the file's own line ends."""
    text = text or ""
    if any(known.rstrip() in (line, f"{line}/") for known in text.splitlines()):
        return text
    newline = "\r\n" if "\r\n" in text else "\n"
    gap = newline if text and not text.endswith("\n") else ""
    return f"{text}{gap}{line}{newline}"


# --- whose stage is it ----------------------------------------------------------------------------------


def _mark(stage: object) -> dict[str, Any]:
    if not isinstance(stage, dict) or _TEMPLATED & stage.keys() or not isinstance(stage.get("meta"), dict):
        return {}
    mark = stage["meta"].get("databom")
    return mark if isinstance(mark, dict) else {}


def _marked_pin(stage: object) -> str | None:
    pin = _mark(stage).get("pin")
    return pin if isinstance(pin, str) else None


def _require_ours(stage: object, name: str, pin: str) -> dict[str, Any]:
    mark = _mark(stage)
    if not isinstance(stage, dict) or mark.get("pin") != pin:
        raise ConfigError(
            f"{FILE}: stage {name!r} was not written by databom and is left alone",
            hint="rename that stage, or choose another name for the pin with --name",
        )
    if mark.get("schema") != SCHEMA:
        raise ConfigError(
            f"{FILE}: stage {name!r} is of schema {mark.get('schema')!r}; this databom writes {SCHEMA}",
            hint="upgrade databom",
        )
    return stage


def _refuse_clash(name: str, other: object, stage: StageSpec) -> None:
    """Two stages with one out break every DVC command of the project, so the second is not written."""
    if _marked_pin(other) == stage.pin:
        raise ConfigError(
            f"{FILE}: stage {name!r} already syncs pin {stage.pin!r}",
            hint=f"rename it to {stage.name!r}, or remove it",
        )
    if not isinstance(other, dict):
        return
    ours = {posixpath.normpath(stage.path), f"provenance/reports/{stage.pin}.json"}
    for theirs in (path for kind in ("outs", "metrics", "plots") for path in _paths(other, kind)):
        for mine in ours:
            if mine == theirs or mine.startswith(f"{theirs}/") or theirs.startswith(f"{mine}/"):
                raise ConfigError(
                    f"{FILE}: stage {name!r} already writes {theirs}, which overlaps {mine}",
                    hint="choose another folder with --path, or take that out from the stage",
                )


def _paths(stage: dict[str, Any], kind: str) -> list[str]:
    """The literal paths of one list of a stage, seen from `dvc.yaml`'s folder."""
    wdir, entries = stage.get("wdir", "."), stage.get(kind)
    if not isinstance(wdir, str) or not isinstance(entries, list):
        return []
    names = [key for entry in entries for key in (entry if isinstance(entry, dict) else (entry,))]
    joined = (posixpath.join(wdir, name) for name in names if isinstance(name, str))
    return [posixpath.normpath(path) for path in joined if "${" not in path and "://" not in path]


def _escaped(value: Any) -> Any:
    if isinstance(value, dict):
        return {_escaped(key): _escaped(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_escaped(entry) for entry in value]
    return value.replace("${", "\\${") if isinstance(value, str) else value
