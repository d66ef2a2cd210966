"""Believe: who said so, and may they? Bytes and keys; no I/O.

A claim is believed when a key speaks for it and the project's trust root says that this key may. This room
holds both halves, and nothing else: it opens no file, asks no network and reads no clock.

* `jcs`        RFC 8785 canonical JSON, for the one signature form that needs it
* `content`    the canonical bytes of a manifest, in pieces
* `keys`       Ed25519 and ECDSA P-256; a key that exists here has been checked, and its id is computed by us
* `dsse`       DSSE 1.0.2 envelopes: parse, sign, which keys signed
* `jws`        the compact detached JWS (RFC 7515 appendix F) that fits a manifest's `signature` string
* `statement`  the in-toto Statement v1 that binds a manifest by `sha256` and `dirHash1`
* `root`       the trust root: TUF's root role for data marketplaces, plain JSON or signed by its root keys
* `agreement`  whether enough root keys signed a trust root
* `rotation`   from one version of the trust root to the next: `check_update`, `sign_root`
* `root_editing`, `root_changes`  drafts of a trust root, and what differs between two
* `oms`        OpenSSF Model Signing bundles: `open_bundle(raw, root, now=…)`
* `timestamps` RFC 3161 tokens: a signature that was made inside its key's window, shown by somebody else
* `opening`    the question itself: `open_manifest(manifest, envelope, root, now=…, timestamps=…)`

The shortest program, with bytes somebody else has read:

    root = parse_root(trust_json)
    opened = open_manifest(read_manifest(manifest_json), envelope, root, now=now())
    assert not opened.findings, opened.findings

Algorithms come from the key in the trust root, never from a document; no key found inside a document is ever
used. Only Ed25519 and P-256 exist here, and the Ed25519 keys with which one signature fits many messages are
refused when they are loaded. Thresholds count keys, not signatures.

Not promised: that a signer tells the truth, or that a key past its window signed in time where no token of a
trusted authority shows it.
"""
