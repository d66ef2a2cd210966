"""I02: a server that dies while a run trains. The program ends as it would without databom; the receipt comes later."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.house import databom
from support.programs import LAST_WORDS
from support.receipts import left_in, logged
from support.tracking import (
    PATIENCE_SECONDS,
    WHOLE,
    Switchboard,
    artifacts,
    databom_tags,
    environment,
    spooled,
)

pytestmark = pytest.mark.mlflow


class Ending:
    """How a program ended that trained against a server that died."""

    def __init__(self, folder: Path, metadata: Path, server: str, mode: str) -> None:
        from mlflow.tracking import MlflowClient

        self.board = Switchboard(server)
        self.is_dead = False
        self.board.chosen = self._is_lost
        self.board.mode = mode
        folder.mkdir(exist_ok=True)
        (folder / "train.py").write_text(LAST_WORDS)
        self.process = subprocess.Popen(
            [sys.executable, "train.py"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=environment(
                metadata, MLFLOW_TRACKING_URI=self.board.url,
                MLFLOW_HTTP_REQUEST_MAX_RETRIES="0", MLFLOW_HTTP_REQUEST_TIMEOUT="2",
            ),
        )  # fmt: skip
        self.client = MlflowClient(server)

    def _is_lost(self, _method: str, path: str) -> bool:
        """The server answers until the program's last metric has come, which it takes and says nothing to."""
        was_dead, self.is_dead = self.is_dead, self.is_dead or path.endswith("log-parameter")
        return was_dead

    def wait(self) -> tuple[object, ...]:
        """Everything that the user and the server see of it, without what differs from run to run."""
        out, err = self.process.communicate(timeout=PATIENCE_SECONDS)
        (self.run_id,) = re.findall(r"^run ([0-9a-f]{32})$", out, re.MULTILINE)
        shown = re.sub(r"127\.0\.0\.1:[0-9]+|0x[0-9a-f]+", "(varies)", out.replace(self.run_id, "(run)"))
        errors = [
            line.split(":")[0]
            for line in err.splitlines()
            if re.match(r"[A-Za-z_.]+(Error|Exception)\b", line)
        ]
        run = self.client.get_run(self.run_id)
        made = [one.path for one in self.client.list_artifacts(self.run_id) if one.path != "databom"]
        return (
            self.process.returncode,
            shown,
            errors,
            run.data.params,
            run.data.metrics,
            made,
            run.info.status,
        )


@pytest.mark.parametrize("mode", ["cut", "error", "hang"])
def test_i02_a_server_that_dies(
    mode: str, project: Path, tmp_path: Path, metadata: Path, server: str
) -> None:
    ours = Ending(project, metadata, server, mode)
    without = Ending(tmp_path / "outside", metadata, server, mode)
    told = ours.wait()
    assert told == without.wait()
    assert told[:1] + told[3:] == (1, {"depth": "3"}, {"loss": 0.5}, ["model.txt"], "RUNNING")
    # The run is told nothing more, and what it is owed is kept. When the server is well it comes, and comes once.
    assert [one["run_id"] for one in spooled(project)] == [ours.run_id]
    (receipt,) = logged(project)
    for turn in range(2):
        ours.board.calls.clear()
        ours.board.mode = "pass"
        done = databom("log", "flush", cwd=project, MLFLOW_TRACKING_URI=ours.board.url)
        assert done.returncode == 0, done.stderr
        assert not spooled(project)
        assert bool([path for _, path in ours.board.calls if "/databom/" in path]) == (turn == 0)
    assert len(artifacts(ours.client, ours.run_id)) == WHOLE
    assert databom_tags(ours.client.get_run(ours.run_id))["databom.receipt"].startswith("sha256:")
    assert logged(project) == [receipt]
    assert left_in(project, "open") == left_in(project, "pending") == []
    assert json.loads(receipt)["signatures"]
    ours.board.close()
    without.board.close()
