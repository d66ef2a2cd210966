"""Group D of the attack catalogue, file system half: what stands in a tree, or moves in it, to lead us astray.

Every case reads, walks and publishes for real, and shows by a snapshot that nothing outside was touched.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import socket
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from databom.checks.integrity import check_integrity, check_unlisted
from databom.errors import StorageError, UnsafeFileError
from databom.model.finding import Severity
from databom.storage import posix
from databom.storage.hashing import copy_verified
from databom.storage.staging import PARTIAL, Staging
from databom.storage.tree import Kind, LocalTree
from support.mounts import MOUNTS
from support.trees import manifest_of, plant, snapshot, within

SECRET = b"secret that no report, no digest and no copy may show"


@pytest.fixture(params=[True, False], ids=["openat2", "walk"])
def kernel(request: pytest.FixtureRequest) -> bool:
    if request.param and not posix.has_openat2():
        pytest.skip("this kernel or sandbox has no openat2")
    return bool(request.param)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return plant(tmp_path / "tree", {"real/inside": b"inside"})


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    return plant(tmp_path / "outside", {"victim": SECRET, "sub/victim": SECRET})


def publish(root: Path, path: str, data: bytes = b"new") -> None:
    with Staging(root) as staging:
        temp = staging.create()
        temp.write(data)
        staging.publish(temp, path)


# --- D11: links already in the tree --------------------------------------------------------------


LINKS: dict[str, Callable[[Path, Path], str]] = {
    "final, absolute": lambda root, out: _link(root / "x", out / "victim", "x"),
    "final, relative": lambda root, out: _link(root / "x", Path("../outside/victim"), "x"),
    "final, inside the tree": lambda root, out: _link(root / "x", Path("real/inside"), "x"),
    "final, dangling": lambda root, out: _link(root / "x", out / "not-there", "x"),
    "final, loop": lambda root, out: _link(root / "x", Path("x"), "x"),
    "parent, absolute": lambda root, out: _link(root / "d", out, "d/victim"),
    "parent, relative": lambda root, out: _link(root / "d", Path("../outside"), "d/victim"),
    "parent, inside the tree": lambda root, out: _link(root / "d", Path("real"), "d/inside"),
    "parent, dangling": lambda root, out: _link(root / "d", out / "not-there", "d/victim"),
    "parent, loop": lambda root, out: _link(root / "d", Path("d"), "d/victim"),
    "grandparent": lambda root, out: _link(root / "d", out, "d/sub/victim"),
    "grandparent, inside the tree": lambda root, out: _link(
        plant(root, {"real/sub/inside": b""}) / "d", Path("real"), "d/sub/inside"
    ),
    "below a real directory": lambda root, out: _link(root / "real/d", out, "real/d/victim"),
    "magic: /proc/self/root": lambda root, out: _link(root / "d", Path("/proc/self/root"), "d/etc/passwd"),
    "magic: /proc/self/cwd": lambda root, out: _link(root / "d", Path("/proc/self/cwd"), "d/victim"),
}


def _link(at: Path, target: Path, path: str) -> str:
    at.symlink_to(target)
    return path


@pytest.mark.parametrize("case", LINKS)
def test_d11_links_are_never_followed(root: Path, outside: Path, kernel: bool, case: str) -> None:
    path = LINKS[case](root, outside)
    before = snapshot(root.parent)
    tree = LocalTree(root, kernel=kernel)
    with within(5), pytest.raises(UnsafeFileError, match="symbolic link"):
        tree.open(path)
    assert all("victim" not in found for found, _ in tree.walk())
    with pytest.raises(StorageError):
        publish(root, path)
    assert snapshot(root.parent) == before

    manifest = manifest_of({path: SECRET})
    answer = check_integrity(manifest, tree, outcomes=True)
    assert [(f.code, f.subject, f.severity) for f in answer.findings] == [
        ("integrity.unsafe-file", path, Severity.BLOCK)
    ]
    assert answer.summary.failed == 1
    assert hashlib.sha256(SECRET).hexdigest() not in repr(answer.outcomes)


@pytest.mark.parametrize("case", LINKS)
def test_d11_a_bad_link_is_set_aside_as_a_link(root: Path, outside: Path, tmp_path: Path, case: str) -> None:
    path = LINKS[case](root, outside)
    before = snapshot(outside)
    with Staging(root) as staging:
        moved = staging.move_out(path, tmp_path / "quarantine")
        assert moved.is_symlink()
        temp = staging.create()
        temp.write(b"good")
        staging.publish(temp, path)
    assert (root / path).read_bytes() == b"good"
    assert not (root / path).is_symlink()
    assert snapshot(outside) == before


@pytest.mark.parametrize("name", ["tree", f"tree/{PARTIAL}"])
def test_d11_root_and_workshop_are_no_links(root: Path, outside: Path, name: str) -> None:
    place = root.parent / name
    if name == "tree":
        root.rename(root.parent / "was")
    place.symlink_to(outside)
    before = snapshot(outside)
    with pytest.raises(UnsafeFileError, match="symbolic link"):
        publish(root, "x")
    with pytest.raises(UnsafeFileError, match="symbolic link"), Staging(root) as staging:
        staging.sweep()
    assert snapshot(outside) == before


def test_d11_a_link_above_the_root_counts_when_the_project_is_named(tmp_path: Path, outside: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "data").symlink_to(outside)
    before = snapshot(outside)
    with Staging(project / "data/set", beneath=project) as staging:
        with pytest.raises(UnsafeFileError, match="symbolic link"):
            staging.create()
        with pytest.raises(UnsafeFileError, match="symbolic link"):
            staging.sweep()
    assert snapshot(outside) == before


# --- D12: a directory that becomes a link between two calls ---------------------------------------


@pytest.fixture
def swapping(root: Path, outside: Path) -> Iterator[Callable[[], int]]:
    """Exchange `tree/spot` (a directory) with a link to `outside`, as fast as a thread can, until the test ends."""
    plant(root, {"spot/victim": b"harmless"})
    decoy = root.parent / "decoy"
    decoy.symlink_to(outside)
    libc = ctypes.CDLL(None, use_errno=True)
    exchange, at_fdcwd = 2, -100
    one, two = os.fsencode(root / "spot"), os.fsencode(decoy)
    if not hasattr(libc, "renameat2") or libc.renameat2(at_fdcwd, one, at_fdcwd, two, exchange):
        pytest.skip("this system has no renameat2(RENAME_EXCHANGE)")
    done = threading.Event()
    swaps = 0

    def swap() -> None:
        nonlocal swaps
        while not done.is_set():
            libc.renameat2(at_fdcwd, one, at_fdcwd, two, exchange)
            swaps += 1

    thread = threading.Thread(target=swap)
    thread.start()
    yield lambda: swaps
    done.set()
    thread.join()


def test_d12_reading_while_a_parent_is_swapped(root: Path, swapping: Callable[[], int], kernel: bool) -> None:
    tree = LocalTree(root, kernel=kernel)
    read = refused = tried = 0
    while tried < 20_000 and (min(read, refused) < 200 or swapping() < 2_000):
        tried += 1
        try:
            with tree.open("spot/victim") as stream:
                assert stream.read(100) == b"harmless"
            read += 1
        except UnsafeFileError:
            refused += 1
        except StorageError as error:
            raise AssertionError(f"neither read nor refused: {error!r}") from error
        assert not [path for path, _ in tree.walk() if "sub" in path]
    assert read
    assert refused


def test_d12_a_directory_moved_out_while_it_is_opened(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """openat2's last look finds the directory outside and says EXDEV; by the next look it may be back."""
    plant(root, {"way/spot/victim": b"harmless"})
    if not posix.has_openat2():
        pytest.skip("this kernel or sandbox has no openat2")
    real = posix.openat2
    moved = [True]

    def openat2(directory: int, path: str, flags: int) -> int:
        if path == "way/spot" and moved and moved.pop():
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return real(directory, path, flags)

    monkeypatch.setattr(posix, "openat2", openat2)
    tree = LocalTree(root, kernel=True)
    assert dict(tree.walk())["way/spot"] is Kind.SYMLINK
    moved.append(True)
    with pytest.raises(UnsafeFileError, match="replaces a directory"):
        tree.open("way/spot/victim")
    with tree.open("way/spot/victim") as stream:
        assert stream.read(100) == b"harmless"


