"""Who the built-in scanners are, exactly, without loading them."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from databom.scanners.protocol import Identity

MODEL_DIGEST = "sha256:8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
"""Of the weights that are in the package."""
SIDE = 640
THRESHOLD = 0.7
"""From this score on, a face is one that needs a proof."""
_NEEDED = ("onnxruntime", "numpy", "PIL")


def patterns() -> Identity:
    """The scanner of texts: always there. Which numbers can be dialed is `phonenumbers`' to say, where it is.

    What reads tables for it is part of who it is: without that, they are no answer that could be remembered.
    """
    numbers, tables = _installed("phonenumberslite", "phonenumbers"), _installed("pyarrow")
    return Identity("databom.patterns", "4", None, f"phonenumbers {numbers}, pyarrow {tables}")


def pictures() -> Identity | None:
    """The scanner of pictures; None where the extra `pii` is not installed."""
    if not all(find_spec(name) is not None for name in _NEEDED):
        return None
    who = f"2 (onnxruntime {_installed('onnxruntime')}, pillow {_installed('pillow')})"
    return Identity("databom.pictures", who, MODEL_DIGEST, f"threshold {THRESHOLD}, {SIDE} pixels")


def _installed(*names: str) -> str:
    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "none"
