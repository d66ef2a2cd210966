"""Can whoever must be credited be credited, and does a model's page do it?"""

from __future__ import annotations

from collections.abc import Iterator

from databom.checks.completeness import SEVERITY
from databom.model.config import Config, Policy
from databom.model.credits import Credit, credit_of, has_credit
from databom.model.finding import Finding
from databom.model.manifest import Manifest
from databom.model.markup import link, plain, shown_text
from databom.model.text import printable

_LONGEST = 10_000


def credit(manifest: Manifest, config: Config) -> Credit:
    """Whom the licenses of a release ask to be credited, for the use of `[use]`."""
    from databom.checks.license import STATED, obligations  # late: `verify` mostly needs no table of rights

    asked = [one for one in obligations(manifest, config) if one.name == "attribution"]
    urls = tuple(dict.fromkeys(one.url for one in asked if one.url and one.license != STATED))
    return credit_of(manifest, is_required=bool(asked), urls=urls)


def check_attribution(manifest: Manifest, config: Config) -> Iterator[Finding]:
    """`attribution.missing` where the license asks for credit and the manifest does not say whom, or under what."""
    severity = SEVERITY.get(config.policy.attribution)
    # What is missing is cheap to see, and what a license asks for is not; mostly nothing is.
    if severity is None or has_credit(manifest):
        return
    wanted = credit(manifest, config)
    if not wanted.is_required or not wanted.missing:
        return
    nobody = "creator_id" in wanted.missing
    yield Finding(
        "attribution.missing",
        severity,
        manifest.release,
        "nobody is named as the creator, so nobody can be credited"
        if nobody
        else "where the license can be read is not said, and a credit names it",
        expected=", ".join(wanted.missing),
        found="none",
        do="ask the marketplace to name the creator" if nobody else "ask the marketplace to state it",
    )


def check_page(wanted: Credit, page: str, policy: Policy) -> Iterator[Finding]:
    """`attribution.missing` where a model's page does not show what a release's license asks for.

    What counts is what a reader sees of it: creator (or the publisher's own words), release and the license's URL, in
    whatever order and beside whatever else.
    """
    severity = SEVERITY.get(policy.attribution)
    if severity is None or not wanted.is_required:
        return
    seen = shown_text(page)
    who = wanted.text or (wanted.creators[0] if wanted.creators else None)
    named = [shown_text(plain(one, _LONGEST)) for one in (who, wanted.release) if one]
    words = [*named, *(shown_text(link(url)).strip("<>") for url in wanted.urls)]
    lacks = [one for one in words if one not in seen]
    if lacks:
        yield Finding(
            "attribution.missing",
            severity,
            wanted.release,
            "the model's page does not credit the data it was trained on",
            expected=printable("; ".join(words), 400),
            found=printable(f"a page without {'; '.join(lacks)}", 400),
            do="databom bom --run RUN_ID --spec attribution prints what is to be said: add it to the page",
        )
