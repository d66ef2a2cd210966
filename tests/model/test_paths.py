"""Which paths are safe, and which collide: group D of the attacks, over every code point there is."""

from __future__ import annotations

import os
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from databom.errors import Problem
from databom.model import paths
from databom.model.paths import check_paths, collision_key, path_problem

CHARACTER = "a control, invisible, private-use or surrogate character"
DRIVE = "holds ':', a drive or a stream on Windows"
BACKSLASH = "holds a backslash, a separator on Windows"
HOME = "starts with '~', a home directory to a shell"
VARIABLE = "holds a %variable%, which Windows expands"
DEVICE = "has a name that is a device on Windows"
DROPPED = "has a name that ends in a dot or a space, which Windows drops"
LONG_NAME = "has a name longer than 255 bytes"
LONG_PATH = "is longer than 1,024 bytes"

UNSAFE = [
    # D01 leaving the root, or naming no file
    ("", "is empty"),
    ("..", "has a '..' segment"),
    (".", "has a '.' segment"),
    ("../x", "has a '..' segment"),
    ("../set-evil/x", "has a '..' segment"),
    ("a/../../x", "has a '..' segment"),
    ("a/b/..", "has a '..' segment"),
    ("./a", "has a '.' segment"),
    ("a/./b", "has a '.' segment"),
    ("a//b", "has an empty name between two '/'"),
    ("/", "is absolute"),
    ("/etc/passwd", "is absolute"),
    ("//srv/share/x", "is absolute"),
    ("a/", "ends in '/', but an asset is a file"),
    ("../", "ends in '/', but an asset is a file"),
    ("...", DROPPED),
    # D02 Windows and shells
    ("a\\b", BACKSLASH),
    ("..\\x", BACKSLASH),
    ("\\\\srv\\share\\x", BACKSLASH),
    ("C:\\x", BACKSLASH),
    ("C:x", DRIVE),
    ("C:/x", DRIVE),
    ("a:stream", DRIVE),
    ("a/b.txt:x:$DATA", DRIVE),
    ("file:///etc/passwd", DRIVE),
    ("s3://bucket/x", DRIVE),
    ("%HomeDrive%/x", VARIABLE),
    ("a/%TEMP%", VARIABLE),
    ("%2e%Home%", VARIABLE),
    ("%ProgramFiles(x86)%/x", VARIABLE),
    ("~", HOME),
    ("~/x", HOME),
    ("~root/x", HOME),
    # D04 characters
    ("a\x00b", f"holds U+0000, {CHARACTER}"),
    ("a\nb", f"holds U+000A, {CHARACTER}"),
    ("a\x1b[31m", f"holds U+001B, {CHARACTER}"),
    ("a\x7f", f"holds U+007F, {CHARACTER}"),
    ("a\x85b", f"holds U+0085, {CHARACTER}"),
    ("a\u202egnp.exe", f"holds U+202E, {CHARACTER}"),
    ("a\u2066b", f"holds U+2066, {CHARACTER}"),
    ("a\u200bb", f"holds U+200B, {CHARACTER}"),
    (".g\u200cit/config", f"holds U+200C, {CHARACTER}"),
    ("\ufeffa", f"holds U+FEFF, {CHARACTER}"),
    ("a\u00adb", f"holds U+00AD, {CHARACTER}"),
    ("a\u2028b", f"holds U+2028, {CHARACTER}"),
    ("a\ue000", f"holds U+E000, {CHARACTER}"),
    ("a\U000e0041", f"holds U+E0041, {CHARACTER}"),
    ("a\ud800", f"holds U+D800, {CHARACTER}"),
    # D05 one spelling
    ("e\u0301.txt", "is not in Unicode normal form NFC"),
    ("a/\u212b", "is not in Unicode normal form NFC"),  # the Angstrom sign is an A with a ring
    # D08 devices and what Windows drops
    ("CON", DEVICE),
    ("a/nul", DEVICE),
    ("NUL.txt", DEVICE),
    ("aux.tar.gz", DEVICE),
    ("COM1/x", DEVICE),
    ("COM\u00b9", DEVICE),
    ("lpt9.dat", DEVICE),
    ("prn .txt", DEVICE),
    ("conin$", DEVICE),
    ("\uff23\uff2f\uff2e", DEVICE),  # full-width CON folds to it
    ("a.", DROPPED),
    ("a /b", DROPPED),
    ("a./b", DROPPED),
    # D09 lengths
    ("x" * 256, LONG_NAME),
    ("é" * 128, LONG_NAME),
    ("a/" + "x" * 256 + "/b", LONG_NAME),
    ("/".join(["x" * 204] * 5) + "y", LONG_PATH),
    ("x" * 100_000, LONG_PATH),
    ("a/" * 64 + "a", "has more than 64 levels"),
    # D10 what belongs to a tool
    (".git/config", "has the name '.git', which belongs to a tool"),
    ("a/.GIT/hooks/post-checkout", "has the name '.GIT', which belongs to a tool"),
    (".dvc/config", "has the name '.dvc', which belongs to a tool"),
    (".mlflow/x", "has the name '.mlflow', which belongs to a tool"),
    (".databom/keys/x", "has the name '.databom', which belongs to a tool"),
    (".Databom-Partial/x", "has the name '.Databom-Partial', which belongs to a tool"),
    (".git", "has the name '.git', which belongs to a tool"),
    ("\uff0egit/config", "has the name '\uff0egit', which belongs to a tool"),
    ("GIT~1/config", "has the name 'GIT~1', which belongs to a tool"),
    ("DATABO~2/x", "has the name 'DATABO~2', which belongs to a tool"),
]

