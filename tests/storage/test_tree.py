"""LocalTree: what it opens, what it refuses and how it says so, the same by openat2 and by the portable walk."""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from databom.errors import DeniedError, MissingError, StorageError, UnsafeFileError
from databom.storage import posix
from databom.storage.localfile import file_stat
from databom.storage.tree import Kind, LocalTree, require_plain
from support.trees import as_nobody, plant, within

FILES = {"top.txt": b"top", "a/one.bin": b"\x00\x01" * 700, "a/b/two.bin": b"", ".hidden/x": b"h"}


@pytest.fixture(params=[True, False], ids=["openat2", "walk"])
def kernel(request: pytest.FixtureRequest) -> bool:
    if request.param and not posix.has_openat2():
        pytest.skip("this kernel or sandbox has no openat2")
    return bool(request.param)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return plant(tmp_path / "tree", FILES)


def read(tree: LocalTree, path: str) -> bytes:
    with tree.open(path) as stream:
        return b"".join(iter(lambda: stream.read(512), b""))


# --- opening -------------------------------------------------------------------------------------


def test_reads_every_file(root: Path, kernel: bool) -> None:
    tree = LocalTree(root, kernel=kernel)
    assert {path: read(tree, path) for path in FILES} == FILES


def test_a_stream_knows_its_length_and_key(root: Path, kernel: bool) -> None:
    with LocalTree(root, kernel=kernel).open("a/one.bin") as stream:
        status = (root / "a/one.bin").stat()
        assert stream.length == 1400
        assert stream.linked == 0
        assert stream.opened == stream.stat()
        assert stream.opened == (status.st_dev, status.st_ino, 1400, status.st_mtime_ns, status.st_ctime_ns)
        buffer = memoryview(bytearray(2000))
        assert stream.readinto(buffer) == 1400
        assert bytes(buffer[:1400]) == FILES["a/one.bin"]
        assert stream.readinto(buffer) == 0
    stream.close()
    with pytest.raises(StorageError, match=r"a/one\.bin"):
        stream.read(1)
    with pytest.raises(StorageError, match=r"a/one\.bin"):
        stream.readinto(buffer)


def test_the_key_changes_with_the_file(root: Path) -> None:
    with LocalTree(root).open("top.txt") as stream:
        before = (root / "top.txt").stat()
        (root / "top.txt").write_bytes(b"pot")
        os.utime(root / "top.txt", ns=(before.st_atime_ns, before.st_mtime_ns))
        now = stream.stat()
        assert now.mtime_ns == stream.opened.mtime_ns
        assert now != stream.opened


@pytest.mark.parametrize("path", ["no", "no/such/file", "a/no", "top.txt/below", "a/one.bin/x/y"])
def test_missing(root: Path, kernel: bool, path: str) -> None:
    with pytest.raises(MissingError) as caught:
        LocalTree(root, kernel=kernel).open(path)
    assert caught.value.where == f"{root}/{path}"
    assert caught.value.code == "storage.missing"


@pytest.mark.parametrize(
    "path",
    ["", "/", "/etc/passwd", "..", "../tree/top.txt", "a/../top.txt", "./top.txt", "a//one.bin", "a/", "a/.",
     "top.txt\0", "a/\0/x", "\ud800", "a/\udfff"],
)  # fmt: skip
def test_names_that_are_no_plain_path(root: Path, kernel: bool, path: str) -> None:
    with pytest.raises(UnsafeFileError):
        LocalTree(root, kernel=kernel).open(path)


@pytest.mark.parametrize("path", ["...", "..a", ".a", "a..", "a/.b/..c", "~", "-rf", "a\\b", "é"])
def test_names_that_only_look_odd(path: str) -> None:
    require_plain(path)


def test_a_directory_is_no_file(root: Path, kernel: bool) -> None:
    with pytest.raises(UnsafeFileError, match="it is a directory"):
        LocalTree(root, kernel=kernel).open("a")


def test_denied(root: Path, kernel: bool) -> None:
    (root / "top.txt").chmod(0)
    (root / "a").chmod(0)
    tree = LocalTree(root, kernel=kernel)
    tree.check_root()
    with as_nobody():
        for path in ("top.txt", "a/one.bin"):
            with pytest.raises(DeniedError) as caught:
                tree.open(path)
            assert caught.value.hint
            assert path in str(caught.value)
    (root / "a").chmod(0o755)


def test_the_message_names_what_is_in_the_way(root: Path, kernel: bool) -> None:
    (root / "out").symlink_to(root.parent)
    with pytest.raises(UnsafeFileError, match=r"out is a symbolic link") as caught:
        LocalTree(root, kernel=kernel).open("out/tree/top.txt")
    assert caught.value.where == f"{root}/out/tree/top.txt"
    assert caught.value.hint


