"""databom's engine alone: the assets that a manifest lists, believed unseen and unchecked, and their folder."""

import gc
import sys
from pathlib import Path

import msgspec

from databom.checks.engine import survey
from databom.model.claims import Asset
from databom.storage.tree import LocalTree


class Listed(msgspec.Struct):
    """All that hashing needs of a manifest."""

    assets: list[Asset]


gc.set_threshold(100_000, 20, 100)  # as the command line has it
manifest, data = map(Path, sys.argv[1:])
assets = msgspec.json.decode(manifest.read_bytes(), type=Listed).assets
right = sum(found.right for found in survey(assets, LocalTree(data)))
gc.freeze()
sys.exit(not assets or right != len(assets))
