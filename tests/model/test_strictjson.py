"""Strict JSON: the public vectors, and a table of everything refused, with its message and its pointer."""

from __future__ import annotations

import json
import string
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databom.errors import InputError, Problem
from databom.model import doubts, strictjson

VECTORS = sorted((Path(__file__).parents[1] / "vectors/jsontestsuite/test_parsing").glob("*.json"))

# Valid JSON that we refuse all the same, because two readers may understand it differently.
STRICTER = {
    "y_object_duplicated_key.json": "the key is repeated in one object",
    "y_object_duplicated_key_and_value.json": "the key is repeated in one object",
}


def refusal(raw: bytes, **options: object) -> Problem:
    """The one problem of a refused document; `check` and `shapes` must refuse it in the same words."""
    with pytest.raises(InputError) as caught:
        strictjson.loads(raw, **options)  # type: ignore[arg-type]
    for function in (strictjson.check, strictjson.shapes):
        with pytest.raises(InputError) as again:
            function(raw, **options)  # type: ignore[arg-type]
        assert again.value.problems == caught.value.problems
    assert len(caught.value.problems) == 1
    return caught.value.problems[0]


# --- the public vectors -----------------------------------------------------------------------------


def test_all_vectors_are_here() -> None:
    names = [path.name for path in VECTORS]
    assert [sum(name.startswith(kind) for name in names) for kind in ("y_", "n_", "i_")] == [95, 188, 35]
    assert set(names) >= set(STRICTER)


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_json_test_suite(path: Path) -> None:
    raw = path.read_bytes()
    if path.name.startswith("y_") and path.name not in STRICTER:
        assert strictjson.loads(raw) == json.loads(raw)
        strictjson.check(raw)
        return
    # n_ must be refused; i_, where JSON leaves it to the reader, we refuse too: each is a second meaning.
    problem = refusal(raw)
    assert problem.code == ("manifest.limit" if "nested" in problem.what else "manifest.syntax")
    assert path.name not in STRICTER or problem.what == STRICTER[path.name]


# --- what is refused, in which words, where ----------------------------------------------------------

REFUSED = [
    # bytes
    (b"", "the document is empty", None),
    (b" \r\n\t", "the document is empty", None),
    (b" " * 5000, "the document is empty", None),
    (b"\xef\xbb\xbf{}", "the document starts with a byte order mark", None),
    ('{"a": 1}'.encode("utf-16"), "the document is not UTF-8: invalid start byte at byte 0", None),
    (b'{"a": "\xc0\xaf"}', "the document is not UTF-8: invalid start byte at byte 7", None),
    (b'["\xed\xa0\x80"]', "the document is not UTF-8: invalid continuation byte at byte 2", None),
    (b"<html><body>Sign in</body></html>", "this is an HTML page, not a manifest", None),
    (b"\n <!DOCTYPE html>\n<title>404</title>", "this is an HTML page, not a manifest", None),
    (
        b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
        "this is an XML document, not a manifest",
        None,
    ),
    # one key, twice
    (b'{"a": 1, "a": 1}', "the key is repeated in one object", "/a"),
    (b'{"sha256": 1, "\\u0073ha256": 1}', "the key is repeated in one object", "/sha256"),
    (b'[{"b": {"c": [0, {"d": {}, "d": {}}]}}]', "the key is repeated in one object", "/0/b/c/1/d"),
    (b'{"a/b~": 1, "a/b~": 2}', "the key is repeated in one object", "/a~1b~0"),
    (b'{"": 1, "": 2}', "the key is repeated in one object", "/"),
    # numbers
    (b'{"a": NaN}', "the number is not allowed", "/a"),
    (b"[1, Infinity]", "the number is not allowed", "/1"),
    (b"[[-Infinity]]", "the number is not allowed", "/0/0"),
    (b"[1e400]", "the number is not allowed", "/0"),
    (b"[-1e400]", "the number is not allowed", "/0"),
    (b"[1e-400]", "the number is not allowed", "/0"),
    (b"[9007199254740992]", "the number is not allowed", "/0"),
    (b"[-9007199254740992]", "the number is not allowed", "/0"),
    (b"[18446744073709551616]", "the number is not allowed", "/0"),
    (b'{"size": ' + b"9" * 5000 + b"}", "the number is not allowed", "/size"),
    (b"1" * 5000, "the number is not allowed", ""),
    # surrogates
    (b'["\\ud800"]', "the string holds a lone surrogate", "/0"),
    (b'["\\uDC00"]', "the string holds a lone surrogate", "/0"),
    (b'["\\ud800\\ud800\\udc00"]', "the string holds a lone surrogate", "/0"),
    (b'["\\ud800\\udc00\\udc00"]', "the string holds a lone surrogate", "/0"),
    (b'["\\ud800\\\\\\udc00"]', "the string holds a lone surrogate", "/0"),
    (b'["\\ud800\\\\udc00"]', "the string holds a lone surrogate", "/0"),
    (b'{"\\udfff": 1}', "the key holds a lone surrogate", "/\\udfff"),
    # grammar
    (b'{"a": 1} x', "something follows the document (line 1, column 10)", ""),
    (b"{}{}", "something follows the document (line 1, column 3)", ""),
    (b'{"a": [1, 2, {"b": tru', "the document ends too early (line 1, column 20)", "/a/2/b"),
    (b'{"a": "x', "the document ends too early (line 1, column 7)", "/a"),
    (b'{"a": \n[', "the document ends too early (line 2, column 2)", "/a/0"),
    (b'{"a": -', "the document ends too early (line 1, column 7)", "/a"),
    (
        b"{'a': 1}",
        "this is not JSON: expecting property name enclosed in double quotes (line 1, column 2)",
        "",
    ),
    (b"[1,]", "this is not JSON: expecting value (line 1, column 4)", "/1"),
    (b'["\t"]', "this is not JSON: invalid control character (line 1, column 3)", "/0"),
    (b'["\\x"]', "this is not JSON: invalid \\escape (line 1, column 3)", "/0"),
    (b"// no\n{}", "this is not JSON: expecting value (line 1, column 1)", ""),
    (b"[01]", "this is not JSON: expecting ',' delimiter (line 1, column 3)", "/0"),
    (b"hello", "this is not JSON: expecting value (line 1, column 1)", ""),
]


