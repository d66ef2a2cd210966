"""The simulator: deterministic, honest when it should be, and caught when it is not."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import databom
from databom.errors import ConfigError
from databom.model.finding import Report, Verdict
from databom.testing import MarketplaceSimulator, Release
from databom.trust.root import parse_root
from databom.trust.rotation import check_update

CATS = {"cat.txt": b"a cat\n", "more/cat.txt": b"another\n"}
NEW = {**CATS, "cat.txt": b"a new cat\n"}


@pytest.fixture
def market() -> MarketplaceSimulator:
    return MarketplaceSimulator("tests")


def verified(market: MarketplaceSimulator, documents: dict[str, bytes], tmp_path: Path) -> Report:
    folder = tmp_path / "release"
    path = market.write(documents, folder)
    trust = tmp_path / "trust.json"
    trust.write_bytes(market.trust_root())
    trust.chmod(0o644)
    report = databom.verify(path, trust=trust, now=market.now)
    assert isinstance(report, Report)
    return report


def codes(report: Report) -> set[str]:
    return {finding.code for finding in report.blocking}


@pytest.mark.parametrize("embed", [False, True])
def test_an_honest_release_passes(market: MarketplaceSimulator, tmp_path: Path, embed: bool) -> None:
    market.publish(CATS, embed=embed)
    assert verified(market, market.latest(), tmp_path).verdict is Verdict.PASS


def test_the_same_seed_gives_the_same_bytes_in_every_process() -> None:
    code = (
        "from databom.testing import MarketplaceSimulator as M\nimport hashlib\n"
        "m = M(7); m.publish({'a': b'1'}); m.rotate(market='m2', root='r2'); "
        "r = m.publish({'a': b'2'}, signers=['m2'])\n"
        "print(hashlib.sha256(b''.join(r.documents().values()) + m.trust_root()).hexdigest())"
    )
    runs = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(2)
    }
    assert len(runs) == 1
    assert MarketplaceSimulator(1).key("market") is not None
    ids = {
        MarketplaceSimulator(seed).key(name).public.keyid for seed in (1, 2) for name in ("market", "root")
    }
    assert len(ids) == 4


def test_a_mixed_mirror_is_caught(market: MarketplaceSimulator, tmp_path: Path) -> None:
    old, new = market.publish(CATS), market.publish(NEW)
    assert codes(verified(market, market.mixed(new, old), tmp_path)) == {"integrity.size"}


def test_a_strangers_release_is_caught(market: MarketplaceSimulator, tmp_path: Path) -> None:
    market.publish(CATS, signers=["stranger"])
    assert codes(verified(market, market.latest(), tmp_path)) == {"signature.untrusted"}


def test_a_clock_ahead_is_caught(market: MarketplaceSimulator, tmp_path: Path) -> None:
    market.skew = timedelta(days=1)
    market.publish(CATS)
    assert codes(verified(market, market.latest(), tmp_path)) == {"manifest.future"}
    market.advance(timedelta(days=1))
    assert verified(market, market.latest(), tmp_path).verdict is Verdict.PASS


def test_a_frozen_mirror_is_caught_once_its_manifest_expires(
    market: MarketplaceSimulator, tmp_path: Path
) -> None:
    market.publish(CATS, expires_at=market.now + timedelta(days=7))
    assert verified(market, market.latest(), tmp_path).verdict is Verdict.PASS
    market.advance(timedelta(days=7))
    assert codes(verified(market, market.latest(), tmp_path)) == {"release.expired"}


def test_a_key_outside_its_window_is_caught(market: MarketplaceSimulator, tmp_path: Path) -> None:
    market.limit_key("market", valid_until=market.now + timedelta(days=1))
    market.publish(CATS)
    assert verified(market, market.latest(), tmp_path).verdict is Verdict.PASS
    market.advance(timedelta(days=2))
    assert codes(verified(market, market.latest(), tmp_path)) == {"signature.expired"}


def pinned(market: MarketplaceSimulator, release: Release, folder: Path, project: Path) -> Report:
    return databom.add(
        str(market.write(release.documents(), folder / release.digest[-8:])),
        name="pets",
        dvc=False,
        project=project,
        now=market.now,
    )


def test_rollback_and_fork_are_caught_by_who_remembers(market: MarketplaceSimulator, tmp_path: Path) -> None:
    project = tmp_path / "project"
    databom.init(project)
    (project / "provenance/trust.json").write_bytes(market.trust_root())
    first, second = market.publish(CATS), market.publish(NEW)
    fork = market.fork(second, CATS)
    assert (fork.version, fork.sequence) == (second.version, second.sequence)
    assert fork.digest != second.digest
    assert pinned(market, second, tmp_path, project).verdict is Verdict.PASS
    assert codes(pinned(market, first, tmp_path, project)) == {"release.rollback"}
    assert codes(pinned(market, fork, tmp_path, project)) == {"release.equivocation"}
    assert market.rollback(2) == first.documents()


def test_rotation(market: MarketplaceSimulator, tmp_path: Path) -> None:
    refused = market.rotate(market="new", root="root2", signers=["root2"])
    first = parse_root(market.trust_root())
    assert check_update(first, refused, now=market.now)[0] is None
    good = market.rotate(market="new", root="root2")
    root, findings = check_update(first, good, now=market.now)
    assert not findings
    assert root is not None
    assert (root.version, market.trust_root(), market.trust_root(1)) == (2, good, first.raw)
    market.rotate(root="root3")
    assert parse_root(market.trust_root()).version == 3
    market.publish(CATS)
    assert codes(verified(market, market.latest(), tmp_path)) == {"signature.untrusted"}
    market.publish(CATS, signers=["new"])
    assert verified(market, market.latest(), tmp_path).verdict is Verdict.PASS


def test_an_expired_root(market: MarketplaceSimulator) -> None:
    current = parse_root(market.trust_root())
    expired = market.rotate(expires=market.now - timedelta(days=1))
    _, findings = check_update(current, expired, now=market.now)
    assert [finding.code for finding in findings] == ["trust.expired"]


def test_served_from_memory(market: MarketplaceSimulator) -> None:
    documents = market.publish(CATS).documents()
    mirror = market.serve(documents)
    assert {path: mirror.cat_file(path) for path in mirror.find("")} == documents
    other = market.serve({"only": b"x"})
    assert other.find("") == ["only"]


def test_what_cannot_be(market: MarketplaceSimulator) -> None:
    with pytest.raises(ConfigError):
        market.latest()
    with pytest.raises(ConfigError):
        market.publish(CATS, signers=[])
    with pytest.raises(ConfigError):
        market.trust_root(2)
    market.rotate()
    with pytest.raises(ConfigError):
        market.limit_key("market", valid_until=datetime(2026, 1, 1, tzinfo=UTC))
