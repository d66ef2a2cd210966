"""The trust root: which keys speak for which marketplace, how many of them it takes, and until when.

It is TUF's root role for data marketplaces (`provenance/trust.json`). Version 1 is plain JSON, which a team reviews
like code; every later one is a DSSE envelope around such JSON, signed by root keys of the version before and of its
own (`rotation`). Nothing else, no key inside any other document and no hook, makes anybody trusted.

    {"_type": "urn:databom:trust-root:v1", "version": 1, "expires": "2027-01-01T00:00:00Z",
     "keys": {"<keyid>": {"keytype": "ed25519", "public": "<PEM>", "valid_from": null, "valid_until": null}},
     "roles": {"marketplace": {"<id>": {"keyids": ["…"], "threshold": 1, "datasets": ["hn-*"]}},
               "receipt": {"keyids": ["…"], "threshold": 1}, "log": {"keyids": ["…"], "threshold": 1}}}

Reading is strict where a slip would widen trust and silent where it cannot: members and roles that this
release does not know grant nothing, and are kept when the file is edited.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from databom.errors import InputError, Problem
from databom.model import strictjson, times
from databom.model.digest import sha256
from databom.model.doubts import pointer
from databom.model.text import name_of, printable, unsafe_character
from databom.trust import dsse
from databom.trust.agreement import disagreement, signers
from databom.trust.keys import KEY_TYPES, PublicKey
from databom.trust.timestamps import read_authorities

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from databom.trust.dsse import Envelope

ROOT_TYPE = "urn:databom:trust-root:v1"
MAX_ROOT_BYTES = 1 << 20
MAX_ROOT_KEYS = dsse.MAX_SIGNATURES
"""More keys than an envelope has room for signatures are refused in the `root` role."""
PAYLOAD_TYPE = "application/vnd.databom.trust-root+json"
"""The type that `databom trust sign` writes. Other tools may write another: `_type` inside the signed bytes tells a
root from all else. A type under which we sign something else is refused."""

EXCLUSIVE_ROLES = ("marketplace", "payment", "consent", "revocation", "receipt", "log")
"""A key holds at most one of these: whoever sells data must not also be able to write our receipts."""
PLAIN_ROLES = ("root", *EXCLUSIVE_ROLES[1:], "steward", "legal", "billing", "mlops", "witness")
"""Every role but `marketplace`: key ids and a threshold, without a scope."""

KEY_MEMBERS = ("keytype", "public", "valid_from", "valid_until", "development")
ROLE_MEMBERS = ("keyids", "threshold")
MARKET_MEMBERS = (*ROLE_MEMBERS, "datasets")

_OURS = "application/vnd.databom."
_SIGNED = "restore the signed trust root from git, or get it again from whoever signed it last"
_EDIT = "correct provenance/trust.json, or restore it from git"


class TrustedKey(Struct, frozen=True):
    """A key of the trust root and the window in which its signatures count (open where None)."""

    key: PublicKey
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    development: bool = False

    def is_valid_at(self, when: datetime) -> bool:
        """Whether `when` lies in the window: from `valid_from` on, before `valid_until`."""
        if self.valid_from is not None and when < self.valid_from:
            return False
        return self.valid_until is None or when < self.valid_until


class Role(Struct, frozen=True):
    """Distinct key ids, sorted, and how many of them must agree."""

    keyids: tuple[str, ...]
    threshold: int


class MarketplaceRole(Role, frozen=True):
    """A role that speaks for the datasets whose id one of its globs matches (`fnmatchcase`)."""

    marketplace: str
    datasets: tuple[str, ...]


class TrustRoot(Struct, frozen=True, eq=False):
    """A trust root that has been read whole; two are equal when their bytes are."""

    raw: bytes
    digest: str
    version: int
    expires: datetime
    keys: Mapping[str, TrustedKey]
    roles: Mapping[str, Role]
    marketplaces: Mapping[str, MarketplaceRole]
    envelope: Envelope | None = None
    """The signatures, of whomever; None for plain JSON."""
    signers: tuple[str, ...] = ()
    """Sorted ids of its own root keys that verifiably signed."""
    tsa: tuple[str, ...] = ()
    """PEM root certificates of the time stamping authorities (RFC 3161) that it believes."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TrustRoot) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    @property
    def is_signed(self) -> bool:
        """Whether it came in an envelope that enough of its own root keys signed."""
        role = self.roles.get("root")
        return role is not None and len(self.signers) >= role.threshold

    @property
    def payload(self) -> bytes:
        """The root's JSON: what is signed, where it is."""
        return self.raw if self.envelope is None else self.envelope.payload

    def candidates(self, dataset_id: str, marketplace_id: str | None) -> list[MarketplaceRole]:
        """The marketplace roles that may speak for a dataset, by name.

        With a marketplace id that role alone, and only for datasets its globs match; without one, every role
        whose globs match.
        """
        return [
            role
            for name, role in sorted(self.marketplaces.items())
            if marketplace_id in (None, name) and any(fnmatchcase(dataset_id, glob) for glob in role.datasets)
        ]

    def expired_problem(self, now: datetime) -> Problem:
        """What to say of a root that has expired at `now`: it blocks whatever else holds (TUF section 5.3.10)."""
        return Problem(
            "trust.expired",
            None,
            "the trust root has expired: nobody has said lately whom to believe",
            expected=f"a trust root that expires after {times.format(now)}",
            found=times.format(self.expires),
            do="review the keys in provenance/trust.json, set a later `expires`, and commit it",
        )

    def public_keys(self) -> dict[str, PublicKey]:
        """Every key the root holds, by keyid; holding a key is not yet speaking for anything."""
        return {keyid: trusted.key for keyid, trusted in self.keys.items()}