@pytest.mark.parametrize(("raw", "what", "subject"), REFUSED, ids=[repr(row[0][:40]) for row in REFUSED])
def test_refused(raw: bytes, what: str, subject: str | None) -> None:
    problem = refusal(raw)
    assert problem[:3] == ("manifest.syntax", subject, what)
    assert problem.do is not None
    assert len(problem.found or "") <= strictjson.ECHO_CHARS
    assert (problem.found or "").isprintable()


def test_a_message_names_what_the_caller_reads() -> None:
    assert refusal(b"<html>", prefix="trust").what == "this is an HTML page, not a JSON document"
    assert refusal(b"[", prefix="lock").code == "lock.syntax"
    assert refusal(b"[1]", prefix="lock", limit=2).code == "lock.limit"


def test_little_of_a_refused_page_is_repeated() -> None:
    page = b"<html>" + b"\x1b[31m token=secret " * 100
    found = refusal(page).found
    assert found is not None
    assert len(found) == strictjson.ECHO_CHARS
    assert "\\x1b[31m" in found


def test_all_doubts_are_named_at_once() -> None:
    with pytest.raises(InputError) as caught:
        strictjson.loads(b'{"a": NaN, "b": [1, 1e999, {"c": 1, "c": 1e16}], "d": "\\ud800"}', floats=False)
    assert [(p.subject, p.found) for p in caught.value.problems] == [
        ("/a", "NaN"),
        ("/b/1", "1e999"),
        ("/b/2/c", "c"),
        ("/b/2/c", "1e16"),
        ("/d", "\\ud800"),
    ]


def test_good_numbers_beside_bad_ones_are_not_named() -> None:
    assert refusal(b"[0.5, 1, -2e3, 1e999]").subject == "/3"


def test_at_most_a_hundred_doubts_are_named() -> None:
    for raw in (b"[" + b"NaN," * 5000 + b"1]", b"{" + b'"a": NaN,' * 5000 + b'"b": 1}'):
        with pytest.raises(InputError) as caught:
            strictjson.loads(raw)
        assert len(caught.value.problems) == doubts.MAX_DOUBTS


# --- limits ------------------------------------------------------------------------------------------


def test_size() -> None:
    assert strictjson.loads(b"[1, 2]", limit=6) == [1, 2]
    assert refusal(b"[1, 2]", limit=5) == Problem(
        "manifest.limit",
        None,
        "the document is too large",
        expected="at most 5 bytes",
        found="6 bytes",
        do="fetch the document again; if it stays so, ask whoever published it for a corrected one",
    )


NESTED = [
    (b"[", b"]", b"", "/0"),
    (b'{"a":', b"}", b"1", "/a"),
    (b'[{"a":', b"}]", b"1", None),
    (b'["[",{"\\"[":', b"}]", b"1", None),
]


