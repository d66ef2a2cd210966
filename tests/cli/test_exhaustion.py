"""Group J of the attack catalogue: what would exhaust disk, descriptors, memory or patience."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from databom.cli.text import MAX_SHOWN
from databom.trust.jws import sign_embedded
from databom.trust.keys import PrivateKey
from support.house import House, databom
from support.trees import within

MANY = 20_000


def signed(house: House, assets: list[dict[str, object]], *, embed: bool = False) -> Path:
    """A manifest about anything at all, as a marketplace that is trusted may sign it."""
    place = house.market / "any"
    place.mkdir(parents=True)
    head = {"dataset_id": "hn-any", "version": "1", "license": {"type": "commercial", "spdx": "CC-BY-4.0"}}
    path = place / "manifest.json"
    content = {**head, "creator_id": "creator:alice", "assets": assets}
    signature = sign_embedded(content, PrivateKey.from_pem(house.key.read_bytes())) if embed else ""
    path.write_text(json.dumps({**content, "signature": signature}, separators=(",", ":")))
    if not embed:
        house.ok("sign", path, "--key", house.key)
    return path


def asset(path: str, data: bytes = b"", size: int | None = None) -> dict[str, object]:
    return {
        "path": path,
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": len(data) if size is None else size,
    }


PEAK = """
import re, sys
from databom.cli import main
sys.argv[0] = "databom"
try:
    main()
finally:
    peak = re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]  # ru_maxrss begins with the parent's
    sys.stderr.write(f"peak {peak}\\n")
"""


def peak_of(*command: object, cwd: Path) -> int:
    """The most memory, in bytes, that a command takes that ends well, as a whole process."""
    argv = [sys.executable, "-c", PEAK, *map(str, command)]
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stderr.rpartition("peak ")[2]) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("form", ["detached", "embedded"])
@pytest.mark.parametrize("count", [100_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_j01_a_large_manifest_takes_little_memory(house: House, form: str, count: int) -> None:
    """25 MB and 250 MB: at most four times that, signature and all, over what the command takes by itself."""
    house.init()
    rich = {"media_type": "image/jpeg", "license": "CC-BY-4.0", "flags": ["person"]}
    assets = [
        asset(f"images/{n // 1000:04}/{n:07}.jpg", b"%d" % n)
        | {"creator_id": f"creator:{n % 1000}", "consent": f"person:{n:08}", **rich}
        for n in range(count)
    ]
    manifest = signed(house, assets, embed=form == "embedded")
    size = manifest.stat().st_size
    assert size > 240 * count
    peak = peak_of("add", manifest, "--name", "any", cwd=house.project)
    bare = peak_of("--help", cwd=house.project)
    assert peak - bare < 4 * size


def test_j02_a_release_that_cannot_fit_is_refused_before_the_first_byte(house: House) -> None:
    house.init()
    manifest = signed(house, [asset(f"{n}.bin", size=10**15) for n in range(9)])
    house.ok("add", manifest, "--name", "any")
    answer = house.json("sync", "any")
    assert answer.code == 3
    [finding] = [one for one in answer.findings if one["severity"] == "block"]
    assert finding["code"].startswith("storage.")
    assert "9,000,000,000,000,000 bytes" in finding["what"]
    assert "free" in finding["do"]
    assert not any(path.is_file() for path in (house.project / "data").rglob("*"))


def test_j02_sizes_beyond_every_disk_are_refused_in_the_manifest(house: House) -> None:
    house.init()
    place = house.market / "m.json"
    place.parent.mkdir()
    head = {"dataset_id": "hn-any", "version": "1", "license": {"spdx": "CC-BY-4.0"}}
    place.write_text(json.dumps({**head, "assets": [asset(f"{n}", size=10**15) for n in range(10)]}))
    answer = house.json("add", place)
    assert (answer.code, answer.blocking) == (1, {"manifest.limit"})


def test_j03_a_folder_with_many_entries(house: House) -> None:
    house.synced()
    for n in range(MANY):
        os.close(os.open(house.data / f"{n:06}", os.O_CREAT | os.O_WRONLY))
    answer = house.json("verify", "pets")
    assert answer.code == 1
    unlisted = [one for one in answer.findings if one["code"] == "integrity.unlisted"]
    assert len(unlisted) == 101
    assert f"{MANY - 100:,} more" in next(one["what"] for one in unlisted if one["subject"] is None)


@pytest.fixture
def many(house: House) -> House:
    """A project with a synced release of many small files and one large one."""
    house.init()
    files = {f"d{n % 50:02}/{n:05}": b"%d" % n for n in range(3_000)} | {"large": bytes(30_000_000)}
    manifest = house.release(files)
    house.ok("add", manifest, "--name", "pets")
    house.ok("sync", "pets")
    return house


LIMITED = (
    """
