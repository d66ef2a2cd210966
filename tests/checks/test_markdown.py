"""Reports as Markdown: a reader renders the tables that were meant, and every text of a document as text."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from markdown_it import MarkdownIt

from databom.checks.formats.markdown import MAX_CHARACTERS, to_markdown
from databom.model.finding import Report, Reports
from databom.model.text import printable
from support.reports import REPORTS, TEXTS, finding, report

OURS = {"h2", "h3", "p", "table", "thead", "tbody", "tr", "th", "td", "strong", "code", "br", "wbr"}


class _Page(HTMLParser):
    """The elements of a rendered page, and the text of its cells."""

    def __init__(self, markdown: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.rows: list[list[str]] = []
        self.code = 0
        self.is_cell = False
        self.mentions = ""
        # What may be a link by itself is one here: with a scheme. GitHub and GitLab do not take bare names for links.
        reader = MarkdownIt("gfm-like", {"html": True, "linkify": True})
        reader.linkify.set({"fuzzy_link": False, "fuzzy_email": True})
        self.feed(reader.render(markdown))

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.elements.add(tag)
        self.code += tag == "code"
        self.is_cell = self.is_cell or tag in {"td", "th"}
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")
        elif tag == "br" and self.is_cell:
            self.rows[-1][-1] += "\n"

    def handle_endtag(self, tag: str) -> None:
        self.code -= tag == "code"
        self.is_cell = self.is_cell and tag not in {"td", "th"}

    def handle_data(self, data: str) -> None:
        if self.is_cell:
            self.rows[-1][-1] += data
        if not self.code:
            self.mentions += data


@given(REPORTS)
def test_no_text_of_a_document_is_more_than_text(any_report: Report | Reports) -> None:
    text = to_markdown(any_report, verbose=True)
    assert text == to_markdown(any_report, verbose=True)
    assert len(text) <= MAX_CHARACTERS
    page = _Page(text)
    assert page.elements <= OURS
    assert not re.search("[@#]", page.mentions)
    reports = any_report.reports if isinstance(any_report, Reports) else (any_report,)
    shown = sum(len(one.findings) for one in reports)
    heads = sum(1 for one in reports if one.findings)
    assert len(page.rows) == bool(reports) + len(reports) + shown + heads
    assert {len(row) for row in page.rows} <= {3, 6}
    assert text.startswith(f"## databom: {any_report.verdict.value}\n")


@given(TEXTS)
def test_a_text_is_read_as_it_was_written(text: str) -> None:
    page = _Page(to_markdown(report(finding("manifest.schema", subject=text, what=text))))
    _, name, what = page.rows[-1]
    shown = printable(text, 500)
    # A renderer may fold spaces at the edges, as HTML does.
    assert name.partition("\n")[2].strip() == shown.strip()
    assert what.partition("\n")[0].strip() == shown.strip()


def test_the_worst_comes_first_and_information_only_by_name() -> None:
    bad = report(
        finding("attribution.missing", "warn"),
        finding("license.not-judged", "info"),
        finding("signature.missing", subject="manifest.json"),
        finding("storage.denied"),
    )
    text = to_markdown(Reports((report(name="iris"), bad)))
    page = _Page(text)
    assert page.rows[1:3] == [
        ["pets", "hn-pets@1", "fail", "3 of 3", "2", "1"],
        ["iris", "hn-pets@1", "pass", "3 of 3", "0", "0"],
    ]
    assert [(row[0], row[1]) for row in page.rows[4:]] == [
        ("block", "signature.missing\nmanifest.json"),
        ("unanswered", "storage.denied"),
        ("warn", "attribution.missing"),
    ]
    assert page.rows[4][2].splitlines() == ["it is so", "expected this", "found that", "do: look at it"]
    assert "1 of 2 pins hold: fail" in text
    assert "Noted for pets: <code>license.not-judged</code>" in text
    assert "license.not-judged" in _Page(to_markdown(bad, verbose=True)).rows[-1][1]


@pytest.mark.parametrize("pins", [1, 3, 2000])
def test_however_much_there_is_it_fits_and_counts_the_rest(pins: int) -> None:
    many = [
        finding("integrity.missing", subject=f"images/{i:05}.jpg", what="|" * 400)
        for i in range(6000 // pins)
    ]
    good, bad = report(name="good"), report(*many, name="bad")
    text = to_markdown(Reports((*[good] * 3, *[bad] * pins)))
    assert 40_000 < len(text) <= MAX_CHARACTERS
    page = _Page(text)
    assert page.rows[1][0] == "bad"
    shown = sum("integrity.missing" in "".join(row) for row in page.rows)
    hidden = re.search(r"… and ([\d,]+) more findings; `--format json` has all of them", text)
    assert hidden is not None
    assert int(hidden[1].replace(",", "")) + shown == len(many) * pins
    assert ("more reports;" in text) is (pins == 2000)


def test_nothing_checked_says_fail() -> None:
    assert to_markdown(Reports(())).startswith("## databom: fail\n")