def test_a_name_too_long_for_the_file_system(root: Path, kernel: bool) -> None:
    with pytest.raises(StorageError, match="too long"):
        LocalTree(root, kernel=kernel).open("x" * 300)


def test_small_files_in_one_read(root: Path) -> None:
    tree = LocalTree(root)
    with tree.batch() as batch:
        small = batch.read_small("a/one.bin", 1400)
        assert small is not None
        key = file_stat((root / "a/one.bin").stat())
        assert small == (FILES["a/one.bin"], key, True, 0, False)
        assert batch.read_small("a/one.bin", 1399) is None
        with pytest.raises(UnsafeFileError):
            batch.read_small("a/b", 10)
        with pytest.raises(MissingError):
            batch.read_small("a/b/no", 10)


def test_size_hint(root: Path) -> None:
    (root.parent / "outside").write_bytes(b"secret")
    (root / "link").symlink_to(root.parent)
    with LocalTree(root).batch() as batch:
        names = (
            "a/one.bin",
            "no",
            "a\0",
            "../outside",
            str(root.parent / "outside"),
            "link/outside",
            "..",
            ".",
            "",
        )
        assert [batch.size_hint(path) for path in names] == [1400, *[0] * 8]
    with LocalTree(root / "no").batch() as batch:
        assert batch.size_hint("x") == 0


def test_many_threads_share_a_tree(tmp_path: Path, kernel: bool) -> None:
    files = {f"d{i % 7}/{i}": str(i).encode() * i for i in range(200)}
    tree = LocalTree(plant(tmp_path / "t", files), kernel=kernel)
    with ThreadPoolExecutor(8) as pool:
        assert dict(zip(files, pool.map(lambda path: read(tree, path), files), strict=True)) == files


# --- the root ------------------------------------------------------------------------------------


def test_a_root_that_is_a_symlink_is_refused(root: Path, kernel: bool) -> None:
    link = root.parent / "link"
    link.symlink_to(root)
    tree = LocalTree(link, kernel=kernel)
    for call in (tree.check_root, lambda: tree.open("top.txt"), lambda: list(tree.walk())):
        with pytest.raises(UnsafeFileError, match="is a symbolic link") as caught:
            call()
        assert caught.value.hint is not None
        assert "--path" in caught.value.hint


def test_links_on_the_way_to_the_root_are_the_users_own(root: Path, kernel: bool) -> None:
    (root.parent / "link").symlink_to(root.parent)
    assert read(LocalTree(root.parent / "link" / "tree", kernel=kernel), "top.txt") == b"top"


@pytest.mark.parametrize(
    ("name", "error"), [("no", MissingError), ("tree/top.txt", UnsafeFileError), ("x\0", MissingError)]
)
def test_a_root_that_is_no_directory(root: Path, name: str, error: type[StorageError]) -> None:
    with pytest.raises(error):
        LocalTree(root.parent / name).check_root()


def test_a_root_that_may_not_be_entered(root: Path) -> None:
    root.parent.chmod(0)
    try:
        with as_nobody(), pytest.raises(DeniedError):
            LocalTree(root).check_root()
    finally:
        root.parent.chmod(0o755)


def test_a_relative_root_stays_what_it_was(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root.parent)
    tree = LocalTree(Path("tree"))
    assert tree.shown == "tree"
    monkeypatch.chdir("/")
    assert read(tree, "top.txt") == b"top"


def test_one_object_sees_one_tree(root: Path) -> None:
    tree = LocalTree(root)
    tree.check_root()
    root.rename(root.parent / "moved")
    plant(root, {"top.txt": b"another"})
    assert read(tree, "top.txt") == b"top"
    tree.close()
    assert read(tree, "top.txt") == b"another"


def test_pickles_as_its_paths(root: Path, kernel: bool) -> None:
    tree = LocalTree(root, cache_root=root.parent / "cache", kernel=kernel)
    tree.check_root()
    copy = pickle.loads(pickle.dumps(tree))
    assert (copy.root, copy.cache_root, copy.shown) == (tree.root, tree.cache_root, tree.shown)
    assert read(copy, "a/one.bin") == FILES["a/one.bin"]


def test_no_descriptor_is_left_open(root: Path, kernel: bool) -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = count()
    tree = LocalTree(root, kernel=kernel)
    for path in (*FILES, "no", "a", "a/b/no", "top.txt/x"):
        with contextlib.suppress(StorageError):
            tree.open(path).close()
    list(tree.walk())
    tree.close()
    assert count() == before