@pytest.mark.parametrize(("opening", "closing", "core", "step"), NESTED)
def test_depth(opening: bytes, closing: bytes, core: bytes, step: str | None) -> None:
    levels = strictjson.MAX_DEPTH // (1 if step else 2)
    assert strictjson.loads(opening * levels + core + closing * levels) is not None
    for depth in (levels + 1, 1_000, 100_000):
        for raw in (opening * depth + core + closing * depth, opening * depth, opening * depth + core):
            problem = refusal(raw)
            assert (problem.code, problem.what) == ("manifest.limit", "the document is nested too deeply")
            assert problem.expected == "at most 32 levels"
            assert step is None or problem.subject == step * strictjson.MAX_DEPTH


def test_the_place_of_a_depth_is_told_when_it_is_near() -> None:
    deep = b"[" * 40 + b"]" * 40
    for before, subject in (
        (b'{"a": ', "/a" + "/0" * 31),
        (b'[1, "x", ', "/2" + "/0" * 31),
        (b"]]],", "/0" * 32),  # not JSON, but too deep comes first
        (b"[" + b" " * 1_000_000, None),
    ):
        assert refusal(before + deep).subject == subject


def test_depth_is_counted_outside_strings_only() -> None:
    brackets = "[{" * 500
    document = {"a" + brackets: [brackets, brackets + '"', '"' + brackets, "\\" + brackets, {"\\": "[" * 40}]}
    assert strictjson.loads(json.dumps(document).encode()) == document
    many = ["[", "]]", "{", '"]', "\\"] * 300_000  # longer than one window of the outline
    assert strictjson.loads(json.dumps([many, [many]]).encode()) == [many, [many]]


def test_close_to_the_recursion_limit_nothing_else_escapes() -> None:
    raw = b"[" * 30 + b"]" * 30

    def deeper(left: int) -> object:
        return strictjson.loads(raw) if left == 0 else deeper(left - 1)

    used = len(list(_frames()))
    outcomes = set()
    for left in range(sys.getrecursionlimit() - used - 60, sys.getrecursionlimit() - used - 5):
        try:
            deeper(left)
        except InputError as error:
            outcomes.add(error.problems[0].what)
        except RecursionError:
            break  # our own calls no longer fit: nothing was read
    assert outcomes <= {"the document is nested too deeply for this process"}


def _frames() -> list[object]:
    frame, frames = sys._getframe(), []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back  # type: ignore[assignment]
    return frames


@pytest.mark.parametrize("length", [1, 2, 7, 40])
@pytest.mark.parametrize("character", ["x", "é", "😀", '"', "\\", "\n"])
def test_string_length_is_counted_in_characters(character: str, length: int) -> None:
    for escaped in (True, False):
        for place, subject, what in (
            (lambda text: ["a", text], "/1", "the string is too long"),
            (lambda text: {"k": {text: 1}}, None, "the key is too long"),
        ):
            good, bad = (
                json.dumps(place(character * n), ensure_ascii=escaped).encode() for n in (length, length + 1)
            )
            assert strictjson.loads(good, max_string=length) == place(character * length)
            problem = refusal(bad, max_string=length)
            assert (problem.code, problem.what) == ("manifest.limit", what)
            assert subject is None or problem.subject == subject
            assert problem.expected == f"at most {length} characters"
            assert problem.found == f"{length + 1} characters"


def test_long_white_space_is_no_long_string() -> None:
    assert strictjson.loads(b"[" + b" " * 500 + b'"a"' + b"\n" * 500 + b"]", max_string=10) == ["a"]


def test_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strictjson, "MAX_COMMAS", 40)
    monkeypatch.setattr(strictjson, "MAX_CONTAINERS", 60)
    assert len(strictjson.loads(b"[" + b"1," * 40 + b"1]")) == 41
    assert refusal(b"[" + b"1," * 41 + b"1]").what == "the document holds too many values"
    assert len(strictjson.loads(b"[" + b"[],[[]]," * 19 + b"[]]")) == 39
    problem = refusal(b"[" + b"[[]]," * 30 + b"[]]")
    assert problem.what == "the document holds too many arrays and objects"
    assert (problem.expected, problem.found) == ("at most 60", "62")


def test_integers_up_to_the_limit() -> None:
    limit = strictjson.MAX_INT
    assert strictjson.loads(f"[{limit}, -{limit}, 0, -0]".encode()) == [limit, -limit, 0, 0]


