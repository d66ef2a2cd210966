"""Writes every case of the corpus: the same bytes in every run.

    python tests/attacks/make.py          # then look at `git diff`

It builds manifests, in-toto statements, DSSE envelopes and JWS by hand, from their specifications, and shares no
code with databom: what both get wrong in the same way would not be found otherwise.

THE KEYS ARE WORTHLESS. Their private halves are the numbers below; whoever trusts one of them trusts everybody.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

HERE = Path(__file__).parent
INTOTO = "application/vnd.in-toto+json"
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
FILES = {"cat.txt": b"a cat\n", "images/dog.txt": b"a dog, longer\n"}
Json = dict[str, Any]


# --- keys and signatures ------------------------------------------------------------------------------


class Key:
    """A worthless test key: Ed25519 whose seed is one byte 32 times, or P-256 whose secret is a small number."""

    def __init__(self, number: int, *, p256: bool = False) -> None:
        self.p256 = p256
        self._key: Any = (
            ec.derive_private_key(number, ec.SECP256R1())
            if p256
            else ed25519.Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
        )
        spki = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.id = hashlib.sha256(spki).hexdigest()
        self.type = "ecdsa-p256" if p256 else "ed25519"
        self.pem = pem(spki)
        self.spki = spki

    def sign(self, message: bytes) -> bytes:
        if self.p256:
            signature: bytes = self._key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
            return signature
        return self._key.sign(message)  # type: ignore[no-any-return]

    def entry(self, **members: Any) -> Json:
        return {"keytype": self.type, "public": self.pem, **members}


def pem(spki: bytes) -> str:
    lines = base64.encodebytes(spki).decode().replace("\n", "")
    wrapped = "\n".join(lines[at : at + 64] for at in range(0, len(lines), 64))
    return f"-----BEGIN PUBLIC KEY-----\n{wrapped}\n-----END PUBLIC KEY-----\n"


MARKET, SECOND, STRANGER, ROOT1, ROOT2, RECEIPT = (Key(number) for number in (1, 2, 9, 21, 22, 31))
CURVE = Key(3, p256=True)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def pae(kind: str, payload: bytes) -> bytes:
    return b"DSSEv1 %d %s %d %s" % (len(kind.encode()), kind.encode(), len(payload), payload)


def envelope(payload: bytes, *keys: Key, kind: str = INTOTO) -> Json:
    signatures = [{"keyid": key.id, "sig": b64(key.sign(pae(kind, payload)))} for key in keys]
    return {"payload": b64(payload), "payloadType": kind, "signatures": signatures}


def statement(raw: bytes, value: Json) -> bytes:
    """What a publisher signs about a manifest. `value` is what the manifest would say, were it one."""
    assets = value["assets"]
    lines = "".join(f"{a['sha256']}  {a['path']}\n" for a in sorted(assets, key=lambda a: a["path"].encode()))
    sizes = [asset.get("size") for asset in assets]
    return compact(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [
                {
                    "name": f"{value['dataset_id']}@{value['version']}",
                    "digest": {"sha256": sha(raw), "dirHash1": sha(lines.encode())},
                }
            ],
            "predicateType": "urn:databom:dataset-manifest:v1",
            "predicate": {
                "datasetId": value["dataset_id"],
                "version": value["version"],
                "sequence": value.get("sequence"),
                "issuedAt": value.get("issued_at"),
                "assetCount": len(assets),
                "totalBytes": None if None in sizes else sum(sizes),
            },
        }
    )


def compact(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def dump(value: object) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def canonical(value: Json) -> bytes:
    """RFC 8785 of what the corpus holds: ASCII member names, no fractions."""
    content = {name: member for name, member in value.items() if name != "signature"}
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def jws(value: Json, key: Key, header: Json | None = None, secret: bytes | None = None) -> str:
    head = {"alg": "ES256" if key.p256 else "EdDSA", "kid": key.id} if header is None else header
    protected = b64url(compact(head))
    message = f"{protected}.{b64url(canonical(value))}".encode()
    sig = hmac.digest(secret, message, "sha256") if secret is not None else key.sign(message)
    return f"{protected}..{b64url(sig)}"


# --- documents ------------------------------------------------------------------------------------------


def listed(files: dict[str, bytes]) -> list[Json]:
    return [{"path": path, "sha256": sha(data), "size": len(data)} for path, data in files.items()]


def manifest(**changes: Any) -> Json:
    """A good manifest of the corpus's two files; None takes a member away."""
    value = {
        "dataset_id": "hn-pets",
        "version": "3",
        "sequence": 3,
        "marketplace_id": "human-native",
        "creator_id": "creator:alice",
        "issued_at": "2026-01-10T09:30:00Z",
        "license": {"type": "commercial", "spdx": "CC-BY-4.0", "revocable": False},
        "payment": {"model": "one-time", "transaction_id": "txn_1"},
        "assets": listed(FILES),
        "signature": "",
        **changes,
    }
    return {name: member for name, member in value.items() if member is not None}


def trust(*keys: Key, threshold: int = 1, datasets: Iterable[str] = ("hn-*",), **changes: Any) -> Json:
    """A trust root in which these keys are the marketplace, without end."""
    holders = keys or (MARKET,)
    return {
        "_type": "urn:databom:trust-root:v1",
        "version": 1,
        "expires": "2126-01-01T00:00:00Z",
        "keys": {key.id: key.entry() for key in holders},
        "roles": {
            "marketplace": {
                "human-native": {
                    "keyids": [key.id for key in holders],
                    "threshold": threshold,
                    "datasets": list(datasets),
                }
            }
        },
        **changes,
    }


def signed(value: Json, *keys: Key) -> dict[str, bytes]:
    """A manifest and its envelope."""
    return about(dump(value), value, *keys)


def about(raw: bytes, value: Json, *keys: Key) -> dict[str, bytes]:
    """Some bytes that are validly signed as if they were this manifest."""
    return {
        "manifest.json": raw,
        "manifest.json.dsse": dump(envelope(statement(raw, value), *(keys or (MARKET,)))),
    }


WRITTEN: set[str] = set()


def case(
    number: str,
    name: str,
    title: str,
    codes: str = "",
    *,
    files: dict[str, bytes] | None = None,
    assets: dict[str, bytes] | None = None,
    root: Json | bytes | None = None,
    steps: list[Json] | None = None,
    code: int | None = None,
    **more: Any,
) -> None:
    """Write one case. `codes` are what blocks; by default the exit code follows from whether something does."""
    wanted = codes.split()
    expected = (1 if wanted else 0) if code is None else code
    folder = f"{number.lower()}_{name}_{'fail' if expected else 'pass'}"
    assert folder not in WRITTEN, folder
    WRITTEN.add(folder)
    for path, data in (assets if assets is not None else FILES).items():
        _write(folder, f"assets/{path}", data)
    for path, data in (files if files is not None else signed(manifest())).items():
        _write(folder, path, data)
    document = trust() if root is None else root
    _write(folder, "trust.json", document if isinstance(document, bytes) else dump(document))
    says = {"says": wanted} if expected == 2 else {"codes": wanted}
    expect = {"exit": expected, **says, **more.pop("expect", {})}
    value = {"id": number, "title": title, "expect": expect, **more}
    _write(folder, "case.json", dump({**value, **({"steps": steps} if steps is not None else {})}))


def _write(folder: str, path: str, data: bytes) -> None:
    assert len(data) < 100_000, (folder, path)
    target = OUT / folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)


OUT = HERE
COMMAND = ["verify", "manifest.json", "--trust", "trust.json", "--root", "assets", "--format", "json"]


def run(*argv: str, codes: str = "", code: int | None = None, **more: Any) -> Json:
    wanted = codes.split()
    expected = (1 if wanted else 0) if code is None else code
    argv = (*argv, "--format", "json") if "--format" not in argv and argv[0] != "trust" else argv
    return {"run": list(argv), "expect": {"exit": expected, "codes": wanted, **more}}


def verify(codes: str = "", **more: Any) -> Json:
    return run(*COMMAND, codes=codes, **more)


def write(path: str, text: str) -> Json:
    return {"write": path, "text": text}


# --- A: what is a manifest --------------------------------------------------------------------------------


def replaced(old: str, new: str, value: Json | None = None) -> dict[str, bytes]:
    """The good manifest with one piece of text exchanged, validly signed as it then is."""
    value = value or manifest()
    text = dump(value).decode()
    assert text.count(old) >= 1, old
    return about(text.replace(old, new, 1).encode("utf-8", "surrogatepass"), value)


