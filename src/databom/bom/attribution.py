"""Attribution: `ATTRIBUTION.md`, and the same in brief for the page of a registered model.

Text from manifests is shown as text, whatever it holds (`databom.model.markup`). Equal credits give equal bytes.

On a model's page the credits stand between two marks, which readers of Markdown do not show:

    <!-- databom:attribution:begin -->
    …
    <!-- databom:attribution:end -->

What is outside them belongs to the user, and is never touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from databom.model.markup import link, plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from databom.model.credits import Credit

BEGIN = "<!-- databom:attribution:begin -->"
END = "<!-- databom:attribution:end -->"
MAX_PAGE_CHARS = 5_000
"""What MLflow's database has room for in the description of a model version."""
_ID_CHARS = 400
_TEXT_CHARS = 10_000
_BRIEF_CHARS = 1_000
_BRIEF_CREATORS = 10


def attribution(credits_: Iterable[Credit]) -> bytes | None:
    """`ATTRIBUTION.md` of the releases whose license asks for credit; None where none does."""
    wanted = _sorted(credits_)
    if not wanted:
        return None
    lines = ["# Attribution", "", "The data, as its publishers ask to have it credited.", ""]
    for credit in wanted:
        lines += [f"## {plain(credit.release, _ID_CHARS)}", ""]
        if credit.text:
            lines.append(f"- {plain(credit.text, _TEXT_CHARS)}")
        if credit.url:
            lines.append(f"- {link(credit.url)}")
        lines += [f"- creator: {plain(creator, _ID_CHARS)}" for creator in credit.creators]
        if credit.is_cut:
            lines.append("- and the creators of single assets that the signed manifest names")
        lines += [f"- license: {plain(credit.license, _TEXT_CHARS)}{''.join(map(_at, credit.urls))}"]
        lines += [f"- manifest: {credit.manifest}", ""]
    return "\n".join(lines).encode("utf-8", "backslashreplace")


def brief(credits_: Iterable[Credit], *, run_id: str | None) -> str | None:
    """The same for a model's page, marks included; None where nobody is to be credited."""
    wanted = _sorted(credits_)
    if not wanted:
        return None
    where = f"; all of it in the artifact databom/ATTRIBUTION.md of run {run_id}" if run_id else ""
    return "\n".join([BEGIN, f"**Data attribution**{where}", "", *map(_line, wanted), END])


def on_page(page: str | None, block: str) -> str | None:
    """The page with the block in the place of an earlier one, else at its end; None where it has no room for it."""
    page = page or ""
    # The last mark, so that one that somebody left without an end takes nothing of theirs with it.
    start = page.rfind(BEGIN)
    end = page.find(END, start) if start >= 0 else -1
    new = f"{page}\n\n{block}" if page.strip() else block
    if end >= 0:
        new = page[:start] + block + page[end + len(END) :]
    return new if len(new) <= MAX_PAGE_CHARS else None


def _sorted(credits_: Iterable[Credit]) -> list[Credit]:
    wanted = {(one.release, one.manifest): one for one in credits_ if one.is_required}
    return [wanted[key] for key in sorted(wanted)]


def _line(credit: Credit) -> str:
    creators = [plain(one, _ID_CHARS) for one in credit.creators[:_BRIEF_CREATORS]]
    if len(credit.creators) > _BRIEF_CREATORS or credit.is_cut:
        creators.append("others")
    who = f" by {', '.join(creators)}" if creators else ""
    said = f". {plain(credit.text, _BRIEF_CHARS)}" if credit.text else ""
    said += f" {link(credit.url)}" if credit.url else ""
    license_ = f"{plain(credit.license, _ID_CHARS)}{''.join(map(_at, credit.urls))}"
    return f"- {plain(credit.release, _ID_CHARS)}{who}, {license_}{said}"


def _at(url: str) -> str:
    return f" {link(url)}"
