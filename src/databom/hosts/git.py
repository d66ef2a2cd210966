"""Git, as far as databom asks it: where a branch left another one, and what a file was there.

Only the `git` program is used, and only to read objects. It gets no shell, no pager, no prompt, no network and
none of the caller's `GIT_*` variables; no filter, text conversion or hook of the repository runs, so that the
bytes are those that were committed. Replacement objects (`refs/replace`) are ignored, and so is a bare repository
that somebody committed as files of this one, whose history would be theirs to choose.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from databom.errors import ConfigError
from databom.model.text import printable

_FROZEN = (
    *("--no-pager", "--no-replace-objects", "--literal-pathspecs"),
    *("-c", "core.fsmonitor=false", "-c", "core.warnAmbiguousRefs=true", "-c", "protocol.allow=never"),
    *("-c", "safe.bareRepository=explicit"),
)
_VARIABLES = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "LC_ALL": "C",
}
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")
_MAX_ANSWER = 64 * 1024
"""Bytes of any answer that is not a file."""
_MAX_NAMES = 256 * 1024 * 1024
"""Bytes of all names of a work tree."""
_PATIENCE = 300.0
"""Seconds after which a git that hangs is ended; reading objects of a large repository takes less than one."""
_REGULAR = ("100644", "100755")
MAX_COMMITS = 1_000
"""Commits that are looked through for one file."""


class Answer(NamedTuple):
    """What git answered."""

    code: int
    out: bytes
    err: str


class Commit(Struct, frozen=True):
    """One commit of the repository whose work tree is at `top`."""

    top: Path
    """Without symlinks."""
    id: str

    def holds(self, path: Path) -> str | None:
        """The name that a path of the work tree has in commits; None for one outside. Nothing needs to be there."""
        try:
            place = Path(os.path.normpath(path.parent.resolve() / path.name))
        except (OSError, RuntimeError, ValueError):
            return None
        return place.relative_to(self.top).as_posix() if place.is_relative_to(self.top) else None

    def read(self, path: Path, limit: int) -> bytes | None:
        """The bytes that a file of the work tree had in this commit; None when it was not there.

        Args:
            path: where the file is, or would be, in the work tree.
            limit: the most bytes it may have.

        Raises:
            ConfigError: it was no regular file there, is longer than `limit`, or is not in this clone.
        """
        name = self.holds(path)
        return None if name is None else self.read_named(name, limit)

    def read_named(self, name: str, limit: int) -> bytes | None:
        """As `read`, by the name that the file has in commits: the work tree, and links in it, have no say.

        Raises:
            ConfigError: as for `read`.
        """
        shown = f"{printable(name)} at commit {self.id[:12]}"
        entry = self._entry(name)
        if entry is None:
            return None
        mode, kind, blob = entry
        if mode not in _REGULAR:
            what = "a link" if mode == "120000" else f"a {kind}"
            raise ConfigError(f"{shown} is {what}, not a file", hint="commit the file itself on that branch")
        answer = run(self.top, "cat-file", "blob", blob, limit=limit)
        if len(answer.out) > limit:
            raise ConfigError(f"{shown} is larger than {limit:,} bytes")
        if answer.code != 0:
            raise refused(f"{shown} cannot be read", answer, hint=_DEEPEN)
        return answer.out

    def kind(self, name: str) -> str | None:
        """What a name is in this commit: `file`, `folder`, `link`, `submodule`; None where there is nothing.

        Raises:
            ConfigError: it cannot be looked up.
        """
        entry = self._entry(name)
        if entry is None:
            return None
        return {"040000": "folder", "120000": "link", "160000": "submodule"}.get(entry[0], "file")

    def _entry(self, name: str) -> tuple[str, str, str] | None:
        listed = run(self.top, "ls-tree", "-z", "--full-tree", self.id, "--", name)
        if listed.code != 0:
            raise refused(f"{printable(name)} at commit {self.id[:12]} cannot be looked up", listed)
        entry, _, _ = listed.out.partition(b"\0")
        if not entry:
            return None
        mode, kind, blob = entry.partition(b"\t")[0].decode("ascii", "replace").split(" ", 2)
        return mode, kind, blob


_DEEPEN = (
    "fetch the whole history: `fetch-depth: 0` for actions/checkout, `GIT_DEPTH: 0` for GitLab, "
    "or `git fetch --unshallow` (`git fetch --deepen N` for a part)"
)


def merge_base(folder: Path, ref: str) -> Commit:
    """The commit at which HEAD and `ref` parted: the newest one that is in the history of both.

    Args:
        folder: any folder of the work tree.
        ref: a branch, a tag or a commit id.

    Raises:
        ConfigError: no git program, no repository, no such commit, an ambiguous name, or histories that do not
            meet exactly once in this clone.
    """
    shown = printable(ref)
    if not ref or ref.startswith("-") or not ref.isprintable():
        raise ConfigError(
            f"{shown or 'an empty text'} names no commit",
            hint="name a branch, a tag or a commit id, such as origin/main",
        )
    top = top_of(folder)
    base = _commit(top, ref)
    head = _commit(top, "HEAD")
    answer = run(top, "merge-base", "--all", base, head)
    found = answer.out.decode("ascii", "replace").split()
    if answer.code == 1 or (answer.code == 0 and not found):
        is_shallow = run(top, "rev-parse", "--is-shallow-repository").out.strip() == b"true"
        raise ConfigError(
            f"HEAD and {shown} have no commit in common"
            + (" in this shallow clone: its history is cut" if is_shallow else ""),
            hint=_DEEPEN if is_shallow else "name the branch that this one will be merged into",
        )
    if answer.code != 0 or not all(map(_COMMIT.match, found)):
        raise refused(f"where HEAD and {shown} parted cannot be told", answer, hint=_DEEPEN)
    if len(found) > 1:
        raise ConfigError(
            f"HEAD and {shown} parted at {len(found)} commits at once: there is no one state to compare with",
            hint=f"merge {shown} into this branch first",
        )
    return Commit(top, found[0])


def commit_at(folder: Path, ident: str) -> Commit | None:
    """The commit with this id, where this clone has it; None where it has not, or nobody can tell."""
    if not _COMMIT.match(ident):
        return None
    try:
        top = top_of(folder)
        return Commit(top, ident) if _commit(top, ident) == ident else None
    except ConfigError:
        return None


def commits_with(folder: Path, path: Path) -> list[Commit]:
    """The commits of all branches and tags that changed a file, the newest first, at most `MAX_COMMITS`.

    None at all where nobody can tell: no git program, no work tree, or a file outside of it.
    """
    try:
        top = top_of(folder)
        if (name := Commit(top, "").holds(path)) is None:
            return []
        listed = ("rev-list", "--all", "--full-history", f"--max-count={MAX_COMMITS}", "--", name)
        answer = run(top, *listed, limit=_MAX_NAMES)
    except ConfigError:
        return []
    found = answer.out.decode("ascii", "replace").split() if answer.code == 0 else []
    return [Commit(top, one) for one in found if _COMMIT.match(one)]


def tracked(folder: Path) -> frozenset[str] | None:
    """The files under a folder that git tracks, staged ones too, as POSIX paths relative to it.

    None where that cannot be told: no git program, no work tree, or more names than are worth reading.
    """
    try:
        answer = run(folder, "ls-files", "-z", "--cached", limit=_MAX_NAMES)
    except ConfigError:
        return None
    if answer.code != 0 or len(answer.out) > _MAX_NAMES:
        return None
    return frozenset(os.fsdecode(name) for name in answer.out.split(b"\0") if name)


def top_of(folder: Path) -> Path:
    """The top of the work tree around a folder, without symlinks.

    Raises:
        ConfigError: no git program, or no work tree that it can read.
    """
    answer = run(folder, "rev-parse", "--show-toplevel")
    text = os.fsdecode(answer.out).removesuffix("\n")
    if answer.code != 0 or not text:
        raise refused(
            f"{printable(os.fspath(folder))} is in no git work tree that can be read",
            answer,
            hint="run this in a clone; one that belongs to another user needs: "
            "git config --global --add safe.directory FOLDER",
        )
    return Path(text).resolve()


def _commit(top: Path, ref: str) -> str:
    shown = printable(ref)
    # Not --quiet: it would also keep back the warning that two refs have this name.
    answer = run(top, "rev-parse", "--verify", f"{ref}^{{commit}}")
    if "is ambiguous" in answer.err:
        # A tag called origin/main goes before the branch, and whoever may push a tag would choose the base.
        raise ConfigError(
            f"{shown} is ambiguous: more than one ref has this name",
            hint=f"write it in full (refs/remotes/{shown}), and find out who made the other one: git show-ref",
        )
    commit = answer.out.decode("ascii", "replace").strip()
    if answer.code != 0 or not _COMMIT.match(commit):
        if ref == "HEAD":
            raise refused("this repository has no commit yet", answer, hint="commit first")
        raise refused(
            f"{shown} is no commit in this clone",
            answer,
            hint="fetch it first: git fetch origin; in CI, fetch the whole history (fetch-depth: 0)",
        )
    return commit


def refused(what: str, answer: Answer, *, hint: str | None = None) -> ConfigError:
    """The error for an answer that is none, in our words and the first line of git's."""
    said = printable(answer.err.strip().partition("\n")[0])
    return ConfigError(f"{what} ({said})" if said else what, hint=hint)


