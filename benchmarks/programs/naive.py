"""What a tutorial shows: 8 KiB at a time, one file after the other. Arguments: SUMS, then how."""

import hashlib
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor


def serial(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(8192):
            digest.update(chunk)
    return digest.hexdigest()


def file_digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(sums: str, how: str) -> int:
    with open(sums) as file:
        wanted = [(line[66:-1], line[:64]) for line in file]
    paths = [path for path, _ in wanted]
    if how == "threads":
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(file_digest, paths))
    elif how == "processes":
        with ProcessPoolExecutor(2) as workers:
            found = list(workers.map(file_digest, paths, chunksize=64))
    else:
        found = [{"serial": serial, "file_digest": file_digest}[how](path) for path in paths]
    return int(any(digest != hex_ for digest, (_, hex_) in zip(found, wanted, strict=True)))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
