"""The weights digest: equal for the same numbers, however they were packed, and for nothing else."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import struct
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databom.checks import weights
from databom.checks.weights import Weights, weights_of, weights_of_file
from databom.errors import MissingError, StorageError, UnsafeFileError

TORCH = {
    "data.pkl": b"\x80\x02}q\x00.",
    "byteorder": b"little",
    "data/0": bytes(range(200)),
    "data/1": b"",
    "version": b"3\n",
    ".data/serialization_id": b"123",
}


def zipped(
    members: Mapping[str, bytes],
    top: str = "",
    *,
    year: int = 1980,
    compression: int = zipfile.ZIP_STORED,
    order: Callable[[list[str]], list[str]] = sorted,
    extra: bytes = b"",
) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in order(list(members)):
            info = zipfile.ZipInfo(top + name, (year, 1, 1, 0, 0, 0))
            info.compress_type, info.extra = compression, extra
            archive.writestr(info, members[name])
    return out.getvalue()


def of(raw: bytes) -> Weights:
    return weights_of_file(io.BytesIO(raw), "x")


def sha256(raw: bytes) -> str:
    return "sha256:" + hashlib.sha256(raw).hexdigest()


def is_opaque(raw: bytes) -> bool:
    return of(raw) == Weights(sha256(raw), of(raw).form, ("x",))


# --- what does not count -----------------------------------------------------------------------------


def test_torch() -> None:
    first = of(zipped(TORCH, "model_a/"))
    assert (first.form, first.opaque) == ("torch", ())
    for same in (
        zipped(TORCH, "model_b/", year=2026),
        zipped(TORCH, "archive/", compression=zipfile.ZIP_DEFLATED),
        zipped(TORCH, "archive/", order=lambda names: sorted(names, reverse=True)),
        zipped(TORCH, "archive/", extra=struct.pack("<HH5s", 0x4246, 5, b"ZZZZZ")),  # torch's own padding
        zipped({**TORCH, ".data/serialization_id": b"456"}, "archive/"),
    ):
        assert of(same) == first
    for other in (
        {**TORCH, "data/0": bytes(200)},
        {**TORCH, "data.pkl": b"\x80\x02}q\x01."},
        {**TORCH, "data/2": b""},
        {name: raw for name, raw in TORCH.items() if name != "data/1"},
    ):
        assert of(zipped(other, "model_a/")).digest != first.digest


def test_keras() -> None:
    def saved(when: str, config: bytes = b"{}") -> bytes:
        metadata = json.dumps({"keras_version": "3.0", "date_saved": when}).encode()
        return zipped({"metadata.json": metadata, "config.json": config, "model.weights.h5": b"\x89HDF"})

    first = of(saved("2026-01-01@00:00:00"))
    assert first.form == "keras"
    assert of(saved("2027-12-31@23:59:59")) == first
    assert of(saved("2026-01-01@00:00:00", b"{ }")).digest != first.digest


def tensors(
    *named: tuple[str, bytes, list[int]], metadata: dict[str, str] | None = None, pad: int = 0
) -> bytes:
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    data = b""
    for name, raw, shape in named:
        header[name] = {"dtype": "U8", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    raw_header = json.dumps(header).encode() + b" " * pad
    return struct.pack("<Q", len(raw_header)) + raw_header + data


A, B, EMPTY = ("a", b"12345678", [8]), ("b", b"abcd", [2, 2]), ("nothing", b"", [0])


def test_safetensors() -> None:
    first = of(tensors(A, B, EMPTY))
    assert (first.form, first.opaque) == ("safetensors", ())
    assert of(tensors(B, EMPTY, A, metadata={"format": "pt", "when": "now"}, pad=5)) == first
    for other in (
        tensors(A, B),
        tensors(A, ("b", b"abcd", [4]), EMPTY),
        tensors(A, ("b", b"abce", [2, 2]), EMPTY),
        tensors(A, ("c", b"abcd", [2, 2]), EMPTY),
    ):
        assert of(other).form == "safetensors"
        assert of(other).digest != first.digest


@pytest.mark.parametrize(
    "header",
    [
        {"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}},  # bytes that belong to no tensor
        {"a": {"dtype": "U8", "shape": [8], "data_offsets": [0, 9]}},
        {"a": {"dtype": "U8", "shape": [8], "data_offsets": [8, 0]}},
        {"a": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8.0]}},
        {"a": {"dtype": "U8", "shape": [8], "data_offsets": [True, 8]}},
        {"a": {"dtype": "U8", "shape": [8], "data_offsets": [0]}},
        {"a": {"dtype": "U8", "shape": 8, "data_offsets": [0, 8]}},
        {"a": {"dtype": "U 8", "shape": [8], "data_offsets": [0, 8]}},
        {"a": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8], "more": 1}},
        {"a": "U8"},
        {f"{n}": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]} for n in range(2)},  # overlapping
        {"__metadata__": {}},
    ],
)
def test_what_is_no_safetensors_is_its_bytes(header: dict[str, Any]) -> None:
    raw = json.dumps(header).encode()
    whole = struct.pack("<Q", len(raw)) + raw + b"12345678"
    assert of(whole) == Weights(sha256(whole), "bytes")


def test_a_repeated_tensor_is_not_chosen_between() -> None:
    raw = b'{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}'
    whole = struct.pack("<Q", len(raw)) + raw + b"12345678"
    assert of(whole) == Weights(sha256(whole), "bytes")


def test_numpy(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    arrays = {"w": numpy.arange(1000.0).reshape(10, 100), "b": numpy.zeros(5)}
    numpy.savez(tmp_path / "a.npz", **arrays)
    numpy.savez_compressed(tmp_path / "b.npz", **dict(reversed(arrays.items())))
    first = weights_of(tmp_path / "a.npz")
    assert first == weights_of(tmp_path / "b.npz")
    assert (first.form, first.opaque) == ("zip", ())
    arrays["b"][0] = 1e-300
    numpy.savez(tmp_path / "c.npz", **arrays)
    assert weights_of(tmp_path / "c.npz").digest != first.digest


def test_skops() -> None:
    io_ = pytest.importorskip("skops.io")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    kept = []

    def trained(last: int = 1) -> bytes:
        rows = [[float(n), float(n % 3)] for n in range(10)]
        model = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, [0] * 5 + [1] * 4 + [last])
        kept.append(model)  # alive: the next one has other addresses
        raw: bytes = io_.dumps(model)
        return raw

    one, two = trained(), trained()
    assert one != two
    assert (of(one).form, of(one).opaque) == ("skops", ())
    assert of(one) == of(two)
    assert of(trained(last=0)).digest != of(one).digest


PROGRAM = textwrap.dedent(
    """
    import os, sys
    import mlflow, mlflow.sklearn
    from sklearn.linear_model import LogisticRegression
    folder, last = sys.argv[1], int(sys.argv[2])
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    mlflow.set_experiment("x")
    rows = [[float(n)] for n in range(10)]
    with mlflow.start_run():
        model = LogisticRegression().fit(rows, [0] * 5 + [1] * 4 + [last])
        info = mlflow.sklearn.log_model(model, name="model", pip_requirements=["scikit-learn"])
    import mlflow.artifacts
    mlflow.artifacts.download_artifacts(info.model_uri, dst_path=os.path.join(folder, "model"))
    """
)


@pytest.mark.mlflow
def test_a_model_that_was_trained_and_logged_twice(tmp_path: Path) -> None:
    found = []
    for number, last in enumerate((1, 1, 0)):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "train.py").write_text(PROGRAM)
        subprocess.run([sys.executable, "train.py", str(folder), str(last)], cwd=folder, check=True)
        (model,) = [path.parent for path in (folder / "model").rglob("MLmodel")]
        found.append((weights_of(model), sha256((model / "MLmodel").read_bytes())))
    (one, about), (two, about_two), (other, _) = found
    assert about != about_two
    assert (one.form, one.opaque) == ("tree", ())
    assert one == two
    assert other.digest != one.digest


# --- what counts, whatever it is ---------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_are_their_bytes(protocol: int) -> None:
    raw = pickle.dumps({"w": [1.0, 2.0]}, protocol=protocol)
    assert is_opaque(raw)
    assert of(raw).form == "pickle"


def test_compressed_pickles_and_hdf5_are_their_bytes(tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    for compress in (("zlib", 3), ("gzip", 3)):
        joblib.dump({"w": [1.0] * 100}, tmp_path / "m.joblib", compress=compress)
        assert is_opaque((tmp_path / "m.joblib").read_bytes())
    assert is_opaque(b"\x89HDF\r\n\x1a\n" + bytes(100))
    for plain in (b"", b"x", b"\x80", b"{}", b"PK", b"PK\x05\x06" + bytes(18)):
        assert of(plain) == Weights(sha256(plain), "bytes")


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("unpickled"),))


def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    raw = pickle.dumps(Bomb())
    of(raw)
    of(zipped({**TORCH, "data.pkl": raw}, "archive/"))
    assert not Path("unpickled").exists()


# --- archives that are not plain ---------------------------------------------------------------------


def entries(raw: bytes, change: Callable[[bytearray, int], None]) -> bytes:
    """The archive with each entry of its central directory changed."""
    out, at = bytearray(raw), raw.index(b"PK\x01\x02")
    while out[at : at + 4] == b"PK\x01\x02":
        change(out, at)
        lengths = struct.unpack("<HHH", out[at + 28 : at + 34])
        at += 46 + sum(lengths)
    return bytes(out)


def _encrypted(out: bytearray, at: int) -> None:
    out[at + 8] |= 1


def _one_place(out: bytearray, at: int) -> None:
    out[at + 42 : at + 46] = bytes(4)


def _far_away(out: bytearray, at: int) -> None:
    out[at + 42 : at + 46] = b"\xf0\xff\xff\xff"


def _huge(out: bytearray, at: int) -> None:
    out[at + 24 : at + 28] = b"\xf0\xff\xff\xff"


def _wrong_sum(out: bytearray, at: int) -> None:
    out[at + 16] ^= 1


@pytest.mark.parametrize("change", [_encrypted, _one_place, _far_away, _huge, _wrong_sum])
def test_an_archive_that_lies_is_its_bytes(change: Callable[[bytearray, int], None]) -> None:
    good = zipped(TORCH, "archive/", compression=zipfile.ZIP_DEFLATED)
    assert of(good).form == "torch"
    raw = entries(good, change)
    assert raw != good
    assert is_opaque(raw)


def test_an_archive_with_more_than_its_members_is_its_bytes() -> None:
    raw = zipped(TORCH, "archive/")
    with io.BytesIO(raw) as file, zipfile.ZipFile(file) as archive:
        at = archive.getinfo("archive/data/0").header_offset
    assert is_opaque(zipped({"a": b"1"}) + raw)  # the first is in front of what counts
    assert is_opaque(b"PK\x03\x04" + raw)
    assert at > 0
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a", b"2")
    assert is_opaque(out.getvalue())
    for compression in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        assert is_opaque(zipped(TORCH, "archive/", compression=compression))


def test_a_directory_that_says_it_is_long_is_not_read() -> None:
    raw = bytearray(zipped(TORCH, "archive/"))
    end = raw.rindex(b"PK\x05\x06")
    raw[end + 12 : end + 16] = struct.pack("<I", 0xFFFFFFF0)
    assert is_opaque(bytes(raw))


SMALL = zipped({"data.pkl": b"\x80\x02}.", "data/0": b"0123456789"}, "a/")


@given(st.integers(0, len(SMALL) - 1), st.integers(1, 255))
def test_any_byte_changed(at: int, by: int) -> None:
    """Whatever is still the same weights has, for a reader of archives, the same members."""
    raw = bytearray(SMALL)
    raw[at] ^= by
    found = of(bytes(raw))
    if found.digest == of(SMALL).digest:
        with zipfile.ZipFile(io.BytesIO(bytes(raw))) as archive:
            contents = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
        assert contents == {"data.pkl": b"\x80\x02}.", "data/0": b"0123456789"}


@given(st.integers(0, len(SMALL)))
def test_any_cut(length: int) -> None:
    cut = SMALL[:length]
    assert of(cut).digest == (of(SMALL).digest if length == len(SMALL) else sha256(cut))


@given(
    st.sampled_from([b"PK\x03\x04", b"\x02\0\0\0\0\0\0\0{}", b"\x89HDF\r\n\x1a\n", b"\x80\x04", b""]),
    st.binary(),
)
def test_whatever_the_bytes_there_is_an_answer(head: bytes, tail: bytes) -> None:
    assert of(head + tail).digest.startswith("sha256:")


def test_a_listing_is_no_archive() -> None:
    """What is hashed for an archive, stored as a file, is another model."""
    lines = "".join(
        f"{hashlib.sha256(raw).hexdigest()}  {name}\n" for name, raw in sorted({"a": b"1", "b": b"2"}.items())
    )
    archive = of(zipped({"a": b"1", "b": b"2"}))
    assert sha256(f"databom weights v1 zip\n{lines}".encode()) == archive.digest
    tree = sha256(f"databom weights v1 tree\n{lines}".encode())
    assert tree != archive.digest


# --- folders -----------------------------------------------------------------------------------------


def folder(place: Path, members: Mapping[str, bytes]) -> Path:
    for name, raw in members.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(raw)
    return place


def test_a_folder_as_the_shell_would_say_it(tmp_path: Path) -> None:
    names = ["b/c.txt", "a.txt", "a/ü.txt", "a-b", "back\\slash", "line\nfeed"]
    place = folder(tmp_path / "m", {name: name.encode() for name in names})
    done = subprocess.run(
        [
            *("sh", "-c"),
            'export LC_ALL=C; echo "databom weights v1 tree"; find * -type f -print0 | sort -z | xargs -0 sha256sum',
        ],
        cwd=place,
        capture_output=True,
        check=True,
    )  # fmt: skip
    assert weights_of(place).digest == sha256(done.stdout)


def test_an_archive_as_the_shell_would_say_it(tmp_path: Path) -> None:
    members = {"b/c.npy": b"1", "a.npy": b"2"}
    place = folder(tmp_path / "m", members)
    done = subprocess.run(
        ["sh", "-c", 'echo "databom weights v1 zip"; sha256sum $(find * -type f | LC_ALL=C sort)'],
        cwd=place,
        capture_output=True,
        check=True,
    )
    assert of(zipped(members)).digest == sha256(done.stdout)


def test_an_mlflow_model_is_what_it_computes_with(tmp_path: Path) -> None:
    model = {"data/model.pth": zipped(TORCH, "model/"), "data/pickle_module_info.txt": b"mlflow"}
    about = {
        "MLmodel": b"run_id: 1",
        "conda.yaml": b"a",
        "requirements.txt": b"a",
        "input_example.json": b"1",
    }
    first = weights_of(folder(tmp_path / "a", {**model, **about}))
    model["data/model.pth"] = zipped(TORCH, "other/", year=2026)
    assert weights_of(folder(tmp_path / "b", {**model, "MLmodel": b"run_id: 2"})) == first
    assert weights_of(folder(tmp_path / "c", {**model, **about, "more.bin": b""})).digest != first.digest
    # Without an MLmodel a file of such a name is like any other.
    assert weights_of(folder(tmp_path / "d", {**model, "conda.yaml": b"a"})).digest != first.digest
    kept = folder(tmp_path / "e", {"MLmodel": b"x", "model.pkl": pickle.dumps(1)})
    assert weights_of(kept).opaque == ("model.pkl",)


def test_what_is_in_a_folder_is_a_file(tmp_path: Path) -> None:
    place = folder(tmp_path / "m", {"a": b"1"})
    (place / "empty").mkdir()
    weights_of(place)
    (place / "b").symlink_to("a")
    with pytest.raises(UnsafeFileError, match="symbolic link"):
        weights_of(place)
    with pytest.raises(UnsafeFileError):
        weights_of(place / "b")
    with pytest.raises(MissingError):
        weights_of(tmp_path / "nothing")


def test_a_file_that_is_changed_meanwhile_has_no_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = folder(tmp_path / "m", {"a": b"1"})

    def meddled(file: Any, name: str) -> Weights:
        found = weights_of_file(file, name)
        (place / name).write_bytes(b"22")
        return found

    monkeypatch.setattr(weights, "weights_of_file", meddled)
    with pytest.raises(StorageError, match="was changed"):
        weights_of(place)
