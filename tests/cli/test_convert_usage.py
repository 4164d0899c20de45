"""`zeroshot convert` writes one file that loads as the same model, or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import zeroshot
from zeroshot.cli import main
from zeroshot.cli.failures import NO_MODEL


def convert(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["convert", *map(str, arguments)])


def test_a_converted_model_keeps_its_identity(
    tiny: zeroshot.Model, tiny_path: Path, tmp_path: Path
) -> None:
    target = tmp_path / "new.safetensors"

    result = convert(tiny_path, target)

    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert f"identity {tiny.identity}" in result.stderr
    assert zeroshot.load(target, device="cpu").identity == tiny.identity


def test_a_model_can_be_converted_by_name(tmp_path: Path) -> None:
    target = tmp_path / "mini.safetensors"

    result = convert("mini", target, "--offline")

    assert result.exit_code == 0, result.output
    expected = zeroshot.load("mini", device="cpu")
    assert zeroshot.load(target, device="cpu").identity == expected.identity


def test_a_target_of_another_suffix_is_rejected(tiny_path: Path, tmp_path: Path) -> None:
    result = convert(tiny_path, tmp_path / "new.pt")

    assert result.exit_code == 2
    assert "must end in .safetensors" in result.stderr


def test_an_existing_target_is_overwritten_only_with_force(tiny_path: Path, tmp_path: Path) -> None:
    target = tmp_path / "new.safetensors"
    target.write_bytes(b"mine")

    refused = convert(tiny_path, target)
    assert (refused.exit_code, target.read_bytes()) == (2, b"mine")
    assert "--force replaces it" in refused.stderr

    assert convert(tiny_path, target, "--force").exit_code == 0
    assert target.stat().st_size > 10_000


def test_a_missing_target_folder_is_reported_before_loading(tmp_path: Path) -> None:
    result = convert("absent-source", tmp_path / "absent" / "new.safetensors")

    assert result.exit_code == 2
    assert "is not a folder" in result.stderr


@pytest.mark.parametrize("content", [None, b"junk"])
def test_an_unreadable_source_writes_nothing(content: bytes | None, tmp_path: Path) -> None:
    source, target = tmp_path / "old.pt", tmp_path / "new.safetensors"
    if content is not None:
        source.write_bytes(content)

    result = convert(source, target)

    assert result.exit_code == NO_MODEL
    assert "old.pt" in result.stderr
    assert not target.exists()
