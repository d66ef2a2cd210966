"""Who signs: a file, a variable, a plugin, the development key; and which of them are refused (K05)."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

import databom
from databom.errors import ConfigError, PluginError
from databom.tasks import keyring, new_key, trust_add, verify_receipt
from databom.tasks.signers import receipt_signer
from databom.trust.keys import PrivateKey
from support.house import House
from support.receipts import internal_of


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    keyring._private.clear()
    for name in ("DATABOM_RECEIPT_KEY", "DATABOM_RECEIPT_KEY_PEM", "RANK", "LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    new_key(tmp_path / "receipt.key")
    return tmp_path / "receipt.key"


def keyid(path: Path) -> str:
    return PrivateKey.from_pem(path.read_bytes()).public.keyid


def chosen(root: Path, **environ: str) -> tuple[str, bool]:
    found = receipt_signer(root, environ)
    assert found is not None
    return found.signer.public.keyid, found.is_development


def test_the_order(house: House, key: Path) -> None:
    assert receipt_signer(house.project, {}) is None
    house.ok("init")
    own = keyid(house.project / ".databom/keys/receipt.pem")
    assert chosen(house.project) == (own, True)
    for value in (str(key), f"file:{key}", f"file://{key}"):
        assert chosen(house.project, DATABOM_RECEIPT_KEY=value) == (keyid(key), False)
    assert chosen(house.project, DATABOM_RECEIPT_KEY_PEM=key.read_text()) == (keyid(key), False)
    with pytest.raises(ConfigError, match="both set"):
        receipt_signer(house.project, {"DATABOM_RECEIPT_KEY": str(key), "DATABOM_RECEIPT_KEY_PEM": "x"})


def test_a_named_key_that_does_not_work_is_not_replaced(house: House, tmp_path: Path, key: Path) -> None:
    house.ok("init")
    (tmp_path / "garbage").write_text("CANARY")
    (tmp_path / "garbage").chmod(0o600)
    for environ in (
        {"DATABOM_RECEIPT_KEY": str(tmp_path / "none")},
        {"DATABOM_RECEIPT_KEY": str(tmp_path / "garbage")},
        {"DATABOM_RECEIPT_KEY": f"{key}.pub"},
        {"DATABOM_RECEIPT_KEY_PEM": "CANARY"},
        {"DATABOM_RECEIPT_KEY": "nul\0"},
        {"DATABOM_RECEIPT_KEY": key.read_text().replace("KEY-----\n", "KEY-----\nCANARY", 1)},
    ):
        with pytest.raises(ConfigError) as refused:
            receipt_signer(house.project, environ)
        assert "CANARY" not in str(refused.value)


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o644, 0o666])
def test_a_key_that_others_can_read_is_refused(house: House, key: Path, mode: int) -> None:
    house.ok("init")
    key.chmod(mode)
    with pytest.raises(ConfigError, match="not only its owner's"):
        receipt_signer(house.project, {"DATABOM_RECEIPT_KEY": str(key)})
    key.chmod(0o400)
    assert chosen(house.project, DATABOM_RECEIPT_KEY=str(key))[0] == keyid(key)
    own = house.project / ".databom/keys/receipt.pem"
    own.chmod(mode)
    with pytest.raises(ConfigError, match="not only its owner"):
        receipt_signer(house.project, {})


def test_a_key_in_a_commit_is_refused(house: House) -> None:
    house.ok("init")
    new_key(house.project / "receipt.key")
    environ = {"DATABOM_RECEIPT_KEY": str(house.project / "receipt.key")}
    subprocess.run(["git", "init", "-q"], check=True)
    assert chosen(house.project, **environ)
    keyring._private.clear()
    subprocess.run(["git", "add", "-f", "receipt.key"], check=True)
    with pytest.raises(ConfigError, match="in every clone"):
        receipt_signer(house.project, environ)


class Module:
    """A signer as somebody's PKCS#11 package would have one."""

    def __init__(self, uri: str) -> None:
        assert uri == "pkcs11:token=ci;object=receipt"
        self._key = PrivateKey.generate("ecdsa-p256")
        self.public_pem: Any = self._key.public.pem()

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)


class Lying(Module):
    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message + b"x")


class Failing(Module):
    def sign(self, message: bytes) -> bytes:
        raise RuntimeError("PIN 1234 is wrong")


class Keyless(Module):
    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self.public_pem = "no key"


URI = {"DATABOM_RECEIPT_KEY": "pkcs11:token=ci;object=receipt"}


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Installed plugins by scheme."""
    found: dict[str, Any] = {}

    class Entry:
        def __init__(self, name: str, value: Any) -> None:
            self.name, self.value, self._loaded = name, f"plugin:{value.__name__}", value

        def load(self) -> Any:
            return self._loaded

    def entry_points(group: str) -> list[Entry]:
        assert group == "databom.signers"
        return [Entry(name.partition("/")[0], value) for name, value in found.items()]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    return found


def test_a_plugin_signs(house: House, plugins: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    house.synced()
    module = Module(URI["DATABOM_RECEIPT_KEY"])
    plugins["pkcs11"] = lambda _uri: module
    plugins["pkcs11"].__name__ = "module"
    Path("hsm.pub").write_text(module.public_pem)
    trust_add("hsm.pub", role="receipt", project=house.project)
    house.ok("sync", "pets")
    monkeypatch.setenv(*next(iter(URI.items())))
    with databom.training("pets") as run:
        pass
    assert run.receipt is not None
    raw = run.receipt.read_bytes()
    assert verify_receipt(raw, project=house.project) == ()
    assert "developmentKey" not in internal_of(raw)


@pytest.mark.parametrize("plugin", [Lying, Failing, Keyless])
def test_a_plugin_that_breaks_its_promise(house: House, plugins: dict[str, Any], plugin: Any) -> None:
    plugins["pkcs11"] = plugin

    def sign() -> None:
        found = receipt_signer(house.project, URI)
        assert found is not None
        found.signer.sign(b"message")

    with pytest.raises(PluginError) as refused:
        sign()
    assert "1234" not in str(refused.value)


def test_which_plugin(house: House, plugins: dict[str, Any]) -> None:
    with pytest.raises(PluginError, match="no plugin"):
        receipt_signer(house.project, URI)
    plugins["pkcs11"], plugins["pkcs11/other"] = Module, Lying
    with pytest.raises(PluginError, match="more than one plugin"):
        receipt_signer(house.project, URI)


def test_no_file_of_a_repository_names_a_key(house: House) -> None:
    """Documents and discovered configuration never choose what signs or runs."""
    house.ok("init")
    with open("databom.toml", "a") as file:
        file.write('\n[receipt]\nkey = "pkcs11:x"\n')
    assert house.cli("log", "flush").code == 2
    assert os.environ.get("DATABOM_RECEIPT_KEY") is None
