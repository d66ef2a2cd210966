"""databom's engine alone: the assets that a manifest lists, believed unseen and unchecked, and their folder."""

import gc
import os
import sys
from pathlib import Path

import msgspec

from databom.checks.engine import survey
from databom.model.listings import count_in, likely
from databom.storage.tree import LocalTree


class Listed(msgspec.Struct):
    """All that hashing needs of a manifest."""

    assets: msgspec.Raw


gc.set_threshold(100_000, 20, 100)  # as the command line has it
manifest, data = map(Path, sys.argv[1:])
listed = msgspec.json.decode(manifest.read_bytes(), type=Listed).assets
assets = likely(listed)
assert assets is not None
right = sum(found.right for _, found in survey(assets, LocalTree(data)))
os._exit(right != count_in(listed))  # at once, as the command line leaves