import os, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
"""
    + PEAK
)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
@pytest.mark.parametrize("command", [["verify", "pets"], ["sync", "pets"], ["check"]])
def test_j04_few_descriptors_one_core_little_memory(many: House, command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *command],
        cwd=many.project,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    peak = int(done.stderr.rpartition("peak ")[2])
    assert peak < 256 * 1024, "KiB"


STARVED = """
import os, re, resource, sys
from databom.__main__ import main
grown = int(re.search(r"VmSize:\\s*(\\d+)", open("/proc/self/status").read())[1])
resource.setrlimit(resource.RLIMIT_CPU, (5, 5))
resource.setrlimit(resource.RLIMIT_AS, ((grown + int(sys.argv.pop(1))) * 1024,) * 2)
main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_j04_no_memory_is_no_verdict(house: House) -> None:
    """Wherever memory runs out, in an import or in telling of it: 3, and never the 1 of an uncaught exception.

    A Python that has no memory for one integer while it unwinds tries for ever. No code is no verdict either.
    """
    house.synced()
    codes = []
    for more in (*range(0, 8_000, 500), *range(8_000, 32_000, 1_500), 1_000_000):
        argv = [sys.executable, "-c", STARVED, str(more), "verify", "pets", "--full", "-q"]
        done = subprocess.run(argv, cwd=house.project, capture_output=True, text=True, check=False)
        killed = {-signal.SIGXCPU, -signal.SIGKILL}
        assert done.returncode in {0, 3} | killed, f"with {more} KiB: {done.returncode}, {done.stderr}"
        codes.append(done.returncode)
    assert codes[0] == 3
    assert codes[-1] == 0


@pytest.mark.parametrize(
    "text",
    [
        "a" * 10**6,
        "/" * 10**6,
        "../" * 300_000,
        "(" * 10**6,
        "A OR " * 200_000,
        "*" * 10**6,
        "\\" * 10**6,
        "%" * 10**6,
    ],
    ids=["a", "slashes", "dots", "parentheses", "or", "stars", "backslashes", "percent"],
)
def test_j05_a_very_long_text_costs_no_more_than_its_length(house: House, text: str) -> None:
    """In every member that has a grammar: far over a second each if anything were quadratic."""
    house.init()
    place = house.market / "m.json"
    place.parent.mkdir()
    base = {"dataset_id": "hn-any", "version": "1", "license": {"spdx": "MIT"}, "assets": [asset("x")]}
    for changed in (
        {"dataset_id": text},
        {"license": {"spdx": text}},
        {"assets": [asset(text)]},
        {"assets": [asset("x") | {"sha256": text}]},
        {"issued_at": text},
        {"signature": text},
        {"supersedes": {"sha256": text}},
    ):
        place.write_text(json.dumps({**base, **changed}))
        with within(60):
            answer = house.json("verify", place, "--trust", "provenance/trust.json")
        assert answer.code == 1
        assert all(len(one["what"]) < 3_000 for one in answer.findings)


def test_j06_everything_is_wrong(house: House) -> None:
    """The text says the first hundred and how many there are; the JSON says all."""
    house.init()
    place = house.market / "any"
    manifest = signed(house, [asset(f"{n:05}", b"right") for n in range(MANY)])
    for n in range(MANY):
        (place / f"{n:05}").write_bytes(b"wrong")
    shown = databom("verify", manifest, cwd=house.project)
    assert shown.returncode == 1
    assert shown.stdout.count("integrity.mismatch") == MAX_SHOWN
    assert "more findings; --format json has all of them" in shown.stdout
    assert f"{MANY} failed" in shown.stderr
    told = databom("verify", manifest, "--format", "json", cwd=house.project)
    report = json.loads(told.stdout)
    assert report["summary"]["failed"] == MANY
    assert len([one for one in report["findings"] if one["code"] == "integrity.mismatch"]) == MANY
