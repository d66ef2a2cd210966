"""Stages in other people's `dvc.yaml`: only our lines change, and DVC reads what we meant."""

from __future__ import annotations

import difflib
import io
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from databom.errors import ConfigError
from databom.hosts.dvc_yaml import (
    StageSpec,
    ensure_line,
    frozen_stages,
    ignore_line,
    owned_stages,
    remove_stage,
    stage_dependencies,
    upsert_stage,
)

STAGE = StageSpec(
    pin="faces",
    path="data/faces",
    has_envelope=True,
    release="acme-faces@2026-01-10",
    license="CC-BY-4.0",
    creator="creator:alice",
)


def load(text: str) -> dict:
    return YAML(typ="safe", pure=True).load(text) or {}


def removed_lines(before: str, after: str) -> list[str]:
    diff = difflib.ndiff(before.split("\n"), after.split("\n"))
    return [line for line in diff if line.startswith("- ")]


# Each one is a real habit of somebody.
NASTY = {
    "empty": "",
    "blank lines": "\n\n",
    "only comments": "# our pipeline\n# (nothing yet)\n",
    "document start": "---\n",
    "no stages": "vars:\n  - a: 1\n\n# what we compare\nmetrics:\n  - m.json  # main\n# the end\n",
    "no newline at the end": "stages:\n  train:\n    cmd: python train.py",
    "literal text ends the file": "stages:\n  train:\n    cmd: |\n      python train.py\n      echo done",
    "keeping literal text": "stages:\n  train:\n    cmd: |+\n      python train.py\n\n\n\nvars: [p.yaml]\n",
    "literal like comments": "stages:\n  train:\n    cmd: |\n      # a\n      python x\n      # b\n",
    "folded": "stages:\n  train:\n    cmd: >-\n      python train\n      --x 1\n\n# plots\nplots:\n- a.csv\n",
    "zero indent lists": "stages:\n  train:\n    cmd: x\n    deps:\n    - a\n    - b\n",
    "two column lists": "stages:\n  train:\n    cmd: x\n    deps:\n      - a\n      - b\n",
    "four columns": "stages:\n    t:\n        cmd: x\n        deps:\n            - a\n    e:\n        cmd: y\n",
    "quotes and width": (
        "stages:\n  'train':\n    cmd: \"python train.py --name 'x y'  --very-long-option-"
        + "z" * 120
        + ' --more"   # keep me here\n    deps: ["a", \'b\']\n'
    ),
    "comments everywhere": (
        "# head\nstages:  # ours\n  # first\n  train:   # t\n    # why\n    cmd: x  # c\n\n"
        "    # tail of train\n  # eval: (later)\n  #   cmd: y\n\n# --- plots ---\nplots:\n  - p.csv\n"
    ),
    "anchors": (
        "vars:\n  - &base {a: 1}\nstages:\n  train: &t\n    cmd: x\n    deps: &d\n      - a\n"
        "  eval:\n    <<: *t\n    cmd: y\n  third:\n    cmd: z\n    deps: *d\n"
    ),
    "alias last": "stages:\n  train: &t\n    cmd: x\n  again: *t\n",
    "templating": (
        "vars:\n- params.yaml\nstages:\n  prep:\n    foreach: ${sets}\n    do:\n      cmd: x ${item.x}\n"
        "      deps:\n      - ${item.path}\n  fit:\n    matrix:\n      m: [a, b]\n    cmd: fit ${item.m}\n"
    ),
    "windows line ends": "stages:\r\n  train:\r\n    cmd: x\r\n    deps:\r\n      - a\r\nplots:\r\n  - p\r\n",
    "byte order mark": "\ufeffstages:\n  train:\n    cmd: x\n",
    "document end": "stages:\n  train:\n    cmd: x\n...\n",
    "stages not last": "stages:\n  train:\n    cmd: x\n\n\nplots:\n- p\nvars: []\n",
    "non-ASCII": "stages:\n  übung:\n    cmd: echo '你好 🎉'  # ünïcode\n    deps: [dätä]\n",
    "not a number": "vars:\n- x: .nan\n- y: .inf\nstages:\n  train:\n    cmd: x\n",
    "odd single column": "stages:\n train:\n  cmd: x\n  deps:\n   - a\n",
    "quoted section": '"stages":\n  train:\n    cmd: x\n',
}
FLOW = {
    "empty flow stages": "stages: {}\n",
    "empty flow stages with comment": "stages: {}  # none yet\nvars: [a]\n",
    "null stages": "stages:\n",
    "null stages with comment": "stages:  # none yet\n# more\nvars: [a]\n",
    "tilde stages": "vars: [a]\nstages: ~\n",
    "flow stages": "stages: {train: {cmd: x, deps: [a]}}\n",
    "flow stages, many lines": "stages: {\n  train: {cmd: x},  # t\n  eval: {cmd: y}\n}\nplots: []\n",
    "all flow": '{"vars": ["a"], "stages": {"train": {"cmd": "x"}}}\n',
    "all flow, no stages": '{"vars": ["a"]}',
    "empty flow": "{}\n",
    "all flow, null stages": '{"stages": null, "vars": []}\n',
    "all flow, empty stages": '{"stages": {}, "vars": []}\n',
    "commented empty flow": "stages: {  # none\n}\n",
}


