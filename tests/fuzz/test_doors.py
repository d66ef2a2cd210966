"""Whatever comes in through a public door, what comes out is an answer or one of databom's own errors."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import databom
import databom.dvc
from databom import tasks
from databom.errors import DatabomError
from databom.model.config import parse_config
from databom.model.lock import parse_lock
from databom.model.manifest import read_manifest
from databom.storage.location import parse_location
from databom.trust.dsse import parse_envelope
from databom.trust.keys import PrivateKey, PublicKey
from databom.trust.oms import open_bundle
from databom.trust.opening import open_manifest
from databom.trust.root import parse_draft, parse_root
from databom.trust.rotation import check_update
from support.house import House

NOW = datetime(2026, 11, 24, tzinfo=UTC)
CALM = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
garbage = st.binary(max_size=200) | json_values.map(
    lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
)
words = st.text(max_size=30) | st.sampled_from(
    [
        "",
        ".",
        "..",
        "/",
        "-",
        "--",
        "\0",
        "a/b.json",
        "https://[",
        "s3://",
        "r2://b/\ud800",
        "file:///etc/passwd",
        "x" * 300,
        "y/" * 3000,
    ]
)


@pytest.fixture
def base(house: House) -> House:
    (house.project / ".dvc").mkdir()
    (house.project / ".dvc" / "config").touch()
    house.synced()
    return house


@CALM
@given(raw=garbage)
def test_whatever_bytes_are_parsed(raw: bytes, base: House) -> None:
    readers: list[Callable[[bytes], Any]] = [
        *(read_manifest, parse_root, parse_draft, parse_envelope, parse_lock, parse_config),
        *(PublicKey.from_pem, PrivateKey.from_pem),
    ]
    for reader in readers:
        with contextlib.suppress(DatabomError):
            reader(raw)
    root = parse_root((base.project / "provenance" / "trust.json").read_bytes())
    manifest = read_manifest((base.market / "v1" / "manifest.json").read_bytes())
    open_manifest(manifest, raw, root, now=NOW)
    check_update(root, raw, now=NOW)
    with contextlib.suppress(DatabomError):
        open_bundle(raw, root, now=NOW)


@CALM
@given(word=words, other=words)
def test_whatever_words_are_typed(word: str, other: str, base: House) -> None:
    here: dict[str, Any] = {"project": base.project}
    doors: list[Callable[[], Any]] = [
        lambda: databom.verify(word, **here),
        lambda: databom.verify(word, root=other, **here),
        lambda: databom.verify("pets", trust=word, trust_digest=other, **here),
        lambda: databom.verify("pets", project=word),
        lambda: databom.check(base=word, **here),
        lambda: databom.check(trust_digest=word, policy_digest=other, base="HEAD", **here),
        lambda: databom.add(word, name=other, **here),
        lambda: databom.update(word, other, **here),
        lambda: databom.update("pets", word, **here),
        lambda: databom.sync(word, **here),
        lambda: databom.open(word, other, **here),
        lambda: databom.open("pets", word, **here),
        lambda: databom.gate(word, **here),
        lambda: databom.use(word),
        lambda: parse_location(word),
        lambda: tasks.bom(word, **here),
        lambda: tasks.key_id(word),
        lambda: tasks.trust_add(base.key.with_suffix(".key.pub"), marketplace=word, datasets=[other], **here),
        lambda: tasks.trust_add(word, role=other, **here),
        lambda: tasks.trust_remove(word, **here),
        lambda: tasks.trust_diff(word, **here),
        lambda: tasks.trust_update(word, **here),
        lambda: tasks.trust_sign(word, keys=[other]),
        lambda: tasks.sign(word, keys=[other]),
        lambda: tasks.publish(word, key=other, fields={"dataset_id": word}),
        lambda: databom.dvc.register_stage(word, **here),
        lambda: databom.dvc.register_stage("pets", project=word),
    ]
    root = (base.project / "provenance" / "trust.json").read_bytes()
    for door in doors:
        with contextlib.suppress(DatabomError):
            door()
    (base.project / "provenance" / "trust.json").write_bytes(root)


FILES = (
    *("databom.toml", "databom.lock", "provenance/trust.json"),
    *("provenance/manifests/pets.json", "provenance/manifests/pets.json.dsse"),
    *("provenance/manifests/pets.json.dsse.tsr", ".databom/last/pets.stat"),
    *("dvc.yaml", ".gitignore", ".dvc/config", ".databom/last/pets.json"),
)


@CALM
@given(name=st.sampled_from(FILES), raw=garbage, cut=st.none() | st.integers(0, 3000))
def test_whatever_a_projects_file_holds(name: str, raw: bytes, cut: int | None, base: House) -> None:
    path: Path = base.project / name
    before = path.read_bytes() if path.exists() else None
    path.write_bytes(raw if cut is None or before is None else before[:cut] + raw + before[cut + len(raw) :])
    here: dict[str, Any] = {"project": base.project}
    doors: list[Callable[[], Any]] = [
        lambda: databom.verify(**here),
        lambda: databom.check(**here),
        lambda: databom.gate(**here),
        lambda: databom.sync("pets", **here),
        lambda: databom.update("pets", **here),
        lambda: databom.open("pets", "images/cat1.jpg", **here).close(),
        lambda: tasks.bom(**here),
        lambda: tasks.trust_show(**here),
        lambda: tasks.doctor(**here),
        lambda: databom.dvc.register_stage("pets", **here),
    ]
    try:
        for door in doors:
            with contextlib.suppress(DatabomError):
                door()
    finally:
        if before is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(before)
