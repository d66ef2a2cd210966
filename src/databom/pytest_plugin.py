"""The pytest plugin: a test that trains, or reads data, runs only on data that passes the gate.

    @pytest.mark.databom_pins("pets")            # an error, and not run, unless the gate lets `pets` through
    def test_the_model_learns(databom_pins):
        train(databom_pins["pets"].path)         # the same question, asked by using the data

The gate is asked once a session for each pin, the first time a test needs it; a session that needs none never looks for
a project. Loading this module costs pytest nothing: it imports the standard library and pytest.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec import Struct

if TYPE_CHECKING:
    from databom.errors import DatabomError
    from databom.model.finding import Report
    from databom.tasks.project import Project

MARKER = "databom_pins"


class GatedPin(Struct, frozen=True):
    """A pin that the gate let through in this session."""

    name: str
    path: Path
    """The folder of its assets."""
    release: str
    report: Report


class GatedPins(Mapping[str, GatedPin]):
    """The project's pins by name. Looking one up asks the gate, once a session, and fails the test if it says no."""

    def __init__(self, rootpath: Path) -> None:
        self._rootpath = rootpath
        self._project: Project | None = None
        self._asked: dict[str, GatedPin | str] = {}

    def __getitem__(self, name: str) -> GatedPin:
        """The pin, verified and let through now.

        Raises:
            KeyError: no pin has this name.
        """
        if name not in self.project.lock.pins:
            raise KeyError(name)
        if name not in self._asked:
            self._asked[name] = self._ask(name)
        answer = self._asked[name]
        if isinstance(answer, str):
            pytest.fail(answer, pytrace=False)
        return answer

    def __contains__(self, name: object) -> bool:
        """Whether there is such a pin. Nothing is asked."""
        return name in self.project.lock.pins

    def __iter__(self) -> Iterator[str]:
        """The names of the project's pins. Nothing is asked."""
        return iter(sorted(self.project.lock.pins))

    def __len__(self) -> int:
        """How many pins the project has."""
        return len(self.project.lock.pins)

    @property
    def project(self) -> Project:
        """The project: `DATABOM_PROJECT`, else the nearest one at or above pytest's root folder."""
        if self._project is None:
            from databom.errors import ConfigError
            from databom.tasks.project import Project, find_root

            named = os.environ.get("DATABOM_PROJECT")
            try:
                self._project = Project.load(find_root() if named else find_root(self._rootpath))
            except ConfigError as error:
                raise _refusal(error) from None
        return self._project

    def require(self, *names: str) -> None:
        """Fail the running test unless the gate lets these pins (all, when none is named) through."""
        from databom.errors import ConfigError

        try:
            wanted = self.project.names(names)
        except ConfigError as error:
            raise _refusal(error) from None
        for name in wanted:
            _ = self[name]

    def _ask(self, name: str) -> GatedPin | str:
        """The pin, or why it may not be used."""
        from databom.checks.formats.texts import lines
        from databom.errors import DatabomError
        from databom.tasks.gating import gate

        place = self.project
        try:
            [report] = gate(name, project=place.root).reports
        except DatabomError as error:
            return f"databom: {error}"
        if report.verdict.exit_code != 0:
            said = (f"{one.code} {one.subject or ''}: " + "\n  ".join(lines(one)) for one in report.blocking)
            return "\n".join((f"the gate does not let {name} through", *said))
        pin = place.pin(name)
        return GatedPin(name, place.data_path(pin), pin.release, report)


def _refusal(error: DatabomError) -> BaseException:
    """What fails a test with the reason alone, and no traceback through databom."""
    return pytest.fail.Exception(f"databom: {error}", pytrace=False)


_KEY = pytest.StashKey[GatedPins]()


def _pins(config: pytest.Config) -> GatedPins:
    if _KEY not in config.stash:
        config.stash[_KEY] = GatedPins(config.rootpath)
    return config.stash[_KEY]


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(*names): run only if databom's gate lets these pins through (all, without a name)",
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Ask the gate for what a test's markers name."""
    for mark in item.iter_markers(MARKER):
        _pins(item.config).require(*map(str, mark.args))


@pytest.fixture(scope="session")
def databom_pins(pytestconfig: pytest.Config) -> GatedPins:
    """The project's pins by name; `databom_pins["pets"].path` is their folder, once the gate lets them through."""
    return _pins(pytestconfig)
