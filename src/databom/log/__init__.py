"""remember – a log that shows every change that was made to it.

Append-only, over a directory or a bucket; every event of a project is an entry, in the order in which it happened.
A checkpoint, signed by the log's key, says how large it is and what it holds. Whoever kept one, in git, at a tracking
server or as a witness, can tell later whether the log still begins with what it held then. Standards:

* trees of RFC 6962 (`merkle`: arithmetic that imports nothing);
* C2SP signed-note v1.0.0 (`note`), tlog-checkpoint v1.0.0 and tlog-cosignature v1 (`checkpoint`);
* C2SP tlog-tiles (`tiles`): a log is plain files, which any web server can hand out;
* C2SP `tlog-proof@v1` (`tlogproof`): that an entry is in the log, in one file that needs neither us nor the log.

`appending` writes, `reading` reads, `witnessing` decides what a witness signs. May import `storage`, `trust` and what
is below; knows no project and no configuration.

    log = Log(open_writable_shelf(location), origin, [key], speakers)
    index = log.append([b"an entry"])[0]
    entry, proof = LogReader.open(shelf, speakers, origin, now=now).prove(index)

What it does not promise: that what an entry says is true; that a log nobody kept a checkpoint of was not rewritten by
the holder of its key; that the files are there tomorrow.
"""
