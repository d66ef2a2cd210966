"""Write `log/`: what this release leaves behind, for every later one to read and to continue.

260 entries in two commits; then a writer that died after its claim; a proof of entry 7. Run once, never again.
"""

from __future__ import annotations

from pathlib import Path

from databom.log.appending import Log, Staged
from databom.log.checkpoint import Speakers
from databom.log.reading import LogReader
from databom.model import times
from databom.storage.location import parse_location
from databom.storage.shelf import open_shelf, open_writable_shelf
from databom.trust.keys import PrivateKey

HERE = Path(__file__).parent
key = PrivateKey.generate()
(HERE / "log.pem").write_bytes(key.pem())
where = parse_location(str(HERE / "log"))
speakers = Speakers.by_keys([key.public])
log = Log(open_writable_shelf(where), "log.example/golden", [key], speakers)
log.append([b"entry %d" % number for number in range(200)])
log.append([b"entry %d" % number for number in range(200, 260)])
reader = LogReader.open(open_shelf(where), speakers, None, now=times.now())
(HERE / "entry-7.tlog-proof").write_bytes(bytes(reader.prove(7)[1]))
claim = Staged("log.example/golden", 260, reader.checkpoint.root, (b"claimed",))
staged = HERE / "log" / claim.name
staged.parent.mkdir(exist_ok=True)
staged.write_bytes(claim.signed([key]))
(HERE / "log" / ".state" / "lock").unlink()