SAFE = [
    "a",
    "images/cat1.jpg",
    "a/b/c.tar.gz",
    "$HOME/x",
    "%2e%2e/x",
    "%2e%2e%2fetc",
    "100%/x%",
    "%%",
    ".DS_Store",
    "-rf",
    "--help",
    "a\u2044b",
    "a b/c d.txt",
    " leading",
    "..a",
    "a..b",
    "...a",
    "x~",
    "a/~b",
    "thegit~1x",
    "console.log",
    "com10.txt",
    "con-1",
    "nul_",
    ".gitignore",
    ".github/x",
    "a.git",
    "git",
    "日本語/猫.jpg",
    "é.txt",
    "ß",
    "😀.png",
    "\u2764\ufe0f.png",
    "[x]*?\"<>|'`;&!#{}^=,@+",
    "x" * 255,
    "é" * 127,
    "/".join(["x" * 204] * 5),
    "a/" * 63 + "a",
    "a" * 100 + "/" + "b" * 100,
]


@pytest.mark.parametrize(("path", "problem"), UNSAFE, ids=[ascii(path[:30]) for path, _ in UNSAFE])
def test_unsafe(path: str, problem: str) -> None:
    assert path_problem(path) == problem
    # In bulk, alone, among others and behind a name so long that it gets a look of its own.
    for others in ([], ["x1", "x2/y"], ["é/x"], ["Y" * 200]):
        assert [(p.code, p.subject, p.what) for p in check_paths([*others, path])] == [
            ("manifest.path", f"/assets/{len(others)}/path", f"the path {problem}")
        ]


@pytest.mark.parametrize("path", SAFE, ids=[ascii(path[:30]) for path in SAFE])
def test_safe(path: str) -> None:
    assert path_problem(path) is None
    assert check_paths([path]) == []


def test_safe_paths_are_safe_together_and_can_be_written(tmp_path: Path) -> None:
    assert check_paths([f"{index}-{path}" for index, path in enumerate(SAFE) if len(path) < 100]) == []
    for index, path in enumerate(SAFE):
        root = tmp_path / str(index)
        target = root / path
        if len(os.fsencode(target)) < 1024:
            target.parent.mkdir(parents=True)
            target.write_bytes(b"")
            assert target.resolve().is_relative_to(root.resolve())