@pytest.mark.parametrize("name", NASTY)
def test_only_adds_lines(name: str) -> None:
    before = NASTY[name]
    after = upsert_stage(before, STAGE)
    assert load(after)["stages"].pop(STAGE.name) == STAGE.body()
    assert removed_lines(before, after) == []
    assert upsert_stage(after, STAGE) == after


@pytest.mark.parametrize("name", NASTY | FLOW)
def test_says_the_same_but_for_our_stage(name: str) -> None:
    before = (NASTY | FLOW)[name]
    after = upsert_stage(before, STAGE)
    new, old = load(after), load(before)
    assert new["stages"].pop(STAGE.name) == STAGE.body()
    new["stages"], old["stages"] = new["stages"] or None, old.get("stages") or None
    assert repr(sorted(new.items())) == repr(sorted(old.items()))  # repr: NaN equals itself
    assert ("\r\n" in before) == ("\r\n" in after)
    if "\r\n" in before:
        assert "\n" not in after.replace("\r\n", "")


@pytest.mark.parametrize("name", NASTY | FLOW)
def test_updates_in_place_and_takes_out_again(name: str) -> None:
    before = (NASTY | FLOW)[name]
    first = upsert_stage(before, STAGE)
    moved = StageSpec(pin="faces", path="elsewhere/faces", has_envelope=False)
    second = upsert_stage(first, moved)
    assert load(second)["stages"][STAGE.name] == moved.body()
    assert upsert_stage(second, STAGE) == first
    out = remove_stage(first, "faces")
    assert STAGE.name not in load(out)["stages"]
    if load(before).get("stages"):
        assert out.rstrip("\r\n") == before.rstrip("\r\n")
    assert remove_stage(out, "faces") == out
    assert upsert_stage(out, STAGE)


def test_a_second_stage_goes_behind_the_first() -> None:
    other = StageSpec(pin="cats", path="data/cats", has_envelope=False)
    text = upsert_stage(upsert_stage(None, STAGE), other)
    assert list(load(text)["stages"]) == ["databom-faces", "databom-cats"]
    assert owned_stages(text) == {"faces": "databom-faces", "cats": "databom-cats"}
    assert remove_stage(text, "cats") == upsert_stage(None, STAGE)
    assert remove_stage(remove_stage(text, "cats"), "faces") == "stages: {}\n"


def test_the_text_it_writes() -> None:
    assert upsert_stage(None, STAGE) == (
        "stages:\n"
        "  databom-faces:\n"
        "    desc: Fetch and verify the data of pin faces\n"
        "    cmd: databom sync faces\n"
        "    deps:\n"
        "    - provenance/trust.json\n"
        "    - provenance/manifests/faces.json\n"
        "    - provenance/manifests/faces.json.dsse\n"
        "    - provenance/evidence/faces\n"
        "    params:\n"
        "    - databom.lock:\n"
        "      - pins.faces\n"
        "    - databom.toml: null\n"
        "    outs:\n"
        "    - data/faces:\n"
        "        cache: false\n"
        "        persist: true\n"
        "        type: dataset\n"
        "        meta:\n"
        "          release: acme-faces@2026-01-10\n"
        "          license: CC-BY-4.0\n"
        "          creator: creator:alice\n"
        "    metrics:\n"
        "    - provenance/reports/faces.json:\n"
        "        cache: false\n"
        "    meta:\n"
        "      databom:\n"
        "        schema: 1\n"
        "        pin: faces\n"
    )


