"""databom.toml: every mistake is an error that says what was meant."""

from __future__ import annotations

import pytest

from databom.errors import ConfigError
from databom.model.config import default_config, default_config_text, parse_config


def test_what_init_writes_is_the_default() -> None:
    config = parse_config(default_config_text("local/x-1").encode())
    assert config.use.purpose == "train"
    assert config.policy.payment == "declared"
    assert config.log_origin == "local/x-1"
    assert config == parse_config(b'[use]\n[policy]\n[log]\norigin = "local/x-1"\n')


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[use]\n", ["[policy]"]),
        ("[policy]\n", ["[use]"]),
        ("[use]\n[policy]\npaymnet = 'off'\n", ["policy.paymnet", "did you mean 'payment'"]),
        ("[use]\n[polcy]\n[policy]\n", ["polcy", "did you mean 'policy'"]),
        ("[use]\n[polcy]\n", ["polcy", "did you mean 'policy'"]),
        ("[Use]\n[policy]\n", ["Use", "did you mean 'use'"]),
        ("x = 1\n[use]\n[policy]\n", ["'x'"]),
        ("[use]\ncommercial = 'yes'\n[policy]\n", ["use.commercial", "true or false", "'yes'"]),
        ("[use]\ncommercial = 1\n[policy]\n", ["use.commercial", "true or false"]),
        ("[use]\npurpose = 'trian'\n[policy]\n", ["use.purpose", "did you mean 'train'"]),
        ("[use]\n[policy]\nsignature = 'off'\n", ["policy.signature"]),
        ("[use]\n[policy]\nintegrity = 'off'\n", ["policy.integrity"]),
        ("[use]\n[use]\n[policy]\n", ["TOML"]),
        ("use = 1\n[policy]\n", ["[use]"]),
        ("\x00", ["TOML"]),
    ],
)
def test_mistakes(text: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config(text.encode())
    for part in parts:
        assert part in str(refused.value)


def test_the_policy_digest_covers_use_and_policy_and_nothing_else() -> None:
    base = parse_config(b"[use]\n[policy]\n")
    assert base.policy_digest == parse_config(b"[use]\n[policy]\n[mlflow]\nmode = 'enforce'\n").policy_digest
    assert base.policy_digest != parse_config(b"[use]\ncommercial = false\n[policy]\n").policy_digest
    assert base.policy_digest != parse_config(b"[use]\n[policy]\npayment = 'off'\n").policy_digest


def test_where_there_is_no_project_what_init_writes_holds() -> None:
    assert default_config() == parse_config(default_config_text("").encode())