def run(folder: Path, *arguments: str, limit: int = _MAX_ANSWER, patience: float = _PATIENCE) -> Answer:
    """What `git ARGUMENTS` answers; stdout is cut after `limit` + 1 bytes, a git that hangs ended after `patience`.

    Raises:
        ConfigError: no git program, or it cannot be run.
    """
    program = shutil.which("git")
    if program is None:
        raise ConfigError("comparing with another branch needs the git program", hint="install git")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(  # noqa: S603  # no shell; a ref never begins with a dash
                [program, "-C", os.fspath(folder), *_FROZEN, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**environ, **_VARIABLES},
            )
        except (OSError, ValueError) as error:
            raise ConfigError(f"git cannot be run: {error}") from error
        assert process.stdout is not None
        watch = threading.Timer(patience, process.kill)
        watch.start()
        try:
            with process.stdout:
                out = process.stdout.read(limit + 1)
            if len(out) > limit:
                process.kill()
        finally:
            code = process.wait()
            watch.cancel()
        errors.seek(0)
        return Answer(code, out, errors.read(_MAX_ANSWER).decode("utf-8", "replace"))


# --- what the code was ------------------------------------------------------------------------------------

_MAX_CHANGES = 4 * 1024 * 1024
_REMOTE = re.compile(rb"remote\.(.*)\.url (.*)\Z", re.DOTALL)
_SCP = re.compile(r"(?:[^/@:]+@)?([A-Za-z0-9_.-]+):(?!//)(.+)\Z")


