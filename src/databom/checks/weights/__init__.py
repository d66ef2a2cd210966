"""Are these the same weights? A digest of what a model computes with, and not of how it was packed.

The same training, run again, writes other bytes: archives hold times, skops writes memory addresses, MLflow writes ids.
The file digest says that two files are one; the *weights digest* says that two files hold the same numbers. Equal
digests mean equal contents. Unequal ones mean nothing for a form in `Weights.opaque` (a pickle, HDF5), which is hashed
byte for byte, because only running or trusting its own library would tell more.

Nothing is unpickled, imported or extracted. The form is told by the bytes, never by the name. What claims to be a
container and is not a plain one (members twice, overlapping or encrypted, bytes in front of it, other compression than
deflate) is hashed byte for byte too: it is then equal to itself alone.

As if by the shell, for an archive unpacked into a folder, and for a folder of files:

    { echo "databom weights v1 FORM"; sha256sum $(find * -type f | LC_ALL=C sort); } | sha256sum

More precisely, the SHA-256 of the line `databom weights v1 <form>` and one line an entry, `<hex>  <name>`, sorted by
the name's bytes, each ended by LF; a name with a backslash, CR or LF is written as sha256sum writes it. The forms and
their entries:

* `bytes`, `pickle`, `hdf5`: no lines at all. The digest is the file's own SHA-256.
* `zip` (NumPy's .npz, any other): the members, by the SHA-256 of their contents.
* `torch`: as `zip`, names without the archive's own folder, without `.data/serialization_id`.
* `keras`: as `zip`; in `metadata.json` the text `"date_saved": "…"` is taken out.
* `skops`: as `zip`, but members that `schema.json` names by `"file": "…"` have no line: in the schema that becomes
  `"file": sha256(<hex>)`, and the n-th different `"__id__": <number>` becomes `"__id__": #n`.
* `safetensors`: one entry a tensor, `<dtype> [<shape>] <name>`, by the SHA-256 of its bytes; `__metadata__` is left
  out.
* `tree`: the files of a folder, by their weights digests. Of an MLflow model (a folder with an `MLmodel`) without the
  files that are about it (`ABOUT`, and the copy of the receipt in `databom/`).
"""

from __future__ import annotations

from pathlib import Path

from databom.checks.weights.forms import Weights, listing, weights_of_file
from databom.errors import StorageError, UnsafeFileError
from databom.storage import files
from databom.storage.localfile import Kind
from databom.storage.tree import LocalTree

__all__ = ["ABOUT", "Weights", "weights_of", "weights_of_file"]

MODEL_FILE = "MLmodel"
ABOUT = frozenset(
    {
        *(MODEL_FILE, "conda.yaml", "python_env.yaml", "requirements.txt", "registered_model_meta"),
        *("environment_variables.txt", "uv.lock", "pyproject.toml", "python_version", ".python-version"),
        *("input_example.json", "serving_input_example.json", "input_example.csv"),
    }
)
"""Files that MLflow writes about a model: ids, times, the environment, examples. A receipt has what matters of them."""


RECEIPTS = "databom/"
"""A logged model carries a copy of its run's receipt, which came after its weights."""


def weights_of(path: Path) -> Weights:
    """The weights digest of a file, or of all files in a folder. Links are not followed.

    Raises:
        MissingError: nothing is there.
        UnsafeFileError: something in it is neither a file nor a folder.
        StorageError: it cannot be read, or was changed meanwhile.
    """
    if not files.has_folder(path):
        return _of_file(LocalTree(path.parent), path.name)
    tree = LocalTree(path)
    names = []
    for name, kind in tree.walk():
        if kind is Kind.FILE:
            names.append(name)
        elif kind is not Kind.EMPTY:
            raise UnsafeFileError(
                f"{path}/{name} is a {kind}: a model is made of files", where=f"{path}/{name}"
            )
    is_model = MODEL_FILE in names
    wanted = sorted(name for name in names if not (is_model and _is_about(name)))
    found = {name: _of_file(tree, name) for name in wanted}
    opaque = tuple(name for name, weights in found.items() if weights.opaque)
    return Weights(listing("tree", {name: weights.hex for name, weights in found.items()}), "tree", opaque)


def _is_about(name: str) -> bool:
    return name in ABOUT or name.startswith(RECEIPTS)


def _of_file(tree: LocalTree, name: str) -> Weights:
    with tree.open(name) as stream, files.translated(tree.root / name, "read"):
        with stream.file() as file:
            weights = weights_of_file(file, name)
        if stream.stat() != stream.opened:
            raise StorageError(
                f"{tree.shown}/{name} was changed while it was read",
                where=f"{tree.shown}/{name}",
                hint="run it again when nobody writes to it",
            )
    return weights