# --- walking -------------------------------------------------------------------------------------


def test_walk_yields_everything_but_directories_in_use(root: Path, kernel: bool) -> None:
    (root / "empty/inner").mkdir(parents=True)
    os.mkfifo(root / "a/pipe")
    (root / "link").symlink_to("a")
    (root / "a/dangling").symlink_to("/nowhere")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.fspath(root / "s"))
        found = dict(LocalTree(root, kernel=kernel).walk())
    assert found == {
        **dict.fromkeys(FILES, Kind.FILE),
        "empty/inner": Kind.EMPTY,
        "a/pipe": Kind.FIFO,
        "link": Kind.SYMLINK,
        "a/dangling": Kind.SYMLINK,
        "s": Kind.SOCKET,
    }


def test_walk_of_an_empty_root(tmp_path: Path) -> None:
    assert list(LocalTree(tmp_path).walk()) == []


def test_walk_of_no_root(tmp_path: Path) -> None:
    with pytest.raises(MissingError):
        list(LocalTree(tmp_path / "no").walk())


def test_walk_gives_names_that_are_not_utf8(tmp_path: Path) -> None:
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe"))).write_bytes(b"x")
    assert list(LocalTree(tmp_path).walk()) == [("\udcff\udcfe", Kind.FILE)]


def test_walk_does_not_descend_for_ever(tmp_path: Path, kernel: bool) -> None:
    """A tree deeper than any path can name, which no recursion and no path-based walk would survive."""
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    ((path, kind),) = LocalTree(tmp_path, kernel=kernel).walk()
    # pytest's own clean-up recurses, and would not survive it either.
    subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)
    assert kind is Kind.DEEP
    assert path.count("/") == 64
    name = "x" * 250
    wide = tmp_path / "wide"
    wide.mkdir()
    for _ in range(5):
        wide = wide / name
        wide.mkdir()
    found = dict(LocalTree(tmp_path / "wide", kernel=kernel).walk())
    assert list(found.values()) == [Kind.DEEP]
    assert len(next(iter(found))) > 1024


def test_walk_says_what_it_could_not_read(root: Path, kernel: bool) -> None:
    (root / "a").chmod(0)
    tree = LocalTree(root, kernel=kernel)
    tree.check_root()
    try:
        with as_nobody():
            found = dict(tree.walk())
    finally:
        (root / "a").chmod(0o755)
    assert found == {"top.txt": Kind.FILE, ".hidden/x": Kind.FILE, "a": Kind.UNREADABLE}


def test_walk_of_a_root_that_cannot_be_listed(root: Path) -> None:
    tree = LocalTree(root)
    tree.check_root()
    root.chmod(0o111)
    try:
        with as_nobody(), pytest.raises(DeniedError):
            list(tree.walk())
    finally:
        root.chmod(0o755)