def group_a() -> None:  # noqa: C901  # one call a case
    digest = FILES_DIGEST
    for name, old, new in (
        ("top", '"version": "3"', '"version": "2", "version": "3"'),
        ("license", '"spdx": "CC-BY-4.0"', '"spdx": "MIT", "spdx": "CC-BY-4.0"'),
        ("asset", f'"sha256": "{digest}"', f'"sha256": "{"0" * 64}", "sha256": "{digest}"'),
        ("escaped", f'"sha256": "{digest}"', f'"sha256": "{digest}", "\\u0073ha256": "{"0" * 64}"'),
        ("unknown", '"signature": ""', '"x": {"y": [{"z": 1, "z": 1}]}, "signature": ""'),
    ):
        case(
            "A01",
            f"repeated_{name}",
            f"a member twice in one object: {name}",
            "manifest.syntax",
            files=replaced(old, new),
        )
    for name, text in (
        ("nan", "NaN"),
        ("infinity", "Infinity"),
        ("minus_infinity", "-Infinity"),
        ("1e400", "1e400"),
    ):
        case(
            "A02",
            name,
            f"a number that is none: {text}",
            "manifest.syntax",
            files=replaced('"signature": ""', f'"x": {text}, "signature": ""'),
        )
    for name, text, code in (
        ("2_53", str(2**53), "manifest.syntax"),
        ("5000_digits", "9" * 5000, "manifest.syntax"),
        ("negative", "-1", "manifest.schema"),
        ("fraction", "6.5", "manifest.syntax"),
        ("true", "true", "manifest.schema"),
        ("text", '"6"', "manifest.schema"),
    ):
        case(
            "A03",
            f"size_{name}",
            f"a size that is none: {text[:20]}",
            code,
            files=replaced('"size": 6', f'"size": {text}'),
        )
    for name, text in (
        ("arrays", "[" * 40 + "]" * 40),
        ("objects", '{"a":' * 40 + "1" + "}" * 40),
        ("arrays_1000", "[" * 1000 + "]" * 1000),
    ):
        case(
            "A04",
            f"nested_{name}",
            "values nested deeper than any manifest needs",
            "manifest.limit",
            files=replaced('"signature": ""', f'"x": {text}, "signature": ""'),
        )
    for name, unit in (("arrays_100000", "["), ("objects_100000", '{"a":')):
        step = {"write": "manifest.json", "repeat": {"before": '{"x": ', "unit": unit, "times": 100_000}}
        case(
            "A04",
            f"nested_{name}",
            "nested 100,000 deep, and no end",
            "manifest.limit",
            steps=[step, verify("manifest.limit")],
        )
    good = dump(manifest())
    for name, old, new in (
        ("surrogate", b"creator:alice", b"creator:\\ud800"),
        ("cesu8", b"creator:alice", b"creator:\xed\xa0\x80\xed\xb0\x80"),
        ("invalid", b"creator:alice", b"creator:\xff"),
        ("overlong", b"creator:alice", b"creator:\xc0\xaf"),
        ("surrogate_key", b'"signature"', b'"\\udfff": 1, "signature"'),
    ):
        case(
            "A05",
            name,
            "bytes that are no UTF-8, or characters that are none",
            "manifest.syntax",
            files=about(good.replace(old, new), manifest()),
        )
    for name, raw in (
        ("bom", b"\xef\xbb\xbf" + good),
        ("utf16", good.decode().encode("utf-16")),
        ("utf16_no_bom", good.decode().encode("utf-16-le")),
        ("utf32", good.decode().encode("utf-32")),
    ):
        case(
            "A06",
            name,
            "another encoding than UTF-8 without a mark",
            "manifest.syntax",
            files=about(raw, manifest()),
        )
    for name, raw in (
        ("empty", b""),
        ("spaces", b" \n\t "),
        ("html", b"<!doctype html><html><body>404 Not Found</body></html>\n"),
        ("truncated", good[: len(good) // 2]),
        ("last_byte", good.rstrip()[:-1]),
        ("garbage", good + b"x"),
        ("two", good + good),
        ("array", b"[" + good + b"]"),
        ("comment", b"// signed\n" + good),
        ("trailing_comma", good.replace(b'"signature": ""', b'"signature": "",')),
        ("nul", good + b"\x00"),
    ):
        kind = "manifest.schema" if name == "array" else "manifest.syntax"
        case("A07", name, f"not one JSON document: {name}", kind, files=about(raw, manifest()))
    for name, value in (
        ("top", manifest(future=[1, {"a": None}])),
        ("license", manifest(license={"spdx": "CC-BY-4.0", "type": "commercial", "future": "x"})),
        ("asset", manifest(assets=[{**asset, "future": True} for asset in listed(FILES)])),
    ):
        case(
            "A08",
            f"unknown_{name}",
            "members of a later version are kept and covered by the signature",
            files=signed(value),
        )
    raw = dump(manifest(future=1))
    case(
        "A08",
        "unknown_added",
        "an unknown member added after signing",
        "signature.invalid",
        files={**signed(manifest()), "manifest.json": raw},
    )
    embedded = manifest()
    embedded["signature"] = jws(manifest(), MARKET)
    case(
        "A08",
        "unknown_added_embedded",
        "the same under an embedded signature",
        "signature.invalid",
        files={"manifest.json": dump({"future": 1, **embedded})},
    )
    first = listed(FILES)
    for name, value in (
        ("assets_object", {**manifest(), "assets": {"cat.txt": first[0]}}),
        ("path_number", {**manifest(), "assets": [{**first[0], "path": 7}]}),
        ("digest_null", {**manifest(), "assets": [{**first[0], "sha256": None}]}),
        ("license_text", {**manifest(), "license": "CC-BY-4.0"}),
        ("version_number", {**manifest(), "version": 3}),
        ("no_dataset_id", {name: member for name, member in manifest().items() if name != "dataset_id"}),
        ("asset_null", {**manifest(), "assets": [None]}),
        ("sequence_text", {**manifest(), "sequence": "3"}),
    ):
        case(
            "A09",
            name,
            "a member of another JSON type",
            "manifest.schema",
            files=about(dump(value), manifest()),
        )
    case(
        "A10",
        "no_assets",
        "a release of nothing",
        "manifest.schema",
        assets={},
        files=signed(manifest(assets=[])),
    )
    one = dict(list(FILES.items())[:1])
    case("A10", "one_asset", "the smallest release", assets=one, files=signed(manifest(assets=listed(one))))
    row = '{"path":"a/#","sha256":"' + "0" * 64 + '"},'
    head = '{"dataset_id":"hn-pets","version":"3","license":{"spdx":"CC-BY-4.0"},"signature":"","assets":['
    huge = {"before": head, "unit": row, "times": 2_000_000, "after": row[:-1].replace("#", "last") + "]}"}
    case(
        "A10",
        "2000001_assets",
        "more assets than a manifest may hold",
        "manifest.limit",
        slow=True,
        assets={},
        steps=[{"write": "manifest.json", "repeat": huge}, verify("manifest.limit")],
    )
    spaces = {"before": "{", "unit": " " * 1024, "times": 257 * 1024, "after": "}"}
    case(
        "A10",
        "257_mib",
        "a document larger than any manifest",
        "manifest.limit",
        slow=True,
        assets={},
        steps=[{"write": "manifest.json", "repeat": spaces}, verify("manifest.limit")],
    )
    for name, text in (
        ("february_30", "2026-02-30T00:00:00Z"),
        ("no_zone", "2026-01-10T09:30:00"),
        ("offset", "2026-01-10T09:30:00+14:01"),
        ("zero_offset", "2026-01-10T09:30:00+00:00"),
        ("leap_second", "2016-12-31T23:59:60Z"),
        ("year_0", "0000-01-01T00:00:00Z"),
        ("year_10000", "10000-01-01T00:00:00Z"),
        ("space", "2026-01-10 09:30:00Z"),
        ("number", "1768037400"),
        ("fullwidth", "\uff12\uff10\uff12\uff16-01-10T09:30:00Z"),
    ):
        case(
            "A11",
            name,
            f"a time that is not RFC 3339 with Z: {text}",
            "manifest.schema",
            files=signed(manifest(issued_at=text)),
        )
    for name, value in (
        ("escape_creator", manifest(creator_id="creator:\x1b[2Jalice")),
        ("bidi_creator", manifest(creator_id="creator:\u202eecila")),
        ("zero_width_id", manifest(dataset_id="hn-\u200bpets")),
        (
            "newline_payment",
            manifest(payment={"model": "one-time", "transaction_id": "txn_1\r\nverdict: pass"}),
        ),
        ("control_license", manifest(license={"type": "commercial", "spdx": "CC-BY-4.0\x07"})),
    ):
        case("A12", name, "characters that lie on a terminal", "manifest.schema", files=signed(value))
    long = {
        "before": dump(manifest()).decode().split('"creator:alice"')[0] + '"creator:',
        "unit": "a",
        "times": 1 << 20,
        "after": '"' + dump(manifest()).decode().split('"creator:alice"')[1],
    }
    case(
        "A12",
        "long_text",
        "a text of 1 MiB",
        "manifest.limit",
        steps=[{"write": "manifest.json", "repeat": long}, verify("manifest.limit")],
    )
    text = dump(embedded).decode()
    for name, raw in (
        ("indented", text.encode()),
        ("compact", compact(embedded)),
        ("other_order", dump(dict(reversed(embedded.items())))),
        ("escaped", text.replace("alice", "\\u0061lice").replace("txn_1", "txn\\u005f1").encode()),
        ("crlf", text.replace("\n", "\r\n").encode()),
        ("spaces", b" \t\r\n" + json.dumps(embedded, separators=(" ,\t", " :\n")).encode() + b"\n\n "),
    ):
        case("A13", name, "one signed content, spelled in another way", files={"manifest.json": raw})
    for name, version, codes in (
        ("missing", None, ""),
        ("text_1", "1", ""),
        ("0", "0", "manifest.schema"),
        ("2", "2", "manifest.schema"),
        ("space", "1.0 ", "manifest.schema"),
        ("minor", "1.7", "manifest.schema"),
        ("number_2", 2, "manifest.schema"),
    ):
        case(
            "A14",
            f"version_{name}",
            f"manifest_version {version!r}",
            codes,
            files=signed(manifest(manifest_version=version)),
        )


FILES_DIGEST = sha(FILES["cat.txt"])


def lines(rows: list[Json]) -> bytes:
    return b"".join(compact(row) + b"\n" for row in rows)


def sharded(
    parts: dict[str, list[Json]], raws: dict[str, bytes] | None = None, *, one: Json | None = None
) -> dict[str, bytes]:
    """A release whose assets are listed in shards, validly signed. `raws` are bytes of shards that are signed instead
    of the lines; `one` changes what the index says of the first.
    """
    shards = {uri: lines(rows) for uri, rows in parts.items()} | (raws or {})
    index = [
        {
            "uri": uri,
            "sha256": sha(shards[uri]),
            "size": len(shards[uri]),
            "count": len(rows),
            "media_type": "application/x-ndjson",
        }
        for uri, rows in parts.items()
    ]
    index[0].update(one or {})
    value = manifest(assets=None, asset_index=index)
    raw = dump(value)
    rows = [row for rows in parts.values() for row in rows]
    rows += rows[:1] * ((one or {}).get("count", len(parts["index/0"])) - len(parts["index/0"]))
    return {
        **shards,
        "manifest.json": raw,
        "manifest.json.dsse": dump(envelope(statement(raw, {**value, "assets": rows}), MARKET)),
    }


def group_a15() -> None:
    cat, dog = listed(FILES)
    bird, ant = listed({"images/bird": b"", "images/ant": b""})
    good = {"index/0": [cat], "index/1": [dog]}
    case("A15", "good", "the assets are listed in shards", files=sharded(good))
    case("A15", "order", "shards in no order", files=sharded({"index/0": [dog], "index/1": [cat]}))
    case(
        "A15",
        "overlapping",
        "shards whose paths overlap, in no order",
        files=sharded({"index/0": [dog, ant], "index/1": [cat, bird]}),
        assets={**FILES, "images/bird": b"", "images/ant": b""},
    )
    line, next_line = lines([cat]), lines([dog])
    for name, title, code, data in (
        ("swapped", "two shards change places", "integrity.size", next_line),
        ("truncated", "a shard is cut", "integrity.size", line[:-5]),
        ("longer", "a shard has a line more", "integrity.size", line + next_line),
        ("byte", "a byte of a shard is another", "integrity.mismatch", line.replace(b"cat", b"cot")),
        ("html", "an HTML page in place of a shard", "integrity.size", b"<html>log in</html>"),
        ("gzip", "a shard is sent compressed", "integrity.size", gzip.compress(line, mtime=0)),
        ("emptied", "a shard is emptied", "integrity.size", b""),
    ):
        case("A15", name, title, code, files={**sharded(good), "index/0": data})
    lost = sharded(good)
    del lost["index/1"]
    case("A15", "lost", "a shard is not there", "integrity.missing", files=lost)
    for name, title, code, one in (
        ("count", "an index with another count than the shard", "manifest.schema", {"count": 2}),
        ("uri_parent", "a shard outside the manifest's folder", "manifest.path", {"uri": "../0"}),
        ("uri_absolute", "a shard at an absolute path", "manifest.path", {"uri": "/etc/hostname"}),
        ("uri_file", "a shard at a file: location", "manifest.path", {"uri": "file:///etc/hostname"}),
        ("uri_http", "a shard at an http: location", "manifest.path", {"uri": "http://127.0.0.1:9/0"}),
        ("uri_chained", "a shard at a chained location", "manifest.path", {"uri": "simplecache::s3://b/0"}),
        (
            "uri_query",
            "a shard at a location with a query",
            "manifest.path",
            {"uri": "https://h.invalid/0?k=x"},
        ),
        ("type", "a media type that is no shard's", "manifest.schema", {"media_type": "application/gzip"}),
        ("huge", "a shard larger than any may be", "manifest.schema", {"size": 2**40}),
    ):
        case("A15", name, title, code, files=sharded(good, one=one))
    for name, title, code, data in (
        ("repeated", "a member twice in one line", "manifest.syntax", line.replace(b"{", b'{"path":"x",')),
        ("two_values", "two values on a line", "manifest.syntax", line[:-1] + b"," + line),
        ("split", "one value on two lines", "manifest.schema", line.replace(b",", b",\n", 1)),
        ("no_line_feed", "the last line feed is missing", "manifest.syntax", line[:-1]),
        ("carriage", "lines end as on Windows", "manifest.syntax", line[:-1] + b"\r\n"),
        ("compressed", "a shard that was signed compressed", "manifest.syntax", gzip.compress(line, mtime=0)),
        ("markup", "an HTML page that was signed as a shard", "manifest.syntax", b"<html></html>\n"),
        ("empty_line", "an empty line", "manifest.schema", line + b"\n"),
    ):
        case("A15", name, title, code, files=sharded(good, {"index/0": data}))
    for name, title, code, rows in (
        ("twice", "one path in two shards", "manifest.duplicate", [dog, cat]),
        ("case", "two paths that one file system folds", "manifest.path", [dog, {**cat, "path": "CAT.txt"}]),
        (
            "folder",
            "a file in one shard, a folder in another",
            "manifest.path",
            [{**cat, "path": "cat.txt/x"}],
        ),
        ("climbs", "a path that leads out", "manifest.path", [dog, {**cat, "path": "../x"}]),
    ):
        case("A15", name, title, code, files=sharded({"index/0": [cat], "index/1": rows}))
    value = json.loads(sharded(good)["manifest.json"])
    case(
        "A15",
        "both",
        "assets listed in the manifest and in shards",
        "manifest.schema",
        files=signed(manifest(asset_index=value["asset_index"])),
    )
    others = about(dump(value), {**value, "assets": [cat, {**dog, "sha256": sha(b"x")}]})
    case(
        "A15",
        "tree",
        "a statement about other assets than the shards list",
        "signature.invalid",
        files={**sharded(good), **others},
    )


# --- B: who said so ---------------------------------------------------------------------------------------


def changed(value: Json) -> dict[str, bytes]:
    """A manifest beside the envelope of the good one."""
    return {**signed(manifest()), "manifest.json": dump(value)}


def resigned(change: Any, *keys: Key) -> dict[str, bytes]:
    """The good manifest, its envelope changed by a function."""
    files = signed(manifest(), *keys)
    value = json.loads(files["manifest.json.dsse"])
    change(value)
    return {**files, "manifest.json.dsse": dump(value)}


def embedded(header: Json | None = None, key: Key = MARKET, secret: bytes | None = None, **more: Any) -> Json:
    value = manifest(**more)
    value["signature"] = jws(value, key, header, secret)
    return {"manifest.json": dump(value)}


def group_b() -> None:  # noqa: C901  # one call a case
    case("B01", "good", "the case that everything else is a change of")
    case("B01", "good_embedded", "the same, signed inside", files=embedded())
    for name, raw in (
        ("empty_text", dump(manifest())),
        ("no_member", dump(manifest(signature=None))),
        ("null", dump({**manifest(), "signature": None})),
    ):
        case("B01", name, "nobody signed: " + name, "signature.missing", files={"manifest.json": raw})
    case(
        "B01",
        "object",
        "an object where a signature is due",
        "signature.missing",
        files={"manifest.json": dump({**manifest(), "signature": {}})},
    )
    for name, change in (
        ("null_signatures", {"signatures": None}),
        ("empty_signature", {"signatures": [{"keyid": MARKET.id, "sig": ""}]}),
    ):
        case(
            "B01",
            name,
            "an envelope without signatures",
            "signature.invalid",
            files=resigned(lambda value, change=change: value.update(change)),
        )
    case(
        "B01",
        "no_signatures",
        "an envelope with a list of no signatures",
        "signature.missing",
        files=resigned(lambda value: value.update(signatures=[])),
    )
    case(
        "B01",
        "empty_envelope",
        "an envelope of no bytes",
        "signature.invalid",
        files={**signed(manifest()), "manifest.json.dsse": b""},
    )
    case(
        "B01",
        "empty_object",
        "an envelope {}",
        "signature.invalid",
        files={**signed(manifest()), "manifest.json.dsse": b"{}\n"},
    )
    size = len(signed(manifest())["manifest.json"])
    for at in (size // 3, size // 2, size - 40):
        case(
            "B02",
            f"flip_{at}",
            f"bit 0 of byte {at} of the manifest flipped",
            code=1,
            steps=[{"flip": "manifest.json", "at": at, "bit": 0}, {"run": COMMAND, "expect": {"exit": 1}}],
        )
    cut = signed(manifest())["manifest.json.dsse"].index(b'"sig": "') + 20
    case(
        "B02",
        "flip_signature",
        "one bit of the signature flipped",
        code=1,
        steps=[{"flip": "manifest.json.dsse", "at": cut, "bit": 0}, {"run": COMMAND, "expect": {"exit": 1}}],
    )
    first, second = listed(FILES)
    other = {"path": "other.txt", "sha256": sha(b"other"), "size": 5}
    for name, value in (
        ("size", manifest(assets=[{**first, "size": 7}, second])),
        ("license", manifest(license={"type": "commercial", "spdx": "MIT", "revocable": False})),
        ("creator", manifest(creator_id="creator:eve")),
        ("payment", manifest(payment={"model": "one-time", "transaction_id": "txn_2"})),
        ("issued_at", manifest(issued_at="2026-01-11T09:30:00Z")),
        ("sequence", manifest(sequence=4)),
        ("order", manifest(assets=[second, first])),
        ("asset_added", manifest(assets=[first, second, other])),
        ("asset_removed", manifest(assets=[first])),
        ("digests_swapped", manifest(assets=[{**first, "sha256": second["sha256"]}, second])),
        ("marketplace", manifest(marketplace_id=None)),
    ):
        case("B03", name, f"changed after signing: {name}", "signature.invalid", files=changed(value))
        inside = {**value, "signature": jws(manifest(), MARKET)}
        case(
            "B03",
            f"{name}_embedded",
            f"changed after signing inside: {name}",
            "signature.invalid",
            files={"manifest.json": dump(inside)},
        )
    case(
        "B04",
        "stranger",
        "signed by a key nobody trusts",
        "signature.untrusted",
        files=signed(manifest(), STRANGER),
    )
    case("B04", "stranger_embedded", "the same, inside", "signature.untrusted", files=embedded(key=STRANGER))
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64url(STRANGER.spki[-32:])}
    case(
        "B04",
        "brings_its_key",
        "the header carries the key that it verifies with",
        "signature.invalid",
        files=embedded({"alg": "EdDSA", "kid": MARKET.id, "jwk": jwk}, STRANGER),
    )
    case(
        "B04",
        "key_in_manifest",
        "the manifest carries the key that it verifies with",
        "signature.untrusted",
        files=signed(manifest(keys={STRANGER.id: STRANGER.entry()}), STRANGER),
    )
    case(
        "B04",
        "borrowed_keyid",
        "a stranger's signature under a trusted key's id",
        "signature.invalid",
        files=embedded({"alg": "EdDSA", "kid": MARKET.id}, STRANGER),
    )
    for name, header, secret in (
        ("none", {"alg": "none", "kid": MARKET.id}, b""),
        ("hs256", {"alg": "HS256", "kid": MARKET.id}, MARKET.pem.encode()),
        ("es256", {"alg": "ES256", "kid": MARKET.id}, None),
        ("sha1", {"alg": "RS1", "kid": MARKET.id}, None),
        ("crit", {"alg": "EdDSA", "kid": MARKET.id, "crit": ["b64"], "b64": False}, None),
        ("no_alg", {"kid": MARKET.id}, None),
    ):
        case(
            "B05",
            name,
            f"the signer chooses the algorithm: {name}",
            "signature.invalid",
            files=embedded(header, secret=secret),
        )
    value = manifest()
    value["signature"] = jws(value, MARKET, {"alg": "none", "kid": MARKET.id}).rsplit(".", 1)[0] + "."
    case(
        "B05",
        "none_empty",
        "alg none without a signature",
        "signature.invalid",
        files={"manifest.json": dump(value)},
    )
    prefix = MARKET.spki[:-32]
    for name, raw in (
        ("identity", bytes([1]) + bytes(31)),
        ("zero", bytes(32)),
        ("order_2", bytes([0xEC]) + b"\xff" * 30 + b"\x7f"),
        ("non_canonical", b"\xff" * 32),
    ):
        weak = {"keytype": "ed25519", "public": pem(prefix + raw)}
        case(
            "B06",
            name,
            "a key under which one signature fits many messages",
            "trust.weak-key",
            root=with_key(sha(prefix + raw), weak),
        )
    curves = (("secp256k1", ec.SECP256K1()), ("p384", ec.SECP384R1()), ("p521", ec.SECP521R1()))
    for name, curve in curves:
        public = ec.derive_private_key(3, curve).public_key()
        spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        case(
            "B07",
            name,
            f"a curve that is not accepted: {name}",
            "trust.weak-key",
            root=with_key(sha(spki), {"keytype": "ecdsa-p256", "public": pem(spki)}),
        )
    off = CURVE.spki[:-1] + bytes([CURVE.spki[-1] ^ 1])
    case(
        "B07",
        "off_curve",
        "a point that is not on its curve",
        "trust.weak-key",
        root=with_key(sha(off), {"keytype": "ecdsa-p256", "public": pem(off)}),
    )
    case("B07", "good", "P-256", root=trust(CURVE), files=signed(manifest(), CURVE))
    case("B07", "good_embedded", "P-256, inside", root=trust(CURVE), files=curve_jws())
    message = pae(INTOTO, statement(dump(manifest()), manifest()))
    r, s = decode_dss_signature(CURVE.sign(message))
    for name, sig in (
        ("garbage", b"\x30\x06garbage"),
        ("r_0", encode_dss_signature(0, s)),
        ("s_0", encode_dss_signature(r, 0)),
        ("r_n", encode_dss_signature(P256_ORDER, s)),
        ("extra_byte", CURVE.sign(message) + b"\x00"),
        ("raw", r.to_bytes(32, "big") + s.to_bytes(32, "big")),
    ):
        case(
            "B07",
            f"signature_{name}",
            f"an ECDSA signature that is none: {name}",
            "signature.invalid",
            root=trust(CURVE),
            files=resigned(lambda value, sig=sig: value["signatures"][0].update(sig=b64(sig)), CURVE),
        )
    twin = b64(encode_dss_signature(r, P256_ORDER - s))
    case(
        "B08",
        "twin",
        "the other signature that ECDSA allows is the same identity",
        root=trust(CURVE),
        files=resigned(lambda value: value["signatures"][0].update(sig=twin), CURVE),
    )
    case(
        "B08",
        "twin_counts_once",
        "and does not count twice",
        "signature.threshold",
        root=trust(CURVE, MARKET, threshold=2),
        files=resigned(lambda value: value["signatures"].append({"keyid": CURVE.id, "sig": twin}), CURVE),
    )
    case(
        "B09",
        "wrong_id",
        "a key under an id that is not its own",
        "trust.schema",
        code=2,
        root=with_key(MARKET.id[:-1] + "0", MARKET.entry()),
    )
    case(
        "B09",
        "prefix_id",
        "a key under the beginning of its id",
        "trust.schema",
        code=2,
        root=with_key(MARKET.id[:8], MARKET.entry()),
    )
    case(
        "B09",
        "others_id",
        "a key under another key's id",
        "trust.schema",
        code=2,
        root=with_key(MARKET.id, STRANGER.entry()),
    )
    case(
        "B09",
        "same_id_twice",
        "two keys under one id",
        "trust.syntax",
        code=2,
        root=dump(trust()).replace(
            b'"keys": {', b'"keys": {"%s": %s,' % (MARKET.id.encode(), compact(STRANGER.entry()))
        ),
    )
    case(
        "B09",
        "embedded_prefix",
        "a signature that names the beginning of an id",
        "signature.untrusted",
        files=embedded({"alg": "EdDSA", "kid": MARKET.id[:8]}),
    )
    both = trust(MARKET, SECOND, threshold=2)
    case("B10", "two_of_two", "both keys signed", root=both, files=signed(manifest(), MARKET, SECOND))
    case(
        "B10",
        "same_twice",
        "one signature twice",
        "signature.threshold",
        root=both,
        files=resigned(lambda value: value["signatures"].append(dict(value["signatures"][0]))),
    )
    case(
        "B10",
        "same_under_two_ids",
        "one key's signature under two ids",
        "signature.threshold",
        root=both,
        files=resigned(lambda v: v["signatures"].append({**v["signatures"][0], "keyid": SECOND.id})),
    )
    case("B10", "one_of_two", "one key of two signed", "signature.threshold", root=both)
    for number in (0, -1, 2):
        name = str(number).replace("-", "minus_")
        case(
            "B10",
            f"threshold_{name}",
            f"a threshold of {number} for one key",
            "trust.schema",
            code=2,
            root=trust(threshold=number),
        )
    listed_twice = trust(threshold=2)
    listed_twice["roles"]["marketplace"]["human-native"]["keyids"] *= 2
    case(
        "B10",
        "listed_twice",
        "one key listed twice to meet a threshold of two",
        "trust.schema",
        code=2,
        root=listed_twice,
    )
    for name, window, issued in (
        ("expired", {"valid_until": "2026-01-01T00:00:00Z"}, "2026-01-10T09:30:00Z"),
        ("backdated", {"valid_until": "2026-01-01T00:00:00Z"}, "2025-12-01T00:00:00Z"),
        ("not_yet", {"valid_from": "2120-01-01T00:00:00Z"}, "2026-01-10T09:30:00Z"),
    ):
        case(
            "B11",
            name,
            "signed with a key outside its window",
            "signature.expired",
            root=trust(keys={MARKET.id: MARKET.entry(**window)}),
            files=signed(manifest(issued_at=issued)),
        )
    case(
        "B11",
        "root_expired",
        "a trust root past its date",
        "trust.expired",
        root=trust(expires="2026-01-01T00:00:00Z"),
    )
    case(
        "B12",
        "dataset",
        "a key that may not speak for this dataset",
        "signature.untrusted",
        files=signed(manifest(dataset_id="x-pets")),
    )
    case(
        "B12",
        "glob",
        "a glob is no prefix of a longer name",
        "signature.untrusted",
        root=trust(datasets=["hn-pet"]),
    )
    case(
        "B12",
        "case",
        "ids differ by case",
        "signature.untrusted",
        files=signed(manifest(dataset_id="HN-pets")),
    )
    case(
        "B12",
        "marketplace",
        "a key that speaks for another marketplace",
        "signature.untrusted",
        files=signed(manifest(marketplace_id="other")),
    )
    two = trust()
    two["keys"][SECOND.id] = SECOND.entry()
    two["roles"]["marketplace"]["other"] = {"keyids": [SECOND.id], "threshold": 1, "datasets": ["x-*"]}
    case(
        "B12",
        "other_marketplace",
        "marketplace B signs in the name of A",
        "signature.untrusted",
        root=two,
        files=signed(manifest(), SECOND),
    )
    roles = trust()
    roles["keys"][RECEIPT.id] = RECEIPT.entry()
    roles["roles"]["receipt"] = {"keyids": [RECEIPT.id], "threshold": 1}
    case(
        "B13",
        "receipt_key",
        "a key that signs receipts signs a manifest",
        "signature.untrusted",
        root=roles,
        files=signed(manifest(), RECEIPT),
    )
    raw = dump(manifest())
    wrong = json.loads(statement(raw, manifest()))
    for name, payload, kind in (
        ("receipt", compact({**wrong, "predicateType": "https://slsa.dev/provenance/v1"}), INTOTO),
        ("consent", compact({**wrong, "predicateType": "urn:databom:consent:v1"}), INTOTO),
        ("old_statement", compact({**wrong, "_type": "https://in-toto.io/Statement/v0.1"}), INTOTO),
        ("other_type", compact(wrong), "application/vnd.databom.trust-root+json"),
        ("manifest_itself", raw, INTOTO),
        ("trust_root", dump(trust()), "application/vnd.databom.trust-root+json"),
    ):
        case(
            "B13",
            name,
            f"signed for another purpose: {name}",
            "signature.invalid",
            files={"manifest.json": raw, "manifest.json.dsse": dump(envelope(payload, MARKET, kind=kind))},
        )
    case(
        "B13",
        "type_exchanged",
        "the payload type exchanged after signing",
        "signature.invalid",
        files=resigned(lambda value: value.update(payloadType="text/plain")),
    )
    case(
        "B13",
        "other_release",
        "a good envelope about another release",
        "signature.invalid",
        files={
            **signed(manifest()),
            "manifest.json.dsse": signed(manifest(version="4"))["manifest.json.dsse"],
        },
    )
    case(
        "B15",
        "future",
        "issued a hundred years from now",
        "manifest.future",
        files=signed(manifest(issued_at="2126-01-01T00:00:00Z")),
    )
    for name, root in (
        ("empty_file", b""),
        ("half_written", dump(trust())[:200]),
        ("array", b"[]\n"),
        ("html", b"<html></html>\n"),
        ("future_version", trust(version=99)),
        ("other_type", trust(_type="urn:databom:trust-root:v2")),
    ):
        kind = {"array": "trust.schema", "future_version": "trust.schema", "other_type": "trust.schema"}
        case("B16", name, f"no trust root: {name}", kind.get(name, "trust.syntax"), root=root, code=2)
    nobody = trust(keys={}, roles={})
    case("B16", "trusts_nobody", "an empty trust root trusts nobody", "signature.untrusted", root=nobody)
    case(
        "B16",
        "missing",
        "no trust root at all",
        code=2,
        steps=[{"run": [*COMMAND[:3], "none.json", *COMMAND[4:]], "expect": {"exit": 2}}],
    )
    case(
        "B16",
        "group_writable",
        "a trust root that its group may write",
        "trust.writable",
        steps=[{"chmod": "trust.json", "mode": "0664"}, verify("trust.writable")],
    )
    case(
        "B16",
        "world_writable",
        "a trust root that anybody may write",
        "trust.writable",
        steps=[{"chmod": "trust.json", "mode": "0666"}, verify("trust.writable")],
    )
    case(
        "B16",
        "writable_folder",
        "a trust root that anybody may replace",
        "trust.writable",
        steps=[{"chmod": ".", "mode": "0777"}, verify("trust.writable"), {"chmod": ".", "mode": "0755"}],
    )
    case(
        "B16",
        "link",
        "a trust root that is a symbolic link",
        code=2,
        steps=[
            {"copy": "real.json", "from": "trust.json"},
            {"symlink": "trust.json", "to": "real.json"},
            {"run": COMMAND, "expect": {"exit": 2}},
        ],
    )
    shared = trust()
    shared["roles"]["receipt"] = {"keyids": [MARKET.id], "threshold": 1}
    case("B16", "shared_key", "who sells may not also write the receipts", "trust.shared-key", root=shared)
    group_b17()


def with_key(keyid: str, entry: Json) -> Json:
    value = trust(keys={keyid: entry})
    value["roles"]["marketplace"]["human-native"]["keyids"] = [keyid]
    return value


def curve_jws() -> dict[str, bytes]:
    value = manifest()
    protected = b64url(compact({"alg": "ES256", "kid": CURVE.id}))
    r, s = decode_dss_signature(CURVE.sign(f"{protected}.{b64url(canonical(value))}".encode()))
    value["signature"] = f"{protected}..{b64url(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"
    return {"manifest.json": dump(value)}


def rooted(version: int, *roots: Key, market: Key = MARKET, threshold: int = 1, **changes: Any) -> Json:
    """A trust root with root keys."""
    value = trust(market, version=version, **changes)
    value["keys"] |= {key.id: key.entry() for key in roots}
    value["roles"]["root"] = {"keyids": [key.id for key in roots], "threshold": threshold}
    return value


def root_step(value: Json, *keys: Key) -> bytes:
    return dump(envelope(dump(value), *keys, kind="application/vnd.databom.trust-root+json"))


def group_b17() -> None:
    v1, v2 = rooted(1, ROOT1), rooted(2, ROOT2, market=SECOND)
    good = root_step(v2, ROOT1, ROOT2)
    v3 = root_step(rooted(3, ROOT2, market=SECOND), ROOT2)
    project = {"databom.toml": CONFIG, "provenance/trust.json": dump(v1), **signed(manifest(), SECOND)}
    to_v2 = run("trust", "update", "next.json", "--format", "json")
    verified = run("verify", "manifest.json", "--root", "assets")
    untrusted = run("verify", "manifest.json", "--root", "assets", codes="signature.untrusted")
    case(
        "B17",
        "rotation",
        "a new root, signed by the old and the new keys",
        root=v1,
        files={**project, "next.json": good},
        steps=[untrusted, to_v2, verified],
    )
    for name, raw, codes in (
        ("unsigned", dump(v2), "trust.schema"),
        ("new_keys_only", root_step(v2, ROOT2), "signature.threshold"),
        ("old_keys_only", root_step(v2, ROOT1), "signature.threshold"),
        ("strangers", root_step(v2, STRANGER), "signature.threshold"),
        ("market_key", root_step(v2, MARKET, ROOT2), "signature.threshold"),
        ("skips", v3, "trust.schema signature.threshold"),
        ("expired", root_step({**v2, "expires": "2026-01-01T00:00:00Z"}, ROOT1, ROOT2), "trust.expired"),
        ("same_version", root_step(rooted(1, ROOT1, market=SECOND), ROOT1), "trust.rollback"),
    ):
        answer = {"run": to_v2["run"], "expect": {"exit": 1, "codes": codes.split()}}
        case(
            "B17",
            name,
            f"a new root that must not replace the old one: {name}",
            codes,
            root=v1,
            code=1,
            files={**project, "next.json": raw},
            steps=[answer, untrusted],
        )
    back = {"copy": "provenance/trust.json", "from": "old.json"}
    case(
        "B17",
        "rollback",
        "an older root put in place of the accepted one",
        "trust.rollback",
        root=v1,
        files={**project, "next.json": good, "old.json": dump(v1)},
        steps=[
            to_v2,
            verified,
            back,
            run("verify", "manifest.json", "--root", "assets", codes="trust.rollback signature.untrusted"),
        ],
    )


CONFIG = b"""[use]
purpose = "train"
commercial = true
distribute = "none"
[policy]
payment = "declared"
attribution = "warn"
completeness = "warn"
personal_data = "off"
coverage = "warn"
"""


# --- C: which release -------------------------------------------------------------------------------------


def release(folder: str, files: dict[str, bytes] = FILES, **changes: Any) -> dict[str, bytes]:
    """A release in a folder of the marketplace."""
    value = manifest(**{"assets": listed(files), **changes})
    placed = {**signed(value), **files}
    return {f"market/{folder}/{path}": data for path, data in placed.items()}


def project(*releases: dict[str, bytes], root: Json | None = None) -> dict[str, bytes]:
    """A project whose trust root believes the marketplace, and the marketplace's releases."""
    files = {"databom.toml": CONFIG, "provenance/trust.json": dump(root or trust())}
    for one in releases:
        files |= one
    return files


def add(folder: str, codes: str = "", **more: Any) -> Json:
    return run("add", f"market/{folder}/manifest.json", "--name", "pets", "--no-dvc", codes=codes, **more)


def group_c() -> None:
    new = {**FILES, "cat.txt": b"a cat that is new\n"}
    v2 = release("v2", version="2", sequence=2, issued_at="2026-01-02T00:00:00Z")
    v3 = release("v3", new)
    case(
        "C01",
        "newer",
        "a newer release after an older one",
        assets={},
        files=project(v2, v3),
        steps=[add("v2"), run("sync", "pets"), add("v3")],
    )
    case(
        "C01",
        "rollback",
        "an older release after a newer one",
        "release.rollback",
        assets={},
        files=project(v2, v3),
        steps=[add("v3"), add("v2", "release.rollback"), run("sync", "pets")],
    )
    undated = release("v2", version="2", sequence=None, issued_at="2026-01-02T00:00:00Z")
    later = release("v3", new, sequence=None)
    case(
        "C01",
        "rollback_by_date",
        "the same without a sequence",
        "release.rollback",
        assets={},
        files=project(undated, later),
        steps=[add("v3"), add("v2", "release.rollback")],
    )
    case(
        "C01",
        "new_name_old_sequence",
        "another version under a sequence that was used",
        "release.rollback",
        assets={},
        files=project(v3, release("v4", version="4", issued_at="2026-02-01T00:00:00Z")),
        steps=[add("v3"), add("v4", "release.rollback")],
    )
    fork = release("fork", new)
    case(
        "C02",
        "equivocation",
        "two contents signed under one name",
        "release.equivocation",
        assets={},
        files=project(release("v3"), fork),
        steps=[add("v3"), add("fork", "release.equivocation"), run("sync", "pets")],
    )
    case(
        "C02",
        "relicensed",
        "the same files under another license and one name",
        "release.equivocation",
        assets={},
        files=project(release("v3"), release("fork", license={"type": "commercial", "spdx": "MIT"})),
        steps=[add("v3"), add("fork", "release.equivocation")],
    )
    case(
        "C02",
        "reissued",
        "the same release with another payment",
        assets={},
        files=project(
            release("v3"), release("again", payment={"model": "one-time", "transaction_id": "txn_2"})
        ),
        steps=[add("v3"), add("again")],
    )
    case(
        "C03",
        "expired",
        "a manifest past its expiry",
        "release.expired",
        files=signed(manifest(expires_at="2026-02-01T00:00:00Z")),
    )
    case(
        "C03",
        "current",
        "a manifest before its expiry",
        files=signed(manifest(expires_at="2126-02-01T00:00:00Z")),
    )
    case(
        "C04",
        "mixed_mirror",
        "the bytes of one release with the manifest of another",
        "integrity.size",
        files=signed(manifest(assets=listed(new))),
    )
    same = {**FILES, "cat.txt": b"a hat\n"}
    case(
        "C04",
        "mixed_same_size",
        "the same where sizes do not differ",
        "integrity.mismatch",
        files=signed(manifest(assets=listed(same))),
    )
    far = release("far", new, version="9", sequence=2**53 - 1, issued_at="2026-01-11T00:00:00Z")
    case(
        "C05",
        "fast_forward",
        "after the highest sequence nothing is newer",
        "release.rollback",
        assets={},
        files=project(
            release("v3"), far, release("v4", version="4", sequence=4, issued_at="2026-01-12T00:00:00Z")
        ),
        steps=[add("v3"), add("far"), add("v4", "release.rollback")],
    )
    case(
        "C05",
        "beyond",
        "a sequence that no number holds exactly",
        "manifest.syntax",
        files=replaced('"sequence": 3', f'"sequence": {2**53}'),
    )
    case(
        "C06",
        "other_dataset",
        "an answer for another dataset under a pin's name",
        assets={},
        code=2,
        files=project(release("v3"), release("other", dataset_id="hn-others")),
        steps=[add("v3"), {"run": add("other")["run"], "expect": {"exit": 2}}, run("sync", "pets")],
    )
    case(
        "C06",
        "kept_manifest",
        "the kept manifest exchanged for another good one",
        "release.mismatch",
        assets={},
        files=project(release("v3"), release("other", dataset_id="hn-others")),
        steps=[
            add("v3"),
            run("sync", "pets"),
            {"copy": "provenance/manifests/pets.json", "from": "market/other/manifest.json"},
            {"copy": "provenance/manifests/pets.json.dsse", "from": "market/other/manifest.json.dsse"},
            run("verify", "pets", codes="release.mismatch"),
        ],
    )
    dated = {"sequence": None, "issued_at": None}
    case(
        "C09",
        "no_order",
        "version strings order nothing",
        "release.rollback",
        assets={},
        files=project(
            release("a", version="2026-1-9", **dated), release("b", new, version="2026-01-10", **dated)
        ),
        steps=[add("a"), add("b", "release.rollback")],
    )
    case(
        "C09",
        "sequence_orders",
        "a sequence does, whatever the version says",
        assets={},
        files=project(
            release("a", version="2.0.0", sequence=7), release("b", new, version="2.0.0-rc1", sequence=8)
        ),
        steps=[add("a"), add("b")],
    )


# --- D: which files ---------------------------------------------------------------------------------------

PATHS: dict[str, dict[str, str]] = {
    "D01": {
        "parent": "../x",
        "deep": "a/../../x",
        "dot": ".",
        "dotdot": "..",
        "empty": "",
        "empty_segment": "a//b",
        "absolute": "/etc/passwd",
        "share": "//srv/share/x",
        "trailing": "a/",
        "dot_slash": "./a",
        "inner_dot": "a/./b",
    },
    "D02": {
        "backslash": "a\\b",
        "up": "..\\x",
        "drive": "C:\\x",
        "drive_relative": "C:x",
        "unc": "\\\\srv\\share\\x",
        "stream": "a:stream",
        "variable": "%HomeDrive%/x",
        "home": "~/x",
        "other_home": "~root/x",
        "url": "file:///etc/passwd",
    },
    "D03": {"sibling": "../assets-evil/x", "sibling_deep": "a/../../assets-evil/x"},
    "D04": {
        "nul": "a\x00b",
        "newline": "a\nb",
        "escape": "a\x1b[31m",
        "bidi": "a\u202egnp.exe",
        "zero_width": "a\u200bb",
        "private": "a\ue000",
        "bom": "\ufeffa",
        "separator": "a\u2028b",
        "soft_hyphen": "a\u00adb",
    },
    "D05": {"nfd": "e\u0301.txt", "angstrom": "a/\u212b"},
    "D08": {
        "con": "CON",
        "nul_txt": "NUL.txt",
        "com_superscript": "COM\u00b9",
        "inner": "a/aux.tar/b",
        "dot_end": "a.",
        "space_end": "a /b",
        "fullwidth": "\uff23\uff2f\uff2e",
    },
    "D09": {
        "segment": "x" * 256,
        "segment_utf8": "é" * 128,
        "path": "/".join(["x" * 204] * 5) + "y",
        "levels": "a/" * 64 + "a",
    },
    "D10": {
        "git": ".git/config",
        "git_case": "a/.GIT/hooks/post-checkout",
        "dvc": ".dvc/config",
        "mlflow": ".mlflow/x",
        "own": ".databom/keys/x",
    },
}


def group_d() -> None:
    for number, paths in PATHS.items():
        for name, path in paths.items():
            evil = {"path": path, "sha256": sha(b"evil"), "size": 4}
            value = manifest(assets=[*listed(FILES), evil])
            case(number, name, f"an asset named {path[:40]!a}", "manifest.path", files=signed(value))
    for name, left, right in (
        ("sharp_s", "stra\u00dfe.txt", "STRASSE.txt"),
        ("ligature", "\ufb01le", "file"),
        ("kelvin", "k.txt", "\u212a.txt"),
        ("sigma", "\u03c2", "\u03c3"),
        ("case", "Cat.txt", "cat.txt"),
        ("nfkc", "\u2460", "1"),
    ):
        assets = [{"path": path, "sha256": FILES_DIGEST, "size": 6} for path in (left, right)]
        case(
            "D05",
            f"collide_{name}",
            "two names that are one on another system",
            "manifest.path",
            files=signed(manifest(assets=assets)),
        )
    cat = listed(FILES)[0]
    case(
        "D06",
        "same_digest",
        "one path twice",
        "manifest.duplicate",
        files=signed(manifest(assets=[cat, cat])),
    )
    case(
        "D06",
        "other_digest",
        "one path twice, with two digests",
        "manifest.duplicate",
        files=signed(manifest(assets=[cat, {**cat, "sha256": sha(b"evil")}])),
    )
    case(
        "D07",
        "file_and_folder",
        "a name that is a file and a folder",
        "manifest.path",
        files=signed(manifest(assets=[cat, {**cat, "path": "cat.txt/inner"}])),
    )
    case(
        "D07",
        "far_apart",
        "the same, far apart",
        "manifest.path",
        files=signed(
            manifest(assets=[cat, {**cat, "path": "cat.txt-a"}, {**cat, "path": "cat.txt/inner/deep"}])
        ),
    )
    outside = [
        {"write": "outside/cat.txt", "text": "a cat\n"},
        {"write": "outside/dog.txt", "text": "a dog, longer\n"},
    ]
    unsafe = "integrity.unsafe-file"
    for name, steps, codes in (
        ("final", [{"symlink": "assets/cat.txt", "to": "../outside/cat.txt"}], unsafe),
        (
            "inside",
            [
                {"hardlink": "assets/images/cat", "to": "assets/cat.txt"},
                {"symlink": "assets/cat.txt", "to": "images/cat"},
            ],
            None,
        ),
        ("dangling", [{"symlink": "assets/cat.txt", "to": "nowhere"}], unsafe),
        ("loop", [{"symlink": "assets/cat.txt", "to": "cat.txt"}], unsafe),
        ("absolute", [{"symlink": "assets/cat.txt", "to": "/etc/hostname"}], unsafe),
    ):
        last = verify(codes) if codes else {"run": COMMAND, "expect": {"exit": 1}}
        case(
            "D11",
            f"link_{name}",
            f"a symbolic link where a file is due: {name}",
            codes or "",
            code=1,
            steps=[*outside, *steps, last],
        )
    only = {"cat.txt": FILES["cat.txt"]}
    case(
        "D11",
        "parent_link",
        "a folder on the way is a link, to the right bytes",
        "integrity.unlisted integrity.unsafe-file",
        assets=only,
        steps=[
            *outside,
            {"symlink": "assets/images", "to": "../outside"},
            {"run": COMMAND, "expect": {"exit": 1, "codes": ["integrity.unlisted", unsafe]}},
        ],
    )
    case(
        "D11",
        "root_link",
        "the folder of the assets is itself a link",
        assets={},
        code=1,
        steps=[
            *outside,
            {"mkdir": "outside/images"},
            {"symlink": "assets", "to": "outside"},
            {"run": COMMAND, "expect": {"exit": 1}},
        ],
    )
    case(
        "D13",
        "fifo",
        "a FIFO where a file is due",
        unsafe,
        steps=[{"fifo": "assets/cat.txt"}, verify(unsafe)],
    )
    case(
        "D13",
        "folder",
        "a folder where a file is due",
        unsafe,
        assets={"images/dog.txt": FILES["images/dog.txt"]},
        steps=[{"mkdir": "assets/cat.txt"}, verify(unsafe)],
    )
    case(
        "D13",
        "fifo_unlisted",
        "a FIFO that nobody listed",
        code=1,
        steps=[{"fifo": "assets/extra"}, {"run": COMMAND, "expect": {"exit": 1}}],
    )
    case(
        "D14",
        "hard_link",
        "a second name of a file is told",
        expect={"warns": [unsafe]},
        steps=[{"hardlink": "outside", "to": "assets/cat.txt"}, verify(warns=[unsafe])],
    )
    case(
        "D14",
        "hard_link_strict",
        "and blocks where warnings do",
        unsafe,
        steps=[{"hardlink": "outside", "to": "assets/cat.txt"}, run(*COMMAND, "--strict", codes=unsafe)],
    )
    for name, path in (
        ("file", "extra.txt"),
        ("dot_file", ".hidden"),
        ("deep", "images/more/x"),
        ("ds_store", ".DS_Store"),
        ("git_ignore", ".gitignore"),
        ("own_manifest", "manifest.json"),
    ):
        case(
            "D15",
            f"unlisted_{name}",
            f"a file nobody signed: {path}",
            "integrity.unlisted",
            assets={**FILES, path: b"evil\n"},
        )
    case(
        "D15",
        "unlisted_empty_folder",
        "a folder without files that nobody signed",
        "integrity.unlisted",
        steps=[{"mkdir": "assets/more/empty"}, verify("integrity.unlisted")],
    )
    case(
        "D15",
        "ignore_paths",
        "the signer cannot choose what is ignored",
        "integrity.unlisted",
        assets={**FILES, "extra.txt": b"evil\n"},
        files=signed(manifest(ignore_paths=["extra.txt", "../"])),
    )


# --- E: which bytes ---------------------------------------------------------------------------------------


def group_e() -> None:
    before = [{"touch": f"data/pets/{path}", "mtime": 1_700_000_000} for path in FILES]
    start = [add("v3"), run("sync", "pets"), *before, run("verify", "pets")]
    cat = "data/pets/cat.txt"
    mismatch = [run("verify", "pets", codes="integrity.mismatch"), run("check", codes="integrity.mismatch")]
    for number, name, title, tamper in (
        (
            "E01",
            "restored_mtime",
            "content changed, size and time as before",
            [{"flip": cat, "at": 0, "bit": 1}],
        ),
        (
            "E02",
            "by_hard_link",
            "the same by a link from outside",
            [{"hardlink": "outside", "to": cat}, {"flip": "outside", "at": 0, "bit": 1}],
        ),
        ("E02", "by_copy", "the same by writing it anew", [write(cat, "a bat\n")]),
    ):
        case(
            number,
            name,
            title,
            "integrity.mismatch",
            assets={},
            files=project(release("v3")),
            steps=[*start, *tamper, {"touch": cat, "mtime": 1_700_000_000}, *mismatch],
        )
    first, second = listed(FILES)
    for name, size in (("small", 5), ("large", 7), ("zero", 0), ("huge", 2**53 - 1)):
        case(
            "E09",
            f"size_{name}",
            f"a size of {size} for 6 bytes",
            "manifest.limit" if name == "huge" else "integrity.size",
            files=signed(manifest(assets=[{**first, "size": size}, second])),
        )
    empty = {**FILES, "empty": b""}
    case("E09", "empty", "an asset of no bytes", assets=empty, files=signed(manifest(assets=listed(empty))))
    case("E09", "emptied", "no bytes where bytes are due", "integrity.size", assets={**FILES, "cat.txt": b""})
    unsized = [{"path": asset["path"], "sha256": asset["sha256"]} for asset in listed(FILES)]
    case(
        "E09",
        "emptied_no_size",
        "the same without a size",
        "integrity.size",
        assets={**FILES, "cat.txt": b""},
        files=signed(manifest(assets=unsized)),
    )
    case(
        "E09",
        "empty_digest",
        "a size of 0 beside the digest of bytes",
        "integrity.size",
        assets={**FILES, "empty": b""},
        files=signed(manifest(assets=[*listed(FILES), {"path": "empty", "sha256": sha(b"x"), "size": 0}])),
    )
    for name, digest in (
        ("upper", FILES_DIGEST.upper()),
        ("63", FILES_DIGEST[:-1]),
        ("65", FILES_DIGEST + "0"),
        ("no_hex", "g" + FILES_DIGEST[1:]),
        ("fullwidth", FILES_DIGEST[:-1] + "\uff11"),
        ("prefix", "sha256:" + FILES_DIGEST),
        ("md5", hashlib.md5(b"a cat\n", usedforsecurity=False).hexdigest()),
        ("sha1", hashlib.sha1(b"a cat\n", usedforsecurity=False).hexdigest()),
        ("space", " " + FILES_DIGEST[1:]),
        ("newline", FILES_DIGEST + "\n"),
        ("empty", ""),
    ):
        case(
            "E10",
            f"digest_{name}",
            f"a digest that is not 64 lower-case hex digits: {name}",
            "manifest.schema",
            files=signed(manifest(assets=[{**first, "sha256": digest}, second])),
        )
    many = {f"part/{number:03}.bin": bytes([number]) * 64 for number in range(20)}
    rotten = {path: data[:63] + b"!" if path.endswith("7.bin") else data for path, data in many.items()}
    case(
        "E11",
        "bit_rot",
        "one byte of two files among twenty",
        "integrity.mismatch",
        assets=rotten,
        files=signed(manifest(assets=listed(many))),
    )
    case(
        "E11",
        "cut_tail",
        "a file without its end",
        "integrity.size",
        assets={**FILES, "images/dog.txt": b"a dog, longer"},
    )
    case("E11", "lost", "a file that is gone", "integrity.missing", assets={"cat.txt": FILES["cat.txt"]})
    case(
        "E11",
        "all_at_once",
        "everything wrong is told in one run",
        "integrity.missing integrity.mismatch integrity.unlisted",
        assets={"cat.txt": b"a bat\n", "extra": b"x"},
    )
    packed = base64.b64decode(
        "H4sIAAAAAAACA0tUSE4s4QIATv6reAYAAAA="
    )  # gzip of "a cat\n"; zlibs differ, bytes do not
    case(
        "E12",
        "trailing_member",
        "a compressed file with something behind it",
        "integrity.size",
        assets={"cat.gz": packed + base64.b64decode("H4sIAAAAAAACA0sty8zhAgB6zT+3BQAAAA==")},
        files=signed(manifest(assets=listed({"cat.gz": packed}))),
    )
    again = base64.b64decode("H4sIAAEAAAAE/0tUSE4s4QIATv6reAYAAAA=")
    unsized = [{"path": "cat.gz", "sha256": sha(packed)}]
    case(
        "E12",
        "recompressed",
        "the same content in other stored bytes",
        "integrity.mismatch",
        assets={"cat.gz": again},
        files=signed(manifest(assets=unsized)),
    )


# --- L: where settings come from --------------------------------------------------------------------------


def group_l() -> None:
    case(
        "L01",
        "trust_from_here",
        "a trust root in the working directory is not picked up",
        code=2,
        files={**signed(manifest()), "provenance/trust.json": dump(trust())},
        steps=[
            {
                "run": ["verify", "manifest.json", "--root", "assets", "--format", "json"],
                "expect": {"exit": 2},
            }
        ],
    )
    for name, old, new in (
        ("typo", b"[policy]", b"[policy]\nrequre_signature = true"),
        ("no_signature", b"[policy]", b'[policy]\nsignature = "off"'),
        ("no_integrity", b"[policy]", b'[policy]\nintegrity = "off"'),
        ("unknown_table", b"[policy]", b"[polcy]\n[policy]"),
        ("unknown_value", b'"declared"', b'"sometimes"'),
        ("top_level", b"[use]", b"strict = false\n[use]"),
    ):
        number = "L02" if name.startswith("no_") else "L03"
        files = {**project(release("v3")), "databom.toml": CONFIG.replace(old, new, 1)}
        case(
            number,
            name,
            f"a policy that is none: {name}",
            code=2,
            assets={},
            files=files,
            steps=[{"run": ["add", "market/v3/manifest.json", "--no-dvc"], "expect": {"exit": 2}}],
        )


def group_m() -> None:
    def licensed(
        name: str, title: str, codes: str = "", *, old: bytes = b"", new: bytes = b"", **license_: Any
    ) -> None:
        files = project(release("v3", license={"type": "commercial", **license_}))
        case(
            "M07",
            name,
            title,
            codes,
            assets={},
            files={**files, "databom.toml": CONFIG.replace(old, new, 1)},
            # Pinned all the same, so that whatever comes next refuses it by name; and nothing is fetched.
            steps=[
                add("v3", codes),
                run("sync", "pets", codes=codes),
                run("check", codes=f"{codes} integrity.missing" if codes else ""),
            ],
        )

    no, unknown = "license.not-permitted", "license.unknown"
    licensed("missing", "no license is stated", "license.missing")
    licensed("non_commercial", "non-commercial for a commercial use", no, spdx="CC-BY-NC-4.0", type="open")
    licensed("lower_case", "the same in lower case", no, spdx="cc-by-nc-4.0", type="open")
    licensed(
        "and", "one of two that hold together refuses", no, spdx="CC-BY-4.0 AND CC-BY-NC-4.0", type="open"
    )
    licensed("or", "one of a choice permits", spdx="CC-BY-NC-4.0 OR CC-BY-4.0")
    licensed("with", "an exception that nobody knows", unknown, spdx="CC-BY-4.0 WITH hn-exception")
    licensed("unknown_id", "an id that the SPDX list does not have", unknown, spdx="CC-BY-9.0")
    licensed("no_expression", "no SPDX expression", unknown, spdx="all rights granted, surely")
    licensed("undefined_reference", "a LicenseRef that nobody defined", unknown, spdx="LicenseRef-hn")
    licensed("none", "NONE", no, spdx="NONE")
    licensed("noassertion", "NOASSERTION", unknown, spdx="NOASSERTION")
    licensed(
        "typed_non_commercial", "a narrower type beside CC-BY", no, spdx="CC-BY-4.0", type="non-commercial"
    )
    licensed(
        "typed_commercial",
        "a type that the license refuses",
        f"{no} license.contradiction",
        spdx="CC-BY-NC-4.0",
    )
    licensed(
        "expired",
        "a license that held",
        "license.expired",
        spdx="CC-BY-4.0",
        valid_until="2026-01-11T00:00:00Z",
    )
    bare = {"old": b"commercial = true", "new": b"commercial = false"}
    licensed("non_commercial_use", "non-commercial for such a use", spdx="CC-BY-NC-4.0", type="open", **bare)


def make(out: Path = HERE) -> None:
    """Write every case below `out`; cases that are no longer made go."""
    global OUT  # noqa: PLW0603  # one place to write to, for a script
    OUT = out
    WRITTEN.clear()
    for old in out.glob("*/case.json"):
        shutil.rmtree(old.parent)
    for group in (group_a, group_a15, group_b, group_c, group_d, group_e, group_l, group_m):
        group()


if __name__ == "__main__":
    make()
    print(f"{len(WRITTEN)} cases")
