"""Reading begins while the manifest is still being judged; no answer is another one because of it.

In processes of their own: the one that runs the tests has threads, and such a process does not fork.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.house import House, databom
from support.tracing import ENVIRONMENT
from support.trees import plant

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="copies are made where the kernel counts threads"
)

FILES = {
    **{f"large/{number}.bin": bytes([number]) * (3 << 20) for number in range(4)},
    **{f"small/{number:04}.txt": b"%d" % number for number in range(1_500)},
}
"""Enough for copies of the process to be worth their while."""

WATCHED = """
import os, sys
from databom.checks import recalling
from databom.tasks import headstart

if "FEW" in os.environ:
    from databom.model import listings
    listings.FEW = int(os.environ["FEW"])
    listings.PART = int(os.environ.get("PART", listings.PART))

recalling.RACY_NS = 0  # the files are only just made
recalling.WORTH_FILES = 1

class Watched(headstart.Begun):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        print("reading has begun", file=sys.stderr)
    def close(self):
        super().close()
        print("and has ended", file=sys.stderr)
headstart.Begun = Watched

asked = headstart.HeadStart.of
def of(self, manifest):
    begun = asked(self, manifest)
    print("gone on with" if begun else "waited", file=sys.stderr)
    return begun
headstart.HeadStart.of = of

from databom.cli import main
try:
    main()
finally:
    try:
        os.waitpid(-1, os.WNOHANG)
        print("a copy was left behind", file=sys.stderr)
    except ChildProcessError:
        pass
"""


def verify(house: House, *args: str | Path) -> tuple[dict[str, Any], str]:
    """The report of `databom verify ARGS`, and what it said on stderr; what became of the head start is there too."""
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, "verify", *map(str, args), "--format", "json"],
        cwd=house.project,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout.startswith("{"), done.stderr
    assert "left behind" not in done.stderr
    return json.loads(done.stdout), done.stderr


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


DAMAGE: dict[str, Callable[[Path], object]] = {
    "none": lambda _place: None,
    "a bit of a large file": lambda place: flip(place / "large/2.bin"),
    "a bit of a small file": lambda place: flip(place / "small/0700.txt"),
    "the end of a file": lambda place: shorten(place / "large/0.bin"),
    "a file is missing": lambda place: (place / "small/1499.txt").unlink(),
    "a file too many": lambda place: (place / "small/more.txt").write_bytes(b""),
    "a link": lambda place: ((place / "large/3.bin").unlink(), (place / "large/3.bin").symlink_to("0.bin")),
}


def told_alike(house: House, manifest: Path, what: str) -> None:
    """With a head start and without: the same report of a release that was damaged so."""
    DAMAGE[what](manifest.parent)
    ahead, said = verify(house, manifest, "--full")
    after, waited = verify(house, manifest, "--executor", "threads:2")
    assert "gone on with" in said
    assert "has begun" not in waited
    assert ahead == after
    assert ahead["verdict"] == ("pass" if what == "none" else "fail")


@pytest.mark.parametrize("few", ["32768", "100"])
@pytest.mark.parametrize("what", DAMAGE)
def test_the_report_is_that_of_reading_afterwards(
    house: House, what: str, few: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list of more than a few assets is not decoded as a whole, and not yet counted when reading begins."""
    monkeypatch.setitem(ENVIRONMENT, "FEW", few)
    house.init()
    manifest = house.release(FILES)
    told_alike(house, manifest, what)


@pytest.mark.parametrize("what", [what for what in DAMAGE if "large" not in what and what != "a link"])
def test_a_long_list_of_small_files_is_decoded_by_who_reads_them(
    house: House, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENVIRONMENT, "FEW", "100")
    monkeypatch.setitem(ENVIRONMENT, "PART", "32")
    house.init()
    small = {path: data for path, data in FILES.items() if path.startswith("small/")}
    manifest = house.release({**small, "large/0.bin": b"0" * 60_000})
    told_alike(house, manifest, what)


