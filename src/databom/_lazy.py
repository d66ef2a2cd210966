"""Exports that are imported when first used (PEP 562): `import databom` must cost nothing."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # importing `typing` for it would cost something
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


def lazy_exports(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` for a package whose names live in other modules.

    `homes` maps a public name to its module, or to `module:attribute` where the two differ.
    """

    def __getattr__(name: str) -> Any:  # noqa: N807  # PEP 562 names it
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        import importlib

        module, _, attribute = home.partition(":")
        value = getattr(importlib.import_module(module), attribute or name)
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:  # noqa: N807  # PEP 562 names it
        return sorted({*vars(sys.modules[package]), *homes})

    return __getattr__, __dir__, sorted(homes)
