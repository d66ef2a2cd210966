"""An explanation as one HTML page that needs nothing else: no script, no font, no picture, no link out."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from databom.model.explanation import Explanation

_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; }}
table {{ border-collapse: collapse; margin: 0 0 2em; width: 100%; }}
td, th {{ border-top: 1px solid #ccc; padding: .4em .8em .4em 0; text-align: left; vertical-align: top; }}
td {{ overflow-wrap: anywhere; }}
td:first-child {{ width: 9em; }}
.verified {{ color: #17692e; }} .declared {{ color: #7a5200; }} .missing {{ color: #a01220; font-weight: bold; }}
</style>
</head>
<body>
"""


def to_html(explanation: Explanation) -> str:
    """The page. The same explanation gives the same bytes; every text is escaped."""
    return "".join(_page(explanation))


def _page(explanation: Explanation) -> Iterator[str]:
    title = escape(f"What is known of {explanation.asked}")
    yield _HEAD.format(title=title)
    yield f"<h1>{title}</h1>\n<p>{escape(explanation.sentence())}.</p>\n"
    yield (
        f"<p>Receipt {escape(explanation.receipt)}, read by the trust root {escape(explanation.trust)}.<br>\n"
        "<b>verified</b>: a signature by whoever the trust root lets say this, a proof, or bytes by their digest, "
        "checked when this page was made. <b>declared</b>: the evidence named says so, and nothing more. "
        "<b>missing</b>: nothing shows it.</p>\n"
    )
    for heading, lines in explanation.groups():
        yield f"<h2>{escape(heading)}</h2>\n<table>\n"
        for line in lines:
            cells = f"<td>{escape(line.title)}</td><td>{escape(line.answer)}</td>"
            yield (
                f'<tr>{cells}<td class="{line.strength}">{line.strength}</td><td>{escape(line.evidence)}</td></tr>\n'
            )
        yield "</table>\n"
    yield "</body>\n</html>\n"