def test_d12_publishing_while_a_parent_is_swapped(
    root: Path, outside: Path, swapping: Callable[[], int]
) -> None:
    before = snapshot(outside)
    published = refused = tried = 0
    with Staging(root) as staging:
        while tried < 3_000 and min(published, refused) < 40:
            tried += 1
            temp = staging.create()
            try:
                staging.publish(temp, f"spot/new/{tried}")
                published += 1
            except UnsafeFileError:
                refused += 1
                temp.discard()
    assert swapping() > 0
    assert published
    assert refused
    assert snapshot(outside) == before


# --- D13: things that are no files ---------------------------------------------------------------


@pytest.fixture(params=["FIFO", "socket", "directory", "device"])
def special(request: pytest.FixtureRequest, root: Path) -> Iterator[str]:
    """`tree/odd` is one of the things that `open` could hang on or that are no file."""
    kind = request.param
    with socket.socket(socket.AF_UNIX) as server:
        if kind == "FIFO":
            os.mkfifo(root / "odd")
        elif kind == "socket":
            server.bind(os.fspath(root / "odd"))
        elif kind == "directory":
            (root / "odd").mkdir()
        else:
            try:
                os.mknod(root / "odd", stat.S_IFCHR | 0o666, os.makedev(1, 3))
            except PermissionError:
                pytest.skip("only root can make a device")
        yield kind


