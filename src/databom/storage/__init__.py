"""storage: the only road to files, buckets and web servers.

The room knows *where* and *bytes*, never *who* (that is `trust`) and never *whether it is right* (`checks`).
It may import `model` and `errors`; it imports fsspec, s3fs and urllib3 only when they are needed.

* `location`: the texts accepted for "where", on an allow-list: local paths, `s3://`, `r2://`, `https://`.
* `reader`: the seam. A `Reader` opens the assets below one root, a `Stream` gives one asset's bytes in order.
* `patience`: how long a store may take, and how often it is asked.
* `s3`, `s3client`, `s3errors`: Cloudflare R2, AWS S3 and their likes through s3fs; what we ask, how, what came back.
* `fast`, `fastclient`: buckets read by obstore, where it is installed and can be told all of that (docs/adr/0011).
* `https`: marketplaces and web servers through urllib3 (docs/adr/0003).
* `storedzip`: archives of one form, whose every byte is compared.
* `answers`, `redact`: one wording for both; secrets kept out of the libraries' own logs.
* `walking`, `spill`: a tree in the order of its paths, and sorted lines by the million on disk.
* `tree`, `staging`, `files`: local trees that are never followed out of, verified files published without
  clobbering, and the project's own files.

The shortest program that reads an asset and believes nothing::

    root = parse_location("r2://datasets/hn-imagepack/2026-01-10")
    state = hashlib.sha256()
    with open_reader(root).open("images/cat1.jpg") as stream:
        while chunk := stream.read(CHUNK):
            state.update(chunk)

What it does not promise: that the bytes are right. Stores, proxies and clients have all returned wrong bytes
without an error; lengths and ETags are claims. Only a digest that comes from a signed manifest decides.
What it does promise: typed errors that tell missing, denied, truncated and unreachable apart; time limits on
everything; no other host, no decompression and no local file chosen by a server; no secret in any text.
"""