def test_floats_are_a_choice() -> None:
    assert strictjson.loads(b"[1.5, 1e3, -0.0, 0e-999]") == [1.5, 1000.0, -0.0, 0.0]
    for number in ("1.5", "1.0", "1e3", "1E400"):
        problem = refusal(f'{{"a": {number}}}'.encode(), floats=False)
        assert (problem.code, problem.subject, problem.found) == ("manifest.syntax", "/a", number)
        assert problem.expected == "an integer, or a decimal number in a string"


# --- properties --------------------------------------------------------------------------------------

SCALARS = st.none() | st.booleans() | st.integers(-strictjson.MAX_INT, strictjson.MAX_INT)
TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"])) | st.text(alphabet='[]{}",\\:u')
VALUES = st.recursive(
    SCALARS | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=20,
)
SPELLINGS = st.sampled_from([{}, {"indent": 1}, {"ensure_ascii": False}, {"separators": (",", ":")}])


@given(VALUES, SPELLINGS)
def test_what_json_writes_is_read_back(value: object, spelling: dict[str, object]) -> None:
    raw = json.dumps(value, **spelling).encode()  # type: ignore[arg-type]
    assert strictjson.loads(raw) == value
    strictjson.check(raw)


@given(VALUES, SPELLINGS, st.data())
def test_every_truncation_is_refused(value: object, spelling: dict[str, object], data: st.DataObject) -> None:
    raw = json.dumps([value], **spelling).encode()  # type: ignore[arg-type]
    cut = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(InputError):
        strictjson.loads(raw[:cut])


ALPHABET = st.sampled_from(
    [*b'[]{}",:\\u/ \n', *b"0123456789.eE+-truefalsn", 0xC3, 0xA9, 0xED, 0xA0, 0x80, 0]
)


@given(st.lists(ALPHABET, max_size=60).map(bytes) | st.binary(max_size=60))
def test_no_stricter_and_no_laxer_than_it_says(raw: bytes) -> None:
    """Whatever the bytes: either an InputError, or what the standard library reads from them."""
    try:
        value = strictjson.loads(raw)
    except InputError:
        with pytest.raises(InputError):
            strictjson.check(raw)
        return
    strictjson.check(raw)
    assert repr(value) == repr(json.loads(raw.decode()))


@given(st.text(alphabet='\\"udD8cC0aA[]', max_size=40))
def test_surrogates_are_judged_as_the_parser_reads_them(inner: str) -> None:
    raw = f'["{inner}"]'.encode()
    try:
        value = json.loads(raw)
    except ValueError:
        value = None
    good = value is not None and not any("\ud800" <= c <= "\udfff" for text in value for c in str(text))
    try:
        assert strictjson.loads(raw) == value
        assert good
    except InputError:
        assert not good


def test_every_printable_page_that_is_no_json_is_refused() -> None:
    for character in string.printable:
        raw = character.encode() * 3
        if character.isdigit() and character != "0":
            assert strictjson.loads(raw) == int(raw)
        else:
            refusal(raw)


# --- shapes ------------------------------------------------------------------------------------------


def test_shapes_counts_member_names() -> None:
    raw = b'[{"a": 1, "b": {}}, {"a": {"a": 1, "b": 2}, "b": 3}, {}, {"b": 1, "a": 2}]'
    assert strictjson.shapes(raw) == {("a", "b"): 3, (): 2, ("b", "a"): 1}


def test_shapes_gives_up_on_a_thousand_different_ones() -> None:
    objects = [{f"k{index}": 1} for index in range(1001)]
    assert len(strictjson.shapes(json.dumps(objects[:1000]).encode()) or ()) == 1000
    assert strictjson.shapes(json.dumps(objects).encode()) is None
    assert strictjson.shapes(json.dumps({f"k{index}": 1 for index in range(1001)}).encode()) is None
    twice = json.dumps({f"k{index}": 1 for index in range(2000)}).replace("k1999", "k0").encode()
    assert refusal(twice).subject == "/k0"


# --- hostile documents ----------------------------------------------------------------------------

HOSTILE = {
    "digits": b"[" + b"9" * 5_000_000 + b"]",
    "open string with quotes": b'["' + b'\\"' * 2_000_000,
    "open arrays": b"[" * 5_000_000,
    "seams": b"[" + b'"[",[],' * 500_000 + b"1",
    "backslashes": b'["' + b"\\\\" * 2_000_000 + b'"]',
    "surrogates": b'["' + b"\\ud800" * 500_000 + b'"]',
    "colons": b'{"a"' + b":" * 1_000_000,
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE)
def test_hostile_documents_are_refused_in_linear_time(raw: bytes) -> None:
    """Not a measurement: anything quadratic would take minutes here, and be seen."""
    refusal(raw)
