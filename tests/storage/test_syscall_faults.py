"""Every system call fails once, at every place: a typed error, nothing half-named, and the next run repairs it.

SQLite's method with strace: a child stops before it touches the tree, strace attaches and makes the N-th call of one
kind fail; N grows until the child gets through untouched. (attacks.md G03 and G04, for reading and for publishing.)
"""

from __future__ import annotations

import hashlib
import shutil
import textwrap
from pathlib import Path

import pytest

from databom.checks.integrity import check_integrity, check_unlisted
from databom.storage.staging import PARTIAL
from databom.storage.tree import LocalTree
from support.tracing import traced
from support.trees import manifest_of, plant

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace to make system calls fail"),
]

FILES = {"a/one": b"1" * 1000, "a/b/two": b"2" * 70_000, "three": b""}
MOST = 60

PREAMBLE = """
    import sys
    from pathlib import Path
    from support.trees import manifest_of
    from databom.checks.integrity import check_integrity, check_unlisted
    from databom.storage.staging import Staging
    from databom.storage.tree import LocalTree
    import databom.storage.aside
    FILES = {"a/one": b"1" * 1000, "a/b/two": b"2" * 70_000, "three": b""}
    root = Path(sys.argv[1])
    manifest = manifest_of(FILES)
    check_integrity(manifest, LocalTree(Path("/nowhere")))  # whatever is loaded late is loaded now
    ready()
    try:
"""
ENDING = """
    except DatabomError as error:
        say("refused", type(error).__name__, error.code, error)
    leave()
"""

PUBLISH = """
        with Staging(root) as staging:
            staging.sweep()
            pairs = []
            for path, data in FILES.items():
                if not os.access(root / path, os.F_OK):
                    temp = staging.create()
                    temp.write(data)
                    pairs.append((temp, path))
            staging.publish_all(pairs)
        say("published")
"""

MOVE = """
        with Staging(root) as staging:
            place = staging.move_out("a/one", root.parent / "quarantine")
        say("moved", place)
"""

VERIFY = """
        tree = LocalTree(root)
        answer = check_integrity(manifest, tree)
        findings = [*answer.findings, *check_unlisted(FILES, tree)]
        say("answered", [(f.code, f.subject, f.what) for f in findings])
"""


def run(program: str, root: Path, inject: str | None) -> tuple[str, int]:
    """What the child printed, and its exit code (negative: the signal that ended it)."""
    code = (
        textwrap.dedent(PREAMBLE)
        + textwrap.indent(textwrap.dedent(program), "    ")
        + textwrap.dedent(ENDING)
    )
    return traced(code, root, inject=inject)


def faults(call: str, what: str) -> list[str]:
    return [f"{call}:{what}:when={n}" for n in range(1, MOST)]


def is_whole(root: Path) -> None:
    """What has a name has its bytes; nothing else does."""
    for path in root.rglob("*"):
        if path.is_file() and PARTIAL not in path.parts:
            assert path.read_bytes() == FILES[path.relative_to(root).as_posix()], path


@pytest.mark.parametrize(
    ("call", "what"),
    [
        ("openat", "error=EIO"),
        ("openat", "error=EMFILE"),
        ("mkdirat", "error=ENOSPC"),
        ("write", "error=ENOSPC"),
        ("write", "error=EDQUOT"),
        ("fchmod", "error=EIO"),
        ("fsync", "error=EIO"),
        ("syncfs", "error=EIO"),
        ("linkat", "error=ENOSPC"),
        ("unlinkat", "error=EIO"),
        ("close", "error=EIO"),
        ("newfstatat", "error=EIO"),
        ("dup", "error=EMFILE"),
        ("fcntl", "error=EMFILE"),
        ("linkat", "signal=KILL"),
        ("unlinkat", "signal=KILL"),
        ("syncfs", "signal=KILL"),
        ("mkdirat", "signal=KILL"),
        ("fsync", "signal=KILL"),
    ],
)
def test_publishing_survives_every_failure(tmp_path: Path, call: str, what: str) -> None:
    failed = 0
    for n, fault in enumerate(faults(call, what)):
        root = tmp_path / str(n) / "set"
        out, code = run(PUBLISH, root, fault)
        is_whole(root)
        if code == 0 and out.startswith("published"):
            if call not in {"unlinkat", "close", "newfstatat", "fcntl"}:  # an untidy end is no failure
                break
            if n > 20:
                break
        else:
            failed += 1
            assert code in {0, -9}, (fault, out, code)
            if "ENOSPC" in what or "EDQUOT" in what:
                assert "FullError" in out, (fault, out)
            else:
                assert code == -9 or "StorageError" in out or "storage." in out, (fault, out)
        again, code = run(PUBLISH, root, None)
        assert (again, code) == ("published\n", 0), fault
        is_whole(root)
        assert {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()} == set(FILES), fault
        assert not (root / PARTIAL).exists(), fault
    assert failed or call in {"unlinkat", "close", "newfstatat", "fcntl", "dup", "fsync"}


@pytest.mark.parametrize(
    ("call", "what"),
    [
        ("openat", "error=EIO"),
        ("openat2", "error=EIO"),
        ("openat2", "error=EAGAIN"),
        ("read", "error=EIO"),
        ("readv", "error=EIO"),
        ("newfstatat", "error=EIO"),
        ("fstat", "error=EIO"),
        ("getdents64", "error=EIO"),
        ("close", "error=EIO"),
    ],
)
def test_verifying_never_passes_what_it_could_not_read(tmp_path: Path, call: str, what: str) -> None:
    root = plant(tmp_path / "set", FILES)
    for n, fault in enumerate(faults(call, what)):
        out, code = run(VERIFY, root, fault)
        assert code == 0, (fault, out)
        assert out.startswith(("refused", "answered")), (fault, out)
        if out == "answered []\n" and n > 12:
            break
        assert "integrity.mismatch" not in out, (fault, out)
    tree = LocalTree(root)
    assert check_integrity(manifest_of(FILES), tree).findings == ()
    assert check_unlisted(FILES, tree) == []


@pytest.mark.parametrize(
    ("call", "what"),
    [
        ("renameat2", "error=EIO"),
        ("renameat2", "error=ENOSYS"),
        ("renameat2", "error=EXDEV"),
        ("openat", "error=EIO"),
        ("mkdir", "error=ENOSPC"),
        ("renameat2", "signal=KILL"),
    ],
)
def test_setting_aside_loses_nothing(tmp_path: Path, call: str, what: str) -> None:
    digest = hashlib.sha256(FILES["a/one"]).hexdigest()
    for n, fault in enumerate(faults(call, what)):
        base = tmp_path / str(n)
        root = plant(base / "set", FILES)
        out, code = run(MOVE, root, fault)
        assert code in {0, -9}, (fault, out)
        found = [p for p in base.rglob("one") if hashlib.sha256(p.read_bytes()).hexdigest() == digest]
        assert len(found) == 1, (fault, out)
        assert out.startswith("moved") == (found[0] != root / "a/one") or code == -9, (fault, out)
        if out.startswith("moved") and n > 4:
            break
