"""`zeroshot convert` brings every layout into the package's own, in one file or none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from tests.checkpoint import families, forms
from tests.checkpoint.forms import Form, Tensors
from zeroshot import Model, load
from zeroshot.checkpoint import reader
from zeroshot.cli import main
from zeroshot.cli.failures import CANNOT_WRITE, NO_MODEL

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


# ---- usage


def convert(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["convert", *map(str, arguments)])


def test_a_converted_model_keeps_its_identity(tiny: Model, tiny_path: Path, tmp_path: Path) -> None:
    target = tmp_path / "new.safetensors"

    result = convert(tiny_path, target)

    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert f"fingerprint {tiny.identity}" in result.stderr
    assert load(target, device="cpu").identity == tiny.identity


def test_a_model_can_be_converted_by_name(tmp_path: Path) -> None:
    target = tmp_path / "mini.safetensors"

    result = convert("mini", target, "--offline")

    assert result.exit_code == 0, result.output
    expected = load("mini", device="cpu")
    assert load(target, device="cpu").identity == expected.identity


def test_a_target_of_another_suffix_is_rejected(tiny_path: Path, tmp_path: Path) -> None:
    result = convert(tiny_path, tmp_path / "new.pt")

    assert result.exit_code == 2
    assert "expected a TARGET that ends in .safetensors" in result.stderr


def test_invalid_target_is_a_usage_error(tmp_path: Path) -> None:
    assert convert("x.pt", tmp_path / "new.pt").exit_code == 2


def test_an_existing_target_is_overwritten_only_with_force(tiny_path: Path, tmp_path: Path) -> None:
    target = tmp_path / "new.safetensors"
    target.write_bytes(b"mine")

    refused = convert(tiny_path, target)
    assert (refused.exit_code, target.read_bytes()) == (2, b"mine")
    assert "use --force to replace it" in refused.stderr

    assert convert(tiny_path, target, "--force").exit_code == 0
    assert target.stat().st_size > 10_000


def test_a_missing_target_folder_is_reported_before_loading(tmp_path: Path) -> None:
    result = convert("absent-source", tmp_path / "absent" / "new.safetensors")

    assert result.exit_code == CANNOT_WRITE
    assert "absent: no such folder; create it first" in result.stderr


@pytest.mark.parametrize("content", [None, b"junk"])
def test_an_unreadable_source_writes_nothing(content: bytes | None, tmp_path: Path) -> None:
    source, target = tmp_path / "old.pt", tmp_path / "new.safetensors"
    if content is not None:
        source.write_bytes(content)

    result = convert(source, target)

    assert result.exit_code == NO_MODEL
    assert "old.pt" in result.stderr
    assert not target.exists()


def test_converted_siglip_contains_its_tokenizer(tmp_path: Path) -> None:
    source = families.write_transformers(tmp_path / "siglip")
    target = tmp_path / "new.safetensors"

    result = CliRunner().invoke(main, ["convert", str(source), str(target)])

    assert result.exit_code == 0, result.output
    found, expected = (load(path, device="cpu", dtype="float32") for path in (target, source))
    assert torch.equal(found.encode_text(["a cat", "dog"]), expected.encode_text(["a cat", "dog"]))
    assert (found.identity, found.logit_bias) == (expected.identity, expected.logit_bias)
