"""Is all data that a pipeline reads behind a pin?

Code and configuration are not data: what git tracks was reviewed, and a file whose name says that it is code is code.
What a stage makes is derived from what it reads. The rest came from somewhere: a pin covers it, or the policy says that
it is the team's own (`policy.own`), or it is `coverage.unpinned`. docs/adr/0019 has the reasons.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase

from databom.checks.completeness import SEVERITY
from databom.model.config import Policy
from databom.model.finding import Finding
from databom.model.text import printable
from databom.storage.redact import redact

CODE = frozenset(
    {
        *(
            ".bash",
            ".cfg",
            ".dvc",
            ".go",
            ".ini",
            ".ipynb",
            ".java",
            ".jl",
            ".js",
            ".lock",
            ".md",
            ".py",
            ".r",
        ),
        *(".rmd", ".rs", ".scala", ".sh", ".sql", ".toml", ".ts", ".yaml", ".yml"),
    }
)
"""Suffixes of code and configuration, in any case."""
_OURS = ("databom.toml", "databom.lock", "provenance", ".databom")
_CACHES = frozenset({"__pycache__", "node_modules"})


def is_own(path: str, policy: Policy) -> bool:
    """Whether a glob of `policy.own` names a path, or a folder above it. `*` also matches `/`."""
    places = (path, f"{path}/")
    return any(fnmatchcase(place, glob) for glob in policy.own for place in places)


class Ground:
    """What is accounted for in a project. Paths are POSIX and normal, relative to it or absolute."""

    def __init__(
        self,
        policy: Policy,
        *,
        accounted: Iterable[str],
        tracked: frozenset[str],
        added: Iterable[str],
        entries: Callable[[str], Iterable[str] | None],
    ) -> None:
        """Take note of it.

        Args:
            policy: the policy.
            accounted: what pins cover, and what stages make.
            tracked: files that git tracks.
            added: data that is known to belong here, also where it was not fetched yet.
            entries: the names in a folder; none where nothing is there, and None where it is no folder.
        """
        self.policy = policy
        self._accounted = frozenset((*accounted, *_OURS))
        self._tracked = tracked
        self._added = tuple(added)
        self._entries = entries
        known = (*self._accounted, *tracked, *self._added, *policy.own)
        self._partly = frozenset(above for path in known for above in _above(path))

    def unaccounted(self, path: str) -> Iterator[str]:
        """What of a dependency nothing accounts for: itself, or what is in it if that is accounted for in part."""
        if self._is_accounted(path):
            return
        if path not in self._partly:
            yield path
            return
        names = self._entries(path)
        if names is None:
            yield path
            return
        inside = {posixpath.normpath(posixpath.join(path, name)) for name in names}
        inside |= {one for one in self._added if path in _above(one)}
        for one in sorted(inside):
            name = posixpath.basename(one)
            if not name.startswith(".") and name not in _CACHES:
                yield from self.unaccounted(one)

    def _is_accounted(self, path: str) -> bool:
        if is_own(path, self.policy):
            return True
        if "://" in path:
            return False
        is_code = posixpath.splitext(path)[1].lower() in CODE
        return is_code or path in self._tracked or not self._accounted.isdisjoint((path, *_above(path)))


def _above(path: str) -> list[str]:
    """Every folder above a path, the project's own (`.`) too."""
    parts = path.split("/")
    found = ["/".join(parts[:count]) for count in range(1, len(parts))]
    return found if path.startswith(("/", "../")) else [*found, "."]


def check_coverage(
    needs: Iterable[tuple[str, str]], imported: Iterable[tuple[str, str]], ground: Ground
) -> Iterator[Finding]:
    """`coverage.unpinned` for each thing that is read, or was imported, and that nothing accounts for.

    Args:
        needs: paths or URLs, with who reads them.
        imported: paths, with where they came from.
        ground: what is accounted for.
    """
    severity = SEVERITY.get(ground.policy.coverage)
    if severity is None:
        return
    found: dict[str, set[str]] = {}
    for path, reader in needs:
        for one in ground.unaccounted(path):
            found.setdefault(one, set()).add(f"{reader} reads it")
    for path, source in imported:
        for one in ground.unaccounted(path):
            found.setdefault(one, set()).add(f"it was imported from {redact(source)}")
    for path, reasons in sorted(found.items()):
        yield unpinned(
            printable(redact(path)),
            f"no pin covers this data; {printable('; '.join(sorted(reasons)), 500)}",
            ground.policy,
        )


def unpinned(subject: str, what: str, policy: Policy) -> Finding:
    """One `coverage.unpinned`, in the weight that the policy gives it."""
    return Finding(
        "coverage.unpinned",
        SEVERITY[policy.coverage],
        subject,
        what,
        expected="a pin, or a glob of policy.own that says it is the team's own",
        found="neither",
        do="databom add its manifest; or name it in policy.own; or a steward accepts it: databom approve --help",
    )
