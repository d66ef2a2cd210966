"""Rights signals: what others than the marketplace say about using the data, as the manifest carries it.

    aipref           Content-Usage: train-ai=n                            IETF AIPREF
    content-signal   Content-Signal: search=yes, ai-train=no              of robots.txt
    cawg             {"cawg.ai_training": {"use": "notAllowed"}}          a CAWG assertion, in JSON
    tdmrep           tdm-reservation: 1                                   W3C TDM Reservation Protocol
    rsl              an RSL 1.0 document                                  `model.rsl`

Each of the first four is read into `{word: bool}`, the words those of RSL: whether it permits a use, for each that it
names. A word nobody knows is left out, as those standards ask: what is not said is not permission.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from databom.errors import InputError
from databom.model import strictjson
from databom.model.claims import Signal

KINDS = ("aipref", "cawg", "content-signal", "rsl", "tdmrep")
_YES = frozenset({"y", "yes", "1", "?1", "true", "allowed"})
_NO = frozenset({"n", "no", "0", "?0", "false", "notallowed", "constrained"})
"""CAWG: what is constrained without saying how is not allowed."""
_WORDS: Mapping[str, Mapping[str, str]] = {
    "aipref": {"train-ai": "ai-train", "search": "search"},
    "content-signal": {"ai-train": "ai-train", "ai-input": "ai-input", "search": "search"},
    # Until C2PA 2.0 the assertion was C2PA's own, with the same entries.
    "cawg": {
        f"{owner}.{name}": word
        for owner in ("c2pa", "cawg")
        for name, word in (
            ("ai_training", "ai-train"),
            ("ai_generative_training", "ai-train-generative"),
            ("ai_inference", "ai-input"),
            ("data_mining", "data-mining"),
        )
    },
}


class Unreadable(Exception):  # noqa: N818  # never leaves the checks
    """A signal that is not what it says it is; str() says why."""


def said(signal: Signal) -> dict[str, bool]:
    """What a signal other than RSL permits and what it refuses, by RSL's words.

    Raises:
        Unreadable: it is none of its kind.
    """
    if signal.kind == "tdmrep":
        return _tdmrep(signal.value)
    words = _WORDS.get(signal.kind)
    if words is None:
        raise Unreadable("databom does not know this kind of signal")
    found: dict[str, bool] = {}
    for name, answer in _pairs(signal.value).items():
        if (word := words.get(name)) is None:
            continue
        if answer.casefold() not in _YES | _NO:
            raise Unreadable(f"{name} is neither yes nor no")
        found[word] = answer.casefold() in _YES
    return found


def _pairs(text: str) -> dict[str, str]:
    """`a=y, b=n;parameter`, with the header's name before it or without. The last of a repeated name counts."""
    text = re.sub(r"^\s*content-(?:usage|signal)\s*:", "", text, flags=re.IGNORECASE)
    if text.lstrip().startswith("{"):
        return _entries(_object(text))
    found: dict[str, str] = {}
    for item in text.split(","):
        name, _, answer = item.partition(";")[0].partition("=")
        if name.strip():
            found[name.strip().casefold()] = answer.strip()
    return found


def _entries(value: dict[str, Any]) -> dict[str, str]:
    entries = value.get("entries", value)
    if not isinstance(entries, dict):
        raise Unreadable("its entries are no object")
    found: dict[str, str] = {}
    for name, entry in entries.items():
        answer = entry.get("use") if isinstance(entry, dict) else entry
        found[str(name)] = str(answer)
    return found


def _object(text: str) -> dict[str, Any]:
    try:
        value = strictjson.loads(text.encode("utf-8", "surrogatepass"), prefix="signal")
    except InputError as error:
        raise Unreadable(f"it is no JSON: {error.problems[0].what}") from None
    if not isinstance(value, dict):
        raise Unreadable("it is no JSON object")
    return value


def _tdmrep(text: str) -> dict[str, bool]:
    """`tdm-reservation: 1`, as in a header, or the 0 or 1 alone; of several (a `tdmrep.json` lists places) any 1."""
    reserved = re.findall(r"tdm-reservation\"?\s*[:=]\s*\"?(\w*)", text, re.IGNORECASE) or [text.strip()]
    if not {"0", "1"}.issuperset(reserved):
        raise Unreadable("its tdm-reservation is neither 0 nor 1")
    return {"data-mining": "1" not in reserved}