def test_a_directory_replaced_while_walking_is_not_followed(root: Path, kernel: bool) -> None:
    outside = plant(root.parent / "outside", {"secret": b"s"})
    tree = LocalTree(root, kernel=kernel)
    walk = tree.walk()
    seen = [next(walk)]  # the root's entries are read; its directories are not
    for name in ("a", ".hidden"):
        (root / name).rename(root.parent / f"was{name}")
    (root / "a").symlink_to(outside)
    seen += walk
    assert not any("secret" in path for path, _ in seen)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_both_ways_of_resolving_agree(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Random trees of files, directories, links and FIFOs; every path of three names; one answer."""
    if not posix.has_openat2():
        pytest.skip("this kernel or sandbox has no openat2")
    root = tmp_path_factory.mktemp("agree")
    names = ("a", "b")
    places = [root]
    for _ in range(data.draw(st.integers(0, 6))):
        place = data.draw(st.sampled_from(places)) / data.draw(st.sampled_from(names))
        what = data.draw(st.sampled_from(["file", "dir", "link", "fifo"]))
        if place.is_symlink() or place.exists():
            continue
        if what == "file":
            place.write_bytes(os.fsencode(place))
        elif what == "dir":
            place.mkdir()
            places.append(place)
        elif what == "fifo":
            os.mkfifo(place)
        else:
            place.symlink_to(
                data.draw(st.sampled_from(["a", "b", "..", "../b", "/etc", os.fspath(root), "/no"]))
            )

    def answer(tree: LocalTree, path: str) -> object:
        try:
            return read(tree, path)
        except StorageError as error:
            return (type(error), str(error))

    paths = [
        *names,
        *(f"{x}/{y}" for x in names for y in names),
        *(f"{x}/{y}/a" for x in names for y in names),
    ]
    with within(20):
        trees = [LocalTree(root, kernel=kernel) for kernel in (True, False)]
        for path in paths:
            first, second = (answer(tree, path) for tree in trees)
            assert first == second, path
        assert sorted(trees[0].walk()) == sorted(trees[1].walk())


# --- DVC's cache ---------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return plant(tmp_path / "cache", {"files/md5/ab/cd": b"cached", "files/md5/ab/ef": b"other"})


def test_a_link_into_the_cache_is_read(root: Path, cache: Path, kernel: bool) -> None:
    (root / "absolute").symlink_to(cache / "files/md5/ab/cd")
    (root / "a/relative").symlink_to("../../cache/files/md5/ab/cd")
    tree = LocalTree(root, cache_root=cache, kernel=kernel)
    assert read(tree, "absolute") == read(tree, "a/relative") == b"cached"
    os.link(cache / "files/md5/ab/cd", root.parent / "elsewhere")
    with tree.open("absolute") as stream:
        assert stream.linked == 0
        assert stream.opened.ino == (cache / "files/md5/ab/cd").stat().st_ino


def test_a_cache_that_is_reached_through_a_link(root: Path, cache: Path, kernel: bool) -> None:
    alias = root.parent / "alias"
    alias.symlink_to(cache)
    (root / "through").symlink_to(alias / "files/md5/ab/cd")
    (root / "direct").symlink_to(cache / "files/md5/ab/cd")
    tree = LocalTree(root, cache_root=alias, kernel=kernel)
    assert read(tree, "through") == read(tree, "direct") == b"cached"


def test_without_a_cache_no_link_is_read(root: Path, cache: Path, kernel: bool) -> None:
    (root / "link").symlink_to(cache / "files/md5/ab/cd")
    with pytest.raises(UnsafeFileError, match="it is a symbolic link"):
        LocalTree(root, kernel=kernel).open("link")


@pytest.mark.parametrize(
    "target",
    ["/etc/passwd", "top.txt", "../tree/top.txt", "../cache-evil/x", "../cache", "../cache/../tree/top.txt",
     "../cache/files/link", "../cache/linked/ab/cd", "/dev/null", "loop"],
)  # fmt: skip
def test_links_that_lead_elsewhere_are_refused(root: Path, cache: Path, kernel: bool, target: str) -> None:
    plant(root.parent / "cache-evil", {"x": b"evil"})
    (cache / "files/link").symlink_to("/etc/passwd")
    (cache / "linked").symlink_to(cache / "files/md5")
    (root / "loop").symlink_to("loop")
    if target != "loop":
        (root / "link").symlink_to(target)
    with pytest.raises(UnsafeFileError):
        LocalTree(root, cache_root=cache, kernel=kernel).open("loop" if target == "loop" else "link")


def test_a_directory_link_into_the_cache_is_refused(root: Path, cache: Path, kernel: bool) -> None:
    (root / "dir").symlink_to(cache / "files/md5/ab")
    tree = LocalTree(root, cache_root=cache, kernel=kernel)
    for path in ("dir", "dir/cd"):
        with pytest.raises(UnsafeFileError):
            tree.open(path)


def test_dangling_links_into_the_cache_are_missing(root: Path, cache: Path, kernel: bool) -> None:
    (root / "gone").symlink_to(cache / "files/md5/00/11")
    with pytest.raises(MissingError):
        LocalTree(root, cache_root=cache, kernel=kernel).open("gone")
    (root / "nowhere").symlink_to(root.parent / "no-cache/x")
    with pytest.raises(MissingError):
        LocalTree(root, cache_root=root.parent / "no-cache", kernel=kernel).open("nowhere")


def test_special_files_in_the_cache_are_refused(root: Path, cache: Path, kernel: bool) -> None:
    os.mkfifo(cache / "pipe")
    (root / "pipe").symlink_to(cache / "pipe")
    with within(5), pytest.raises(UnsafeFileError, match="it is a FIFO"):
        LocalTree(root, cache_root=cache, kernel=kernel).open("pipe")


def test_hard_links_of_the_cache_are_known(root: Path, cache: Path) -> None:
    os.link(cache / "files/md5/ab/cd", root / "hard")
    tree = LocalTree(root, cache_root=cache)
    with tree.open("hard") as stream:
        assert stream.linked == 2
        assert tree.in_cache("abcd", stream.opened)
        assert not tree.in_cache("abef", stream.opened)
        assert not tree.in_cache("0000", stream.opened)
        assert not LocalTree(root).in_cache("abcd", stream.opened)
        assert not LocalTree(root, cache_root=root / "no").in_cache("abcd", stream.opened)
