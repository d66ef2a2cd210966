"""Attribution: everybody who must be credited, once, in text that stays text on any page."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from databom.bom.attribution import BEGIN, END, MAX_PAGE_CHARS, attribution, brief, on_page
from databom.checks.attribution import check_attribution, check_page
from databom.checks.attribution import credit as credit_of
from databom.model.config import default_config
from databom.model.credits import Credit, has_credit
from databom.model.licenses import url_of
from databom.model.manifest import read_manifest
from databom.model.markup import link, plain, shown_text
from support.manifests import FULL, dump

CONFIG = default_config()
DEFAULT_POLICY = CONFIG.policy
GITHUB = MarkdownIt("gfm-like")
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "![x](https://evil.example/pixel.png)",
    "`code` **bold** _em_ ~~gone~~ # head | cell",
    "https://evil.example www.evil.example mailto:a@b.example a@b.example @somebody",
    "line\n\n# heading\n- item\n> quote",
    "<!-- databom:attribution:end --> <b>",
    "&lt;b&gt; &copy; \\<b>",
    "\x1b[31m\u202egnp",
    "1. list\n\n    code",
    "$$x$$ ^1 [^1]: note",
]


def credit(**members: Any) -> Credit:
    values = {
        "release": "hn-pets@1",
        "manifest": "sha256:" + "0" * 64,
        "license": "CC-BY-4.0",
        "urls": ("https://creativecommons.org/licenses/by/4.0/",),
        "creators": ("creator:alice",),
        "text": None,
        "url": None,
        "is_required": True,
        **members,
    }
    return Credit(**values)


def kinds(markdown: str) -> set[str]:
    return {child.type for token in GITHUB.parse(markdown) for child in (token, *(token.children or ()))}


TEXT = st.text(st.sampled_from("ab1 <>&\"'`*_~[](){}#|!@:/.\\^$-+=\n\tw\u202e\x1b"), max_size=40)


@given(TEXT | st.sampled_from(HOSTILE))
def test_text_of_a_document_is_only_text(text: str) -> None:
    shown = plain(text, 1_000)
    assert "\n" not in shown
    assert shown.isprintable()
    assert kinds(f"- x {shown} y") <= {
        *("bullet_list_open", "bullet_list_close", "list_item_open", "list_item_close"),
        *("paragraph_open", "paragraph_close", "inline", "text", "text_special"),
    }


@given(TEXT)
def test_what_a_reader_sees_is_what_was_said(text: str) -> None:
    [inline] = [token for token in GITHUB.parse(f"x {plain(text, 1_000)} y") if token.type == "inline"]
    seen = "".join(child.content for child in inline.children or ())
    assert " ".join(seen.split()) == shown_text(f"x {plain(text, 1_000)} y")


def test_a_link_shows_where_it_leads() -> None:
    assert link("https://a.example/x y>z") == "<https://a.example/x%20y%3Ez>"
    assert "link_open" not in kinds(link("javascript:alert(1)"))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_stay_texts_on_both_pages(text: str) -> None:
    bad = credit(release=text, creators=(text, "creator:b"), text=text, license=text, url=f"x {text}")
    whole = attribution([bad, credit()])
    block = brief([bad, credit()], run_id="r1")
    assert whole is not None
    assert block is not None
    for page in (whole.decode(), block.removeprefix(BEGIN).removesuffix(END)):
        allowed = {"https://creativecommons.org/licenses/by/4.0/"}
        assert set(re.findall(r'href="([^"]*)"', GITHUB.render(page))) <= allowed
        assert not kinds(page) & {"html_block", "html_inline", "image", "code_inline", "blockquote_open"}
    assert block.count(BEGIN) == block.count(END) == 1


def test_everybody_is_named_once_and_the_order_does_not_matter() -> None:
    one, two = credit(), credit(release="hn-cars@1", creators=("creator:bob", "creator:carol"))
    assert attribution([one, two]) == attribution([two, one, two])
    assert attribution([credit(is_required=False)]) is None
    assert brief([], run_id=None) is None
    text = (attribution([one, two]) or b"").decode()
    assert [line for line in text.splitlines() if "creator:" in line] == [
        "- creator: creator:bob",
        "- creator: creator:carol",
        "- creator: creator:alice",
    ]


def test_a_manifest_gives_its_credit() -> None:
    value = {**json.loads(dump(FULL)), "creator_id": "creator:alice"}
    value["license"] = {
        "spdx": "CC-BY-SA-4.0",
        "attribution": {"text": "Photos by Alice\n\tand Bob", "url": "https://a.example"},
    }
    first = value["assets"][0]
    value["assets"] = [
        {**first, "path": f"{n}.jpg", "creator_id": who}
        for n, who in enumerate(["creator:z", "creator:b", "creator:alice", "creator:b"])
    ]
    read = credit_of(read_manifest(dump(value)), CONFIG)
    assert read.creators == ("creator:alice", "creator:b", "creator:z")
    assert read.urls == ("https://creativecommons.org/licenses/by-sa/4.0/",)
    assert (read.is_required, read.missing, read.is_cut) == (True, (), False)
    page = (attribution([read]) or b"").decode()
    assert "- Photos by Alice and Bob\n- <https://a.example>\n" in page


@pytest.mark.parametrize(
    ("expression", "own", "asks"),
    [
        ("CC-BY-4.0", None, True), ("CC0-1.0", None, False), ("cc0-1.0", None, False), ("PDDL-1.0", None, False),
        ("CC0-1.0 AND CC-BY-4.0", None, True), ("CC0-1.0 OR CC-BY-4.0", None, False), ("CC0-1.0", "CC-BY-4.0", True),
        ("LicenseRef-x", None, True), ("no such", None, True),
    ],
)  # fmt: skip
def test_the_license_says_whether_credit_is_asked_for(expression: str, own: str | None, asks: bool) -> None:
    value = json.loads(dump(FULL))
    value["license"] = {"spdx": expression}
    value["assets"][0]["license"] = own
    manifest = read_manifest(dump(value))
    assert credit_of(manifest, CONFIG).is_required is asks
    value["license"]["attribution"] = {"required": True}
    assert credit_of(read_manifest(dump(value)), CONFIG).is_required


@pytest.mark.parametrize(
    ("members", "lacks"),
    [
        ({}, ""),
        ({"creator_id": None}, "creator_id"),
        ({"creator_id": None, "license": {"spdx": "CC0-1.0"}}, ""),
        ({"creator_id": None, "license": {"spdx": "CC-BY-4.0", "attribution": {"text": "by Alice"}}}, ""),
        ({"creator_id": None, "license": {"spdx": "CC-BY-4.0", "attribution": {"text": " "}}}, "creator_id"),
        ({"license": {"spdx": "LicenseRef-x"}}, "the license's URL (license.text.uri)"),
        ({"license": {"spdx": "LicenseRef-x", "text": {"uri": "https://a.example/l"}}}, ""),
        (
            {"license": {"spdx": "LicenseRef-x", "text": {"uri": "license.txt"}}},
            "the license's URL (license.text.uri)",
        ),
    ],
)
def test_what_a_manifest_lacks_to_be_credited(members: dict[str, Any], lacks: str) -> None:
    value = {**json.loads(dump(FULL)), "license": {"spdx": "CC-BY-4.0"}, **members}
    for asset in value["assets"]:
        asset.pop("creator_id", None)
        asset.pop("license", None)
    manifest = read_manifest(dump(value))
    assert [one.expected for one in check_attribution(manifest, CONFIG)] == ([lacks] if lacks else [])
    assert has_credit(manifest) or lacks or "CC0" in str(members)


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("CC-BY-4.0", "https://creativecommons.org/licenses/by/4.0/"),
        ("CC-BY-NC-SA-3.0", "https://creativecommons.org/licenses/by-nc-sa/3.0/"),
        ("CC0-1.0", "https://creativecommons.org/publicdomain/zero/1.0/"),
        ("ODC-By-1.0", "https://spdx.org/licenses/ODC-By-1.0.html"),
        ("Apache-2.0+", "https://spdx.org/licenses/Apache-2.0.html"),
        ("LicenseRef-x", None), ("DocumentRef-a:LicenseRef-x", None), ("NOASSERTION", None), ("", None),
    ],
)  # fmt: skip
def test_where_a_license_can_be_read(name: str, url: str | None) -> None:
    assert url_of(name) == url


# --- a model's page -----------------------------------------------------------------------------------------


@given(st.text(max_size=200), st.lists(st.sampled_from(["one", "two", "three"]), min_size=1, max_size=4))
def test_the_users_text_is_never_touched_and_the_last_block_stands(page: str, said: list[str]) -> None:
    now = page
    for one in said:
        new = on_page(now, f"{BEGIN}\n{one}\n{END}")
        assert new is not None
        now = new
    assert now.startswith(page if page.strip() else BEGIN)
    assert now.count(BEGIN) == 1
    assert f"\n{said[-1]}\n" in now
    assert on_page(now, f"{BEGIN}\n{said[-1]}\n{END}") == now


def test_a_mark_without_an_end_takes_nothing_with_it() -> None:
    page = f"mine {BEGIN} mine too"
    once = on_page(page, f"{BEGIN}\none\n{END}")
    assert once is not None
    twice = on_page(once, f"{BEGIN}\ntwo\n{END}")
    assert twice is not None
    assert twice.startswith(page)
    assert "one" not in twice


def test_a_page_without_room_is_left_alone() -> None:
    assert on_page("x" * MAX_PAGE_CHARS, f"{BEGIN}\none\n{END}") is None


def test_a_page_is_asked_for_what_a_reader_sees() -> None:
    wanted = credit(text="Photos by *Alice* & Bob", creators=("creator:alice",))
    block = brief([wanted], run_id="r")
    assert block is not None
    assert not list(check_page(wanted, f"# My model\n\n{block}", DEFAULT_POLICY))
    by_hand = "hn-pets@1: Photos by *Alice* & Bob, https://creativecommons.org/licenses/by/4.0/"
    assert not list(check_page(wanted, by_hand, DEFAULT_POLICY))
    for page in (
        "",
        f"<!-- {by_hand} -->",
        by_hand.replace("Bob", "Rob"),
        by_hand.replace("pets", "cars"),
        "<!-- " + by_hand,
    ):
        assert [one.code for one in check_page(wanted, page, DEFAULT_POLICY)] == ["attribution.missing"]
    assert not list(check_page(credit(is_required=False), "", DEFAULT_POLICY))
