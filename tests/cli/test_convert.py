"""`zeroshot convert` brings every layout into the package's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from tests.checkpoint import forms
from tests.checkpoint.forms import Form, Tensors
from zeroshot import load
from zeroshot.checkpoint import reader
from zeroshot.cli import main

WORDS = ["a dog", "two cats", "an old photograph of a street in the rain"]


@pytest.fixture(scope="module")
def vit() -> Tensors:
    return forms.tensors_of(forms.VIT)


def embeddings(path: Path, like: str | None = None) -> tuple[torch.Tensor, torch.Tensor, str]:
    model = load(path, device="cpu", dtype="float32", like=like)
    pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return model.encode_pixels(pixels), model.encode_text(WORDS), model.identity


@pytest.mark.parametrize("form", forms.VIT_FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize("options", [(), ("--half",)], ids=["full", "half"])
def test_converted_checkpoint_gives_the_same_embeddings(
    form: Form, options: tuple[str, ...], vit: Tensors, tmp_path: Path
) -> None:
    (tmp_path / "old").mkdir()
    source, target = form(forms.VIT, vit, tmp_path / "old"), tmp_path / "new.safetensors"

    result = CliRunner().invoke(main, ["convert", str(source), str(target), *options])

    assert result.exit_code == 0, result.output
    images, texts, identity = embeddings(target)
    expected = embeddings(source)
    assert torch.equal(images, expected[0])
    assert torch.equal(texts, expected[1])
    assert identity == expected[2]
    assert identity in result.output


def test_half_option_halves_the_file_size(vit: Tensors, tmp_path: Path) -> None:
    source = forms.ours(forms.VIT, vit, tmp_path)
    for name in ("full", "half"):
        options = ["--half"] if name == "half" else []
        CliRunner().invoke(
            main, ["convert", str(source), str(tmp_path / f"{name}.safetensors"), *options]
        )

    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "full")]
    assert sizes[0] / sizes[1] == pytest.approx(0.5, abs=0.02)


def test_bare_state_dict_is_converted_with_like(vit: Tensors, tmp_path: Path) -> None:
    torch.save(forms.openai(vit), tmp_path / "bare.pt")
    target = tmp_path / "new.safetensors"

    result = CliRunner().invoke(
        main, ["convert", str(tmp_path / "bare.pt"), str(target), "--like", "ViT-B/32"]
    )

    assert result.exit_code == 0, result.output
    assert reader.read(target).spec == forms.VIT


def test_existing_file_is_kept_without_force(vit: Tensors, tmp_path: Path) -> None:
    source, target = forms.ours(forms.VIT, vit, tmp_path), tmp_path / "new.safetensors"
    target.write_text("mine")

    refused = CliRunner().invoke(main, ["convert", str(source), str(target)])
    assert refused.exit_code == 2
    assert target.read_text() == "mine"

    assert CliRunner().invoke(main, ["convert", str(source), str(target), "--force"]).exit_code == 0
    assert reader.read(target).spec == forms.VIT


@pytest.mark.parametrize("target", ["new.pt", "absent/new.safetensors"])
def test_invalid_target_is_a_usage_error(target: str, tmp_path: Path) -> None:
    assert CliRunner().invoke(main, ["convert", "x.pt", str(tmp_path / target)]).exit_code == 2
