"""Only a head is replaced, and a head excludes options for labels."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

import zeroshot
from zeroshot.cli.heads import reject_with_head, write_head


def test_options_for_labels_are_rejected_with_a_head() -> None:
    reject_with_head(None, {"--prompts": "photo"})
    reject_with_head("head.safetensors", {"--labels": (), "--prompts": None})
    with pytest.raises(click.UsageError, match="expected no --prompts with --head"):
        reject_with_head("head.safetensors", {"--labels": (), "--prompts": "photo"})


def test_only_a_head_is_replaced(tiny: zeroshot.Model, tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    head = tiny.head(["cat", "dog"])

    write_head(head, path)
    write_head(head, path)
    path.write_bytes(b"something else")

    with pytest.raises(click.UsageError, match="exists and is not a head"):
        write_head(head, path)
    assert path.read_bytes() == b"something else"
