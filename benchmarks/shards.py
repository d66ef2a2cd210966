"""How much a large release in shards costs: `python benchmarks/shards.py [ASSETS]...`, by default 1000000.

For each size a release of empty files is written as NDJSON shards of 100,000, signed, and verified by `databom.verify`
in a process of its own: signature, every shard strictly, the rules across shards, the tree digest, every file, and
nothing else in the tree. The tree is a stub (ten million files take an hour to make): what the kernel would cost is
missing, all that databom does is not.

`--overlap` deals the assets out to the shards in turn, so that they must be sorted and merged on disk; `--parquet`
writes that format; `--rounds` checks in rounds whatever the size.

Prints wall and CPU seconds and the peak memory of the process.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

SHARD = 100_000
CHILD = """
import os, re, resource, sys, time
from pathlib import Path
from databom.checks import measuring
from databom.storage import tree
from databom.storage.tree import Kind

folder, count = Path(sys.argv[1]), int(sys.argv[2])
measuring.match_small = lambda opener, batch, most, settle=None: (0, [], [])
real = tree.LocalTree.entries

def entries(self, path, waiting):
    if self.root != folder:
        yield from real(self, path, waiting)
    elif path == "":
        waiting.append("images")
    elif path == "images":
        waiting += [f"images/{at:06}" for at in range(-(-count // 1000))]
    else:
        at = int(path[-6:]) * 1000
        yield from ((f"{path}/{n:09}.jpg", Kind.FILE) for n in range(at, min(at + 1000, count)))

tree.LocalTree.entries = entries

import databom
from databom.checks import streaming
if "--rounds" in sys.argv:
    streaming.AT_ONCE = 0
start = time.monotonic()
report = databom.verify(folder.parent / "signed/manifest.json", root=str(folder), trust=folder.parent / "trust.json")
wall = time.monotonic() - start
own, forked = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
cpu = sum(one.ru_utime + one.ru_stime for one in (own, forked))
peak = int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
summary = report.summary
print(report.verdict, summary.checked, f"{wall:.1f} {cpu:.1f} {peak / 1024:.0f}")
"""


def asset(n: int) -> dict[str, object]:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    return {"path": f"images/{n // 1000:06}/{n:09}.jpg", "sha256": empty, "size": 0}


def release(folder: Path, count: int, *, overlap: bool, parquet: bool) -> int:
    """Write a signed release and its trust root; the size of its shards."""
    from datetime import timedelta

    import msgspec

    from databom.model import parquet as writer
    from databom.model import times
    from databom.model.digest import sha256
    from databom.storage.location import parse_location
    from databom.tasks.sharding import beside
    from databom.trust.keys import PrivateKey
    from databom.trust.opening import sign_manifest
    from databom.trust.root_editing import add_key, new_root

    key, now = PrivateKey.generate(), times.now()
    raw = new_root(now=now, expires=now + timedelta(days=300))
    raw = add_key(raw, key.public, role="marketplace", marketplace="m", datasets=["d"], now=now)
    (folder / "trust.json").write_bytes(raw)
    signed = folder / "signed"
    (signed / "shards").mkdir(parents=True)
    shards = -(-count // SHARD)
    index, total = [], 0
    for number in range(shards):
        numbers = (
            range(number, count, shards)
            if overlap
            else range(number * SHARD, min((number + 1) * SHARD, count))
        )
        rows = [asset(n) for n in numbers]
        data = writer.write(rows) if parquet else b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
        path = signed / "shards" / str(number)
        path.write_bytes(data)
        total += len(data)
        kind = "application/vnd.apache.parquet" if parquet else "application/x-ndjson"
        index.append(
            {
                "uri": f"shards/{number}",
                "sha256": sha256(data)[7:],
                "size": len(data),
                "count": len(rows),
                "media_type": kind,
            }
        )
    head = {"dataset_id": "d", "version": "1", "creator_id": "c", "issued_at": "2026-01-01T00:00:00Z"}
    manifest = {**head, "license": {"spdx": "CC-BY-4.0"}, "asset_index": index}
    where = parse_location(str(signed / "manifest.json"))
    document, envelope = sign_manifest(manifest, key, embed=False, complete=beside(where).complete)
    (signed / "manifest.json").write_bytes(document)
    (signed / "manifest.json.dsse").write_bytes(envelope or b"")
    return total


def main() -> None:
    """Measure each size named on the command line."""
    overlap, parquet = ("--overlap" in sys.argv, "--parquet" in sys.argv)
    for count in [int(text) for text in sys.argv[1:] if not text.startswith("--")] or [1_000_000]:
        with tempfile.TemporaryDirectory() as base:
            (Path(base) / "tree").mkdir()
            size = release(Path(base), count, overlap=overlap, parquet=parquet)
            argv = [sys.executable, "-c", CHILD, str(Path(base) / "tree"), str(count), *sys.argv[1:]]
            done = subprocess.run(argv, check=True, capture_output=True, text=True)
        verdict, checked, wall, cpu, memory = done.stdout.split()
        print(
            f"{count:>11,} assets  {size / 1e6:8.1f} MB of shards  {verdict} {int(checked):,}  {wall} s wall  "
            f"{cpu} s CPU  {float(cpu) / count * 1e6:.1f} us an asset  {memory} MiB",
            flush=True,
        )


if __name__ == "__main__":
    main()
