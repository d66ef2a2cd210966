"""An explanation as one HTML page that needs nothing else: no script, no font, no picture, no link out.

It is read on a phone and on paper too, in the dark, and aloud: a row's question is its header, and its strength is a
word before it is a color.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from databom.model.explanation import Explanation, Line

_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
:root {{ --back: #fff; --text: #1d1d1f; --quiet: #595c63; --line: #d5d7db;
  --verified: #17692e; --declared: #7a5200; --missing: #a01220; }}
@media (prefers-color-scheme: dark) {{ :root {{ --back: #16181c; --text: #e8e8ea; --quiet: #a3a7b0; --line: #3a3d44;
  --verified: #6fcf87; --declared: #e0b050; --missing: #ff8f8f; }} }}
body {{ background: var(--back); color: var(--text); font: 16px/1.5 system-ui, sans-serif;
  margin: 0 auto; max-width: 70em; overflow-wrap: anywhere; padding: 1.5em 1em; }}
h1 {{ font-size: 1.5em; line-height: 1.25; margin: 0 0 .5em; }}
h2 {{ font-size: 1.15em; margin: 2em 0 .5em; }}
table {{ border-collapse: collapse; table-layout: fixed; width: 100%; }}
td, th {{ border-top: 1px solid var(--line); padding: .4em 1em .4em 0; text-align: left; vertical-align: top; }}
th {{ font-weight: normal; width: 10em; }}
.strength {{ width: 6em; }}
th.answer {{ width: auto; }}
thead th {{ border: 0; color: var(--quiet); font-size: .85em; }}
small, dl {{ color: var(--quiet); font-size: .85em; }}
small {{ display: block; }}
dl {{ display: grid; gap: .2em 1em; grid-template-columns: 6em 1fr; margin: 1em 0; }}
dd {{ margin: 0; }}
.verified {{ color: var(--verified); }}
.declared {{ color: var(--declared); }}
.missing {{ color: var(--missing); font-weight: bold; }}
@media (max-width: 40em) {{
  tr {{ border-top: 1px solid var(--line); display: grid; grid-template-columns: 1fr auto; padding: .4em 0; }}
  td, th, td.strength {{ border: 0; padding: 0; width: auto; }}
  th {{ color: var(--quiet); }}
  td.strength {{ grid-column: 2; grid-row: 1; }}
  td.answer {{ grid-column: 1 / 3; }}
  thead {{ clip-path: inset(50%); height: 1px; overflow: hidden; position: absolute; width: 1px; }}
}}
@media print {{ body {{ max-width: none; padding: 0; }} tr {{ break-inside: avoid; }} }}
</style>
</head>
<body>
<main>
"""
_MEANING = {
    "verified": "a signature by whoever the trust root lets say this, a proof, or bytes by their digest, "
    "checked when this page was made",
    "declared": "the evidence named says so, and nothing more",
    "missing": "nothing shows it",
}
_COLUMNS = (
    '<thead><tr><th scope="col">question</th><th scope="col" class="strength">strength</th>'
    '<th scope="col" class="answer">answer, and what shows it</th></tr></thead>'
)


def to_html(explanation: Explanation) -> str:
    """The page. The same explanation gives the same bytes; every text is escaped."""
    return "".join(_page(explanation))


def _page(explanation: Explanation) -> Iterator[str]:
    title = escape(f"What is known of {explanation.asked}")
    yield _HEAD.format(title=title)
    yield f"<h1>{title}</h1>\n<p>{escape(explanation.sentence())}.</p>\n<dl>\n"
    yield f"<dt>receipt</dt><dd>{escape(explanation.receipt)}</dd>\n"
    yield f"<dt>trust root</dt><dd>{escape(explanation.trust)}</dd>\n"
    for strength, meaning in _MEANING.items():
        yield f'<dt class="{strength}">{strength}</dt><dd>{meaning}</dd>\n'
    yield "</dl>\n"
    for heading, lines in explanation.groups():
        yield f"<h2>{escape(heading)}</h2>\n<table>\n{_COLUMNS}\n<tbody>\n"
        yield from map(_row, lines)
        yield "</tbody>\n</table>\n"
    yield "</main>\n</body>\n</html>\n"


def _row(line: Line) -> str:
    return (
        f'<tr><th scope="row">{escape(line.title)}</th><td class="strength {line.strength}">{line.strength}</td>'
        f'<td class="answer">{escape(line.answer)}<small>{escape(line.evidence)}</small></td></tr>\n'
    )
