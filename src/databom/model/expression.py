"""SPDX license expressions: read with `license-expression`, kept as a small tree.

    Expression = Atom | Joint
    Atom       = one license: id, "or later", the exception that stands after WITH
    Joint      = AND or OR over two or more of them

Ids match in any case and are given back as the SPDX list spells them. NONE and NOASSERTION are expressions only alone.
Whether an id is known is said (`Atom.is_known`), not judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any, Literal

from msgspec import Struct

from databom.errors import InputError, Problem
from databom.model.claims import MAX_EXPRESSION_CHARS
from databom.model.spdx_ids import EXCEPTIONS, IDS
from databom.model.text import printable

MAX_DEPTH = 32
"""Parentheses within parentheses."""
NONE, NOASSERTION = "NONE", "NOASSERTION"

_REFERENCE = re.compile(r"(?:DocumentRef-[A-Za-z0-9.-]+:)?LicenseRef-[A-Za-z0-9.-]+", re.IGNORECASE)
_TOKEN = re.compile(r"[A-Za-z0-9.:+-]+")
_OPERATORS: dict[str, Literal["AND", "OR"]] = {"AND": "AND", "OR": "OR"}
_WORDS = frozenset({"and", "or", "with"})


class Atom(Struct, frozen=True):
    """One license. `name` is as the SPDX list spells it, or as it was written where the list does not have it."""

    name: str
    or_later: bool = False
    exception: str | None = None
    is_known: bool = True
    """Whether `name` is on the SPDX list."""

    @property
    def is_reference(self) -> bool:
        """Whether it is a `LicenseRef-…`, which means what whoever wrote it says it means."""
        return is_reference(self.name)

    @property
    def base(self) -> str:
        """The license without its exception."""
        return f"{self.name}+" if self.or_later else self.name

    def __str__(self) -> str:
        return f"{self.base} WITH {self.exception}" if self.exception else self.base


class Joint(Struct, frozen=True):
    """Licenses that are offered as a choice (OR), or that all hold (AND)."""

    operator: Literal["AND", "OR"]
    parts: tuple[Expression, ...]

    def __str__(self) -> str:
        shown = (f"({part})" if isinstance(part, Joint) else str(part) for part in self.parts)
        return f" {self.operator} ".join(shown)


Expression = Atom | Joint


@lru_cache(maxsize=1024)
def parse_expression(text: str) -> Expression:
    """The expression that a text is.

    Raises:
        InputError: it is none, or beyond a limit. Whether the licenses exist is not asked. Nothing else is raised.
    """
    if len(text) > MAX_EXPRESSION_CHARS:
        raise _no_expression(text, f"it has more than {MAX_EXPRESSION_CHARS:,} characters")
    word = text.strip()
    if word.casefold() not in _WORDS and _TOKEN.fullmatch(word):
        return _atom(word, None, text, alone=True)  # one license needs no parser
    depth = deepest = 0
    for character in text:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        raise _no_expression(text, f"its parentheses are more than {MAX_DEPTH} deep")
    try:
        return _tree(_parser().parse(text, simple=True), text)
    except InputError:
        raise
    except Exception as error:  # the parser's own errors are of several kinds
        raise _no_expression(text, "it does not parse") from error


def atoms(expression: Expression) -> Iterator[Atom]:
    """Every license of an expression, in order."""
    if isinstance(expression, Atom):
        yield expression
    else:
        for part in expression.parts:
            yield from atoms(part)


def is_reference(text: str) -> bool:
    """Whether a text is a `LicenseRef-…`, with a document's reference before it or without."""
    return _REFERENCE.fullmatch(text) is not None


def unknown_in(text: str) -> str | None:
    """What keeps a text from naming one license that is known, or that a team can define; None when nothing does."""
    try:
        found = parse_expression(text)
    except InputError:
        return printable(text)
    if not isinstance(found, Atom) or not (found.is_known or found.is_reference):
        return printable(text)
    if found.exception and found.exception not in EXCEPTIONS:
        return printable(found.exception)
    return None


@cache
def _known() -> dict[str, str]:
    return {name.casefold(): name for name in IDS}


@cache
def _parser() -> Any:
    from license_expression import Licensing  # late: it takes longer to import than to use

    return Licensing()


def _tree(node: Any, text: str) -> Expression:
    """The parser's tree as ours. Its depth is bounded by that of the parentheses."""
    operator = _OPERATORS.get(getattr(node, "operator", "").strip())
    if operator is not None:
        parts: list[Expression] = []
        for one in node.args:
            part = _tree(one, text)
            # "a OR (b OR c)" says no more than "a OR b OR c".
            parts += part.parts if isinstance(part, Joint) and part.operator == operator else (part,)
        return Joint(operator, tuple(parts))
    if hasattr(node, "exception_symbol"):
        return _atom(node.license_symbol.key, node.exception_symbol.key, text)
    return _atom(node.key, None, text)


def _atom(name: str, exception: str | None, text: str, *, alone: bool = False) -> Atom:
    if name.upper() in (NONE, NOASSERTION):
        if not alone:
            raise _no_expression(text, f"{name.upper()} stands alone or not at all")
        return Atom(name.upper(), is_known=False)
    for token in filter(None, (name, exception)):
        if not _TOKEN.fullmatch(token):
            raise _no_expression(text, "it holds characters that no license id has")
    if exception is not None:
        exception = _known().get(exception.casefold(), exception)
    if (whole := _known().get(name.casefold())) and whole not in EXCEPTIONS:
        return Atom(whole, exception=exception)  # "GPL-2.0+" is an id of its own
    base = name.removesuffix("+")
    known = _known().get(base.casefold())
    if known in EXCEPTIONS:
        known = None
    return Atom(known or base, base != name, exception, is_known=known is not None)


def _no_expression(text: str, why: str) -> InputError:
    return InputError(
        Problem(
            "license.unknown",
            None,
            f"the license is no SPDX expression: {why}",
            expected="SPDX ids joined by AND, OR and WITH",
            found=printable(text),
            do="ask the marketplace for the license's SPDX id",
        )
    )
