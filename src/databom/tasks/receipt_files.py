"""The files in which a run waits for its receipt, by their form: what another machine wrote, or nobody, is none."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from databom.errors import DatabomError
from databom.model.digest import is_digest
from databom.storage import files
from databom.storage.machine import machine
from databom.tasks.intents import PIN_MEMBERS, VERSION

MAX_RECORD_BYTES = 64 * 1024 * 1024
NOBODY = None
"""The owner of what any process may see to."""
PLAIN = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
ENDING_ID = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}\Z")
_ATTACHED = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")


def read_record(path: Path, *, closed: bool = True) -> dict[str, Any] | None:
    """What was written down of a run on this machine, when it began or once it is closed; None for any other file."""
    try:
        value: Any = json.loads(files.read_bounded(path, MAX_RECORD_BYTES))
        texts = ("id", "run", *(() if closed else ("owner", "started")))
        good = (
            value["version"] == VERSION
            and value["machine"] == machine()
            and all(isinstance(value[name], str) for name in texts)
            and (value["owner"] is NOBODY or PLAIN.match(value["owner"]))
            and isinstance(value["tracking"], str | None)
            and ENDING_ID.match(value["id"])
            and path.name == f"{value['id']}.json"
            and (_is_closed(value) if closed else _are_pins(value["pins"]))
        )
    except (DatabomError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return value if good else None


def _are_pins(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(one, dict) and one.keys() <= set(PIN_MEMBERS) for one in value.values()
    )


def _is_closed(value: Mapping[str, Any]) -> bool:
    definition = value["statement"]["predicate"]["buildDefinition"]
    return (
        isinstance(definition["internalParameters"], dict)
        and isinstance(value["closed"], int)
        and all(isinstance(one, str) for one in value["models"])
        and isinstance(value["files"], dict)
        and all(_ATTACHED.match(name) and isinstance(text, str) for name, text in value["files"].items())
        and isinstance(value["bom"], str | None)
        and isinstance(value["attach"], bool)
        and (value["earlier"] is None or is_digest(value["earlier"]))
    )
