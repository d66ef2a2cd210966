"""do – the verbs.

One file a verb. A task reads its inputs through `databom.storage`, asks `databom.trust` and
`databom.checks`, and is the only place that writes into a project. The command line is a thin layer of
options over these functions, and `databom` exports most of them, so both always agree.

    from databom.tasks import add, sync, verify
    add("https://marketplace.example/hn/manifest.json", name="imagepack").require()
    sync("imagepack").require()

A task that can make a report returns one, whatever it found: a "no" is a verdict, not an exception.
`ConfigError` is raised where the request itself makes no sense (no project, unknown name), other
`DatabomError`s where no report can be made.

Imports `checks`, `bom`, `hosts`, `log` and everything below; nothing here imports `cli` or a door.
"""

from __future__ import annotations

from databom._lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Project": "databom.tasks.project",
        "add": "databom.tasks.adding",
        "affected": "databom.tasks.affecting",
        "approve": "databom.tasks.approving",
        "attach": "databom.tasks.attaching",
        "bom": "databom.tasks.writing_bom",
        "bundle": "databom.tasks.audit_bundle",
        "check": "databom.tasks.checking",
        "cosign": "databom.tasks.approving",
        "doctor": "databom.tasks.examining",
        "drill": "databom.tasks.drilling",
        "explain": "databom.tasks.explaining",
        "explain_license": "databom.tasks.licensing",
        "gate": "databom.tasks.gating",
        "incident_close": "databom.tasks.incidents",
        "incident_list": "databom.tasks.incidents",
        "incident_show": "databom.tasks.incidents",
        "gate_model": "databom.tasks.gating_models",
        "init": "databom.tasks.initializing",
        "key_id": "databom.tasks.keyring",
        "ledger": "databom.tasks.accounting",
        "licenses": "databom.tasks.licensing",
        "log_proof": "databom.tasks.log_reading",
        "log_show": "databom.tasks.log_reading",
        "log_verify": "databom.tasks.log_reading",
        "log_witness": "databom.tasks.log_witnessing",
        "meter": "databom.tasks.accounting",
        "mirror": "databom.tasks.mirroring",
        "new_key": "databom.tasks.keyring",
        "open_findings": "databom.tasks.approving",
        "open_asset": "databom.tasks.opening",
        "publish": "databom.tasks.publishing",
        "redact": "databom.tasks.redacting",
        "reproduce": "databom.tasks.reproducing",
        "revoke": "databom.tasks.revoking",
        "sign": "databom.tasks.signing",
        "sync": "databom.tasks.syncing",
        "training": "databom.tasks.training_run",
        "trust_add": "databom.tasks.keyring",
        "trust_diff": "databom.tasks.rotating",
        "trust_draft": "databom.tasks.rotating",
        "trust_remove": "databom.tasks.keyring",
        "trust_show": "databom.tasks.keyring",
        "trust_sign": "databom.tasks.rotating",
        "trust_update": "databom.tasks.rotating",
        "update": "databom.tasks.updating",
        "verify": "databom.tasks.verifying",
        "verify_bundle": "databom.tasks.audit_bundle_verifying",
        "verify_receipt": "databom.tasks.receipting",
        "waive": "databom.tasks.approving",
    },
)