def test_follows_the_list_indent_of_the_file() -> None:
    four = upsert_stage(NASTY["four columns"], STAGE)
    assert "        deps:\n            - provenance/trust.json\n" in four
    assert "            - databom.lock:\n                  - pins.faces\n" in four
    two = upsert_stage(NASTY["two column lists"], STAGE)
    assert "    deps:\n      - provenance/trust.json\n" in two


def test_comments_of_the_last_stage_stay_with_it() -> None:
    after = upsert_stage(NASTY["comments everywhere"], STAGE)
    assert after.index("#   cmd: y") < after.index("databom-faces") < after.index("# --- plots ---")


def test_a_stage_that_says_the_same_in_another_spelling_is_left_alone() -> None:
    body = json.dumps(STAGE.body())
    text = f"stages:\n  databom-faces: {body}   # compact, we like it so\n"
    assert upsert_stage(text, STAGE) == text


def test_always_changed_is_kept_and_frozen_is_not() -> None:
    text = upsert_stage(None, STAGE)
    edited = text + "    always_changed: true\n    frozen: true\n"
    stage = load(upsert_stage(edited, STAGE))["stages"]["databom-faces"]
    assert stage["always_changed"] is True
    assert "frozen" not in stage
    kept = text + "    always_changed: true\n"
    assert upsert_stage(kept, STAGE) == kept


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stages:\n  databom-faces:\n    cmd: mine\n", "not written by databom"),
        ("stages:\n  databom-faces:\n    cmd: mine\n    meta: {databom: yes}\n", "not written by databom"),
        (
            "stages:\n  databom-faces:\n    foreach: [a]\n    do: {cmd: x, meta: {databom: {pin: faces}}}\n",
            "not written by databom",
        ),
        (
            "stages:\n  databom-faces: {matrix: {m: [a]}, cmd: x, meta: {databom: {pin: faces}}}\n",
            "not written by databom",
        ),
        (
            "stages:\n  databom-faces:\n    cmd: x\n    meta: {databom: {schema: 1, pin: cats}}\n",
            "not written by databom",
        ),
        ("stages:\n  databom-faces:\n    cmd: x\n    meta: {databom: {schema: 2, pin: faces}}\n", "schema 2"),
        ("stages:\n  renamed:\n    cmd: x\n    meta: {databom: {schema: 1, pin: faces}}\n", "already syncs"),
        ("stages:\n  get:\n    cmd: x\n    outs:\n    - data/faces\n", "already writes data/faces"),
        (
            "stages:\n  get:\n    cmd: x\n    outs:\n    - data:\n        cache: false\n",
            "already writes data,",
        ),
        ("stages:\n  get:\n    wdir: data\n    cmd: x\n    outs: [./faces/a.csv]\n", "data/faces/a.csv"),
        ("stages:\n  get:\n    cmd: x\n    metrics: [provenance/reports/faces.json]\n", "already writes"),
        ("stages:\n  get:\n    cmd: [\n", "line"),
        ("a: 1\na: 2\n", "line 2"),
        ("stages:\n\ttrain: x\n", "line 2"),
        ("stages: [a]\n", "must be a mapping"),
        ("- a\n", "expected a mapping"),
        ("just text\n", "expected a mapping"),
        ("a: 1\n---\nb: 1\n", "line 2"),
        (
            "stages:\n<<<<<<< HEAD\n  a:\n    cmd: x\n=======\n  b:\n    cmd: x\n>>>>>>> other\n",
            "line 2: merge conflict",
        ),
        ("x: &s {}\nstages: *s\n", "cannot write"),
        ("x: &s\n  stages:\n    a:\n      cmd: x\n<<: *s\n", "cannot write"),
        ("stages: !strange {}\n", "not valid YAML"),
        ("a: \x00\n", "not valid YAML"),
        ("[" * 5000, "not valid YAML"),
    ],
)
def test_refuses_and_says_why(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=r"dvc\.yaml") as caught:
        upsert_stage(text, STAGE)
    assert words in str(caught.value)


