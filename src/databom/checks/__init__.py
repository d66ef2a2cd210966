"""Is it all right? One file a question; each answers with findings.

| file | question |
|---|---|
| `integrity` | are the bytes those of the manifest, and is there nothing else in the tree? |
| `streaming` | the same, of more assets than should be held at once |
| `assembling` | are the shards of a large release together a release? |
| `release` | is this the release that was asked for, and still the newest truth about it? |
| `statement` | what does the store itself say it holds (no byte is read, never a pass)? |
| `completeness` | does the manifest say all it should? |
| `changes` | does this branch believe more, or demand less, than the base it left? |
| `memory` | has it forgotten, or gone back behind, what the base had seen? |
| `personal` | is there personal data in it that no consent covers? |
| `gate` | do license, payment and consent allow the intended use? |
| `stated` | is a license stated at all (all that `verify` asks)? |
| `license` | does the license allow it, and do all that speak of it agree? |
| `deciding` | may data under these licenses be used so, and why? |
| `terms`, `signalling` | what do the stated terms, and others' signals, say against it? |
| `revocation` | has the license of this very release been taken back? |
| `approvals` | has somebody who may accepted what a check alone could not? |
| `coverage` | is all data that a pipeline reads behind a pin? |

And the answers, for other programs: `formats/` writes a report as SARIF, JUnit XML and Markdown.

A check takes what it judges as arguments (a manifest, a reader, a clock's reading) and yields or returns
`databom.model.finding.Finding`s. "The answer is no" is a finding; so is "this one could not be answered"
(`storage.*`), so that one dead asset does not hide nine bad ones. Checks read; they never write, ask the
user, or know DVC and MLflow. No check can be switched off here: what a policy tolerates is decided by
severity, in `tasks`.

    from databom.checks.integrity import check_integrity, check_unlisted
    from databom.storage.tree import LocalTree

    tree = LocalTree(Path("data/hn-imagepack"))
    answer = check_integrity(manifest, tree)
    findings = (*answer.findings, *check_unlisted([a.path for a in manifest.assets], tree))

Promised: the same input gives the same findings in the same order, whatever the executor. Not promised: that
a file stays what it was after it was checked; whoever reads later compares `Outcome.stat`, or reads through
`databom.open`.

Imports from `storage`, `trust`, `scanners`, `model` and `errors` only.
"""
