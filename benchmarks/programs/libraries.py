"""Verifying with a library as its documentation shows. Arguments: SUMS, data, which (`quilt3`: also its package)."""

import sys
from pathlib import Path


def with_pooch(wanted: dict[str, str]) -> bool:
    import pooch

    # Whoever is there as the registry says is not downloaded; whoever is not would be, from nowhere.
    fetcher = pooch.create(path=".", base_url="https://nowhere.invalid/", registry=wanted)
    return all(fetcher.fetch(name) for name in fetcher.registry_files)


def with_pooch_hash(wanted: dict[str, str]) -> bool:
    import pooch

    return all(pooch.file_hash(path, alg="sha256") == digest for path, digest in wanted.items())


def with_in_toto(wanted: dict[str, str]) -> bool:
    from in_toto.runlib import record_artifacts_as_dict

    found = record_artifacts_as_dict(["."])
    return {path: digests["sha256"] for path, digests in found.items()} == wanted


def with_quilt3(package: str, data: str) -> bool:
    import quilt3

    with open(package) as file:
        return bool(quilt3.Package.load(file).verify(data))


def make_quilt3(package: str, data: str) -> bool:
    import quilt3

    made = quilt3.Package().set_dir("", data)
    made.build("bench/data")  # hashes
    with open(package, "w") as file:
        made.dump(file)
    return True


def main(sums: str, data: str, which: str, *rest: str) -> int:
    if which == "quilt3":
        return int(not with_quilt3(*rest, data))
    if which == "make-quilt3":
        return int(not make_quilt3(*rest, data))
    wanted = {line[66:]: line[:64] for line in Path(sums).read_text().splitlines()}
    ways = {"pooch": with_pooch, "pooch_hash": with_pooch_hash, "in-toto": with_in_toto}
    return int(not ways[which](wanted))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
