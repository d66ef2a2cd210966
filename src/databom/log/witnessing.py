"""What a witness signs: only what continues everything it signed before (the rules of C2SP tlog-witness).

A witness remembers the newest checkpoint it cosigned of each log. It signs the next one where that is larger or the
same, and a proof shows that it begins with what is remembered. Remembering comes first: a cosignature that is out while
its checkpoint is forgotten could be followed by one of another history.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from databom.log.appending import require_continued
from databom.log.checkpoint import Checkpoint, cosign, parse_checkpoint
from databom.log.note import Line, Note, Signer, parse_note
from databom.log.reading import CHECKPOINT, LogReader
from databom.log.tiles import refuse

if TYPE_CHECKING:
    from databom.storage.shelf import WritableShelf

MAX_STATE_BYTES = 16 * 1024 * 1024


def parse_state(data: bytes) -> dict[str, Checkpoint]:
    """The newest checkpoint cosigned of each log, by origin. A state is these notes' texts, an empty line after each.

    Raises:
        InputError: `log.corrupt`: it is none; a witness without a memory would sign anything.
    """
    *texts, rest = data.decode("utf-8", "replace").split("\n\n")
    if rest:
        refuse("state", "the witness's memory is cut")
    seen = [parse_checkpoint(f"{text}\n") for text in texts]
    return {one.origin: one for one in seen}


def format_state(seen: Mapping[str, Checkpoint]) -> bytes:
    """The bytes of a state."""
    return "".join(f"{seen[origin].text}\n" for origin in sorted(seen)).encode()


def require_signable(reader: LogReader, seen: Mapping[str, Checkpoint]) -> None:
    """Return if a witness that has seen these may sign the reader's checkpoint.

    Raises:
        InputError: `log.rolled-back` or `log.forked`, with both checkpoints; `log.corrupt` where nobody can tell.
    """
    older = seen.get(reader.checkpoint.origin)
    if older is not None:
        require_continued(reader, older)


def witness(reader: LogReader, name: str, signer: Signer, when: datetime) -> Line:
    """The cosignature of the reader's checkpoint; after `require_signable`, and after it has been remembered."""
    return cosign(reader.opened.note.text, name, signer, when)


def attach(shelf: WritableShelf, line: Line, text: str) -> bool:
    """Put a cosignature under the log's published checkpoint; False where a newer one has been published meanwhile."""
    done = False

    def cosigned(found: bytes | None) -> bytes | None:
        nonlocal done
        note = parse_note(found or b"")
        done = note.text == text
        others = [one for one in note.lines if (one.name, one.key_id) != (line.name, line.key_id)]
        return bytes(Note(text, (*others, line))) if done else None

    with shelf.exclusive():
        shelf.update(CHECKPOINT, cosigned)
    return done
