"""What a run stands on besides its data: the code, the environment, the command; and what is known of each pin.

Everything here takes long enough to be asked in the background. Nothing of it names a user, a machine or a place on
it: files are named below the project, a remote has neither user nor password, and of the environment only names and
versions of packages count.

    code           the commit, whether anything differs from it, and the digest of what does: for each file that
                   differs the line `<sha256>  <path>` (`gone` for one that is not there), sorted, hashed
    environment    the digest of `environment.txt`: one line `<name>==<version>` a package, sorted
    lock files     each by its own digest, where the project or its repository has one
"""

from __future__ import annotations

import functools
import os
import platform
import re
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from databom.bom.receipt import Descriptor, descriptor
from databom.errors import ConfigError, DatabomError
from databom.hosts import git
from databom.model import times
from databom.model.digest import hex_of, sha256, tree_digest
from databom.model.text import printable
from databom.model.trainings import ENVIRONMENT_FILE
from databom.storage.redact import HIDDEN, redact
from databom.tasks.outputs import hash_files

if TYPE_CHECKING:
    from databom.model.lock import Pin
    from databom.tasks.evidence import RunEvidence
    from databom.tasks.project import Project

LOCK_FILES = (
    *("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "pixi.lock", "conda-lock.yml", "pylock.toml"),
    "requirements.txt",
)
MLFLOW_STORES = ("mlruns/", "mlartifacts/", "mlflow.db")
"""What MLflow puts into the working directory by default: no code, and never twice the same."""
CHECKPOINT = "provenance/checkpoint"
"""Changes with every receipt, and says nothing about the code."""
DVC_LOCK = "dvc.lock"
"""What `dvc repro` notes of the stages it has run, before it runs the next one."""
MAX_CHANGED_FILES = 1_000
MAX_CHANGED_BYTES = 256 * 1024 * 1024
FRESH_SECONDS = 10.0
"""How long the state of the code is believed: a grid search asks a hundred times in a second."""
MAX_ARGUMENTS = 200
_SECRET = re.compile(
    r"(?i)(?:^|[-_])(?:pass(?:word|wd|phrase)?|secret|token|key|credentials?|auth|pin)(?:$|[-_=])"
)


class Surroundings(Struct, frozen=True):
    """What there is to say, as descriptors, and what could not be told."""

    pins: tuple[Descriptor, ...] = ()
    others: tuple[Descriptor, ...] = ()
    environment: bytes = b""
    """`environment.txt`."""
    unknown: tuple[str, ...] = ()


def surroundings(evidence: RunEvidence) -> Surroundings:
    """All of it, for the project that the evidence is about. What cannot be told is named, and hurts nobody."""
    place = evidence.project
    unknown: list[str] = []
    others: list[Descriptor] = []
    code, why = code_of(place)
    others += [code] if code else []
    unknown += [why] if why else []
    frozen = freeze()
    notes = {"python": platform.python_version(), "platform": sysconfig.get_platform()}
    others.append(
        descriptor("environment", sha256(frozen), uri=f"file:{ENVIRONMENT_FILE}", annotations=notes)
    )
    others += _locks(place)
    others.append(descriptor("policy", place.config.policy_digest, uri="urn:databom:policy"))
    others += _trust(place)
    return Surroundings(tuple(pins_of(evidence)), tuple(others), frozen, tuple(unknown))


# --- the pins -------------------------------------------------------------------------------------------


def pins_of(evidence: RunEvidence) -> Iterator[Descriptor]:
    """Each pin with what is known of its license, payment and consent; how it was used is said at the run's end."""
    statements = _statements(evidence.project)
    for one in evidence.pins:
        decision, report = _decision(evidence.project, one.name)
        found = statements.get(one.name, {})
        yield pin_descriptor(
            one.name,
            one.pin.release,
            one.pin.manifest,
            one.pin.tree,
            {
                "license": one.pin.license,
                "decision": decision,
                "decisionReport": report,
                "payment": one.pin.payment,
                "paymentReceipts": found.get("payment"),
                "consent": found.get("consent"),
                "approvals": found.get("approval"),
                "fetchedAt": _fetched(evidence.project, one.pin),
            },
        )


def pin_descriptor(
    name: str, release: object, manifest: object, tree: object, annotations: Mapping[str, Any]
) -> Descriptor:
    """A pin as a resolved dependency; digests of another form than databom writes are left out."""
    digests = {"sha256": manifest, "dirHash1": tree}
    good = {key: _hex(value) for key, value in digests.items()}
    return descriptor(
        name,
        {key: value for key, value in good.items() if value},
        uri=f"dataset:{printable(str(release))}",
        annotations=annotations,
    )


def raw_pins(pins: Mapping[str, Mapping[str, Any]]) -> list[Descriptor]:
    """Pins as the lock's JSON has them, of whose use nothing is known."""
    found = []
    for name, pin in sorted(pins.items()):
        stated = {key: value for key in ("license", "payment") if isinstance(value := pin.get(key), str)}
        found.append(
            pin_descriptor(
                name, pin.get("release"), pin.get("manifest"), pin.get("tree"), {**stated, "use": "present"}
            )
        )
    return found


def _hex(value: object) -> str | None:
    try:
        return hex_of(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _decision(place: Project, name: str) -> tuple[str, str | None]:
    """What the recorded verification decided about the license, and the digest of its report."""
    import msgspec

    from databom.tasks.passed import MAX_REPORT_BYTES
    from databom.tasks.project import read_optional

    try:
        raw = read_optional(place.report_path(name), MAX_REPORT_BYTES)
        if raw is None:
            return "none", None
        findings = msgspec.json.decode(raw)["report"]["findings"]
        codes = {(one["code"], one["severity"]) for one in findings if one["code"].startswith("license.")}
    except (DatabomError, msgspec.DecodeError, KeyError, TypeError, AttributeError):
        return "none", None
    if any(severity == "block" for _, severity in codes):
        return "deny", sha256(raw)
    judged = "license.not-judged" not in {code for code, _ in codes}
    return "allow" if judged else "not-judged", sha256(raw)


def _statements(place: Project) -> dict[str, dict[str, list[str]]]:
    """Digests of the signed statements that are kept and hold for each pin, by kind."""
    from databom.tasks.attached import load_proofs
    from databom.tasks.believing import load_trust
    from databom.tasks.paid import has_evidence

    names = [name for name in place.lock.pins if has_evidence(place, name)]
    if not names:
        return {}
    found: dict[str, dict[str, list[str]]] = {}
    try:
        believed, now = load_trust(place), times.now()
        for name in names:
            kinds = found.setdefault(name, {})
            for proof in load_proofs(place, name, place.lock.pins[name].manifest, believed, now).held:
                kinds.setdefault(proof.kind, []).append(proof.digest)
    except DatabomError:
        return found
    return found


def _fetched(place: Project, pin: Pin) -> str | None:
    seen = place.lock.seen.get(pin.dataset_id)
    release = seen.releases.get(pin.version) if seen is not None else None
    return release.fetched_at if release is not None else None


# --- code -----------------------------------------------------------------------------------------------

_code: dict[str, tuple[float, tuple[Descriptor | None, str | None]]] = {}


def code_of(place: Project) -> tuple[Descriptor | None, str | None]:
    """The code as a resolved dependency, and `code` where it (or what differs from the commit) cannot be told."""
    key = os.fspath(place.root)
    known = _code.get(key)
    if known is None or time.monotonic() - known[0] > FRESH_SECONDS:
        known = (time.monotonic(), _look_at_code(place))
        _code[key] = known
    return known[1]


def _look_at_code(place: Project) -> tuple[Descriptor | None, str | None]:
    try:
        tree = git.work_tree(place.root)
    except ConfigError:
        return None, "code"
    changed = None if tree.changed is None else [path for path in tree.changed if _is_code(place, tree, path)]
    diff = _difference(tree.top, changed)
    folder = os.path.relpath(os.path.realpath(place.root), tree.top)
    notes = {
        "dirty": changed is None or bool(changed),
        "diff": diff,
        "changed": None if changed is None else len(changed) or None,
        "folder": None if folder == "." else folder,
    }
    code = descriptor(
        "code",
        {"gitCommit": tree.commit} if tree.commit else {},
        uri=f"git+{tree.remote}" if tree.remote else None,
        annotations=notes,
    )
    whole = tree.commit is not None and (diff is not None or changed == [])
    return code, None if whole else "code"


def _is_code(place: Project, tree: git.WorkTree, path: str) -> bool:
    try:
        below = os.path.relpath(tree.top / path, os.path.realpath(place.root))
    except ValueError:
        return True
    data = [f"{pin.path.rstrip('/')}/" for pin in place.lock.pins.values()]
    made = [*(f"provenance/reports/{name}.json" for name in place.lock.pins), DVC_LOCK]
    return below not in made and not below.startswith((".databom/", CHECKPOINT, *MLFLOW_STORES, *data))


def _difference(top: Path, changed: Sequence[str] | None) -> str | None:
    """The digest of what differs; None where there is nothing, or more than is read for this."""
    if not changed or len(changed) > MAX_CHANGED_FILES:
        return None
    pairs, left = [], MAX_CHANGED_BYTES
    for path in changed:
        try:
            left -= (top / path).lstat().st_size
            if left < 0:
                return None
            made = hash_files(top / path)
        except FileNotFoundError:
            pairs.append((path, "gone"))
            continue
        except OSError:
            return None
        pairs.append((path, made[0].sha256 if len(made) == 1 else "gone"))
    return tree_digest((printable(path, 4_096), digest) for path, digest in pairs)


# --- environment ----------------------------------------------------------------------------------------


@functools.cache
def freeze() -> bytes:
    """`name==version` of every installed distribution, one a line, sorted: what `pip freeze` says, without places."""
    from importlib.metadata import distributions

    found: dict[str, str] = {}
    for one in distributions():
        try:
            name, version = one.metadata["Name"], one.version
        except (KeyError, OSError, ValueError):
            continue
        if name and version:
            # The first on the path is the one that is imported.
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), version)
    return "".join(f"{name}=={version}\n" for name, version in sorted(found.items())).encode(
        "utf-8", "replace"
    )


