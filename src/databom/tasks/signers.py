"""Who signs for this project: a key in a file, in a variable, behind a plugin, or the development key.

In this order, and never a later one because an earlier one does not work:

    DATABOM_RECEIPT_KEY=PATH          a PEM file that only its owner can read, in no commit
    DATABOM_RECEIPT_KEY=SCHEME:…      a signer of the entry-point group `databom.signers`, named by the URI's scheme:
                                      PKCS#11, a KMS, whatever somebody installed
    DATABOM_RECEIPT_KEY_PEM=PEM       the key itself, as CI hands secrets over
    .databom/keys/receipt.pem         the development key that `databom init` made

Nothing a repository holds names a key or a plugin: both come from the environment of the user. A plugin is a callable
that takes the URI and gives an object with `public_pem` (PEM text) and `sign(message) -> bytes` (Ed25519, or ECDSA with
SHA-256 in DER); what it signs is verified before anybody else sees it.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from databom.errors import ConfigError, DatabomError, InputError, PluginError
from databom.model.text import printable
from databom.storage.files import is_taken
from databom.tasks.keyring import read_private_key
from databom.trust.keys import PrivateKey, PublicKey, Signer

_logger = logging.getLogger(__name__)

GROUP = "databom.signers"
KEY, KEY_PEM = "DATABOM_RECEIPT_KEY", "DATABOM_RECEIPT_KEY_PEM"
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):(?!\Z)")


class Chosen(Struct, frozen=True):
    """The signer, and whether it is the development key of this folder."""

    signer: Signer
    is_development: bool = False


def receipt_signer(root: Path, environ: Mapping[str, str] = os.environ) -> Chosen | None:
    """Whoever signs the receipts of the project at `root`; None where nobody was named and there is no own key.

    Raises:
        ConfigError: two keys are named; or the one that is named cannot be used: there is none, others can read it, it
            is in a commit.
        PluginError: a signer plugin is missing, or broke its contract.
    """
    named, pem = environ.get(KEY), environ.get(KEY_PEM)
    if named and pem:
        raise ConfigError(f"{KEY} and {KEY_PEM} are both set", hint="unset one of them")
    if pem:
        return Chosen(PrivateKey.from_pem(pem.encode("utf-8", "replace")))
    if named:
        scheme = _SCHEME.match(named)
        if scheme is None:
            return Chosen(read_private_key(Path(named).expanduser()))
        if scheme[1] == "file":
            return Chosen(read_private_key(Path(re.sub(r"\Afile:(//)?", "", named))))
        return Chosen(_plugin(scheme[1], named))
    own = root / ".databom" / "keys" / "receipt.pem"
    return Chosen(read_private_key(own), is_development=True) if is_taken(own) else None


def _plugin(scheme: str, uri: str) -> Signer:
    from importlib.metadata import entry_points

    found = [one for one in entry_points(group=GROUP) if one.name == scheme]
    if len({one.value for one in found}) != 1:
        known = ", ".join(sorted({one.name for one in entry_points(group=GROUP)})) or "none"
        what = "no plugin signs" if not found else "more than one plugin signs"
        raise PluginError(
            f"{what} with {KEY}={scheme}:…",
            hint=f"schemes of installed plugins: {known}. A path that holds a colon is written ./like:this",
        )
    made = f"the signer plugin {printable(found[0].value)}"
    try:
        signer = found[0].load()(uri)
        public = PublicKey.from_pem(_pem(signer.public_pem))
        return _Plugin(signer, public, made)
    except InputError as error:
        raise PluginError(f"{made} has no key that databom signs with: {error}") from None
    except DatabomError:
        raise
    except Exception as error:
        # Its text may hold a PIN.
        raise PluginError(f"{made} could not be used ({type(error).__name__})") from error


def _pem(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("ascii", "replace")


class _Plugin:
    """A foreign signer. Every signature is verified, since one that does not hold would be noticed years later."""

    def __init__(self, signer: Any, public: PublicKey, made: str) -> None:
        self._signer = signer
        self._made = made
        self.public = public

    def sign(self, message: bytes) -> bytes:
        """Sign, or say that it did not work.

        Raises:
            PluginError: the plugin raised, or what it gave is no signature of its key over these bytes.
        """
        try:
            signature = bytes(self._signer.sign(message))
        except Exception as error:
            raise PluginError(f"{self._made} could not sign ({type(error).__name__})") from error
        if not self.public.verify(signature, message):
            raise PluginError(f"{self._made} gave a signature that its own key does not verify")
        return signature