def test_d13_special_files_are_refused_at_once(root: Path, kernel: bool, special: str) -> None:
    tree = LocalTree(root, kernel=kernel)
    with within(2):
        with pytest.raises(UnsafeFileError, match=f"it is a {special}"):
            tree.open("odd")
        answer = check_integrity(manifest_of({"odd": b"data", "real/inside": b"inside"}), tree)
        assert [(f.code, f.subject) for f in answer.findings] == [("integrity.unsafe-file", "odd")]
        assert (answer.summary.checked, answer.summary.failed) == (1, 1)
        with pytest.raises(StorageError, match="already exists"):
            publish(root, "odd")


@pytest.mark.parametrize("special", ["FIFO", "socket", "device"], indirect=True)
def test_d13_special_files_on_the_way(root: Path, kernel: bool, special: str) -> None:
    with within(2):
        with pytest.raises(UnsafeFileError, match=f"odd is a {special}"):
            LocalTree(root, kernel=kernel).open("odd/file")
        with pytest.raises(UnsafeFileError, match=f"is a {special}, not a directory"):
            publish(root, "odd/file")


def test_d13_special_files_are_set_aside_as_they_are(root: Path, special: str, tmp_path: Path) -> None:
    mode = (root / "odd").lstat().st_mode
    with within(2), Staging(root) as staging:
        moved = staging.move_out("odd", tmp_path / "quarantine")
    assert moved.lstat().st_mode == mode
    assert not (root / "odd").exists()


# --- D14: hard links -----------------------------------------------------------------------------


def test_d14_a_hard_link_to_the_outside_is_a_warning(root: Path, tmp_path: Path) -> None:
    files = {"real/inside": b"inside", "real/big": b"b" * 100_000}
    plant(root, files)
    for path in files:
        os.link(root / path, tmp_path / path.replace("/", "-"))
    answer = check_integrity(manifest_of(files), LocalTree(root))
    assert [(f.code, f.severity, f.subject, f.found) for f in answer.findings] == [
        ("integrity.unsafe-file", Severity.WARN, "real/big", "2 names"),
        ("integrity.unsafe-file", Severity.WARN, "real/inside", "2 names"),
    ]
    assert answer.summary.failed == 0


