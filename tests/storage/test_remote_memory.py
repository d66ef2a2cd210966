"""However long an object is, reading it takes the same memory."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import pytest

from support.faultproxy import Answer, FaultProxy, Request, Wire, answer

pytestmark = [pytest.mark.s3, pytest.mark.slow]

SIZE = 1 << 30
MOST_MIB = 256

CHILD = """
import json, re, sys
if sys.argv[1] == "s3fs":
    sys.modules["obstore"] = None
from databom.checks.measuring import measure
from databom.model.manifest import Asset
from databom.storage.location import parse_location
from databom.storage.reader import open_reader
(outcome,) = measure(open_reader(parse_location("s3://bucket")), [Asset("x", "0" * 64, int(sys.argv[2]))]).outcomes
peak = int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) // 1024
print(json.dumps([outcome.sha256, peak, "obstore" in sys.modules and sys.modules["obstore"] is not None]))
"""


def long(_: Request, __: Answer, wire: Wire) -> None:
    wire.head(Answer(200, [("Content-Length", str(SIZE))], b""))
    block = bytes(1 << 20)
    for _i in range(SIZE >> 20):
        wire.write(block)


def test_a_gibibyte_is_read_in_constant_memory(client: str, clean_environ: pytest.MonkeyPatch) -> None:
    with FaultProxy(lambda _: answer(200)) as proxy:
        proxy.rule("/x", long)
        environ = {
            **os.environ, "AWS_ENDPOINT_URL_S3": proxy.url, "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s",
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", CHILD, client, str(SIZE)],
            env=environ,
            capture_output=True,
            text=True,
            check=True,
        )
    digest, peak, by_obstore = json.loads(done.stdout)
    true = hashlib.sha256()
    for _ in range(SIZE >> 20):
        true.update(bytes(1 << 20))
    assert digest == true.hexdigest()
    assert by_obstore == (client == "obstore")
    assert peak < MOST_MIB