def test_does_not_remove_what_is_not_ours() -> None:
    text = "stages:\n  databom-faces:\n    cmd: mine\n"
    with pytest.raises(ConfigError, match="not written by databom"):
        remove_stage(text, "faces")
    assert remove_stage(text, "cats") == text
    assert owned_stages(text) == {}


def test_refuses_an_aliased_stage_of_ours() -> None:
    text = upsert_stage(None, STAGE).replace("databom-faces:", "old: &o", 1) + "  databom-faces: *o\n"
    with pytest.raises(ConfigError):
        upsert_stage(text, StageSpec(pin="faces", path="x", has_envelope=False))
    with pytest.raises(ConfigError):
        remove_stage(text, "faces")


def test_an_anchor_others_use_is_not_cut_off() -> None:
    text = upsert_stage(None, STAGE).replace("deps:", "deps: &d", 1) + "  train:\n    cmd: x\n    deps: *d\n"
    with pytest.raises(ConfigError, match="cannot write"):
        upsert_stage(text, StageSpec(pin="faces", path="x", has_envelope=False))


def test_an_anchor_others_use_is_not_removed() -> None:
    text = upsert_stage(None, STAGE).replace("deps:", "deps: &d", 1) + "  train:\n    cmd: x\n    deps: *d\n"
    with pytest.raises(ConfigError, match="cannot write"):
        remove_stage(text, "faces")


def test_the_last_of_a_flow_mapping_is_removed() -> None:
    text = "stages: {train: {cmd: x}, databom-faces: " + json.dumps(STAGE.body()) + "}\n"
    assert remove_stage(text, "faces") == "stages: {train: {cmd: x}}\n"
    alone = "stages: {databom-faces: " + json.dumps(STAGE.body()) + "}  # all\n"
    assert remove_stage(alone, "faces") == "stages: {}  # all\n"


def test_a_stage_through_a_merge_key_is_left_alone() -> None:
    body = json.dumps(STAGE.body())
    text = f"vars:\n- &s {{databom-faces: {body}}}\nstages:\n  <<: *s\n  train:\n    cmd: x\n"
    with pytest.raises(ConfigError, match="cannot write"):
        remove_stage(text, "faces")
    with pytest.raises(ConfigError, match="cannot write"):
        upsert_stage(text, StageSpec(pin="faces", path="x", has_envelope=False))


def test_a_stage_that_is_no_mapping_is_dvcs_to_refuse() -> None:
    assert "databom-faces" in upsert_stage("stages:\n  odd: 1\n", STAGE)


def test_frozen_stages() -> None:
    assert frozen_stages("stages:\n  b: {cmd: x, frozen: true}\n  a: {cmd: y}\n  odd: 1\n") == ["b"]


def test_a_complex_key_is_refused() -> None:
    body = json.dumps(STAGE.body())
    text = f"stages:\n  ? databom-faces\n  : {body}\n"
    with pytest.raises(ConfigError, match="line 2"):
        remove_stage(text, "faces")


# --- templating and hostile words ------------------------------------------------------------------------


@given(st.text(max_size=300), st.text(max_size=50))
def test_words_of_a_manifest_never_break_the_file(license_: str, creator: str) -> None:
    spec = StageSpec(pin="faces", path="data/faces", has_envelope=False, license=license_, creator=creator)
    for before in ("", NASTY["two column lists"], FLOW["flow stages"]):
        after = upsert_stage(before, spec)
        assert load(after)["stages"]["databom-faces"] == spec.body()
        assert "${" not in after.replace("\\${", "").replace("\\\\${", "")


SCALARS = st.sampled_from(
    ["x", "true", "1", "- a", "a: b", "# no", "", "0x1", "é", "| y", "python a.py --x '1'"]
)
BODIES = st.fixed_dictionaries(
    {
        "cmd": st.one_of(
            SCALARS, st.lists(SCALARS, min_size=1, max_size=3), st.just("a\nb\n"), st.just("a\n\n\n")
        )
    },
    optional={"deps": st.lists(SCALARS, max_size=3), "meta": st.dictionaries(SCALARS, SCALARS, max_size=2)},
)
FILES = st.fixed_dictionaries(
    {},
    optional={
        "vars": st.lists(SCALARS, max_size=2),
        "stages": st.dictionaries(st.sampled_from("abcd"), BODIES, max_size=4),
        "plots": st.lists(SCALARS, max_size=2),
    },
)


