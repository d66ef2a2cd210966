from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from databom.model.incidents import CLOSED, MAX_NAMED, OPENED, event, notice
from databom.storage.headers import kept

RECORD: dict[str, Any] = {
    "incident": "0a1b2c3d",
    "state": "closed",
    "name": "pets",
    "manifest": "sha256:aa",
    "path": "cat.jpg",
    "code": "integrity.mismatch",
    "expected": "sha256:bb",
    "found": None,
    "size": 3,
    "source": "https://host/cat.jpg",
    "happened_at": "2026-08-11T00:00:00Z",
    "release": "hn-pets@1",
    "headers": {"etag": "x"},
    "versions": {"python": "3"},
    "tell": {"creator": "c"},
    "closed_at": "2026-08-12T00:00:00Z",
    "closed_by": "alice",
    "reason": "an editor",
    "resolution": "whole",
    "folder": ".databom/quarantine/pets/x",
}


def test_an_event_says_what_outlives_the_machine() -> None:
    common = {
        "incident": "0a1b2c3d",
        "name": "pets",
        "release": "hn-pets@1",
        "manifest": "sha256:aa",
        "asset": "cat.jpg",
        "code": "integrity.mismatch",
        "expected": "sha256:bb",
        "source": "https://host/cat.jpg",
    }
    assert event(OPENED, RECORD) == {
        **common,
        "event": "incident-opened",
        "time": "2026-08-11T00:00:00Z",
    }
    assert event(CLOSED, RECORD) == {
        **common,
        "event": "incident-closed",
        "time": "2026-08-12T00:00:00Z",
        "by": "alice",
        "reason": "an editor",
        "resolution": "whole",
    }


def test_a_notice_is_bounded_and_changes_no_record() -> None:
    before = json.dumps(RECORD)
    many = notice(OPENED, [RECORD] * 250, project="p", machine="m")
    assert (many["count"], len(many["incidents"])) == (250, MAX_NAMED)
    assert "250 assets of pets (hn-pets@1) do not match" in many["text"]
    many["incidents"][0]["name"] = "other"
    assert json.dumps(RECORD) == before


@given(st.dictionaries(st.text(max_size=50), st.one_of(st.text(max_size=300), st.integers())))
def test_headers_that_are_kept_are_of_the_list_and_printable(headers: dict[str, Any]) -> None:
    found = kept({**headers, "ETag": "x", "Cookie": "secret", "AUTHORIZATION": "secret"})
    assert "cookie" not in found
    assert "authorization" not in found
    assert list(found) == sorted(found)
    for name, value in found.items():
        assert name == name.lower()
        assert value.isprintable()
        assert len(value) <= 200