class WorkTree(NamedTuple):
    """The code around a folder, as git sees it."""

    top: Path
    commit: str | None
    """None before the first commit."""
    remote: str | None
    """Where it came from: a URL without user, password and query; None for a path of this machine."""
    changed: tuple[str, ...] | None
    """Files that differ from the commit or are not in it (ignored ones aside), sorted, below `top`; None: too many."""


def work_tree(folder: Path) -> WorkTree:
    """The commit that a folder's work tree is at, and what differs from it.

    Raises:
        ConfigError: no git program, or no work tree that it can read.
    """
    top = top_of(folder)
    status = run(
        top,
        *("status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all", "--no-renames"),
        limit=_MAX_CHANGES,
    )
    if status.code != 0 and len(status.out) <= _MAX_CHANGES:
        raise refused("the state of the work tree cannot be told", status)
    commit, changed = None, set()
    for line in status.out.split(b"\0"):
        if line.startswith(b"# branch.oid "):
            text = line[13:].decode("ascii", "replace")
            commit = text if _COMMIT.match(text) else None
        elif line[:2] in (b"1 ", b"u "):
            changed.add(os.fsdecode(line.split(b" ", 8 if line[:1] == b"1" else 10)[-1]))
        elif line[:2] == b"? ":
            changed.add(os.fsdecode(line[2:]))
    whole = len(status.out) <= _MAX_CHANGES
    return WorkTree(top, commit, _remote(top), tuple(sorted(changed)) if whole else None)


def _remote(top: Path) -> str | None:
    """The URL of `origin`, else of the remote whose name comes first."""
    answer = run(top, "config", "--null", "--get-regexp", r"^remote\..*\.url$")
    found: dict[str, str] = {}
    for entry in answer.out.split(b"\0"):
        if match := _REMOTE.match(entry.replace(b"\n", b" ", 1)):
            found.setdefault(os.fsdecode(match[1]), os.fsdecode(match[2]))
    name = "origin" if "origin" in found else min(found, default=None)
    return None if name is None else shown_remote(found[name])


def shown_remote(url: str) -> str | None:
    """A remote for others to see: scheme, host and path; None where it names a place on this machine."""
    if "://" not in url:
        scp = _SCP.match(url)
        return f"ssh://{scp[1]}/{scp[2].lstrip('/').partition('?')[0]}" if scp else None
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    host = authority.rpartition("@")[2]
    path = path.partition("?")[0].partition("#")[0]
    if not re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme) or scheme == "file" or not host:
        return None
    return printable(f"{scheme}://{host}{slash}{path}", 1_000)


def tracks(path: Path) -> bool:
    """Whether git has this file in a commit or about to be; False also where there is no git to ask."""
    try:
        answer = run(path.parent, "ls-files", "--error-unmatch", "--", path.name)
    except ConfigError:
        return False
    return answer.code == 0