def parse_root(raw: bytes) -> TrustRoot:
    """Read a trust root: plain JSON (version 1 only) or a DSSE envelope that enough of its own root keys signed.

    That a root is signed by its own keys makes nobody believe it: whether it may follow the one in force is
    asked by `rotation.check_update`, which also asks for the keys' windows.

    Raises:
        InputError: all that is wrong with it: `trust.syntax`, `trust.limit`, `trust.schema` (shape, a key
            under an id that is not its own, a threshold its keys cannot meet, a later version that nobody
            signed), `trust.weak-key`, `trust.shared-key`; for an envelope `signature.missing`, `.invalid`,
            `.threshold`.
    """
    root = parse_draft(raw)
    problems: list[Problem] = []
    if root.envelope is not None:
        problems = disagreement(root.envelope, root)
    elif root.version > 1:
        problems = [
            Problem(
                "trust.schema",
                "/version",
                "only version 1 of a trust root is plain JSON: a later one is signed by its root keys",
                expected="a DSSE envelope, signed by root keys of this version and of the one before",
                found=f"version {root.version}, unsigned",
                do="restore the signed file; never turn a signed root into a plain one. A draft is signed by "
                "`databom trust sign FILE --key KEY`",
            )
        ]
    if problems:
        raise InputError(*problems)
    return root


