"""`databom bundle verify` and bundles that were made to deceive, some by those who have the team's own keys."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from cli.test_bundle import MANIFEST, judged
from databom.model.audit_bundle import Absent
from databom.model.digest import hex_of, sha256
from databom.trust.jcs import canonical
from support.bundled import Made, by_insiders, files_of, made, put_together
from support.explained import alone, committed, many_pins, trained
from support.house import House

__all__ = ["alone", "made"]

Files = dict[str, bytes]


def pin_of(statement: dict[str, Any]) -> dict[str, Any]:
    dependencies = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    found: dict[str, Any] = next(one for one in dependencies if one["name"] == "pets")
    return found


def without_entries(files: Files) -> Files:
    return {path: raw for path, raw in files.items() if not path.startswith("log/") or "check" in path}


# --- without the marketplace's signature --------------------------------------------------------------------


def test_a_signature_that_was_removed(made: Made, tmp_path: Any) -> None:
    files = files_of(made.raw)
    del files[f"{MANIFEST}.dsse"]
    for absent in (None, (), (Absent("signature", "pets", "it was lost"),)):
        code, found, _ = judged(put_together(files, made.raw, absent=absent), made, tmp_path)
        assert (code, found["signature.missing"]) == (1, "block")
    code, found, _ = judged(by_insiders(files, made, lambda _: None), made, tmp_path)
    assert (code, found["signature.missing"]) == (1, "block")


def test_one_signature_of_many_that_was_removed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose list of releases moved out of its receipt, and none of which is known to be used."""
    run, file = many_pins(house, monkeypatch), house.base / "run.zip"
    house.cli("bundle", run.id, "-o", file)
    raw = file.read_bytes()
    files = files_of(raw)
    one = [path for path in files if path.endswith(".json.dsse")][64]
    del files[one]
    file.write_bytes(put_together(files, raw))
    assert "signature.missing" in house.json("bundle", "verify", file).blocking


def test_only_what_is_no_part_of_a_signature_may_differ(made: Made, tmp_path: Any) -> None:
    files = files_of(made.raw)
    envelope = json.loads(files[f"{MANIFEST}.dsse"])
    [signature] = envelope["signatures"]
    wrong = {**signature, "sig": "A" + signature["sig"][1:]}
    for what, signatures, expected in (
        ("a hint", [{**signature, "keyid": ""}], 0),
        ("twice", [signature, signature], 0),
        ("another", [wrong], 1),
        ("none", [], 1),
    ):
        bent = json.dumps({**envelope, "signatures": signatures}).encode()
        code, found, _ = judged(put_together({**files, f"{MANIFEST}.dsse": bent}, made.raw), made, tmp_path)
        assert code == expected, (what, found)


@pytest.mark.parametrize("manifest", [b"junk", b"{}", b"[" * 100_000])
def test_a_release_whose_manifest_is_none(made: Made, tmp_path: Any, manifest: bytes) -> None:
    """The team signed a receipt about something that no marketplace has ever signed."""
    files = without_entries(files_of(made.raw))
    del files[f"{MANIFEST}.dsse"]

    def change(statement: dict[str, Any]) -> None:
        pin_of(statement)["digest"]["sha256"] = hex_of(sha256(manifest))

    code, found, _ = judged(by_insiders({**files, MANIFEST: manifest}, made, change), made, tmp_path)
    assert (code, found["bundle.mismatch"]) == (1, "block")


# --- documents of another form ------------------------------------------------------------------------------


@pytest.mark.parametrize("member", ["manifest", "source", "name", "evidence", "event"])
@pytest.mark.parametrize("value", [[], {}, None, 1])
def test_an_entry_that_says_what_no_entry_says(made: Made, tmp_path: Any, member: str, value: object) -> None:
    files = files_of(made.raw)
    entry = {**json.loads(files["log/0.json"]), member: value}
    code, _, _ = judged(put_together({**files, "log/0.json": canonical(entry)}, made.raw), made, tmp_path)
    assert code == 1


@pytest.mark.parametrize(
    "path",
    [
        *(MANIFEST, f"{MANIFEST}.dsse", f"{MANIFEST}.dsse.tsr", "provenance/reports/pets.json"),
        *("provenance/evidence/pets/x.dsse.json", "provenance/trust.json", "databom.toml", "databom.lock"),
        *(
            "log/0.json",
            "log/0.tlog-proof",
            "log/checkpoint",
            "run/receipt.dsse.json",
            "run/receipt.tlog-proof",
        ),
    ],
)
def test_a_document_that_is_too_large(made: Made, tmp_path: Any, path: str) -> None:
    files = files_of(made.raw)
    huge = files.get(path, b"") + b" " * 65 * 1024 * 1024
    code, found, _ = judged(put_together({**files, path: huge}, made.raw), made, tmp_path)
    assert code == 1, found


# --- what nobody signed, and what is not there --------------------------------------------------------------


def test_a_list_that_no_receipt_names_is_told(made: Made, tmp_path: Any) -> None:
    files = files_of(made.raw)
    for name in ("receipt.dependencies.json", "receipt.subjects.json", "notes.txt"):
        code, _, answer = judged(put_together({**files, f"run/{name}": b"[]"}, made.raw), made, tmp_path)
        told = {one.subject for one in answer.report.findings if one.code == "bundle.unnamed"}
        assert (code, told) == (0, {f"run/{name}"})


def test_a_report_that_was_left_out_is_told(made: Made, tmp_path: Any) -> None:
    files = files_of(made.raw)
    for path in ("provenance/reports/pets.json", "run/report.json", "run/environment.txt"):
        others = {one: raw for one, raw in files.items() if one != path}
        code, found, _ = judged(put_together(others, made.raw), made, tmp_path)
        assert (code, found["bundle.incomplete"]) == (0, "warn"), path


# --- nothing but the archive --------------------------------------------------------------------------------


def test_no_program_is_asked(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A receipt names a commit; a repository around the temporary folder is nobody's evidence."""
    house.synced()
    committed(house)
    run, file = trained(), house.base / "run.zip"
    house.ok("bundle", run.id, "-o", file)
    monkeypatch.setattr(subprocess, "Popen", None)
    answer = house.json("bundle", "verify", file)
    assert answer.code == 0, answer.out
