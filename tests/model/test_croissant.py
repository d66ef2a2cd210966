"""Croissant 1.0 and 1.1 as a manifest: what is read, what is refused, and that nothing else escapes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from databom.errors import InputError, Problem
from databom.model.digest import sha256, tree_digest
from databom.model.manifest import Manifest, read_manifest
from databom.trust.opening import content_digest
from support.forms import CONTEXT, croissant, file_object
from support.forms import sha256 as hex256

CAT, DOG = b"a cat\n", b"a dog\n"
FILES = {"images/cat1.jpg": CAT, "images/dog1.jpg": DOG}


def read(files: Any = FILES, **changes: Any) -> Manifest:
    return read_manifest(json.dumps(croissant(files, **changes)).encode())


def refused(files: Any = FILES, **changes: Any) -> list[Problem]:
    with pytest.raises(InputError) as refusal:
        read(files, **changes)
    return list(refusal.value.problems)


def only(files: Any = FILES, **changes: Any) -> Problem:
    [problem] = refused(files, **changes)
    assert problem.what
    assert problem.do
    return problem


def test_what_a_document_says() -> None:
    raw = json.dumps(croissant(FILES)).encode()
    manifest = read_manifest(raw)
    assert (manifest.raw, manifest.digest, manifest.form) == (raw, sha256(raw), "croissant")
    assert manifest.release == "hn-pets@1.0.0"
    assert manifest.license.spdx == "CC-BY-4.0"
    assert manifest.creator_id == "creator:alice"
    assert manifest.issued_at is not None
    assert manifest.issued_at.isoformat() == "2026-01-10T00:00:00+00:00"
    assert [(one.path, one.sha256, one.size, one.media_type) for one in manifest.assets] == [
        (path, hex256(data), 6, "image/jpeg") for path, data in FILES.items()
    ]
    assert manifest.total_bytes == 12
    assert manifest.tree == tree_digest((path, hex256(data)) for path, data in FILES.items())
    assert (manifest.unknown, manifest.signature) == ((), None)


def test_a_signature_member_is_content_like_any_other() -> None:
    """Croissant has no embedded signature, so nothing is left out of the content digest."""
    assert content_digest(read()) != content_digest(read(signature="x"))
    spelled = json.dumps(croissant(FILES), indent=3).encode()
    assert content_digest(read_manifest(spelled)) == content_digest(read())


@pytest.mark.parametrize(
    "conforms",
    [
        "http://mlcommons.org/croissant/1.0",
        "https://mlcommons.org/croissant/1.1",
        {"@id": "http://mlcommons.org/croissant/1.1"},
        [{"@id": "http://mlcommons.org/croissant/1.0"}, "http://mlcommons.org/croissant/RAI/1.0"],
    ],
)
@pytest.mark.parametrize("member", ["conformsTo", "dct:conformsTo", "http://purl.org/dc/terms/conformsTo"])
def test_how_a_document_says_that_it_is_croissant(member: str, conforms: Any) -> None:
    assert read(**{"conformsTo": None, member: conforms}).form == "croissant"


@pytest.mark.parametrize(
    "kind", ["Dataset", "sc:Dataset", "https://schema.org/Dataset", ["Thing", "sc:Dataset"]]
)
def test_spellings_of_the_type(kind: Any) -> None:
    assert read(**{"@type": kind}).form == "croissant"


def test_prefixed_members_and_full_names() -> None:
    entry = {
        "@type": "http://mlcommons.org/croissant/FileObject",
        "sc:contentUrl": "a.bin",
        "https://schema.org/sha256": hex256(CAT),
        "schema:contentSize": "6",
    }
    manifest = read(name=None, distribution=entry, **{"sc:name": "hn-pets"})
    assert [(one.path, one.size) for one in manifest.assets] == [("a.bin", 6)]


def test_one_meaning_in_two_spellings_is_refused() -> None:
    assert only(**{"sc:name": "hn-other"}).subject == "/sc:name"


def test_the_version_falls_back_on_the_date() -> None:
    dated = read(version=None, datePublished="2026-01-10")
    assert (dated.version, dated.issued_at) == ("2026-01-10", None)
    assert read(version=3).version == "3"
    assert only(version=None, datePublished=None).subject == "/version"


@pytest.mark.parametrize(
    ("stated", "spdx"),
    [
        ("https://spdx.org/licenses/CC-BY-4.0", "CC-BY-4.0"),
        ("http://spdx.org/licenses/MIT.html", "MIT"),
        ("https://creativecommons.org/licenses/by-nc-sa/4.0/", "CC-BY-NC-SA-4.0"),
        ("https://creativecommons.org/licenses/by/4.0/legalcode.en", "CC-BY-4.0"),
        ("http://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
        ("CC-BY-4.0", "CC-BY-4.0"),
        ("Apache-2.0 OR MIT", "Apache-2.0 OR MIT"),
        (
            {"@type": "CreativeWork", "name": "CC BY", "url": "https://spdx.org/licenses/CC-BY-4.0"},
            "CC-BY-4.0",
        ),
        ({"@type": "CreativeWork", "name": "MIT"}, "MIT"),
        (["https://spdx.org/licenses/CC-BY-4.0", "MIT OR ISC"], "CC-BY-4.0 AND (MIT OR ISC)"),
        (["MIT", "MIT"], "MIT"),
        (None, None),
        ([], None),
        (["MIT", {}], None),
        ("", None),
    ],
)
def test_licenses(stated: Any, spdx: str | None) -> None:
    assert read(license=stated).license.spdx == spdx


@pytest.mark.parametrize(
    "stated",
    [
        "https://example.com/terms?v=2",
        "https://creativecommons.org/licenses/by/4.0/evil",
        "https://creativecommons.org.evil.example/licenses/by/4.0/",
        "https://spdx.org/licenses/CC-BY-4.0 https://x",
        "https://creativecommons.org/licenses/by/3.0/de/",
    ],
)
def test_an_unknown_license_is_no_known_one(stated: str) -> None:
    terms = read(license=stated).license
    assert terms.spdx is not None
    assert terms.spdx.startswith("LicenseRef-")
    assert terms.text is not None
    assert terms.text.uri == stated
    assert terms.spdx != read(license=stated + ".").license.spdx


def test_a_license_in_words_is_kept_as_the_marketplaces_own_word() -> None:
    terms = read(license="for research only").license
    assert (terms.type, str(terms.spdx).startswith("LicenseRef-for-research-only-")) == (
        "for research only",
        True,
    )


@pytest.mark.parametrize(
    ("stated", "creator"),
    [
        ("Alice", "Alice"),
        ({"name": "Alice", "url": "https://alice.example"}, "https://alice.example"),
        ({"@id": "_:b0", "name": "Alice"}, "Alice"),
        ([{"name": "Alice"}, {"name": "Bob"}], "Alice; Bob"),
        ([{"name": "A" * 150}, {"name": "B" * 150}], "A" * 150 + " and 1 more"),
        (None, None),
        ({}, None),
    ],
)
def test_creators(stated: Any, creator: str | None) -> None:
    assert read(creator=stated).creator_id == creator


@pytest.mark.parametrize(
    ("stated", "size"),
    [
        ("3 B", 3),
        ("3", 3),
        (3, 3),
        ("3B", 3),
        ("3 bytes", 3),
        ("3 kB", None),
        ("about 3 B", None),
        (None, None),
    ],
)
def test_sizes_only_where_they_are_exact(stated: Any, size: int | None) -> None:
    assert read(distribution=[file_object("a", CAT, contentSize=stated)]).assets[0].size == size


# --- what cannot be pinned -------------------------------------------------------------------------


def file_set(**members: Any) -> dict[str, Any]:
    return {"@type": "cr:FileSet", "@id": "pictures", "includes": "*.jpg", **members}


def test_a_file_set_without_digests() -> None:
    problem = only(distribution=[file_object("a.zip", CAT), file_set()])
    assert (problem.code, problem.subject) == ("manifest.schema", "/distribution/1")
    assert "a FileSet without digests cannot be pinned" in problem.what
    assert "'pictures'" in problem.what


@pytest.mark.parametrize("holder", [{"@id": "a.zip"}, "a.zip", [{"@id": "a.zip"}, {"@id": "b.zip"}]])
def test_parts_of_a_pinned_archive_need_nothing(holder: Any) -> None:
    manifest = read(
        distribution=[
            file_object("a.zip", CAT),
            file_object("b.zip", DOG),
            file_set(containedIn=holder),
            {
                "@type": "cr:FileObject",
                "@id": "x",
                "contentUrl": "x/y.csv",
                "containedIn": {"@id": "pictures"},
            },
        ]
    )
    assert [one.path for one in manifest.assets] == ["a.zip", "b.zip"]


@pytest.mark.parametrize(
    "holder",
    [
        {"@id": "nowhere"},
        {"@id": "pictures"},
        [],
        [{}],
        {"@id": "other"},
        [{"@id": "a.zip"}, {"@id": "other"}],
        7,
    ],
)
def test_parts_of_what_nothing_pins(holder: Any) -> None:
    """Nowhere, itself, nothing, a set that is in a circle."""
    other = {**file_set(containedIn={"@id": "pictures"}), "@id": "other"}
    problems = refused(distribution=[file_object("a.zip", CAT), file_set(containedIn=holder), other])
    assert {problem.code for problem in problems} == {"manifest.schema"}
    assert "/distribution/1" in {problem.subject for problem in problems}


@pytest.mark.parametrize("members", [{"sha256": None}, {"sha256": None, "md5": "0" * 32}])
def test_a_file_without_sha256(members: dict[str, Any]) -> None:
    problem = only(distribution=[file_object("a", CAT, **members)])
    assert (problem.code, problem.subject) == ("manifest.schema", "/distribution/0")


@pytest.mark.parametrize(
    "digest",
    [
        hex256(CAT).upper(),
        hex256(CAT)[:-1],
        hex256(CAT) + "\n",
        "https://github.com/mlcommons/croissant/issues/80",
        7,
    ],
)
def test_a_digest_in_another_form(digest: Any) -> None:
    problem = only(distribution=[file_object("a", CAT, sha256=digest)])
    assert (problem.code, problem.subject) == ("manifest.schema", "/distribution/0/sha256")


@pytest.mark.parametrize(
    "url", ["https://cdn.example/a.jpg?sig=secret", "s3://bucket/a", "//cdn.example/a", "data:,x"]
)
def test_an_absolute_url(url: str) -> None:
    problem = only(distribution=[file_object("a", CAT, contentUrl=url)])
    assert (problem.code, problem.subject) == ("manifest.schema", "/distribution/0/contentUrl")
    assert "secret" not in str(problem)


@pytest.mark.parametrize("url", ["a%2e.jpg", "a.jpg?x=1", "a.jpg#x"])
def test_a_url_that_may_not_be_a_path(url: str) -> None:
    assert only(distribution=[file_object("a", CAT, contentUrl=url)]).subject == "/distribution/0/contentUrl"


@pytest.mark.parametrize("path", ["../a", "/a", "a//b", "./a", "a\\b", "NUL", ".git/config", "a\u202eb", ""])
def test_unsafe_paths(path: str) -> None:
    problem = only(distribution=[file_object("ok", DOG), file_object("x", CAT, contentUrl=path)])
    assert (problem.code, problem.subject) == ("manifest.path", "/distribution/1/contentUrl")


def test_duplicates_and_collisions_name_the_distribution() -> None:
    part = file_set(containedIn="a")
    twice = only(distribution=[file_object("a", CAT), part, file_object("b", CAT, contentUrl="a")])
    assert (twice.code, twice.subject) == ("manifest.duplicate", "/distribution/2/contentUrl")
    assert "/distribution/0 and /distribution/2" in twice.what
    folded = only(distribution=[file_object("a.jpg", CAT), file_object("A.jpg", CAT)])
    assert folded.code == "manifest.path"
    shared = only(distribution=[file_object("a", CAT), file_object("b", DOG, **{"@id": "a"})])
    assert shared.subject == "/distribution/1/@id"


@pytest.mark.parametrize("live", [True, "true", "false", 1])
def test_a_live_dataset(live: Any) -> None:
    assert only(isLiveDataset=live).subject == "/isLiveDataset"
    assert read(isLiveDataset=False).form == "croissant"


@pytest.mark.parametrize("entry", ["a.jpg", {}, {"@type": "sc:DataDownload"}, 7, []])
def test_what_is_no_file(entry: Any) -> None:
    assert only(distribution=[file_object("a", CAT), entry]).subject == "/distribution/1"


def test_no_files_at_all() -> None:
    assert only(distribution=[]).subject == "/distribution"
    assert only(distribution=None).subject == "/distribution"


@pytest.mark.parametrize(
    ("changes", "subject"),
    [
        ({"conformsTo": "http://mlcommons.org/croissant/2.0"}, "/conformsTo"),
        ({"@type": "sc:WebSite"}, "/@type"),
        ({"name": "hn@pets"}, "/name"),
        ({"name": None}, "/name"),
        ({"name": {"@value": "hn-pets"}}, "/name"),
        ({"version": ["1"]}, "/version"),
        ({"creator": "a\u200bb"}, "/creator"),
        ({"dataset_id": "hn-other"}, "/dataset_id"),
        ({"assets": []}, "/assets"),
    ],
)
def test_documents_that_are_refused(changes: dict[str, Any], subject: str) -> None:
    problem = only(**changes)
    assert (problem.code, problem.subject) == ("manifest.schema", subject)


def test_numbers_with_a_fraction_are_refused_as_in_a_manifest() -> None:
    assert [one.code for one in refused(samplingRate=0.5)] == ["manifest.syntax"]


# --- the context --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": "https://evil.example/sha256"},
        {"sha256": "cr:md5"},
        {"contentUrl": None},
        {"title": "sc:name"},
        {"id": "@id"},
        {"sc": "https://evil.example/"},
        {"@vocab": "https://evil.example/"},
        {"@import": "https://evil.example/context"},
        {"distribution": {"@id": "sc:distribution", "@context": {"sha256": "x:y"}}},
        {"parts": {"@reverse": "sc:distribution"}},
        {"FileSet": "cr:FileObject"},
        {"half": "https://schema.org/sha", "digest": "half:256"},
        {"p": "sc:", "digest": "p:sha256"},
        {"p": "sc", "files": "p:distribution"},
        {"q": "p", "p": "sc", "files": "q:distribution"},
        {"half": {"@id": "distri", "@prefix": True}, "files": "half:bution"},
        {"sc:sha256": "cr:other"},
        {"https://schema.org/sha256": "cr:other"},
        {"distribution": {"@id": "sc:distribution", "@type": "@json"}},
        {"distribution": {"@id": "sc:distribution", "@container": "@graph"}},
        {"distribution": {"@id": "sc:distribution", "@container": ["@index", "@set"]}},
    ],
)
def test_a_context_that_changes_what_is_read(change: dict[str, Any]) -> None:
    problems = refused(**{"@context": {**CONTEXT, **change}})
    assert "/@context" in {problem.subject for problem in problems}


@pytest.mark.parametrize(
    "change",
    [
        {"distribution": {"@id": "sc:distribution", "@container": "@set"}},
        {"contentUrl": {"@id": "sc:contentUrl", "@type": "@id"}},
        {"loop": "loop", "p": "q", "q": "p", "files": "p:distribution"},
    ],
)
def test_a_context_that_changes_nothing(change: dict[str, Any]) -> None:
    assert read(**{"@context": {**CONTEXT, **change}}).form == "croissant"


def test_a_prefix_under_another_name_is_followed() -> None:
    context = {**CONTEXT, "s": "https://schema.org/"}
    assert only(**{"@context": context, "s:name": "hn-other"}).subject == "/s:name"


def test_half_a_name_as_a_prefix_is_followed() -> None:
    context = {**CONTEXT, "half": {"@id": "https://schema.org/na", "@prefix": True}}
    assert only(**{"@context": context, "half:me": "hn-other"}).subject == "/half:me"


def test_contexts_that_would_have_to_be_fetched() -> None:
    assert only(**{"@context": "https://evil.example/context"}).subject == "/@context"
    assert read(**{"@context": ["https://schema.org/", CONTEXT]}).form == "croissant"
    entry = file_object("a", CAT, **{"@context": {"sha256": "x:y"}})
    assert only(distribution=[entry]).subject == "/distribution/0/@context"


@pytest.mark.parametrize("keyword", ["@nest", "@graph", "@included", "@reverse", "@index"])
def test_members_that_a_json_ld_processor_would_unfold(keyword: str) -> None:
    hidden = {"distribution": [file_object("hidden", DOG)], "sha256": "0" * 64}
    assert only(**{keyword: hidden}).subject == f"/{keyword}"
    entry = file_object("a", CAT, **{keyword: hidden})
    assert only(distribution=[entry]).subject == f"/distribution/0/{keyword}"


# --- whatever the bytes ---------------------------------------------------------------------------------

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-9, 2**53)
    | st.text(max_size=8)
    | st.sampled_from(
        [
            "sc:Dataset",
            "cr:FileObject",
            "cr:FileSet",
            "a",
            "@id",
            "sc:name",
            "https://schema.org/",
            "x:y",
            "x:",
        ]
    )
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["@id", "@type", "@context", "x", "sc", "name", "url", "sha256", "containedIn", "x:name"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=6,
)
MEMBERS = st.sampled_from([*croissant(FILES), "isLiveDataset", "sc:name", "assets", "x:y"])


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(MEMBERS, VALUES, max_size=3),
    st.dictionaries(MEMBERS | st.just("contentUrl"), VALUES, max_size=3),
)
def test_only_refusals_escape(changes: dict[str, Any], entry: dict[str, Any]) -> None:
    document = {**croissant(FILES), **changes}
    if isinstance(document.get("distribution"), list):
        document["distribution"].append({**file_object("z", CAT), **entry})
    try:
        manifest = read_manifest(json.dumps(document).encode())
    except InputError:
        return
    assert manifest.assets
