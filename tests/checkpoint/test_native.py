"""Our own layout holds everything, and `zeroshot convert` brings any other into it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from tests.checkpoint import forms
from tests.checkpoint.forms import Form, Tensors
from zeroshot import load
from zeroshot.checkpoint import reader
from zeroshot.checkpoint.layouts import native
from zeroshot.checkpoint.layouts.native import to_json
from zeroshot.cli import main
from zeroshot.errors import IncompatibleWeights

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
def test_a_converted_checkpoint_gives_the_same_embeddings(
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


def test_half_is_half_the_size(vit: Tensors, tmp_path: Path) -> None:
    source = forms.ours(forms.VIT, vit, tmp_path)
    for name in ("full", "half"):
        options = ["--half"] if name == "half" else []
        CliRunner().invoke(
            main, ["convert", str(source), str(tmp_path / f"{name}.safetensors"), *options]
        )

    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "full")]
    assert sizes[0] / sizes[1] == pytest.approx(0.5, abs=0.02)


def test_bare_tensors_are_converted_with_a_hint(vit: Tensors, tmp_path: Path) -> None:
    torch.save(forms.openai(vit), tmp_path / "bare.pt")
    target = tmp_path / "new.safetensors"

    result = CliRunner().invoke(
        main, ["convert", str(tmp_path / "bare.pt"), str(target), "--like", "ViT-B/32"]
    )

    assert result.exit_code == 0, result.output
    assert reader.read(target).spec == forms.VIT


def test_a_file_in_the_way_stays_unless_forced(vit: Tensors, tmp_path: Path) -> None:
    source, target = forms.ours(forms.VIT, vit, tmp_path), tmp_path / "new.safetensors"
    target.write_text("mine")

    refused = CliRunner().invoke(main, ["convert", str(source), str(target)])
    assert refused.exit_code == 2
    assert target.read_text() == "mine"

    assert CliRunner().invoke(main, ["convert", str(source), str(target), "--force"]).exit_code == 0
    assert reader.read(target).spec == forms.VIT


@pytest.mark.parametrize("target", ["new.pt", "absent/new.safetensors"])
def test_a_target_that_cannot_be_is_wrong_usage(target: str, tmp_path: Path) -> None:
    assert CliRunner().invoke(main, ["convert", "x.pt", str(tmp_path / target)]).exit_code == 2


def test_numbers_beyond_half_precision_are_not_cut(vit: Tensors) -> None:
    with pytest.raises(IncompatibleWeights, match=r"visual\.proj contains values beyond 65504"):
        native.halve({"visual.proj": torch.full((2, 2), 1e6)})


def test_nothing_is_left_of_a_file_that_could_not_be_written(
    vit: Tensors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))

    with pytest.raises(OSError, match="full"):
        native.save(tmp_path / "a.safetensors", "a", forms.VIT, vit)

    assert list(tmp_path.iterdir()) == []


def test_one_tensor_under_two_names_is_written_twice(tmp_path: Path) -> None:
    shared = torch.ones(2, 2)

    native.save(tmp_path / "a.safetensors", "a", forms.VIT, {"a": shared, "b": shared})

    assert (tmp_path / "a.safetensors").exists()


# ---- int8 rows


def quantized(vit: Tensors) -> Tensors:
    rows = torch.randint(-127, 128, (64, 32), generator=torch.Generator().manual_seed(0))
    return vit | {"visual.proj": rows.to(torch.int8), "visual.proj.scale": torch.rand(64)}


def write(tensors: Tensors, path: Path) -> Path:
    save_file(tensors, path, {native.METADATA_KEY: json.dumps(to_json(forms.VIT))})
    return path


def test_int8_rows_are_widened_by_their_scales(vit: Tensors, tmp_path: Path) -> None:
    tensors = quantized(vit)

    network = reader.read(write(tensors, tmp_path / "a.safetensors")).network

    expected = tensors["visual.proj"].float() * tensors["visual.proj.scale"][:, None]
    assert torch.equal(network.visual.proj, expected)


@pytest.mark.parametrize(
    "wrong",
    [
        {"visual.proj.scale": torch.ones(63)},
        {"visual.proj.scale": torch.ones(64, 1)},
        {"visual.proj.scale": torch.ones(1_000_000)},
        {"visual.proj": torch.ones(64, 32)},
        {"visual.proj": torch.tensor(1, dtype=torch.int8)},
    ],
)
def test_scales_that_do_not_belong_are_refused(
    wrong: Tensors, vit: Tensors, tmp_path: Path
) -> None:
    with pytest.raises(IncompatibleWeights, match=r"one \.scale per row"):
        reader.read(write(quantized(vit) | wrong, tmp_path / "a.safetensors"))


def test_int8_without_scales_is_no_weight(vit: Tensors, tmp_path: Path) -> None:
    tensors = quantized(vit)
    del tensors["visual.proj.scale"]

    with pytest.raises(IncompatibleWeights, match=r"not floating point: visual\.proj of int8"):
        reader.read(write(tensors, tmp_path / "a.safetensors"))