@settings(max_examples=100, deadline=None)
@given(FILES, st.integers(1, 8), st.integers(0, 4), st.booleans(), st.integers(0, 2**32 - 1), st.booleans())
def test_any_file_a_yaml_writer_makes(
    data: dict, indent: int, offset: int, flow: bool, noise: int, windows: bool
) -> None:
    yaml = YAML()
    yaml.indent(mapping=indent, sequence=offset + 2, offset=offset)
    yaml.default_flow_style = None if flow else False
    buffer = io.StringIO()
    yaml.dump(data, buffer)
    text = buffer.getvalue()
    dice = random.Random(noise)  # noise: comments and blank lines wherever they change nothing
    lines = text.splitlines(keepends=True)
    for _ in range(3):
        where = dice.randint(0, len(lines))
        lines.insert(where, dice.choice(["\n", "# note\n", "   # note\n", "\t\n"]))
        noisy = "".join(lines)
        try:
            same = load(noisy) == data
        except Exception:
            same = False
        if not same:
            del lines[where]
    text = "".join(lines)
    if windows:
        text = text.replace("\n", "\r\n")
    after = upsert_stage(text, STAGE)
    new, old = load(after), load(text)
    assert new["stages"].pop(STAGE.name) == STAGE.body()
    assert new["stages"] == (old.get("stages") or {})
    if old.get("stages") and not flow:
        assert removed_lines(text, after) == []
        assert remove_stage(after, "faces") == text
    assert upsert_stage(after, STAGE) == after


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=80) | st.text(alphabet=" \n:-#{}[],&*!|>'\"%@`ab\t?$", max_size=60))
def test_garbage_is_refused_or_kept(text: str) -> None:
    try:
        after = upsert_stage(text, STAGE)
    except ConfigError:
        return
    assert load(after)["stages"][STAGE.name] == STAGE.body()


# --- dependencies ------------------------------------------------------------------------------------------


def test_dependencies_of_a_stage() -> None:
    text = (
        "stages:\n"
        "  train:\n    cmd: x\n    deps: [train.py, ./data/faces/, 's3://b/k', '${data.dir}', /mnt/x]\n"
        "  sub:\n    wdir: src\n    cmd: x\n    deps:\n    - ../data/faces\n    - a.py\n"
        "  each:\n    foreach: [a, b]\n    do:\n      cmd: x ${item}\n      deps: ['${item}', data/faces]\n"
        "  grid:\n    matrix: {m: [a]}\n    cmd: x\n    deps: [data/faces]\n"
        "  lost:\n    wdir: ${dir}\n    cmd: x\n    deps: [data/faces]\n"
        "  none:\n    cmd: x\n"
    )
    assert stage_dependencies(text, "train") == ["/mnt/x", "data/faces", "train.py"]
    assert stage_dependencies(text, "sub") == ["data/faces", "src/a.py"]
    assert stage_dependencies(text, "each@a") == ["data/faces"]
    assert stage_dependencies(text, "grid@a") == ["data/faces"]
    assert stage_dependencies(text, "lost") == []
    assert stage_dependencies(text, "none") == []
    with pytest.raises(ConfigError, match="no stage 'gone'"):
        stage_dependencies(text, "gone")


# --- .gitignore -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("data/faces", ("data", "/faces")),
        ("faces", (".", "/faces")),
        ("a/b/c/", ("a/b", "/c")),
        ("./x", (".", "/x")),
        ("d/we ird*[1]?", ("d", r"/we\ ird\*\[1]\?")),
    ],
)
def test_ignore_line(path: str, expected: tuple[str, str]) -> None:
    assert ignore_line(path) == expected


def test_ensure_line() -> None:
    assert ensure_line(None, "/faces") == "/faces\n"
    assert ensure_line("/a", "/faces") == "/a\n/faces\n"
    assert ensure_line("/a\r\n", "/faces") == "/a\r\n/faces\r\n"
    for there in ("/faces\n", "/faces", "/a\n/faces/\n", "/faces\r\n", "/faces  \n"):
        assert ensure_line(there, "/faces") == there
    assert ensure_line("# /faces\n!/faces\n", "/faces").endswith("\n/faces\n")
