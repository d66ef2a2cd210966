"""Makes `vectors.json` with node's `jose`: run once, its output is committed.

    npm i jose@6 --prefix /tmp/jose
    NODE_JOSE=/tmp/jose PYTHONPATH=tests python tests/vectors/node-jose/make.py

The keys are those of `tests/trust/making.py`: Ed25519 of 32 bytes 0x01, P-256 with the private number 3.
"""

from __future__ import annotations

import json
from pathlib import Path

from support.nodejose import run, signing
from trust.making import A, C, full


def main() -> None:
    requests = [signing(key, full(), typ) for key in (A, C) for typ in (None, "dataset-manifest+jcs")]
    vectors = [
        {"alg": request["alg"], "manifest": {**full(), "signature": answer["signature"]}}
        for request, answer in zip(requests, run(requests), strict=True)
    ]
    Path(__file__).with_name("vectors.json").write_text(json.dumps(vectors, indent=1) + "\n")


if __name__ == "__main__":
    main()
