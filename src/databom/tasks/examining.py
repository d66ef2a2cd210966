"""`databom doctor`: versions, plugins, and what weakens the guarantees on this machine."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from databom import __version__
from databom.errors import ConfigError, DatabomError
from databom.hosts import dvc_state, dvc_yaml
from databom.model import times
from databom.model.text import printable
from databom.scanners import registry
from databom.storage import posix
from databom.tasks.adding import has_current_stage
from databom.tasks.believing import load_trust
from databom.tasks.keyring import token_names
from databom.tasks.personal import chosen
from databom.tasks.project import MAX_TRUST_BYTES, Project, read_optional
from databom.tasks.rootfile import VARIABLE, root_in_force
from databom.tasks.user_config import VARIABLE as CONFIG_VARIABLE
from databom.tasks.user_config import user_config
from databom.trust.root import TrustRoot

FLOORS = {
    "cryptography": "46.0.5",
    "aiohttp": "3.13.3",
    "urllib3": "2.5",
    "s3fs": "2025.3",
    "mlflow": "2.22.4",
}
"""Below these, known holes of a neighbour are open (CVE-2026-26007, CVE-2025-69223, …)."""
SOON_DAYS = 30
"""A trust root that expires within so many days is told."""
OPTIONAL = {
    "s3fs": "s3",
    "obstore": "fast",
    "dvc": "dvc",
    "mlflow": "mlflow",
    "mlflow-skinny": "mlflow",
    "pyarrow": "parquet",
    "onnxruntime": "pii",
}
CORE = (
    "click",
    "cryptography",
    "fsspec",
    "jsonschema",
    "msgspec",
    "rfc8785",
    "rich",
    "ruamel.yaml",
    "urllib3",
)


class Fact(NamedTuple):
    """One line: `level` is `ok`, `warn` or `note`."""

    level: str
    name: str
    value: str
    advice: str | None = None


def doctor(*, project: Path | str | None = None) -> list[Fact]:
    """Everything there is to say, in a fixed order; never raises for what it finds."""
    return [*_versions(), *_plugins(), *_filesystem(), *_environment(), *_user(), *_project(project)]


def _versions() -> Iterator[Fact]:
    yield Fact("ok", "databom", __version__)
    yield Fact("ok", "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    for name in (*CORE, "aiohttp", *OPTIONAL):
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            extra = OPTIONAL.get(name)
            if extra and name != "mlflow-skinny":
                yield Fact("note", name, "not installed", f"pip install 'databom[{extra}]'")
            continue
        floor = FLOORS.get(name)
        if floor and _number(found) < _number(floor):
            yield Fact(
                "warn", name, found, f"older than {floor}, in which known holes were closed: upgrade it"
            )
        else:
            yield Fact("ok", name, found)


def _number(version: str) -> tuple[int, ...]:
    parts = []
    for part in version.split(".")[:3]:
        digits = "".join(c for c in part if c.isdigit())
        parts.append(int(digits) if digits else 0)
    return tuple(parts)


def _plugins() -> Iterator[Fact]:
    group = importlib.metadata.entry_points(group="mlflow.run_context_provider")
    ours = [one for one in group if one.value.startswith("databom.")]
    if ours:
        yield Fact("ok", "mlflow run hook", "registered")
    else:
        yield Fact(
            "warn", "mlflow run hook", "not registered", "reinstall databom: its entry points are missing"
        )
    for one in group:
        if one not in ours:
            package = one.dist.name if one.dist else "?"
            yield Fact("note", "another run hook", f"{one.name} of {package}")
    for scanner in registry.built_in():
        yield Fact("ok", "scanner", f"{scanner.name} {scanner.version}")
    with contextlib.suppress(ConfigError):  # of the user's configuration, which is told below
        for name in chosen():  # not loaded: doctor runs nobody's code
            found = list(importlib.metadata.entry_points(group=registry.GROUP, name=name))
            level, value = ("note", "installed") if found else ("warn", "not installed")
            yield Fact(level, "scanner", f"{printable(name)}, which you named: {value}")


def _filesystem() -> Iterator[Fact]:
    if posix.has_openat2():
        yield Fact("ok", "safe opening", "openat2: symlinks cannot lead out of a tree")
    else:
        yield Fact(
            "note", "safe opening", "no openat2: each directory is opened by itself, with the same answers"
        )
    with contextlib.suppress(OSError):
        yield from _probe()
    if os.environ.get("DVC_SITE_CACHE_DIR") is None:
        yield Fact("note", "DVC's state", "shared by all users of this machine; databom never believes it")


def _probe() -> list[Fact]:
    """Try two things in a folder that is removed again; a folder nobody may write to tells nothing."""
    facts = []
    with tempfile.TemporaryDirectory(dir=".", prefix=".databom-probe-") as folder:
        upper = Path(folder) / "A"
        upper.touch()
        if (Path(folder) / "a").exists():
            facts.append(
                Fact("note", "file names", "this file system ignores case; names that rely on it are refused")
            )
        try:
            os.link(upper, Path(folder) / "b")
        except OSError:
            facts.append(
                Fact("note", "publishing", "no hard links: files are published by a no-clobber rename")
            )
    return facts


def _environment() -> Iterator[Fact]:
    names = [
        n
        for n in (
            "AWS_ENDPOINT_URL",
            "AWS_PROFILE",
            "R2_ACCOUNT_ID",
            "DATABOM_PROJECT",
            VARIABLE,
            CONFIG_VARIABLE,
        )
        if n in os.environ
    ]
    names += token_names()
    yield Fact("note", "environment", ", ".join(names) or "nothing of ours is set")
    for name in ("PYTHONPATH", "SSL_CERT_FILE", "HTTPS_PROXY"):
        if name in os.environ:
            yield Fact("note", name, "is set", "it decides which code runs, or whom connections trust")


def _user() -> Iterator[Fact]:
    try:
        config = user_config()
    except ConfigError as error:
        yield Fact("warn", "your configuration", str(error), error.hint)
        return
    if config.path is None:
        return
    told = [config.command[0]] if config.command else []
    told += [f"the webhook at {config.webhook_host}"] if config.webhook else []
    yield Fact(
        "ok", "your configuration", f"{config.path}: of incidents it tells {' and '.join(told) or 'nobody'}"
    )


def _project(folder: Path | str | None) -> Iterator[Fact]:
    try:
        place = Project.load(folder)
    except ConfigError as error:
        yield Fact("note", "project", str(error), error.hint)
        return
    except DatabomError as error:
        yield Fact("warn", "project", str(error), error.hint)
        return
    count = len(place.lock.pins)
    yield Fact("ok", "project", f"{place.root}, {count} pin{'' if count == 1 else 's'}")
    yield Fact("ok", "policy", place.config.policy_digest)
    yield from _trust(place, times.now())
    if sys.platform != "win32" and place.state_dir.is_dir() and place.state_dir.stat().st_mode & 0o077:
        yield Fact("warn", ".databom/", "others can enter it", f"chmod 700 {place.state_dir}")
    yield from _stages(place)


def _trust(place: Project, now: datetime) -> Iterator[Fact]:
    try:
        file = root_in_force(place)
        believed = load_trust(place)
    except DatabomError as error:
        yield Fact("warn", "trust root", str(error), error.hint)
        return
    root = believed.root
    for finding in believed.findings:
        yield Fact("warn", finding.code, f"{finding.subject}: {finding.what}", finding.do)
    if root is None:
        return
    yield Fact("ok", "trust root", root.digest)
    source = f"named by {file.named_by}" if file.named_by else place.config.trust_root
    yield _expiry("trust root", f"version {root.version} ({source})", root, now)
    if believed.also is not None:
        also = believed.also
        yield Fact("note", "your own root", also.digest)
        yield _expiry("your own root", f"version {also.version}, which only narrows", also, now)
    if not root.marketplaces:
        yield Fact(
            "warn",
            "trust root",
            "trusts no marketplace",
            "databom trust add KEY.pub --marketplace ID --datasets GLOB",
        )
    weak = sorted(keyid[:16] for keyid, key in root.keys.items() if key.development)
    if weak:
        yield Fact(
            "note",
            "development keys",
            ", ".join(weak),
            "fine on a laptop; replace them before others rely on them",
        )


def _expiry(name: str, what: str, root: TrustRoot, now: datetime) -> Fact:
    left = root.expires - now
    if left.total_seconds() <= 0:
        return Fact(
            "warn", name, f"{what} expired {times.format(root.expires)}", "it trusts nobody: renew it"
        )
    days = f"{left.days} day{'' if left.days == 1 else 's'}"
    value = f"{what} expires {times.format(root.expires)}, in {days}"
    if left.days < SOON_DAYS:
        how = "set a later `expires` in it" if root.version == 1 else "databom trust draft FILE"
        return Fact("warn", name, value, f"review its keys and renew it: {how}")
    return Fact("ok", name, value)


def _stages(place: Project) -> Iterator[Fact]:
    if not dvc_state.in_dvc_project(place.root):
        yield Fact("note", "DVC", "this project does not use it")
        return
    raw = read_optional(place.root / "dvc.yaml", MAX_TRUST_BYTES)
    try:
        text = raw.decode() if raw else ""
        owned = dvc_yaml.owned_stages(text)
        frozen = dvc_yaml.frozen_stages(text)
    except (ConfigError, UnicodeDecodeError) as error:
        yield Fact("warn", "dvc.yaml", str(error))
        return
    for name in sorted(set(place.lock.pins) - set(owned)):
        yield Fact("warn", "DVC", f"the pin {name} has no stage", f"databom update {name} writes it")
    for name in sorted(set(place.lock.pins) & set(owned)):
        try:
            current = has_current_stage(place, name)
        except ConfigError as error:
            yield Fact("warn", "dvc.yaml", str(error))
            continue
        if not current:
            told = f"the stage {owned[name]} does not watch all that its pin is judged by"
            yield Fact("warn", "DVC", told, f"databom update {name} rewrites it")
    for stage in frozen:
        yield Fact("warn", "DVC", f"the stage {stage} is frozen: DVC never runs it", f"dvc unfreeze {stage}")
