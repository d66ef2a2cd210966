"""Reading a release from S3 with what people use in Python. Arguments: SUMS, bucket, prefix, then how."""

import asyncio
import hashlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor

sums, bucket, prefix, how = sys.argv[1:]
with open(sums) as file:
    wanted = {line[66:-1]: line[:64] for line in file}
endpoint = os.environ["AWS_ENDPOINT_URL_S3"]


def s3fs_with(how: str) -> dict[str, str]:
    import s3fs

    if how.startswith("s3fs, async"):
        return asyncio.run(at_once())
    fs = s3fs.S3FileSystem(endpoint_url=endpoint, use_listings_cache=False)
    keys = {f"{bucket}/{prefix}/{path}": path for path in wanted}
    if how == "s3fs.cat, all at once":
        return {keys[key]: hashlib.sha256(data).hexdigest() for key, data in fs.cat(list(keys)).items()}

    def one(key: str) -> str:
        if how.startswith("s3fs.cat_file, one request"):
            return hashlib.sha256(fs.cat_file(key, max_concurrency=1)).hexdigest()
        if how.startswith("s3fs.cat_file"):
            return hashlib.sha256(fs.cat_file(key)).hexdigest()
        digest = hashlib.sha256()
        with fs.open(key, "rb", cache_type="none") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        return digest.hexdigest()

    with ThreadPoolExecutor(16 if how.endswith("16 threads") else 1) as pool:
        return dict(zip(keys.values(), pool.map(one, keys), strict=True))


async def at_once() -> dict[str, str]:
    """64 at a time, one request each: the fastest that s3fs was seen to be on small objects."""
    import s3fs

    fs = s3fs.S3FileSystem(
        endpoint_url=endpoint,
        use_listings_cache=False,
        asynchronous=True,
        config_kwargs={"max_pool_connections": 64},
    )
    session = await fs.set_session()
    turn = asyncio.Semaphore(64)

    async def one(path: str) -> tuple[str, str]:
        async with turn:
            data = await fs._cat_file(  # noqa: SLF001  # what `cat_file` calls
                f"{bucket}/{prefix}/{path}", max_concurrency=1
            )
            return path, hashlib.sha256(data).hexdigest()

    found = dict(await asyncio.gather(*map(one, wanted)))
    await session.close()
    return found


def bare() -> dict[str, str]:
    """What obstore takes by itself: no redirect refused, no pace watched, no error told from another."""
    from obstore.store import S3Store

    store = S3Store(bucket, endpoint=endpoint, client_options={"allow_http": True})

    def several(paths: list[str]) -> list[tuple[str, str]]:
        return [
            (
                path,
                hashlib.sha256(store.get(f"{prefix}/{path}").bytes()).hexdigest(),
            )  # all of an object in memory
            for path in paths
        ]

    paths = list(wanted)
    with ThreadPoolExecutor(16) as pool:
        parts = pool.map(several, [paths[at : at + 8] for at in range(0, len(paths), 8)])
        return dict(pair for part in parts for pair in part)


def naive() -> dict[str, str]:
    import boto3
    import requests

    client = boto3.client("s3", endpoint_url=endpoint)
    found = {}
    for path in wanted:
        url = client.generate_presigned_url(
            "get_object", Params={"Bucket": bucket, "Key": f"{prefix}/{path}"}
        )
        digest = hashlib.sha256()
        with requests.get(url, stream=True, timeout=60) as answer:
            for chunk in answer.iter_content(8192):
                digest.update(chunk)
        found[path] = digest.hexdigest()
    return found


ways = {"naive requests": naive, "obstore, nothing around it, 16 threads": bare}
sys.exit(int(ways.get(how, lambda: s3fs_with(how))() != wanted))