@pytest.mark.parametrize("few", ["32768", "100"])
def test_the_first_reading_of_a_pin_is_remembered_and_the_second_is_not_begun(
    house: House, few: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENVIRONMENT, "FEW", few)
    monkeypatch.setitem(ENVIRONMENT, "DATABOM_CACHE", str(house.base / "cache"))
    house.init()
    manifest = house.release(FILES)
    house.ok("add", manifest, "--name", "pets")
    plant(house.data, FILES)
    first, said = verify(house, "pets")
    assert first["verdict"] == "pass"
    assert first["reading"] == {"hashed": len(FILES), "unchanged": 0}
    assert "gone on with" in said
    second, said = verify(house, "pets")
    assert second["reading"]["unchanged"] > 0
    assert "has begun" not in said
    assert {**second, "reading": None} == {**first, "reading": None}


def test_nobody_is_kept_out_for_a_manifest_that_is_not_believed_yet(house: House) -> None:
    """A lease makes writers wait."""
    house.init()
    manifest = house.release(FILES)
    report, said = verify(house, manifest, "--leases")
    assert report["verdict"] == "pass"
    assert "has begun" not in said


def test_nothing_is_told_of_a_release_that_is_not_believed(house: House) -> None:
    house.init()
    manifest = house.release(FILES)
    manifest.write_bytes(manifest.read_bytes().replace(b"CC-BY-4.0", b"CC-BY-3.0"))
    report, said = verify(house, manifest, "--full")
    assert {finding["code"] for finding in report["findings"]} >= {"signature.invalid"}
    assert not any(finding["code"].startswith("integrity.") for finding in report["findings"])
    assert report["summary"]["checked"] == report["summary"]["bytes"] == 0
    assert "gone on with" not in said


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b'"path"', b'"path":"small/0001.txt","path"', "manifest.syntax"),  # one reader keeps the first
        (b'"small/0000.txt"', b'"../outside.txt"', "manifest.path"),
        (b'"small/0001.txt"', b'"small/0000.txt"', "manifest.duplicate"),
        (b'"assets"', b'"assets":[],"assets"', "manifest.syntax"),
        # What begins meets a path twice, and sizes that cannot be compared.
        (
            b'"assets": [',
            b'"assets": [{"path":"large/0.bin","sha256":"%b"},' % (b"0" * 64),
            "manifest.duplicate",
        ),
    ],
)
def test_a_manifest_that_is_refused_is_refused(house: House, old: bytes, new: bytes, code: str) -> None:
    house.init()
    manifest = house.release(FILES)
    (manifest.parent.parent / "outside.txt").write_bytes(b"0")
    before = manifest.read_bytes()
    manifest.write_bytes(before.replace(old, new, 1))
    assert manifest.read_bytes() != before
    report, said = verify(house, manifest, "--full")
    assert code in {finding["code"] for finding in report["findings"]}, report["findings"][:3]
    assert report["verdict"] == "fail"
    assert report["summary"]["checked"] == 0
    assert "gone on with" not in said


def test_a_manifest_that_is_not_plain_is_read_twice_and_judged_once(house: House) -> None:
    """A member that nobody knows is left to the close reading: what has begun is about a list of another reading."""
    house.init()
    manifest = house.release(FILES)
    value = json.loads(manifest.read_bytes())
    value["assets"][0]["camera"] = "Leica"
    manifest.write_text(json.dumps(value))
    manifest.with_name("manifest.json.dsse").unlink()
    house.ok("sign", manifest, "--key", house.key)
    report, said = verify(house, manifest, "--full")
    assert report["verdict"] == "pass", report["findings"]
    assert report["summary"]["checked"] == len(FILES)
    # What has begun ends before the list is read again, not when all is done.
    assert said.split("\n")[:3] == ["reading has begun", "and has ended", "waited"]


