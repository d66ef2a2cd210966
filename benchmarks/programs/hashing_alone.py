"""databom's engine alone: a manifest that is believed unseen, and its folder."""

import gc
import sys
from pathlib import Path

from databom.checks.integrity import check_integrity
from databom.model.manifest import read_manifest
from databom.storage.tree import LocalTree

gc.set_threshold(100_000, 20, 100)  # as the command line has it
manifest, data = map(Path, sys.argv[1:])
answer = check_integrity(read_manifest(manifest.read_bytes()), LocalTree(data))
gc.freeze()
sys.exit(bool(answer.findings))
