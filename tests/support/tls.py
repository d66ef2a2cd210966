"""Certificates for servers on loopback, made for one test session."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import trustme


class Authority:
    """A private certificate authority; `bundle` is the file a client names to trust it."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self.bundle = folder / "authority.pem"
        self._ca.cert_pem.write_to_path(str(self.bundle))

    def context(self, *names: str, expired: bool = False) -> ssl.SSLContext:
        """A server's context with a certificate for `names` (by default for localhost and 127.0.0.1)."""
        until = datetime(2001, 1, 1, tzinfo=UTC) if expired else None
        since = datetime(2000, 1, 1, tzinfo=UTC) if expired else None
        leaf = self._ca.issue_cert(*(names or ("localhost", "127.0.0.1")), not_after=until, not_before=since)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        leaf.configure_cert(context)
        return context
