"""databom: train only on data you can account for.

A marketplace publishes a signed manifest for a dataset release. databom pins it, fetches the assets, proves
each byte, and leaves a bill of materials with every training run.

In a notebook or a script:

    import databom

    report = databom.verify("hn-imagepack")        # a Report; a "no" is a verdict, never an exception
    report.require()                               # raises CheckFailed, carrying the report

    with databom.open("hn-imagepack", "images/cat1.jpg") as f:   # bytes that match the pin, or an error
        ...

In `dvc.yaml`, `databom add` writes a stage; in MLflow, every run started inside a project with pins carries
its data's evidence with no line of code (`databom.mlflow.autolog(mode="enforce")` refuses instead).

Eight rooms, imports downwards only: `model` (what is claimed), `trust` (who said so), `storage` (bytes),
`log` (what happened), `checks` (is it all right), `bom` (tell others), `hosts` (DVC, the tracking server), `tasks` (do
it).

Importing this package imports none of them: names are loaded when first used.
"""

from __future__ import annotations

from databom._lazy import lazy_exports

__version__ = "0.1.0"

__getattr__, __dir__, _names = lazy_exports(
    __name__,
    {
        "CheckFailed": "databom.errors",
        "ConfigError": "databom.errors",
        "DatabomError": "databom.errors",
        "Finding": "databom.model.finding",
        "InputError": "databom.errors",
        "Manifest": "databom.model.manifest",
        "Report": "databom.model.finding",
        "Reports": "databom.model.finding",
        "Severity": "databom.model.finding",
        "StorageError": "databom.errors",
        "Verdict": "databom.model.finding",
        "add": "databom.tasks",
        "affected": "databom.tasks",
        "approve": "databom.tasks",
        "attach": "databom.tasks",
        "bundle": "databom.tasks",
        "check": "databom.tasks",
        "drill": "databom.tasks",
        "explain": "databom.tasks",
        "gate": "databom.tasks",
        "gate_model": "databom.tasks",
        "init": "databom.tasks",
        "ledger": "databom.tasks",
        "meter": "databom.tasks",
        "mirror": "databom.tasks",
        "open": "databom.tasks:open_asset",
        "publish": "databom.tasks",
        "read_manifest": "databom.model.manifest",
        "redact": "databom.tasks",
        "reproduce": "databom.tasks",
        "revoke": "databom.tasks",
        "sync": "databom.tasks",
        "training": "databom.tasks",
        "update": "databom.tasks",
        "use": "databom.tasks.use",
        "verify": "databom.tasks",
        "verify_bundle": "databom.tasks",
        "waive": "databom.tasks",
    },
)
__all__ = [*_names, "__version__"]  # noqa: PLE0604  # strings, from a list
