"""One entry of one section of a YAML file, put or dropped as text.

Why not a round trip through a YAML library: even a careful one re-wraps a long command, moves a trailing
comment or drops a quote somewhere in a file that belongs to somebody else. Here the parser only says *where*
things are; the edit is a splice of characters, so every line that is not ours stays as it was by
construction.

Every edit is then proved: the new text is parsed, and apart from our entry it must hold exactly what the old
one held. An edit that cannot be proved is not made.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from databom.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONFLICT = re.compile(r"^(?:<{7}|>{7})(?: |\r?$)", re.MULTILINE)
_PLAIN = re.compile(r"[A-Za-z_/](?:[A-Za-z0-9_./@+-]|:(?=[A-Za-z0-9_/])| (?=[A-Za-z0-9_./@+-]))*\Z")
"""Texts that mean themselves without quotes in YAML 1.1 and 1.2: no number, date, flag or anchor."""
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})

_Edit = tuple[int, int, str]


class YamlText:
    """A YAML file whose root is a mapping, as text, as data, and as positions.

    `data` is what a safe load gives; an empty file is an empty mapping.
    """

    def __init__(self, text: str, *, file: str) -> None:
        """Read a text.

        Raises:
            ConfigError: not YAML, no mapping at the root, or merge-conflict markers. Names the line.
        """
        self.text = text
        self.file = file
        if conflict := _CONFLICT.search(text):
            line = text.count("\n", 0, conflict.start()) + 1
            raise ConfigError(f"{file}, line {line}: merge conflict markers", hint="resolve the conflict")
        data, self._root = _parse(text, file)
        if data is None:
            data = {}
        if not isinstance(data, dict):
            raise ConfigError(f"{file}, line 1: expected a mapping, found a {type(data).__name__}")
        self.data: dict[Any, Any] = data
        self._newline = "\r\n" if "\r\n" in text else "\n"

    def section(self, name: str) -> dict[Any, Any]:
        """The mapping under a top-level key; empty when the key is absent or null.

        Raises:
            ConfigError: it is there and not a mapping.
        """
        value = self.data.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise ConfigError(f"{self.file}: {name!r} must be a mapping, found a {type(value).__name__}")
        return value

    def put(self, section: str, key: str, body: dict[str, Any]) -> str:
        """The text with `section.key` set to `body`: behind the section's last entry, or replaced in place.

        Raises:
            ConfigError: there is no way to do it that leaves the rest as it is.
        """
        known = key in self.section(section)
        for edits in self._replacing(section, key, body) if known else self._adding(section, key, body):
            after = self._spliced(edits)
            if self._holds(after, section, key, body):
                return after
        raise self._refusal(section, key)

    def drop(self, section: str, key: str) -> str:
        """The text without `section.key`; the text itself when there is none.

        Raises:
            ConfigError: there is no way to do it that leaves the rest as it is.
        """
        if key not in self.section(section):
            return self.text
        after = self._spliced(self._dropping(section, key))
        if self._holds(after, section, key, None):
            return after
        raise self._refusal(section, key)

    # --- the edits --------------------------------------------------------------------------------

    def _adding(self, section: str, key: str, body: dict[str, Any]) -> Iterator[list[_Edit]]:
        if self._root is None:  # empty, or nothing but comments
            yield [self._block_at(len(self.text), {section: {key: body}}, 0)]
            return
        if self._entry(self._root, section) is None:
            if section in self.data:  # it comes from a merge key: nothing here to add to
                raise self._refusal(section, key)
            if self._root.flow_style:
                yield [self._flow_into(self._root, section, {key: body})]
            else:
                column = self._root.value[0][0].start_mark.column
                yield [self._block_at(self._end_of(self._root, column), {section: {key: body}}, column)]
            return
        head, value = self._find_section(section)
        if self._root.flow_style and self.data[section] is None:
            start, end = self._blank_value(head, value)
            yield [(start, end, f" {{{_flow(key, body)}}}")]
        elif not self._root.flow_style and (self.data[section] is None or self._is_bare(value)):
            column = head.start_mark.column + self._step()
            start, end = self._blank_value(head, value)
            yield [(start, end, ""), self._block_at(self._line_end(end), {key: body}, column)]
        elif value.flow_style:
            yield [self._flow_into(value, key, body)]
        else:
            column = value.value[0][0].start_mark.column
            yield [self._block_at(self._end_of(value, column), {key: body}, column)]
            # A literal block that ends the file without a newline would gain one from lines behind it.
            yield [self._block_at(self._line_start(value.value[0][0].start_mark.index), {key: body}, column)]

    def _replacing(self, section: str, key: str, body: dict[str, Any]) -> Iterator[list[_Edit]]:
        mapping, head, value = self._find(section, key)
        if mapping.flow_style:
            yield [(head.start_mark.index, value.end_mark.index, _flow(key, body))]
        else:
            start, end = self._lines_of(head, value)
            yield [(start, end, self._block({key: body}, head.start_mark.column))]

    def _dropping(self, section: str, key: str) -> list[_Edit]:
        mapping, head, value = self._find(section, key)
        heads = [pair[0] for pair in mapping.value]
        place = heads.index(head)
        if mapping.flow_style:
            if len(heads) == 1:
                return [(head.start_mark.index, value.end_mark.index, "")]
            if place + 1 < len(heads):
                comma = self.text.index(",", value.end_mark.index) + 1
                return [(head.start_mark.index, comma + (self.text[comma] == " "), "")]
            return [(mapping.value[place - 1][1].end_mark.index, value.end_mark.index, "")]
        start, end = self._lines_of(head, value)
        edits: list[_Edit] = [(start, end, "")]
        if len(heads) == 1:  # DVC refuses a null `stages`
            colon = self.text.index(":", self._find_section(section)[0].end_mark.index) + 1
            edits.insert(0, (colon, colon, " {}"))
        return edits

    def _spliced(self, edits: list[_Edit]) -> str:
        parts, at = [], 0
        for start, end, new in edits:
            parts += [self.text[at:start], new]
            at = end
        return "".join([*parts, self.text[at:]])

    def _holds(self, after: str, section: str, key: str, body: dict[str, Any] | None) -> bool:
        """Whether `after` says what this text says, but for our entry, which must be `body`."""
        try:
            new = YamlText(after, file=self.file)
            entry = new.section(section).get(key)
        except ConfigError:
            return False
        # repr and not ==: it tells 1 from true and from 1.0, knows the order, and NaN equals itself.
        rest, same = _without(new.data, section, key), _without(self.data, section, key)
        return bool(entry == body and repr(rest) == repr(same))

    # --- where things are ---------------------------------------------------------------------------

    def _entry(self, mapping: Any, key: str) -> tuple[Any, Any] | None:
        for head, value in mapping.value:
            if head.value == key:
                return (head, value)
        return None

    def _find_section(self, section: str) -> tuple[Any, Any]:
        found = self._entry(self._root, section)
        if found is None or found[1].start_mark.index < found[0].end_mark.index:  # a merge key; an alias
            raise self._refusal(section, section)
        return found

    def _find(self, section: str, key: str) -> tuple[Any, Any, Any]:
        mapping = self._find_section(section)[1]
        found = self._entry(mapping, key)
        if found is None or found[1].start_mark.index < found[0].end_mark.index:
            raise self._refusal(section, key)
        return (mapping, *found)

    def _lines_of(self, head: Any, value: Any) -> tuple[int, int]:
        start = self._line_start(head.start_mark.index)
        if self.text[start : head.start_mark.index].strip():  # `? key`, or something else before it
            raise ConfigError(f"{self.file}, line {head.start_mark.line + 1}: cannot edit this spelling")
        return start, self._content_end(value)

    def _is_bare(self, value: Any) -> bool:
        span = self.text[value.start_mark.index : value.end_mark.index]
        return bool(value.flow_style) and not span.strip("{} \t\r\n")

    def _blank_value(self, head: Any, value: Any) -> tuple[int, int]:
        """The characters of an empty value (`{}`, `~`, nothing) behind its key."""
        start = max(value.start_mark.index, self.text.index(":", head.end_mark.index) + 1)
        end = max(value.end_mark.index, start)
        if not self.text[end : self._line_end(end)].strip():
            start = len(self.text[:start].rstrip(" \t"))
        return start, end

    def _end_of(self, mapping: Any, column: int) -> int:
        """Where lines may be added behind a block mapping: after its comments at `column` or deeper."""
        at = probe = self._content_end(mapping)
        while probe < len(self.text):
            end = self._line_end(probe + 1)
            line = self.text[probe:end]
            bare = line.strip()
            if bare.startswith("#") and len(line) - len(line.lstrip(" ")) >= column:
                at = end
            elif bare:
                break
            probe = end
        return at

    def _content_end(self, node: Any) -> int:
        """The start of the first line that does not belong to a node.

        A block's end mark stands at the next token, behind blank lines and comments that are not part of it,
        so those are walked back; but what looks like one may be the tail of a literal text, whose own mark is
        exact.
        """
        end = int(node.end_mark.index)
        if node.id == "scalar" or node.flow_style:
            return self._line_end(end)
        line = self._line_start(end)
        end = line if not self.text[line:end].strip() else self._line_end(end)
        while end > 0:
            before = self._line_start(end - 1)
            bare = self.text[before:end].strip()
            if bare and not bare.startswith("#"):
                break
            end = before
        return max(end, self._line_end(_last_mark(node)))

    def _line_start(self, index: int) -> int:
        return self.text.rfind("\n", 0, index) + 1

    def _line_end(self, index: int) -> int:
        if index > 0 and self.text[index - 1] == "\n":
            return index
        newline = self.text.find("\n", index)
        return len(self.text) if newline < 0 else newline + 1

    # --- how we write ---------------------------------------------------------------------------------

    def _block_at(self, index: int, value: dict[str, Any], column: int) -> _Edit:
        lead = self._newline if index > 0 and self.text[index - 1] != "\n" else ""
        return (index, index, lead + self._block(value, column))

    def _flow_into(self, mapping: Any, key: str, body: dict[str, Any]) -> _Edit:
        index = self.text.index("{", mapping.start_mark.index) + 1
        return (index, index, _flow(key, body) + (", " if mapping.value else ""))

    def _block(self, value: dict[str, Any], column: int) -> str:
        step, dash = self._step(), self._dash()
        return "".join(line + self._newline for line in _lines(value, column, step, dash))

    def _step(self) -> int:
        """Columns by which this file indents a mapping in a mapping."""
        for head, value in _pairs(self._root):
            if value.id == "mapping" and not value.flow_style and value.value:
                step = value.value[0][0].start_mark.column - head.start_mark.column
                if step > 0:
                    return int(step)
        return 2

    def _dash(self) -> int:
        """Columns by which this file indents a list under its key; DVC itself writes none."""
        for head, value in _pairs(self._root):
            below = value.start_mark.line > head.start_mark.line
            if value.id == "sequence" and not value.flow_style and below:
                return max(0, int(value.start_mark.column - head.start_mark.column))
        return 0

    def _refusal(self, section: str, key: str) -> ConfigError:
        return ConfigError(
            f"{self.file}: cannot write {section}.{key} without changing other lines",
            hint=f"write {section!r} as a plain block, without anchors or merge keys around it",
        )


def _parse(text: str, file: str) -> tuple[Any, Any]:
    """The safe-loaded data and the node tree (None for a null document)."""
    from ruamel.yaml import YAML  # a heavy import
    from ruamel.yaml.error import YAMLError

    try:
        data = YAML(typ="safe", pure=True).load(text)
        root = YAML(typ="safe", pure=True).compose(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}, line {mark.line + 1}" if mark is not None else file
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError(f"{where}: not valid YAML: {problem}", hint=f"repair {file} first") from None
    except (RecursionError, ValueError) as error:  # ValueError: an impossible date or number
        raise ConfigError(f"{file}: not valid YAML: {type(error).__name__}") from None
    return data, None if data is None else root


def _without(data: dict[Any, Any], section: str, key: str) -> dict[Any, Any]:
    """The data without our entry; an empty section counts as no section."""
    rest = {name: entry for name, entry in (data.get(section) or {}).items() if name != key}
    others = {name: value for name, value in data.items() if name != section}
    return {**others, **({section: rest} if rest else {})}


def _pairs(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every (key, value) of every block mapping, in the order of the text."""
    if node is None or node.id == "scalar" or node.flow_style:
        return
    for item in node.value:
        if node.id == "mapping":
            if item[1].start_mark.index >= item[0].end_mark.index:  # not an alias
                yield item
                yield from _pairs(item[1])
        else:
            yield from _pairs(item)


