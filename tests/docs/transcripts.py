"""Reading and running the examples of a Markdown page, so that no page shows what does not happen.

Each page is played from top to bottom in one empty folder:

* a fenced `console` block is a transcript. A line that begins with `$ ` is a command (a line that ends with `\\` goes
  on in the next); the lines below it are its whole output, stdout and stderr as they come. In them `…` stands for
  any text, and a line that is only `…` for any number of lines. A command that fails is followed by `$ echo $?`.
* a fenced block with `title="some/file"` is that file: it is written before whatever comes next.
* a fenced `python` block without a title is a program: it must end well. A `text` block with the title "prints"
  below it is its whole output.
* `--8<-- "name"` includes `docs/_snippets/name`, as the site does.
* `<!-- played with: s3 -->` starts an S3 server, whose variables are then in the environment. All else is prose.

`python tests/docs/transcripts.py PAGE…` plays pages and writes what the commands print now into them, with digests,
times and the like as `…`. Read the difference like any other change.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from databom.hosts.seaweed import start_seaweed

ROOT = Path(__file__).resolve().parents[2]
SNIPPETS = ROOT / "docs" / "_snippets"
_FENCE = re.compile(r'^(?P<indent> *)```(?P<language>[a-z]+)(?: title="(?P<title>[^"]*)")?\s*$')
_INCLUDE = re.compile(r'^ *--8<-- "(?P<name>[^"]+)"\s*$')
_FILE = re.compile(r"[\w./-]*\.[a-z]+")
NEEDS_S3 = "<!-- played with: s3 -->"
TIMEOUT = 180
"""Seconds one example may take; a training under MLflow takes ten."""


@dataclass(frozen=True)
class Block:
    """One fenced block: where its text begins (0-based, in the page's lines), and the text without its indent."""

    language: str
    title: str | None
    start: int
    lines: tuple[str, ...]
    indent: str
    is_included: bool = False


@dataclass(frozen=True)
class Step:
    """One thing to do, and what it must print (None: not said)."""

    kind: str
    text: str
    expected: tuple[str, ...] | None
    block: Block
    lines: tuple[int, int] = (0, 0)
    """The lines of the expected output, in the page."""
    file: str = ""


def blocks(text: str, *, is_included: bool = False) -> Iterator[Block]:
    """The fenced blocks of a page, those of included snippets in their place."""
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        if include := _INCLUDE.match(lines[at]):
            yield from blocks((SNIPPETS / include["name"]).read_text(encoding="utf-8"), is_included=True)
        elif fence := _FENCE.match(lines[at]):
            indent, start = fence["indent"], at + 1
            at = start
            while lines[at].rstrip() != f"{indent}```":
                at += 1
            body = tuple(line.removeprefix(indent) for line in lines[start:at])
            yield Block(fence["language"], fence["title"], start, body, indent, is_included)
        at += 1


def steps(text: str) -> list[Step]:
    """What a page says that happens, in order."""
    found: list[Step] = []
    for block in blocks(text):
        body = "\n".join(block.lines) + "\n"
        if block.title == "prints":
            last = found.pop()
            assert last.kind == "python", f"line {block.start}: a `prints` block follows a program"
            span = (block.start, block.start + len(block.lines))
            found.append(Step("python", last.text, block.lines, block, span))
        elif block.title is not None and _FILE.fullmatch(block.title):
            found.append(Step("file", body, None, block, file=block.title))
        elif block.language == "console":
            found += _transcript(block)
        elif block.language == "python":
            found.append(Step("python", body, None, block))
    return found


def _transcript(block: Block) -> Iterator[Step]:
    at = 0
    while at < len(block.lines):
        assert block.lines[at].startswith("$ "), (
            f"line {block.start + at + 1}: a transcript begins with a command"
        )
        command = [block.lines[at][2:]]
        while command[-1].endswith("\\"):
            at += 1
            command.append(block.lines[at])
        at += 1
        end = next(
            (n for n in range(at, len(block.lines)) if block.lines[n].startswith("$ ")), len(block.lines)
        )
        span = (block.start + at, block.start + end)
        yield Step("command", "\n".join(command), block.lines[at:end], block, span)
        at = end


def matches(expected: tuple[str, ...], printed: str) -> bool:
    """Whether a transcript's lines stand for what was printed."""
    parts = []
    for line in expected:
        text = r"[^\n]*".join(re.escape(part.rstrip()) for part in line.split("…"))
        parts.append(r"(?:[^\n]*\n)*?" if line.strip() == "…" else rf"{text}[ \t]*\n")
    return re.fullmatch("".join(parts), printed) is not None


@dataclass
class Play:
    """One page being played in a folder of its own."""

    folder: Path
    environ: dict[str, str]
    here: Path = field(init=False)
    last: int = 0

    def __post_init__(self) -> None:
        self.here = self.folder

    def do(self, step: Step) -> str:
        """Do one step and return what it printed."""
        if step.kind == "file":
            path = self.here / step.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(step.text, encoding="utf-8")
            return ""
        if step.kind == "python":
            return self._run([sys.executable, "-c", step.text])
        # The state a shell would keep between two commands: the folder, and the exit code of the last one.
        where = self.folder / ".where"
        script = f"(exit {self.last})\n{step.text}\ncode=$?\npwd > {where}\nexit $code"
        printed = self._run(["bash", "-c", script])
        if where.exists():
            self.here = Path(where.read_text(encoding="utf-8").strip())
            where.unlink()
        return printed

    def _run(self, argv: list[str]) -> str:
        done = subprocess.run(
            argv,
            cwd=self.here,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            timeout=TIMEOUT,
            check=False,
        )
        self.last = done.returncode
        text = done.stdout
        return text if not text or text.endswith("\n") else text + "\n"


def environ(home: Path) -> dict[str, str]:
    """The environment of a reader: nothing of whoever runs the tests but the program path."""
    home.mkdir(exist_ok=True)
    kept = ("TMPDIR", "COVERAGE_PROCESS_START", "COVERAGE_FILE", "COVERAGE_PROCESS_CONFIG")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(home / "dvc"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "GIT_AUTHOR_NAME": "A reader",
        "GIT_AUTHOR_EMAIL": "reader@localhost",
        "GIT_COMMITTER_NAME": "A reader",
        "GIT_COMMITTER_EMAIL": "reader@localhost",
        "GIT_CONFIG_NOSYSTEM": "1",
        "COLUMNS": "110",
        "PYTHONUTF8": "1",
    }


def play(page: Path, folder: Path) -> Iterator[tuple[Step, str, int]]:
    """Play a page in `folder`: each step with what it printed and its exit code."""
    text = page.read_text(encoding="utf-8")
    scene = folder / "page"
    scene.mkdir()
    playing = Play(scene, environ(folder / "home"))
    with ExitStack() as stack:
        if NEEDS_S3 in text:
            playing.environ |= stack.enter_context(start_seaweed(folder / "seaweedfs")).environ
        for step in steps(text):
            printed = playing.do(step)
            yield step, printed, playing.last


_VOLATILE = (
    (re.compile(r"\b[0-9a-f]{64}\b"), "…"),
    (re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}"), "…"),
    (re.compile(r"(?<=incident )[0-9a-f]{8}\b|(?<=incident show )[0-9a-f]{8}\b"), "…"),
    (re.compile(r"(?m)^[0-9a-f]{8}(?=  ?(?:open|refetched|closed|is closed)\b)"), "…"),
    (re.compile(r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "…"),
    (re.compile(r"\b20\d\d/\d\d/\d\d \d\d:\d\d:\d\d"), "…"),
    (re.compile(r"\b([0-9a-f]{32}|[0-9a-f]{36})\b"), "…"),
    (re.compile(r"\b[0-9a-f]{16}…"), "…"),
    (re.compile(r"(?<=databom\.local/)([a-z-]+)-[0-9a-f]{8}"), r"\1-…"),
    (re.compile(r"/tmp/[\w/.-]*?/page/"), "…/"),
)


def _stable(printed: str) -> str:
    for pattern, text in _VOLATILE:
        printed = pattern.sub(text, printed)
    return printed


def rewrite(page: Path) -> bool:
    """Write into a page what its commands print now; lines that still match stay as they are."""
    lines = page.read_text(encoding="utf-8").splitlines()
    changes = []
    with tempfile.TemporaryDirectory() as folder:
        for step, printed, _ in play(page, Path(folder)):
            if step.expected is None or matches(step.expected, printed):
                continue
            new = _stable(printed)
            if step.block.is_included:
                print(f"{page}: a snippet prints something else now:\n$ {step.text}\n{new}")
                continue
            indent = step.block.indent
            changes.append((step, [f"{indent}{line}".rstrip() for line in new.splitlines()]))
    for step, new in reversed(changes):
        lines[step.lines[0] : step.lines[1]] = new
    if changes:
        page.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return bool(changes)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(f"{name}: {'rewritten' if rewrite(Path(name)) else 'as it was'}")
