"""A slow, flaky store: resets, refusals, broken bodies and delay, at random but the same each run."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from threading import Lock

import pytest

from databom.checks.engine import measure_all
from databom.checks.integrity import check_integrity
from databom.model.manifest import Manifest, read_manifest
from databom.storage.location import Location
from databom.storage.reader import Patience, open_reader
from support import faultproxy as faults
from support.faultproxy import Fault
from support.fixtures_r2 import FaultyBucket, Web, use_client

pytestmark = pytest.mark.s3

PATIENT = Patience(attempts=9, pause=0.01)
ASSETS = 120
DELAY_SECONDS = 0.2


def flaky(seed: int, *, lies: bool) -> tuple[Fault, list[str]]:
    """Of a hundred answers five end in a reset, five are 503, five are cut short; with `lies`, five are wrong."""
    generator, lock, played = random.Random(seed), Lock(), list[str]()
    kinds = {
        "reset": faults.reset(1000),
        "busy": faults.s3_error(503, "SlowDown"),
        "cut": faults.truncate(1000),
        "gone": faults.hang_up,
    }
    if lies:
        kinds |= {"flip": faults.flip(500), "short": faults.short_length(1), "long": faults.oversize()}

    def fault(request: faults.Request, given: faults.Answer, wire: faults.Wire) -> None:
        with lock:
            kind = next((name for name in kinds if generator.random() < 0.05), "good")
            played.append(kind)
        wire.wait(DELAY_SECONDS)
        if kind == "good":
            wire.send(given)
        else:
            kinds[kind](request, given, wire)

    return fault, played


def release() -> tuple[Manifest, dict[str, bytes]]:
    bodies = {f"a{i:03}": random.Random(i).randbytes(2000 + i) for i in range(ASSETS)}
    assets = [
        {"path": path, "sha256": hashlib.sha256(body).hexdigest(), "size": len(body)}
        for path, body in bodies.items()
    ]
    document = {
        "dataset_id": "d", "version": "1", "license": {"type": "commercial", "spdx": "CC-BY-4.0"}, "assets": assets,
    }  # fmt: skip
    return read_manifest(json.dumps(document).encode()), bodies


@pytest.fixture(params=["obstore", "s3fs", "https"])
def store(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Location, FaultyBucket | Web]]:
    use_client(request.param, monkeypatch)
    if request.param == "https":
        web: Web = request.getfixturevalue("web")
        yield web.location("/rel"), web
    else:
        bucket: FaultyBucket = request.getfixturevalue("faulty_bucket")
        yield bucket.location, bucket


def fill(store: tuple[Location, FaultyBucket | Web], bodies: dict[str, bytes]) -> None:
    for path, body in bodies.items():
        store[1].put(path if isinstance(store[1], FaultyBucket) else f"/rel/{path}", body)


def test_f11_a_flaky_store_is_read_to_the_end_within_bounds(
    store: tuple[Location, FaultyBucket | Web],
) -> None:
    manifest, bodies = release()
    fill(store, bodies)
    fault, played = flaky(1, lies=False)
    store[1].proxy.rule("/a", fault)
    integrity = check_integrity(manifest, open_reader(store[0], patience=PATIENT))
    assert integrity.findings == ()
    assert integrity.summary.checked == ASSETS
    bad = len(played) - played.count("good")
    assert {"reset", "busy", "cut", "gone"} <= set(played)
    # One more request for each that failed, and none besides; a dropped connection may be asked twice by the client.
    assert ASSETS + bad - played.count("gone") <= len(played) <= ASSETS + bad + played.count("gone")


def test_f11_a_flaky_store_that_lies_is_never_believed(store: tuple[Location, FaultyBucket | Web]) -> None:
    manifest, bodies = release()
    fill(store, bodies)
    fault, played = flaky(2, lies=True)
    store[1].proxy.rule("/a", fault)
    wrong = 0
    for outcome in measure_all(manifest.assets, open_reader(store[0], patience=PATIENT)):
        true = hashlib.sha256(bodies[outcome.path]).hexdigest()
        assert outcome.error is None
        # Every accepted digest is of the true bytes; every lie shows as another digest or another size.
        wrong += outcome.sha256 != true or outcome.size != len(bodies[outcome.path])
    assert wrong == sum(played.count(kind) for kind in ("flip", "short", "long")) > 0