def _last_mark(node: Any) -> int:
    """The end of the last leaf of a node, aliases aside."""
    if node.id == "scalar" or node.flow_style:
        return int(node.end_mark.index)
    start = int(node.start_mark.index)
    parts = (part for item in node.value for part in (item if node.id == "mapping" else (item,)))
    return max((_last_mark(part) for part in parts if part.start_mark.index >= start), default=start)


def _flow(key: str, body: dict[str, Any]) -> str:
    """JSON, which every flow mapping takes."""
    return json.dumps({key: body}, ensure_ascii=False)[1:-1]


def _lines(value: dict[str, Any], column: int, step: int, dash: int) -> Iterator[str]:
    pad = " " * column
    for key, entry in value.items():
        if isinstance(entry, dict):
            yield f"{pad}{_scalar(key)}:"
            yield from _lines(entry, column + step, step, dash)
        elif isinstance(entry, list):
            yield f"{pad}{_scalar(key)}:"
            bullet = " " * (column + dash) + "- "
            for item in entry:
                if isinstance(item, dict):
                    first, *rest = _lines(item, len(bullet), step, dash)
                    yield bullet + first.lstrip(" ")
                    yield from rest
                else:
                    yield bullet + _scalar(item)
        else:
            yield f"{pad}{_scalar(key)}: {_scalar(entry)}"


def _scalar(value: object) -> str:
    if isinstance(value, str) and _PLAIN.match(value) and value.casefold() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)
