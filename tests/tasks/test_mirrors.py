"""Where things are in a mirror, and the commands that lock one."""

from __future__ import annotations

import json
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databom.storage.location import parse_location
from databom.tasks.mirror_lock import r2_command, s3_command
from databom.tasks.mirrors import asset_key, mirror_of, release_key

digests = st.integers(0, 2**256 - 1).map(lambda number: f"sha256:{number:064x}")
words = st.text(st.sampled_from("abcÜ 1-_.'$"), min_size=1, max_size=8).filter(lambda word: word.strip(". "))
prefixes = st.lists(words.map(str.strip), max_size=3).map("/".join)
schemes = st.sampled_from(["s3://bucket", "r2://bucket", "https://host", "/srv"])


@given(schemes, prefixes, digests, digests, st.sampled_from(["", "/"]))
def test_a_release_folder_leads_to_its_mirror_and_no_other_folder_does(
    scheme: str, prefix: str, digest: str, other: str, end: str
) -> None:
    if scheme.startswith("https"):
        prefix = prefix.replace(" ", "%20")  # a person escapes a URL
    mirror = parse_location(f"{scheme}/{prefix}".rstrip("/"))
    folder = parse_location(f"{mirror.join(release_key(digest)).stored}{end}")
    found = mirror_of(folder, digest)
    assert found is not None
    assert found.stored.rstrip("/") == mirror.stored.rstrip("/")
    assert found.join(asset_key("ab" * 32)) == mirror.join(asset_key("ab" * 32))
    assert mirror_of(mirror, digest) is None
    assert mirror_of(mirror.join(asset_key("ab" * 32)), digest) is None
    if other != digest:
        assert mirror_of(folder, other) is None


@given(prefixes)
def test_the_command_for_r2_locks_this_prefix_and_nothing_else(prefix: str) -> None:
    mirror = parse_location(f"r2://bucket/{prefix}".rstrip("/"))
    words = shlex.split(r2_command(mirror))
    assert words[:7] == ["npx", "wrangler", "r2", "bucket", "lock", "add", "bucket"]
    locked = words[words.index("--prefix") + 1]
    assert locked == (f"{prefix}/" if prefix else "")
    assert words[-1] == "--retention-indefinite"
    key = mirror.join(asset_key("ab" * 32)).path
    assert key.startswith(locked)


@pytest.mark.parametrize(("jurisdiction", "ends"), [("", False), ("default", False), ("EU", True)])
def test_a_jurisdiction_is_named(jurisdiction: str, ends: bool) -> None:
    command = r2_command(parse_location("r2://bucket/x"), jurisdiction)
    assert command.endswith("--jurisdiction eu") == ends


def test_the_command_for_s3_is_one_a_shell_takes() -> None:
    first, second = s3_command(parse_location("s3://bucket/x")).split(" && ")
    assert shlex.split(first)[:4] == ["aws", "s3api", "put-bucket-versioning", "--bucket"]
    rule = json.loads(shlex.split(second)[-1])
    assert rule["Rule"]["DefaultRetention"]["Mode"] == "COMPLIANCE"
