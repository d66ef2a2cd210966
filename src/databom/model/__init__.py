"""Say: what is claimed. Frozen data, read strictly; no I/O, no keys.

| file | one idea |
|---|---|
| `strictjson` | JSON (RFC 8259) with one meaning: no repeated keys, no huge numbers, bounded |
| `doubts` | where a refused JSON document is wrong |
| `manifest` | the document that describes a release: `read_manifest(raw) -> Manifest` |
| `assets` | the rules for a list of assets, in bulk |
| `listings` | long lists of assets, decoded only while somebody looks at them |
| `shards` | lists of assets in files of their own, as NDJSON or Parquet: `read_shard(raw, shard)` |
| `parquet` | Parquet's rows as lines of JSON |
| `croissant` | Croissant 1.0 and 1.1 read as a manifest |
| `jsonld` | which of a JSON-LD document's members stand for which name |
| `licenses` | licenses stated by URL or name, as SPDX expressions |
| `expression` | SPDX expressions as trees: `parse_expression(text)` |
| `spdx_ids` | the licenses and exceptions that SPDX lists |
| `rights` | what licenses say about using data: `rights.json`, and a team's own |
| `signals`, `rsl` | what others say about using the data |
| `claims` | the types of its parts |
| `members` | which of its members this version does not know |
| `wording` | why it was refused, in words, by the schema |
| `paths` | which asset paths are safe on every system, and which collide |
| `digest` | `sha256:<hex>`, and in-toto's `dirHash1` over a release |
| `times` | RFC 3339 with `Z`, and the one clock |
| `text` | strings from documents, made safe to show |
| `finding` | findings, reports, verdicts |
| `lock`, `config` | `databom.lock` and `databom.toml` |
| `countries` | the countries there are, and words for several |
| `proofs` | signed statements about a manifest |
| `approvals` | what an approval or a waiver says |
| `schemas/` | published JSON Schemas (2020-12): `urn:databom:schema:manifest:v1`, `:approval:v1`, `:waiver:v1`, … |
| `audit_bundle` | what an archive about a run holds, and where |

The shortest program:

    from databom.model.manifest import read_manifest

    manifest = read_manifest(Path("manifest.json").read_bytes())
    print(manifest.release, manifest.digest, manifest.tree)

A document that is not what it claims is refused with `databom.errors.InputError`, and nothing else escapes,
whatever the bytes. Every refusal names the place as a JSON pointer (RFC 6901), what was expected and what was
found.

This room imports `databom.errors`, the standard library and msgspec; jsonschema only to word a refusal,
pyarrow only for Parquet shards. It does not promise that anyone signed what it reads: that is
`databom.trust`. Reading is not believing.
"""