def parse_draft(raw: bytes) -> TrustRoot:
    """As `parse_root`, but of a version that not enough root keys have signed, or nobody has.

    To edit it, to sign it, to show it: never to believe it.

    Raises:
        InputError: as `parse_root`, but for missing signatures.
    """
    document = strictjson.loads(raw, prefix="trust", limit=MAX_ROOT_BYTES)
    envelope = None
    if isinstance(document, dict) and "payloadType" in document:
        envelope = _envelope(document)
        document = strictjson.loads(envelope.payload, prefix="trust", limit=MAX_ROOT_BYTES)
    version = _version(document)
    problems: list[Problem] = []
    expires = _time(problems, document.get("expires"), "/expires")
    entries = _object(problems, document.get("keys"), "/keys")
    roles_entry = _object(problems, document.get("roles"), "/roles")
    keys = {keyid: key for keyid, entry in entries.items() if (key := _key(problems, keyid, entry))}
    roles: dict[str, Role] = {}
    for name in PLAIN_ROLES:
        if name in roles_entry:
            keyids, threshold, _ = _role(problems, roles_entry[name], f"/roles/{name}", entries)
            roles[name] = Role(keyids, threshold)
    marketplaces: dict[str, MarketplaceRole] = {}
    if "marketplace" in roles_entry:
        for name, entry in _object(problems, roles_entry["marketplace"], "/roles/marketplace").items():
            where = f"/roles/marketplace/{_token(name)}"
            keyids, threshold, members = _role(problems, entry, where, entries)
            globs = _texts(problems, members.get("datasets"), f"{where}/datasets")
            for text in (name, *globs):
                _check_visible(problems, text, where)
            marketplaces[name] = MarketplaceRole(keyids, threshold, name, globs)
    _check_shared(problems, roles, marketplaces.values())
    if "root" in roles and len(roles["root"].keyids) > MAX_ROOT_KEYS:
        problems.append(
            Problem(
                "trust.limit",
                "/roles/root/keyids",
                "too many root keys",
                expected=f"at most {MAX_ROOT_KEYS}",
                found=str(len(roles["root"].keyids)),
                do=_EDIT,
            )
        )
    tsa = read_authorities(problems, roles_entry["tsa"]) if "tsa" in roles_entry else ()
    if problems or expires is None:
        raise InputError(*problems)
    root = TrustRoot(raw, sha256(raw), version, expires, keys, roles, marketplaces, envelope, tsa=tsa)
    return root if envelope is None else replace(root, signers=tuple(sorted(signers(envelope, root))))


def _envelope(document: Mapping[str, Any]) -> Envelope:
    """The envelope around a root, in words that fit one: its shape, and what it says it was made for."""
    if "_type" in document:
        raise InputError(
            Problem(
                "trust.schema",
                "/_type",
                "this is a plain trust root and an envelope at once: two readers could read two roots",
                expected="one of them",
                found="`_type` beside `payloadType`",
                do=_EDIT,
            )
        )
    try:
        envelope = dsse.envelope_of(document)
    except InputError as error:
        raise InputError(
            *[
                problem._replace(what=f"the envelope of the trust root: {problem.what}", do=_SIGNED)
                for problem in error.problems
            ]
        ) from None
    kind = envelope.payload_type
    if kind.startswith(_OURS) and kind != PAYLOAD_TYPE:
        raise InputError(
            Problem(
                "signature.invalid",
                "/payloadType",
                "the envelope was made for another purpose than signing a trust root",
                expected=PAYLOAD_TYPE,
                found=printable(kind),
                do=_SIGNED,
            )
        )
    return envelope


def _version(document: object) -> int:
    """The version; refuse what is no trust root at all, before complaining about its members."""
    members = document if isinstance(document, dict) else {}
    kind, version = members.get("_type"), members.get("version")
    if kind == ROOT_TYPE and type(version) is int and version >= 1:
        return version
    wrong = "/_type" if kind != ROOT_TYPE else "/version"
    raise InputError(
        Problem(
            "trust.schema",
            wrong,
            "this is not a trust root that this release reads",
            expected=f'"_type": "{ROOT_TYPE}", "version": 1 or more',
            found=_shown(kind if kind != ROOT_TYPE else version),
            do=f"{_EDIT}; `databom init` makes an empty one",
        )
    )


def _key(problems: list[Problem], keyid: str, entry: object) -> TrustedKey | None:
    where = f"/keys/{_token(keyid)}"
    members = _object(problems, entry, where)
    public = members.get("public")
    if not isinstance(public, str):
        if isinstance(entry, dict):
            _schema(problems, f"{where}/public", "a key has its PEM text here", "PEM text", public)
        return None
    try:
        key = PublicKey.from_pem(public.encode("ascii", "replace"))
    except InputError as error:
        problems.extend(
            problem._replace(
                subject=printable(keyid), do=f"remove this key from provenance/trust.json; {problem.do}"
            )
            for problem in error.problems
        )
        return None
    if key.keyid != keyid:
        _schema(
            problems, where, "the key that stands under this id is another key", printable(keyid), key.keyid
        )
    if members.get("keytype") != key.keytype:
        expected = f"{key.keytype}, which is what the PEM holds (known: {', '.join(KEY_TYPES)})"
        _schema(problems, f"{where}/keytype", "the key is not of this type", expected, members.get("keytype"))
    if type(members.get("development", False)) is not bool:
        _schema(
            problems, f"{where}/development", "this is true or false", "true or false", members["development"]
        )
    window = [
        None if members.get(name) is None else _time(problems, members[name], f"{where}/{name}")
        for name in ("valid_from", "valid_until")
    ]
    if window[0] and window[1] and window[0] >= window[1]:
        _schema(problems, f"{where}/valid_until", "the key is never valid: its window ends before it begins",
                f"later than {times.format(window[0])}", times.format(window[1]))  # fmt: skip
    return TrustedKey(key, window[0], window[1], members.get("development") is True)


