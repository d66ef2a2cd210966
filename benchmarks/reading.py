"""What a manifest costs before an asset is looked at: `python -m benchmarks.reading [ASSETS]...`, by default 100000.

For each size:

- compact, and as large as one gets with every member an asset is likely to have: the CPU seconds of `read_manifest` in
  a process of its own, the ratio to `json.loads` of the same bytes in the same process, and the memory the reading took
  as a multiple of the document's size;
- for each form of signature, a whole process that decides whether the manifest is believed (imports, trust root, strict
  reading, signature, release and policy): its CPU seconds and its peak memory (`python -m benchmarks reading`).
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from benchmarks.loads import DATABOM, MIB
from benchmarks.racing import Contestant, run
from databom.model import times
from databom.model.manifest import read_manifest
from databom.trust import dsse, jws
from databom.trust.keys import PrivateKey
from databom.trust.root_editing import add_key, new_root
from databom.trust.statement import PAYLOAD_TYPE, manifest_statement

COUNTS = (100_000, 1_000_000)
READ = """
import json, re, sys, time
from databom.model.manifest import read_manifest
raw = open(sys.argv[1], "rb").read()
peak = lambda: int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) * 1024
before = peak()
start = time.process_time()
manifest = read_manifest(raw)
strict = time.process_time() - start
grown = peak() - before
start = time.process_time()
json.loads(raw)
plain = time.process_time() - start
print(json.dumps({"strict": strict, "plain": plain, "grown": grown, "bytes": len(raw), "assets": len(manifest.assets)}))
"""
JUDGE = """
import json, re, sys, time
from pathlib import Path
from databom.storage.location import parse_location
from databom.tasks.believing import load_trust
from databom.tasks.judging import judge
from databom.tasks.receiving import receive
believed = load_trust(None, Path(sys.argv[2]), None)
report = judge(receive(parse_location(sys.argv[1])), believed, config=None).report(None)
peak = int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) * 1024
print(json.dumps({"verdict": report.verdict, "cpu": time.process_time(), "peak": peak}))
"""


def assets(count: int, *, rich: bool) -> list[dict[str, object]]:
    """The list as marketplaces write it: a digest and a size an asset, or a good deal more."""
    rows: list[dict[str, object]] = []
    for n in range(count):
        digest = hashlib.sha256(b"%d" % n).hexdigest()
        row: dict[str, object] = {"path": f"images/{n // 1000:04}/{n:07}.jpg", "sha256": digest, "size": n}
        if rich:
            row |= {
                "media_type": "image/jpeg",
                "license": "CC-BY-4.0",
                "creator_id": f"creator:{n % 1000:05}",
            }
            row |= {"consent": f"person:{n:08}", "flags": ["person"]}
        rows.append(row)
    return rows


def write(folder: Path, rows: list[dict[str, object]]) -> None:
    """A manifest in both forms of signature, and a trust root that believes it."""
    key, now = PrivateKey.generate(), times.now()
    root = new_root(now=now, expires=now + timedelta(days=300))
    root = add_key(root, key.public, role="marketplace", marketplace="m", datasets=["d"], now=now)
    (folder / "trust.json").write_bytes(root)
    head = {"dataset_id": "d", "version": "1", "creator_id": "c", "issued_at": "2026-01-01T00:00:00Z"}
    content = {**head, "license": {"type": "commercial", "spdx": "CC-BY-4.0"}, "assets": rows}

    def dump(signature: str) -> bytes:
        return json.dumps({**content, "signature": signature}, separators=(",", ":")).encode()

    (folder / "embedded.json").write_bytes(dump(jws.sign_embedded(content, key)))
    (folder / "detached.json").write_bytes(raw := dump(""))
    envelope = dsse.sign(PAYLOAD_TYPE, manifest_statement(read_manifest(raw)), [key])
    (folder / "detached.json.dsse").write_bytes(dsse.format_envelope(envelope))


def ask(script: str, *arguments: Path) -> dict[str, float]:
    """What a script prints, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], check=True, capture_output=True
    )
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def measure(counts: Sequence[int] = COUNTS) -> Iterator[dict[str, object]]:
    """For each size and form: what a process takes that decides whether the manifest is believed.

    `times` is its peak memory, without what `databom --help` takes, as a multiple of the document's size.
    """
    for count in counts:
        with tempfile.TemporaryDirectory() as base:
            folder = Path(base)
            bare = run(Contestant("databom --help", [DATABOM, "--help"], folder)).memory
            write(folder, assets(count, rich=True))
            for form in ("detached", "embedded"):
                document = folder / f"{form}.json"
                found = ask(JUDGE, document, folder / "trust.json")
                size, memory = document.stat().st_size, found["peak"] / MIB
                times = (memory - bare) * MIB / size
                yield {
                    "assets": count,
                    "bytes": size,
                    "form": form,
                    "cpu": found["cpu"],
                    "memory": memory,
                    "times": times,
                }


def main() -> None:
    """Measure each size named on the command line."""
    for count in [int(text) for text in sys.argv[1:]] or [100_000]:
        for rich in (False, True):
            with tempfile.TemporaryDirectory() as base:
                folder = Path(base)
                write(folder, assets(count, rich=rich))
                found = ask(READ, folder / "detached.json")
                size = found["bytes"]
                print(
                    f"{count:>9,} assets  {size / 1e6:6.1f} MB  {found['strict']:6.2f} s CPU  "
                    f"{found['strict'] / found['plain']:.1f} x json.loads  memory {found['grown'] / size:.2f} x"
                )
        for row in measure([count]):
            print(
                f"{row['form']:>16}: {row['bytes']:,} bytes, {row['cpu']:.2f} s CPU, {row['memory']:.0f} MiB, "
                f"{row['times']:.2f} x beside a bare process"
            )


if __name__ == "__main__":
    main()
