"""`zeroshot doctor` prints its checks and exits with 1 when one failed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.support import fill_hub_cache
from zeroshot.cli import main
from zeroshot.diagnostics import doctor
from zeroshot.diagnostics.doctor import Check
from zeroshot.tokenizers import clip as tokenizer

FILES = {"open_clip_config.json": b"{}", "open_clip_model.safetensors": b"w" * 2_000_000}
VIT_B_32 = "timm/vit_base_patch32_clip_224.openai"


def keep_case(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture
def quick(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the checks that run the embedded model, which have their own tests."""
    monkeypatch.setattr(
        doctor, "check_embedded_model", lambda: Check("stages", "embedded model", "ok", "")
    )
    monkeypatch.setattr(doctor, "check_feeding", lambda: iter(()))


@pytest.mark.usefixtures("quick")
def test_a_sound_installation_exits_with_0_and_a_damaged_cache_with_1(
    hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = CliRunner().invoke(main, ["doctor"])
    fill_hub_cache(hub_cache, VIT_B_32, FILES)["open_clip_model.safetensors"].write_bytes(
        b"damaged"
    )
    monkeypatch.setattr(doctor, "check_stages", lambda: iter(()))
    damaged = CliRunner().invoke(main, ["doctor", "--verify"])

    assert sound.exit_code == 0, sound.output
    assert "!!" not in sound.output
    assert damaged.exit_code == 1
    assert "  !!  ViT-B/32: " in damaged.output
    assert "1 of " in damaged.output.splitlines()[-1]


@pytest.mark.usefixtures("quick")
def test_a_failed_stage_is_named_in_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer, "clean", keep_case)

    result = CliRunner().invoke(main, ["doctor", "--json"])
    report = json.loads(result.stdout)

    assert result.exit_code == 1
    assert report["ok"] is False
    assert [check["name"] for check in report["checks"] if check["status"] == "bad"] == [
        "tokenizer"
    ]


@pytest.mark.usefixtures("quick")
def test_the_report_states_that_a_token_is_set_without_its_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor, "check_stages", lambda: iter(()))
    monkeypatch.setenv("HF_TOKEN", "hf_verysecret")

    text, document = (
        CliRunner().invoke(main, ["doctor", *options]).output for options in ([], ["--json"])
    )

    assert "token: found" in text
    assert "verysecret" not in text + document


@pytest.fixture
def one_check(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that lets the examination find a single check."""
    return lambda check: monkeypatch.setattr(doctor, "examine", lambda verify: iter([check]))


@pytest.mark.parametrize(
    ("status", "mark", "code"), [("ok", "ok", 0), ("note", "--", 0), ("bad", "!!", 1)]
)
def test_each_status_has_a_mark_and_only_bad_exits_with_1(
    status: Any, mark: str, code: int, one_check: Any
) -> None:
    one_check(Check("machine", "cpu", status, "detail", "do this"))

    result = CliRunner().invoke(main, ["doctor"])

    assert result.exit_code == code
    assert result.output.splitlines()[:3] == [
        "machine",
        f"  {mark}  cpu: detail",
        "      do this",
    ]


def test_json_output_has_every_field_of_a_check(one_check: Any) -> None:
    one_check(Check("machine", "cpu", "bad", "detail", "do this"))

    result = CliRunner().invoke(main, ["doctor", "--json"])

    assert result.exit_code == 1
    check = {"group": "machine", "name": "cpu", "status": "bad"}
    check |= {"detail": "detail", "advice": "do this"}
    assert json.loads(result.stdout) == {"ok": False, "checks": [check]}