def test_what_an_unchecked_list_names_outside_the_folder_is_not_opened(tmp_path: Path) -> None:
    """The folder's own rules hold, whatever a manifest says: what begins needs no manifest to be careful."""
    plant(
        tmp_path,
        {"outside.txt": b"secret", "tree/large.bin": b"x" * (9 << 20), "tree/other.bin": b"y" * 9_000},
    )
    program = """
        import hashlib, sys
        from pathlib import Path
        import os
        from databom.checks.engine import Begun, survey
        from databom.model.claims import Asset
        from databom.storage import posix
        from databom.storage.tree import LocalTree

        touched = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

        def watched(call):
            def watch(path, *args, dir_fd=None, **options):
                base = os.readlink(f"/proc/self/fd/{dir_fd}") if dir_fd is not None else ""
                above, name = os.path.split(os.path.join(base, path))
                if "\\0" not in path:
                    place = os.path.normpath(os.path.join(os.path.realpath(above), name))
                    os.write(touched, os.fsencode(place) + b"\\n")
                return call(path, *args, dir_fd=dir_fd, **options)
            return watch

        root = Path(sys.argv[1])
        names = ["../outside.txt", str(root.parent / "outside.txt"), ".", "..", "", "a/../../outside.txt", "x\\0",
                 "link/outside.txt", "a/..", "../tree/large.bin"]
        good = [Asset(path=name, sha256=hashlib.sha256((root / name).read_bytes()).hexdigest())
                for name in ("large.bin", "other.bin")]
        secret = hashlib.sha256((root.parent / "outside.txt").read_bytes()).hexdigest()
        assets = [*good, *(Asset(path=name, sha256=secret) for name in names)]
        tree = LocalTree(root)
        tree.check_root()
        os.open, os.stat = watched(os.open), watched(os.stat)
        begun = Begun(assets, tree, memory=True)
        outcomes = []
        right = 0
        for _, found in survey(assets, tree, begun=begun):
            right += found.right
            outcomes += found.outcomes
        assert right == len(good), right
        assert {one.path for one in outcomes} == set(names)
        assert all(one.sha256 is None and one.error is not None for one in outcomes), outcomes
        print("held")
    """
    (tmp_path / "tree/link").symlink_to(tmp_path)
    command = [
        sys.executable,
        "-c",
        textwrap.dedent(program),
        str(tmp_path / "tree"),
        str(tmp_path / "touched"),
    ]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.stdout == "held\n", done.stderr
    touched = set((tmp_path / "touched").read_text().splitlines())
    assert str(tmp_path / "tree/large.bin") in touched
    assert {place for place in touched if not f"{place}/".startswith(f"{tmp_path}/tree/")} == set()


def test_a_folder_that_is_not_there_is_said_as_ever(house: House) -> None:
    house.init()
    manifest = house.release(FILES)
    answer = databom(
        "verify", manifest, "--root", house.base / "nowhere", "--format", "json", cwd=house.project
    )
    assert answer.returncode == 1
    assert "integrity.missing" in answer.stdout


REFUSED = """
import gc, json, os, sys
from databom.tasks.verifying import verify
gc.disable()  # nobody may have to wait for it
trust, *manifests = sys.argv[1:]
before = len(os.listdir("/proc/self/fd"))
for manifest in manifests:
    assert verify(manifest, trust=trust, full=True).verdict == "fail"
print(len(os.listdir("/proc/self/fd")) - before)
"""


def test_a_manifest_that_is_refused_leaves_nothing_open(house: House) -> None:
    house.init()
    manifest = house.release(FILES)
    document = json.loads(manifest.read_bytes())
    document["assets"].append(document["assets"][0])
    manifest.write_text(json.dumps(document))
    copies = [manifest.with_name(f"{number}.json") for number in range(20)]
    for copy in copies:
        copy.write_bytes(manifest.read_bytes())
    done = subprocess.run(
        [sys.executable, "-c", REFUSED, house.project / "provenance/trust.json", *copies],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout == "0\n", done.stderr
