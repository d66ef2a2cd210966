"""Who verifies a bucket: a SeaweedFS on this machine, so that the client's own cost is what differs."""

from __future__ import annotations

import functools
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from benchmarks.loads import DATABOM, Load
from benchmarks.racing import Contestant

BUCKET = "bench"
PROGRAM = Path(__file__).parent / "programs" / "remote.py"
PYTHON_WAYS = (
    "naive requests",
    "obstore, nothing around it, 16 threads",
    "s3fs.cat, all at once",
    "s3fs.cat_file, serial",
    "s3fs.cat_file, 16 threads",
    "s3fs.cat_file, one request each, 16 threads",
    "s3fs, async, one request each, 64 at once",
    "s3fs.open, 16 threads",
)


@contextmanager
def store(work: Path) -> Iterator[dict[str, str]]:
    """An empty SeaweedFS; gives the variables that lead to it."""
    from databom.hosts.seaweed import start_seaweed

    folder = work / "seaweed"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with start_seaweed(folder) as server:
        yield {**server.environ, "AWS_ENDPOINT_URL_S3": server.endpoint, "AWS_EC2_METADATA_DISABLED": "true"}
    shutil.rmtree(folder, ignore_errors=True)


def upload(load: Load, environ: dict[str, str], paths: Iterable[str]) -> None:
    """Put these files and the manifest below the load's name, by boto3."""
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=environ["AWS_ENDPOINT_URL_S3"],
        aws_access_key_id=environ["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environ["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
    )
    if BUCKET not in {one["Name"] for one in client.list_buckets()["Buckets"]}:
        client.create_bucket(Bucket=BUCKET)

    def put(path: str) -> None:
        client.upload_file(str(load.data / path), BUCKET, f"{load.name}/{path}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, paths))
    for file in (load.manifest, load.manifest.with_name("manifest.json.dsse")):
        client.upload_file(str(file), BUCKET, f"{load.name}/{file.name}")


def contestants(load: Load, environ: dict[str, str]) -> Iterator[tuple[str, Callable[[], Contestant | None]]]:
    """(name, what makes the contestant, None if it is not here). The others are measured by the first."""
    there = f"{BUCKET}/{load.name}"
    beside = Path(sys.executable).with_name("rclone")
    rclone = str(beside) if beside.exists() else shutil.which("rclone")
    own = environ | {
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_S3_PROVIDER": "Other",
        "RCLONE_S3_ENDPOINT": environ["AWS_ENDPOINT_URL_S3"],
        "RCLONE_S3_ENV_AUTH": "true",
    }
    name = "rclone hashsum --download"
    command = [rclone, "hashsum", "sha256", "--download", "-q", f":s3:{there}/"]
    yield name, lambda: Contestant(name, command, load.place, own) if rclone else None
    verify = [DATABOM, "verify", f"s3://{there}/manifest.json", "--trust", load.trust]
    yield "databom verify", lambda: Contestant("databom verify", verify, load.place, environ)
    for how in PYTHON_WAYS:
        command_of = [sys.executable, PROGRAM, load.sums, BUCKET, load.name, how]
        yield how, functools.partial(Contestant, how, command_of, load.place, environ)