def test_d14_links_among_the_assets_are_nobody_elses(root: Path, tmp_path: Path) -> None:
    os.link(root / "real/inside", root / "twin")
    manifest = manifest_of({"real/inside": b"inside", "twin": b"inside"})
    assert check_integrity(manifest, LocalTree(root)).findings == ()
    os.link(root / "twin", tmp_path / "third")
    assert len(check_integrity(manifest, LocalTree(root)).findings) == 2


@pytest.mark.parametrize("md5", [False, True])
@pytest.mark.parametrize("size", [6, 100_000])
def test_d14_links_of_the_dvc_cache_are_known(tmp_path: Path, size: int, md5: bool) -> None:
    data = b"c" * size
    name = hashlib.md5(data).hexdigest()
    cache = plant(tmp_path / "cache", {f"files/md5/{name[:2]}/{name[2:]}": data})
    (tmp_path / "tree").mkdir()
    os.link(cache / f"files/md5/{name[:2]}/{name[2:]}", tmp_path / "tree/x")
    manifest = manifest_of({"x": data})
    answer = check_integrity(manifest, LocalTree(tmp_path / "tree", cache_root=cache), md5=md5, outcomes=True)
    assert answer.findings == ()
    assert answer.outcomes[0].md5 == (name if md5 else None)
    (warned,) = check_integrity(manifest, LocalTree(tmp_path / "tree")).findings
    assert warned.severity is Severity.WARN
    other = plant(tmp_path / "other", {f"files/md5/{name[:2]}/{name[2:]}": data})
    assert len(check_integrity(manifest, LocalTree(tmp_path / "tree", cache_root=other)).findings) == 1


def test_d14_links_into_the_dvc_cache_are_read(tmp_path: Path) -> None:
    cache = plant(tmp_path / "cache", {"files/md5/ab/cd": b"cached"})
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/x").symlink_to(cache / "files/md5/ab/cd")
    tree = LocalTree(tmp_path / "tree", cache_root=cache)
    assert check_integrity(manifest_of({"x": b"cached"}), tree).findings == ()
    (cache / "files/md5/ab/cd").write_bytes(b"cachet")
    (finding,) = check_integrity(manifest_of({"x": b"cached"}), tree).findings
    assert finding.code == "integrity.mismatch"


# --- D15: what nobody listed ---------------------------------------------------------------------


def test_d15_everything_unlisted_is_told(root: Path, outside: Path) -> None:
    plant(
        root,
        {".hidden": b"", ".git/config": b"", "real/Thumbs.db": b"", "__pycache__/x.pyc": b"", "a\nb": b""},
    )
    (root / "void/inner").mkdir(parents=True)
    (root / "way-out").symlink_to(outside)
    os.mkfifo(root / "real/pipe")
    findings = check_unlisted(["real/inside"], LocalTree(root))
    assert [(f.subject, f.found) for f in findings] == [
        (".git/config", "file"),
        (".hidden", "file"),
        ("__pycache__/x.pyc", "file"),
        ("a\\x0ab", "file"),
        ("real/Thumbs.db", "file"),
        ("real/pipe", "FIFO"),
        ("void/inner", "empty directory"),
        ("way-out", "symbolic link"),
    ]
    assert {(f.code, f.severity) for f in findings} == {("integrity.unlisted", Severity.BLOCK)}


def test_d15_what_an_interrupted_run_left_is_told_too(root: Path) -> None:
    plant(root, {f"{PARTIAL}/{'0' * 32}.part": b"half"})
    (finding,) = check_unlisted(["real/inside"], LocalTree(root))
    assert finding.subject == f"{PARTIAL}/{'0' * 32}.part"
    assert finding.do == "databom sync removes what an interrupted run left"


