"""Text from documents inside Markdown: only ever text, in GitHub's, GitLab's and MLflow's readers alike."""

from __future__ import annotations

import re
from urllib.parse import quote

from databom.model.text import printable

_PUNCTUATION = re.compile(r"[\\`*_{}\[\]()#|~^$]")
_LINK = re.compile(r"://|(?i:www)(?=\.)|(?i:mailto:)|(?<!\w)@|@(?=[\w-]+\.)")
"""What some readers make a link or a mention of, unasked."""
_URL_CHARS = 4_096
_URL_SAFE = "/:?#[]@!$&'()*+,;=%~._-"
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")


def plain(text: str, limit: int) -> str:
    """The text as Markdown that shows just it, on one line: no markup, HTML, link or mention, in `limit` characters."""
    import html

    line = printable(" ".join(text.split()), limit)
    parts = re.split(r"([&<>\"])", line)
    return "".join(html.escape(part) if part in {"&", "<", ">", '"'} else _inert(part) for part in parts)


def link(url: str) -> str:
    """A link that shows where it leads; anything but a web address is only text."""
    if not url.startswith(("https://", "http://")):
        return plain(url, _URL_CHARS)
    return f"<{quote(url, safe=_URL_SAFE)}>"


def _inert(text: str) -> str:
    return _LINK.sub(_parted, _PUNCTUATION.sub(lambda found: f"\\{found[0]}", text))


def _parted(link: re.Match[str]) -> str:
    text = link[0]
    return f"&#58;{text[1:]}" if text == "://" else f"{text[:-1]}&#{ord(text[-1])};"


def shown_text(markdown: str) -> str:
    """What a reader of a page sees of its plain words: comments gone, escapes undone, white space as single spaces."""
    import html

    seen = _COMMENT.sub("", markdown)
    return " ".join(html.unescape(_ESCAPED.sub(r"\1", seen)).split())