def test_a_problem_says_everything() -> None:
    assert check_paths(["ok", "../\x1b[2J"]) == [
        Problem(
            code="manifest.path",
            subject="/assets/1/path",
            what=f"the path holds U+001B, {CHARACTER}",
            expected="a relative path that is safe on every system",
            found="../\\x1b[2J",
            do="ask the publisher for a release with portable paths",
        )
    ]


def test_every_code_point() -> None:
    """All 1,114,112: by their category, except what the rules above say."""
    special = {"/", "\\", ":", "~"}
    refused_by_category = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    good, bad = [], []
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if unicodedata.category(character) in refused_by_category or character in special:
            bad.append(character)
        elif unicodedata.is_normalized("NFC", character):
            good.append(character)
        else:
            bad.append(character)
    names = [f"{index:x}-{character}-" for index, character in enumerate(good)]
    assert check_paths(names) == []
    assert [character for character in bad if path_problem(character + "x") is None] == []


# --- D05, D06, D07: two paths -----------------------------------------------------------------------

ALIKE = [
    ("A", "a"),
    ("images/Cat.jpg", "images/cat.jpg"),
    ("straße", "STRASSE"),
    ("\ufb01le", "file"),
    ("K", "k"),
    ("ς", "\u03c3"),
    ("Σ", "ς"),
    ("\u017f", "s"),
    ("x²", "x2"),
    ("①", "1"),
    ("é", "É"),
    ("\uff21/b", "a/B"),
    ("İ", "i̇"),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_colliding_paths_are_both_named(one: str, other: str) -> None:
    assert path_problem(one) is None
    assert path_problem(other) is None
    assert collision_key(one) == collision_key(other)
    problems = check_paths(["x/1", one, "x/2", other])
    assert problems == [
        Problem(
            code="manifest.path",
            subject="/assets/3/path",
            what=f"the paths '{one}' and '{other}' are one name where case or Unicode form is folded",
            expected="paths that can exist side by side on every system",
            found=other,
            do="ask the publisher to rename one of them",
        )
    ]


def test_the_same_path_twice() -> None:
    assert check_paths(["a", "b", "a", "a"]) == [
        Problem(
            code="manifest.duplicate",
            subject=f"/assets/{index}/path",
            what=f"the path is listed twice: /assets/0 and /assets/{index}",
            expected="each path once",
            found="a",
            do="ask the publisher for a corrected release",
        )
        for index in (2, 3)
    ]


@pytest.mark.parametrize(
    ("listed", "subject", "earlier", "later"),
    [
        (["a", "a/b"], "/assets/1/path", "a", "a/b"),
        (["a/b", "x", "a"], "/assets/2/path", "a/b", "a"),
        (["a-b", "a.b", "a", "a/b/c/d"], "/assets/3/path", "a", "a/b/c/d"),
        (["p/A", "p/a/b"], "/assets/1/path", "p/A", "p/a/b"),
        (["ﬁ", "fi/x"], "/assets/1/path", "ﬁ", "fi/x"),
    ],
)
def test_a_file_where_a_directory_is_needed(
    listed: list[str], subject: str, earlier: str, later: str
) -> None:
    (problem,) = check_paths(listed)
    assert (problem.code, problem.subject) == ("manifest.path", subject)
    assert problem.what == f"the paths '{earlier}' and '{later}' need a file and a directory of one name"


def test_neighbors_do_not_collide() -> None:
    assert (
        check_paths(["a", "ab", "a.b", "b/a", "b/ab", "\u0131", "i", "\u0430", "data/set", "data/set-evil"])
        == []
    )


def test_at_most_a_hundred_problems() -> None:
    assert len(check_paths(["../x"] * 5000)) == paths.MAX_PROBLEMS
    assert len(check_paths(["x"] * 5000)) == paths.MAX_PROBLEMS


def test_a_problem_is_found_wherever_it_stands() -> None:
    for template in ("d/{:06d}", "D/{:06d}"):
        many = [template.format(index) for index in range(20_000)]
        assert check_paths(many) == []
        for place in (0, 8_191, 8_192, 19_999):
            for bad in ("..", "d/%X%", "d/.git/x"):
                (problem,) = check_paths([*many[:place], bad, *many[place:]])
                assert problem.subject == f"/assets/{place}/path"
        (problem,) = check_paths([*many, "d/000000"])
        assert problem.subject == "/assets/20000/path"
        (problem,) = check_paths([*many, "d/000000/x"])
        assert problem.subject == "/assets/20000/path"


@pytest.mark.parametrize("few", [0, 100_000])
@pytest.mark.parametrize("name", ["f", "F"])
def test_many_small_directories(monkeypatch: pytest.MonkeyPatch, few: int, name: str) -> None:
    monkeypatch.setattr(paths, "_FEW", few)
    many = [f"a/{index}/b/c/{name}" for index in range(300)]
    assert check_paths([*many, "a/x", "b"]) == []
    for bad in ("a", "a/7", "a/7/b/c"):
        (problem, *_) = check_paths([bad, *many])
        assert "need a file and a directory of one name" in problem.what


# --- the bulk form and the rule agree ---------------------------------------------------------------

PIECES = st.sampled_from(
    [
        *[
            "a",
            "B",
            "b",
            "..",
            ".",
            "",
            "/",
            "//",
            "~",
            "%A%",
            "%2e",
            "con",
            "NUL.x",
            ".git",
            "git~1",
            " ",
            "\\",
            ":",
        ],
        *["\n", "\x7f", "\u200b", "\ue000", "x" * 130, "é" * 70, "a/" * 40, "\uff0f", "\u2100"],
        *["é", "e\u0301", "\u0301", "ß", "SS", "ﬁ", "ς", "\u0345", "가", "\u1100", "\u1161", "\u0338"],
    ]
)
ANY_PATHS = st.lists(
    st.lists(PIECES, max_size=4).map("".join)
    | st.lists(PIECES, max_size=4).map("/".join)
    | st.text(st.characters(), max_size=6),
    min_size=1,
    max_size=6,
)


@given(ANY_PATHS)
@example(["x", "\u0338/y"])
@example(["\uff0f"])
@example(["a\uff0f", "b"])
def test_bulk_never_passes_what_a_single_look_refuses(listed: list[str]) -> None:
    keys = [collision_key(path) for path in listed]
    folders = {key[:cut] for key in keys for cut, character in enumerate(key) if character == "/"}
    good = not any(map(path_problem, listed)) and len(set(keys)) == len(keys) and folders.isdisjoint(keys)
    problems = check_paths(listed)
    assert (problems == []) == good
    assert all(problem.code in {"manifest.path", "manifest.duplicate"} for problem in problems)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_unicode_forms_never_reach_across_a_slash(one: str, other: str) -> None:
    """What lets a thousand paths be folded as one text."""
    assert collision_key(f"{one}/\n/{other}") == f"{collision_key(one)}/\n/{collision_key(other)}"


@given(st.lists(st.sampled_from(["a", "b", "C", "é", ".x", "d.e"]), min_size=1, max_size=8).map("/".join))
def test_a_safe_path_stays_below_its_root(path: str) -> None:
    if path_problem(path) is None:
        assert os.path.normpath(f"/root/{path}") == f"/root/{path}"


def test_long_runs_of_marks_are_not_normalized() -> None:
    """Ordering a run of combining marks takes quadratic time, so lengths are asked first."""
    marks = "a" + "\u0301\u0323" * 30_000
    (problem,) = check_paths([marks])
    assert problem.what == f"the path {LONG_PATH}"
    (problem,) = check_paths(["a" + "\u0301\u0323" * 200])
    assert problem.what == f"the path {LONG_NAME}"