# --- D16: other file systems ---------------------------------------------------------------------


@pytest.mark.parametrize("mounted", MOUNTS, indirect=True)
def test_d16_the_same_promises_on_other_file_systems(mounted: Path, kernel: bool) -> None:
    root = mounted / "set"
    files = {f"d{i % 12}/{i}": bytes([i]) * 1000 * i for i in range(40)}
    manifest = manifest_of(files)
    source = LocalTree(plant(mounted.parent / "source", files))
    with Staging(root) as staging:
        staging.require(sum(map(len, files.values())))
        pairs = []
        for asset in manifest.assets:
            temp = staging.create()
            with source.open(asset.path) as stream:
                assert copy_verified(stream, temp, asset.sha256, asset.size)[1]
            pairs.append((temp, asset.path))
        staging.publish_all(pairs)
        again = staging.create()
        with pytest.raises(StorageError, match="already exists"):
            staging.publish(again, "d1/1")
    tree = LocalTree(root, kernel=kernel)
    assert check_integrity(manifest, tree).findings == ()
    assert check_unlisted(files, tree) == []
    with Staging(root) as staging:
        moved = staging.move_out("d2/2", mounted.parent / "quarantine")  # another file system
    assert moved.read_bytes() == files["d2/2"]
    tree.close()


@pytest.mark.parametrize("mounted", ["bind"], indirect=True)
def test_d16_read_only(mounted: Path) -> None:
    plant(mounted, {"x": b"x"})
    subprocess.run(["mount", "-o", "remount,bind,ro", mounted], check=True)
    tree = LocalTree(mounted)
    assert check_integrity(manifest_of({"x": b"x"}), tree).findings == ()
    with pytest.raises(StorageError, match="Read-only file system") as caught:
        publish(mounted, "y")
    assert caught.value.code == "storage.denied"
    with pytest.raises(StorageError, match="Read-only"), Staging(mounted) as staging:
        staging.move_out("x", mounted.parent / "quarantine")
    assert (mounted / "x").read_bytes() == b"x"
    tree.close()


# --- D17: modes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_d17_modes_do_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    if umask == 0o777 and os.geteuid() != 0:
        pytest.skip("only root can enter what it made under this umask")
    (tmp_path / "set").mkdir(mode=0o755)
    before = os.umask(umask)
    try:
        publish(tmp_path / "set", "a/b/c", b"#!/bin/sh\n")
        with Staging(tmp_path / "set") as staging:
            temp = staging.create()
            workshop = stat.S_IMODE((tmp_path / "set" / PARTIAL).stat().st_mode)
            half_done = stat.S_IMODE((tmp_path / "set" / PARTIAL / temp.name).stat().st_mode)
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE(mode) for path, (mode, _) in snapshot(tmp_path / "set").items()}
    assert modes == {"a": 0o755, "a/b": 0o755, "a/b/c": 0o644}
    assert (workshop, half_done) == (0o700, 0o644)


def test_d17_an_inherited_group_stays(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set").chmod(0o2775)
    publish(tmp_path / "set", "a/b")
    assert stat.S_IMODE((tmp_path / "set/a").stat().st_mode) == 0o2755
    assert stat.S_IMODE((tmp_path / "set/a/b").stat().st_mode) == 0o644


def test_d17_special_bits_of_a_bad_file_stay_evidence(tmp_path: Path) -> None:
    plant(tmp_path / "set", {"x": b"x"})
    (tmp_path / "set/x").chmod(0o4755)
    with Staging(tmp_path / "set") as staging:
        moved = staging.move_out("x", tmp_path / "quarantine")
    assert stat.S_IMODE(moved.stat().st_mode) == 0o4755
    assert stat.S_IMODE(moved.parent.stat().st_mode) == 0o700
