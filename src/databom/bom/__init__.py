"""bom - the dataset bill of materials: records in, a document out.

A BOM tells others which releases went into a model, in a format their tools already read:

    from databom.bom.cyclonedx import BomEntry, build_bom, dumps

    raw = dumps(build_bom([BomEntry(pin, manifest, use="read")], run_id="0f3c…"))

`cyclonedx` writes CycloneDX 1.6 JSON (https://cyclonedx.org/docs/1.6/json/), validated in our tests by the
official schema. The document is built by hand from plain dicts: the CycloneDX library of the day drops
`data`, `modelCard`, `compositions` and `license.licensing` on the way through its own model, which is all we
have to say.

`receipt` writes the other document a run leaves behind: the statement that becomes its signed receipt.

Pure: no clock, no files, no network. The same pins give the same bytes in whatever order they come; the
serial number is derived from the content, so two documents with one serial number are one document.

What a BOM here does not promise: it is not signed, it repeats what the pinned manifests say (a payment in it
is a claim until a receipt is verified), and it does not list assets; the manifest it names by SHA-256 does.

Imports `model` and `errors`, and for receipts `trust`'s canonical JSON; blind to `checks` and `hosts`.
"""