def _locks(place: Project) -> Iterator[Descriptor]:
    for name in LOCK_FILES:
        path = place.root / name
        try:
            if path.is_file() and path.stat().st_size <= MAX_CHANGED_BYTES:
                yield descriptor(f"environment/{name}", {"sha256": hash_files(path)[0].sha256})
        except OSError:
            continue


def _trust(place: Project) -> Iterator[Descriptor]:
    from databom.tasks.rootfile import read_root, root_in_force

    try:
        raw = read_root(root_in_force(place).path)
    except DatabomError:
        return
    yield descriptor("trust", sha256(raw), uri="urn:databom:trust-root:v1")


# --- how it was started ----------------------------------------------------------------------------------


def started_by(root: Path, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The DVC stage and the command that this process runs, for whoever wants to run it again.

    A command is told where it is a script of the project or a module. The script is named below the project; places in
    the arguments are named from `folder`, where the command was given (the project's own folder if it is not told).
    `complete` is false where an argument is not told as it was, because it looks like a secret, names a place outside
    of the project, or cannot be shown.
    """
    from databom.tasks.use import stage_file

    found: dict[str, Any] = {}
    if stage := environ.get("DVC_STAGE"):
        found["stage"] = printable(stage, 500)
        file = stage_file(root, environ)
        found["stageFile"] = printable(below, 1_000) if file and (below := _below(root, file)) else None
    here = _below(root, os.getcwd()) or "."  # noqa: PTH109
    command = _command(root, here, list(getattr(sys, "orig_argv", [])))
    if command is not None:
        arguments, complete = command
        found["command"] = arguments
        found["complete"] = complete
        found["folder"] = here if here != "." else None
    return found


def _command(root: Path, here: str, argv: list[str]) -> tuple[list[str], bool] | None:
    if len(argv) < 2 or len(argv) > MAX_ARGUMENTS:
        return None
    place = next(
        (number for number, one in enumerate(argv[1:], 1) if not one.startswith("-") or one == "-m"), 0
    )
    if not place or "-c" in argv[1:place]:
        return None
    head = [one for one in argv[1:place] if one.startswith("-")]
    if argv[place] == "-m":
        program, rest = ["-m", *argv[place + 1 : place + 2]], argv[place + 2 :]
    else:
        # Absolute since the start, whatever the working directory became; argv is not.
        main = getattr(sys.modules.get("__main__"), "__file__", None)
        script = _below(root, main) if isinstance(main, str) else None
        if script is None or Path(script).name != Path(argv[place]).name:
            return None  # a console script, a notebook's kernel: no file of the project
        program, rest = [script], argv[place + 1 :]
    shown, complete = [], True
    for number, one in enumerate(rest):
        text = _argument(root, here, one, rest[number - 1] if number else "")
        complete = complete and text == _relative(root, here, one)
        shown.append(text)
    told = ("python", *head, *program, *shown)
    said = [printable(one, 1_000) for one in told]
    return said, complete and said == list(told)


def _argument(root: Path, here: str, text: str, before: str) -> str:
    """An argument for others to see."""
    name, equals, _ = text.partition("=")
    if equals and name.startswith("-") and _SECRET.search(name):
        return f"{name}={HIDDEN}"
    if before.startswith("-") and "=" not in before and _SECRET.search(before):
        return HIDDEN
    shown = redact(_relative(root, here, text))
    return HIDDEN if _names_a_place(shown) else shown


def _relative(root: Path, here: str, text: str) -> str:
    """The argument with an absolute path of the project written from the folder `here` of it."""
    name, equals, value = text.rpartition("=")
    if Path(value).is_absolute() and (below := _below(root, value)) is not None:
        return f"{name}{equals}{os.path.relpath(below, here)}"
    return text


def _names_a_place(text: str) -> bool:
    value = text.rpartition("=")[2]
    return value.startswith(("/", "~", "file:/"))


def _below(root: Path, path: str | Path) -> str | None:
    """A path below the project, None for one elsewhere."""
    real, top = os.path.realpath(path), os.path.realpath(root)
    if real == top:
        return "."
    return os.path.relpath(real, top) if real.startswith(top.rstrip("/") + "/") else None
