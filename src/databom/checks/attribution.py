"""Can whoever must be credited be credited, and does a model's page do it?"""

from __future__ import annotations

from collections.abc import Iterator

from databom.checks.completeness import SEVERITY
from databom.model.config import Policy
from databom.model.credits import Credit, missing_credit
from databom.model.finding import Finding
from databom.model.manifest import Manifest
from databom.model.markup import link, plain, shown_text
from databom.model.text import printable

_LONGEST = 10_000


def check_attribution(manifest: Manifest, policy: Policy) -> Iterator[Finding]:
    """`attribution.missing` where the license asks for credit and the manifest does not say whom, or under what."""
    severity = SEVERITY.get(policy.attribution)
    missing = missing_credit(manifest) if severity else ()
    if severity is None or not missing:
        return
    nobody = "creator_id" in missing
    yield Finding(
        "attribution.missing",
        severity,
        manifest.release,
        "nobody is named as the creator, so nobody can be credited"
        if nobody
        else "where the license can be read is not said, and a credit names it",
        expected=", ".join(missing),
        found="none",
        do="ask the marketplace to name the creator" if nobody else "ask the marketplace to state it",
    )


def check_page(credit: Credit, page: str, policy: Policy) -> Iterator[Finding]:
    """`attribution.missing` where a model's page does not show what a release's license asks for.

    What counts is what a reader sees of it: creator (or the publisher's own words), release and the license's URL, in
    whatever order and beside whatever else.
    """
    severity = SEVERITY.get(policy.attribution)
    if severity is None or not credit.is_required:
        return
    seen = shown_text(page)
    who = credit.text or (credit.creators[0] if credit.creators else None)
    named = [shown_text(plain(one, _LONGEST)) for one in (who, credit.release) if one]
    wanted = [*named, *(shown_text(link(url)).strip("<>") for url in credit.urls)]
    lacks = [one for one in wanted if one not in seen]
    if lacks:
        yield Finding(
            "attribution.missing",
            severity,
            credit.release,
            "the model's page does not credit the data it was trained on",
            expected=printable("; ".join(wanted), 400),
            found=printable(f"a page without {'; '.join(lacks)}", 400),
            do="databom bom --run RUN_ID --spec attribution prints what is to be said: add it to the page",
        )
