"""What accounts for a dependency: any project that can be thought of, without a file."""

from __future__ import annotations

import posixpath

from hypothesis import given
from hypothesis import strategies as st

from databom.checks.coverage import Ground, check_coverage
from databom.model.config import Policy

NAMES = st.sampled_from(["a", "b", "c", "data", "x.csv"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


def policy(own: tuple[str, ...] = (), coverage: str = "warn") -> Policy:
    return Policy("declared", "warn", "warn", "off", coverage, own=own)


def ground(files: set[str], *, pins: set[str], tracked: set[str], own: tuple[str, ...] = ()) -> Ground:
    def entries(folder: str) -> set[str] | None:
        if folder in files:
            return None
        inside = (
            files if folder == "." else {f[len(folder) + 1 :] for f in files if f.startswith(folder + "/")}
        )
        return {path.partition("/")[0] for path in inside}

    return Ground(policy(own), accounted=pins, tracked=frozenset(tracked), added=(), entries=entries)


def without_clashes(paths: set[str]) -> set[str]:
    """A name is a file or a folder, not both."""
    return {path for path in paths if not any(other.startswith(path + "/") for other in paths)}


@given(st.sets(PATHS, max_size=8).map(without_clashes), st.sets(PATHS, max_size=3), st.data())
def test_every_file_beneath_a_dependency_is_accounted_for_or_told(
    files: set[str], pins: set[str], data: object
) -> None:
    tracked = data.draw(st.sets(st.sampled_from(sorted(files)), max_size=3)) if files else set()  # type: ignore[attr-defined]
    here = ground(files, pins=pins, tracked=tracked)
    told = set(here.unaccounted("data"))
    for file in files:
        if not file.startswith("data/"):
            continue
        parts = file.split("/")
        above = {"/".join(parts[:count]) for count in range(1, len(parts) + 1)}
        is_known = bool(above & pins) or file in tracked
        is_told = bool(above & told)
        assert is_known or is_told, file
    for one in told:  # nothing that a pin covers is ever told
        assert not any(one == pin or one.startswith(pin + "/") for pin in pins)


@given(PATHS)
def test_the_teams_own_is_never_told(path: str) -> None:
    folder = posixpath.dirname(path) or "."
    for own in (path, f"{path}/*", "*", f"{folder}/*" if folder != "." else "*"):
        assert list(ground(set(), pins=set(), tracked=set(), own=(own,)).unaccounted(path)) == []


def test_a_name_that_only_begins_alike_is_another() -> None:
    here = ground(set(), pins={"data/pets"}, tracked={"data/petsy/README"})
    assert list(here.unaccounted("data/pets2")) == ["data/pets2"]
    assert list(here.unaccounted("data/pets/images")) == []


def test_off_asks_nothing_and_texts_are_safe_to_print() -> None:
    bad = "data/\x1b[2J\n.csv"
    off = Ground(policy(coverage="off"), accounted=(), tracked=frozenset(), added=(), entries=lambda _: ())
    assert list(check_coverage([(bad, "the stage a")], [], off)) == []
    here = ground(set(), pins=set(), tracked=set())
    [one] = check_coverage([(bad, "the stage \x1b")], [(bad, "https://u:p@h/x?token=1")], here)
    text = f"{one.subject}{one.what}"
    assert "\x1b" not in text
    assert "u:p@" not in text
    assert "token" not in text
