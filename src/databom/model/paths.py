"""Which asset paths are safe, and which collide: the same answer on every operating system.

Manifests travel. A path that is harmless here and an escape or a device on Windows, or that macOS folds onto
its neighbor, is refused everywhere. A path is relative, POSIX, NFC, and names a file: `images/cat1.jpg`. It
is a literal name: nothing in databom expands `$HOME`, unquotes `%2e` or globs, which is why such names are
allowed.

Two paths collide when `NFC(casefold(NFKC(path)))` is equal (`lower()` misses ß/SS and ﬁ/fi), or when one
names a file where another needs a directory.

`path_problem` is the rule. `check_paths` first asks a bulk form of it, which may doubt a good path but never
passes a bad one, and looks at single paths only when in doubt.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from itertools import islice
from operator import eq
from typing import TYPE_CHECKING, Any

from databom.errors import Problem
from databom.model.text import name_of, printable, unsafe_character

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

MAX_PATH_BYTES = 1_024
"""Bytes of UTF-8 in a path: what macOS opens (PATH_MAX); Linux opens 4,096."""
MAX_SEGMENT_BYTES = 255
"""Bytes of UTF-8 in one name: what ext4, XFS, APFS and NTFS hold."""
MAX_LEVELS = 64
"""Names in one path."""
MAX_PROBLEMS = 100

RESERVED = frozenset({".git", ".dvc", ".dvcignore", ".mlflow", ".databom", ".databom-partial"})
"""Names that tools obey, or that hold our state: refused in any case, at any level."""

_DEVICE = r"(?:con|prn|aux|nul|conin\$|conout\$|com[0-9]|lpt[0-9]) *"
# Windows answers to these short names of the reserved directories, too (CVE-2014-9390).
_ALIAS = r"(?:git|dvc|mlflow|databo)~[0-9]+"
_DEVICE_NAME = re.compile(rf"{_DEVICE}(?:\..*)?", re.DOTALL)
_ALIAS_NAME = re.compile(_ALIAS)
# The lookahead, their first characters, only makes it faster.
_DOUBTFUL_NAME = re.compile(
    rf"/(?=[acdglmnp.])(?:{_DEVICE}[./]|{_ALIAS}/|(?:{'|'.join(re.escape(name) for name in sorted(RESERVED))})/)"
)
# %HomeDrive% is a variable on Windows; %2e%2e is a literal name, and nobody here unquotes it.
_VARIABLE = re.compile(r"%(?![0-9A-Fa-f]{2}%)[A-Za-z_][^%/]*%")
_DOUBTFUL_PARTS = ("//", "./", "\\", ":", " /", "\n/~")
_ASCII_TEXT = bytes(range(0x20, 0x7F)) + b"\n"
_CHUNK = 8_192
_FEW = 100_000
# Up to here no limit on bytes or levels can be reached, at four bytes a character and two characters a level.
_SHORT_CHARS = MAX_SEGMENT_BYTES // 4
_SHORT_ASCII_CHARS = 2 * MAX_LEVELS - 1


def path_problem(path: str) -> str | None:
    """Why a path is unsafe, in words that follow "the path"; None when it is safe."""
    if not path:
        return "is empty"
    if (bad := unsafe_character(path)) is not None:
        return f"holds {name_of(bad)}, a control, invisible, private-use or surrogate character"
    # Lengths before Unicode forms: normalizing a long run of combining marks takes quadratic time.
    if len(path.encode()) > MAX_PATH_BYTES:
        return f"is longer than {MAX_PATH_BYTES:,} bytes"
    return _form_problem(path) or _segments_problem(path.split("/"))


def _form_problem(path: str) -> str | None:
    if path.startswith("/"):
        return "is absolute"
    if path.endswith("/"):
        return "ends in '/', but an asset is a file"
    if "\\" in path:
        return "holds a backslash, a separator on Windows"
    if ":" in path:
        return "holds ':', a drive or a stream on Windows"
    if path.startswith("~"):
        return "starts with '~', a home directory to a shell"
    if _VARIABLE.search(path):
        return "holds a %variable%, which Windows expands"
    return None


def _segments_problem(segments: list[str]) -> str | None:
    if len(segments) > MAX_LEVELS:
        return f"has more than {MAX_LEVELS} levels"
    return next(filter(None, map(_segment_problem, segments)), None)


def _segment_problem(segment: str) -> str | None:
    if segment == "":
        return "has an empty name between two '/'"
    if segment in {".", ".."}:
        return f"has a '{segment}' segment"
    if segment.endswith((".", " ")):
        return "has a name that ends in a dot or a space, which Windows drops"
    if len(segment.encode()) > MAX_SEGMENT_BYTES:
        return f"has a name longer than {MAX_SEGMENT_BYTES} bytes"
    if not unicodedata.is_normalized("NFC", segment):
        return "is not in Unicode normal form NFC"
    key = collision_key(segment)
    if _DEVICE_NAME.fullmatch(key):
        return "has a name that is a device on Windows"
    if key in RESERVED or _ALIAS_NAME.fullmatch(key):
        return f"has the name '{printable(segment)}', which belongs to a tool"
    return None


def collision_key(path: str) -> str:
    """What two paths share that no file system may hold side by side: NFC(casefold(NFKC(path)))."""
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", path).casefold())


def check_paths(paths: Sequence[str]) -> list[Problem]:
    """Every unsafe, repeated or colliding path of a manifest, in order; at most `MAX_PROBLEMS`.

    The subject is the JSON pointer of the (later) asset's path. `manifest.duplicate` is one path twice,
    `manifest.path` everything else. Which file systems are in use here plays no part.
    """
    if _are_surely_good(paths):
        return []
    return list(islice(find_problems(enumerate(paths)), MAX_PROBLEMS))


def find_problems(numbered: Iterable[tuple[int, str]]) -> Iterator[Problem]:
    """Path by path: the problems of assets given as (index, path), unsafe paths first, then collisions."""
    safe: dict[int, str] = {}
    for index, path in numbered:
        if (problem := path_problem(path)) is None:
            safe[index] = path
            continue
        yield Problem(
            "manifest.path",
            f"/assets/{index}/path",
            f"the path {problem}",
            expected="a relative path that is safe on every system",
            found=printable(path),
            do="ask the publisher for a release with portable paths",
        )
    yield from _collisions(safe)


def _collisions(paths: dict[int, str]) -> Iterator[Problem]:
    first: dict[str, int] = {}
    spelled: dict[str, int] = {}
    for index, path in paths.items():
        other = first.setdefault(collision_key(path), index)
        same = spelled.setdefault(path, index)
        if other == index:
            continue
        if same != index:
            yield Problem(
                "manifest.duplicate",
                f"/assets/{index}/path",
                f"the path is listed twice: /assets/{same} and /assets/{index}",
                expected="each path once",
                found=printable(path),
                do="ask the publisher for a corrected release",
            )
        else:
            yield _collision(index, path, paths[other], "are one name where case or Unicode form is folded")
    for key, index in first.items():
        for parent in _parents(key):
            if parent in first:
                earlier, later = sorted((index, first[parent]))
                yield _collision(
                    later, paths[later], paths[earlier], "need a file and a directory of one name"
                )
                break


def _collision(index: int, path: str, other: str, why: str) -> Problem:
    return Problem(
        "manifest.path",
        f"/assets/{index}/path",
        f"the paths '{printable(other)}' and '{printable(path)}' {why}",
        expected="paths that can exist side by side on every system",
        found=printable(path),
        do="ask the publisher to rename one of them",
    )


def _parents(key: str) -> Iterator[str]:
    cut = key.rfind("/")
    while cut > 0:
        yield key[:cut]
        cut = key.rfind("/", 0, cut)


# --- the same rules in bulk -----------------------------------------------------------------------


def _are_surely_good(paths: Sequence[str]) -> bool:
    """Whether no path is unsafe and none collide. False only means: look at each.

    Where folding changes paths, their keys are compared by 64-bit hash, which equal keys share: a million
    hashes are 8 MB where the keys would be 100. An accidental match costs a second look, never a wrong
    answer.
    """
    hashes: array[int] | None = None
    directories: set[str] = set()
    for start in range(0, len(paths), _CHUNK):
        chunk = paths[start : start + _CHUNK]
        # Every name between slashes, every path on its line. No character composes with '/' or with a line
        # feed, so Unicode forms of the whole are those of its parts.
        text = "/" + "/\n/".join(chunk) + "/"
        if not _is_surely_safe(text, chunk):
            return False
        folded = collision_key(text)
        if _DOUBTFUL_NAME.search(folded):
            return False
        keys = chunk
        if folded != text:
            keys = folded[1:-1].split("/\n/")
            if hashes is None:  # so far every path was its own key
                hashes = array("q", map(hash, islice(paths, start)))
        if hashes is not None:
            hashes.extend(map(hash, keys))
        directories |= {key.rpartition("/")[0] for key in keys}
    if hashes is None:
        return _are_apart(paths, directories, lambda key: key)
    return _are_apart(hashes, directories, hash)


def _are_apart(files: Sequence[Any], directories: set[str], stand_in: Callable[[str], Any]) -> bool:
    """Whether no two files are the same and none is an ancestor of another; `stand_in` makes keys files."""
    ordered = sorted(files)
    if any(map(eq, ordered, islice(ordered, 1, None))):
        return False
    directories.discard("")
    levels = sum(directory.count("/") + 1 for directory in directories)
    if levels <= _FEW:
        ancestors = {
            stand_in(parent) for directory in directories for parent in (directory, *_parents(directory))
        }
        return ancestors.isdisjoint(ordered)
    # Deep trees of small directories: their ancestors' names could take many times the memory of the manifest.
    known = set(ordered)
    return all(known.isdisjoint(map(stand_in, (parent, *_parents(parent)))) for parent in directories)


def _is_surely_safe(text: str, chunk: Sequence[str]) -> bool:
    if (
        text.count("\n") != len(chunk) - 1
        or any(part in text for part in _DOUBTFUL_PARTS)
        or text.startswith("/~")
    ):
        return False
    longest = max(map(len, chunk))
    if text.isascii():
        if text.encode().translate(None, _ASCII_TEXT) or (
            longest > _SHORT_ASCII_CHARS and _has_problem(chunk)
        ):
            return False
    else:
        if unsafe_character("".join(set(text)), allow="\n") or (
            longest > _SHORT_CHARS and _has_problem(chunk)
        ):
            return False
        if not unicodedata.is_normalized("NFC", text):
            return False
    return not ("%" in text and _VARIABLE.search(text))


def _has_problem(chunk: Sequence[str]) -> bool:
    return any(len(path) > _SHORT_CHARS and path_problem(path) for path in chunk)
