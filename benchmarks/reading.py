"""How much the strict reading of a manifest costs: `python benchmarks/reading.py [ASSETS]...`, by default 100000.

Prints, for each size, the CPU seconds of `read_manifest` in a process of its own, the ratio to `json.loads` of the same
bytes in the same process, and the memory the reading took as a multiple of the document's size.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

CHILD = """
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


def document(count: int) -> bytes:
    """A manifest as marketplaces write them: one digest and size an asset, compact."""
    assets = [
        {
            "path": f"images/{n // 1000:04}/{n:07}.jpg",
            "sha256": hashlib.sha256(b"%d" % n).hexdigest(),
            "size": n,
        }
        for n in range(count)
    ]
    head = {"dataset_id": "d", "version": "1", "license": {"type": "commercial", "spdx": "CC-BY-4.0"}}
    return json.dumps({**head, "assets": assets, "signature": ""}, separators=(",", ":")).encode()


def main() -> None:
    """Measure each size named on the command line."""
    import tempfile

    for count in [int(text) for text in sys.argv[1:]] or [100_000]:
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            file.write(document(count))
            file.flush()
            done = subprocess.run([sys.executable, "-c", CHILD, file.name], check=True, capture_output=True)
        found = json.loads(done.stdout)
        print(
            f"{found['assets']:>9,} assets  {found['bytes'] / 1e6:6.1f} MB  {found['strict']:6.2f} s CPU  "
            f"{found['strict'] / found['plain']:.1f} x json.loads  memory {found['grown'] / found['bytes']:.2f} x"
        )


if __name__ == "__main__":
    main()
