"""How this process records: what `databom.mlflow.autolog` said, and what `databom.toml` says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from databom.errors import ConfigError, PluginError
from databom.mlflow.place import Place


@dataclass(slots=True)
class _Switch:
    """What code of this process asked for; None until it asked."""

    mode: str | None = None
    disabled: bool = False


_switch = _Switch()


class Effective(NamedTuple):
    """What holds for a run that starts now."""

    auto: str
    """`full`, `tags` or `off`."""
    enforce: bool


def effective(here: Place) -> Effective:
    """The strictest of what the code and the project say: code cannot lower what the team decided."""
    auto = here.auto
    enforce = here.mode == "enforce" and auto != "off"
    if _switch.disabled:
        return Effective("off", enforce)
    if _switch.mode is not None:
        auto = "full" if auto == "off" else auto
        enforce = enforce or _switch.mode == "enforce"
    return Effective(auto, enforce)


def demands_enforcement() -> bool:
    """Whether code of this process asked that no run starts unchecked, wherever it starts."""
    return _switch.mode == "enforce" and not _switch.disabled


def autolog(
    mode: Literal["observe", "enforce"] = "observe",
    disable: bool = False,  # the signature every MLflow autologging function has
    silent: bool = False,
) -> None:
    """Record the data's evidence with every MLflow run of this process, from now on.

    Inside a project with pins that happens by itself. Call this to refuse runs (`mode="enforce"`: a run whose data
    fails the gate is never created, a resumed one does not go on), or where the working directory at
    `import mlflow` was not in the project and the process begins with a bare client or a resumed run.

    A project whose `databom.toml` says `mode = "enforce"` stays so, whatever is said here.

    Args:
        mode: `observe` records and never hurts a run; `enforce` refuses before the run exists.
        disable: stop recording in this process.
        silent: no warnings from here on (errors of `enforce` are still raised).

    Raises:
        ConfigError: an unknown mode, no MLflow, or `enforce` where there is no project with pins to enforce.
        PluginError: an MLflow whose classes cannot be wrapped.
    """
    from databom.mlflow import place, warn, wraps

    if mode not in ("observe", "enforce"):
        raise ConfigError(f"autolog(mode={mode!r}): mode is 'observe' or 'enforce'")
    warn.silence(silent)
    _switch.disabled = disable
    if disable:
        return
    if mode == "enforce" and place.find() is None:
        raise ConfigError(
            "nothing to enforce: the working directory is in no project with pins",
            hint="start in the project, set DATABOM_PROJECT, or pin a release with `databom add MANIFEST`",
        )
    try:
        import mlflow  # heavy
        import mlflow.tracking.fluent
    except ImportError as error:
        raise ConfigError(
            "MLflow is not installed in this environment", hint="pip install 'databom[mlflow]'"
        ) from error
    if not wraps.install():
        raise PluginError(f"MLflow {mlflow.__version__} has no MlflowClient and ActiveRun to record from")
    _switch.mode = mode