def _role(
    problems: list[Problem], entry: object, where: str, keys: Mapping[str, Any]
) -> tuple[tuple[str, ...], int, Mapping[str, Any]]:
    members = _object(problems, entry, where)
    if not isinstance(entry, dict):
        return (), 1, members
    keyids = tuple(sorted(set(_texts(problems, members.get("keyids"), f"{where}/keyids"))))
    for keyid in keyids:
        if keyid not in keys:
            _schema(problems, f"{where}/keyids", "this role names a key that is not under `keys`",
                    "a keyid of this file", printable(keyid))  # fmt: skip
    threshold = members.get("threshold")
    if type(threshold) is not int or threshold < 1:
        _schema(problems, f"{where}/threshold", "a threshold says how many keys must sign",
                "an integer, 1 or more", threshold)  # fmt: skip
        return keyids, 1, members
    if threshold > len(keyids):
        _schema(problems, f"{where}/threshold", "this threshold cannot be met: the role has fewer keys",
                f"at most {len(keyids)}", threshold)  # fmt: skip
    return keyids, threshold, members


def _check_shared(
    problems: list[Problem], roles: Mapping[str, Role], marketplaces: Iterable[MarketplaceRole]
) -> None:
    held: dict[str, set[str]] = {}
    for name in EXCLUSIVE_ROLES:
        for role in marketplaces if name == "marketplace" else [roles[name]] if name in roles else []:
            for keyid in role.keyids:
                held.setdefault(keyid, set()).add(name)
    for keyid, names in sorted(held.items()):
        if len(names) > 1:
            problems.append(
                Problem(
                    "trust.shared-key",
                    printable(keyid),
                    "one key holds roles that must be apart: its owner could vouch for their own claims",
                    expected=f"at most one of {', '.join(EXCLUSIVE_ROLES)}",
                    found=", ".join(name for name in EXCLUSIVE_ROLES if name in names),
                    do="make a key of its own for each role: databom key new FILE",
                )
            )


def _check_visible(problems: list[Problem], text: str, where: str) -> None:
    character = unsafe_character(text)
    if character is not None:
        _schema(problems, where, "a name or glob holds a character that a reviewer cannot see",
                "visible characters", f"{name_of(character)} in {printable(text)}")  # fmt: skip


def _object(problems: list[Problem], value: object, where: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    _schema(problems, where, "a trust root has an object here", "an object", value)
    return {}


def _texts(problems: list[Problem], value: object, where: str) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    _schema(problems, where, "a trust root has a list of texts here", "a list of texts", value)
    return ()


def _time(problems: list[Problem], value: object, where: str) -> datetime | None:
    try:
        return times.parse(value if isinstance(value, str) else "")
    except ValueError:
        _schema(
            problems, where, "a trust root has a time here", "RFC 3339 in UTC: 2027-01-01T00:00:00Z", value
        )
        return None


def _schema(problems: list[Problem], where: str, what: str, expected: str, found: object) -> None:
    problems.append(Problem("trust.schema", where, what, expected=expected, found=_shown(found), do=_EDIT))


def _shown(value: object) -> str:
    """A value as a finding shows it: text as it is, None as "nothing", containers by kind alone."""
    if value is None:
        return "nothing"
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return printable(value if isinstance(value, str) else repr(value))


def _token(name: str) -> str:
    """A member's name inside a JSON pointer, safe to print."""
    return pointer((name,))[1:]
