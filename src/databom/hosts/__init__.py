"""hosts - what the tasks need of the tools databom lives in.

    dvc_yaml    dvc.yaml as text: add, update and remove the stages that are ours
    yaml_text   one entry of a YAML file, edited without touching any other line
    dvc_state   DVC's own memory of file hashes, so that it does not read verified data again
    tracking    MLflow's client
    git         where a branch left another one, what a file was there, and what the code is now

Each host is imported inside the function that needs it: `import databom.hosts.dvc_yaml` imports neither DVC
nor ruamel. A host's exception never leaves this room; what a user can repair becomes a `ConfigError`.

A stage for a pin, from text to text:

    from databom.hosts import dvc_yaml

    spec = dvc_yaml.stage_for("digits", pin, trust_root="provenance/trust.json", has_envelope=True)
    new = dvc_yaml.upsert_stage(old, spec)         # old plus our lines; every other line as it was

What this room does not promise: that DVC checks anything. DVC decides *when* our command runs, by names,
sizes and times; whether the bytes are right is asked by `databom sync` inside the stage and by `databom exec`
in front of the training (a restored mtime or `dvc repro -s` goes round any stage).

May import `storage`, `trust`, `model` and `errors`; blind to `checks` and `bom`.
"""
