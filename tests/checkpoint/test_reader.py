"""Every layout becomes the same network, and an error names what does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.checkpoint import forms
from tests.checkpoint.forms import Form, Tensors
from zeroshot import load
from zeroshot.checkpoint import reader
from zeroshot.checkpoint.reader import Checkpoint
from zeroshot.errors import IncompatibleWeights, InputError, WeightsError
from zeroshot.spec import PreprocessConfig, Published

CASES = [(forms.VIT, form) for form in forms.VIT_FORMS]
CASES += [(forms.RESNET, form) for form in forms.RESNET_FORMS]
IDS = [f"{spec.network.vision.kind}-{form.__name__}" for spec, form in CASES]


@pytest.mark.parametrize(("spec", "form"), CASES, ids=IDS)
def test_every_layout_gives_the_same_network(spec: Any, form: Form, tmp_path: Path) -> None:
    tensors = forms.tensors_of(spec)
    path = form(spec, tensors, tmp_path)

    checkpoint = reader.read(path)

    assert checkpoint.spec == spec
    state = checkpoint.network.state_dict()
    assert {n for n in state if not n.endswith("num_batches_tracked")} == set(tensors)
    different = [name for name, tensor in tensors.items() if not torch.equal(state[name], tensor)]
    assert different == []


@pytest.mark.parametrize(
    ("spec", "chosen"), [(forms.VIT, forms.VIT_FORMS), (forms.RESNET, forms.RESNET_FORMS)]
)
def test_identity_is_the_same_in_every_layout(
    spec: Any, chosen: tuple[Form, ...], tmp_path: Path
) -> None:
    tensors = forms.tensors_of(spec)
    identities = {}
    for form in chosen:
        folder = tmp_path / form.__name__
        folder.mkdir()
        identities[form.__name__] = load(form(spec, tensors, folder), device="cpu").identity
    tensors["visual.conv1.weight"][0, 0, 0, 0] += 1
    other = load(forms.ours(spec, tensors, tmp_path), device="cpu").identity

    assert len(set(identities.values())) == 1, identities
    assert other not in identities.values()


def test_any_missing_tensor_is_an_error(vit: Tensors, tmp_path: Path) -> None:
    reader.read(forms.open_clip(forms.VIT, vit, tmp_path))
    file = tmp_path / "open_clip_model.safetensors"
    # Copies: the next line writes over the file, and some releases of safetensors map it.
    whole = {key: tensor.clone() for key, tensor in load_file(file).items()}
    for name in whole:
        save_file({key: tensor for key, tensor in whole.items() if key != name}, file)
        with pytest.raises(IncompatibleWeights):
            reader.read(tmp_path)


def test_loading_draws_no_random_numbers_and_fills_every_tensor(
    vit: Tensors, tmp_path: Path
) -> None:
    path = forms.open_clip(forms.VIT, vit, tmp_path)
    before = torch.random.get_rng_state()

    network = reader.read(path).network

    assert torch.equal(torch.random.get_rng_state(), before)
    tensors = (*network.parameters(), *network.buffers())
    assert not any(tensor.is_meta for tensor in tensors)


def test_one_error_lists_all_tensors_that_do_not_fit(vit: Tensors, tmp_path: Path) -> None:
    wrong = {n: t for n, t in vit.items() if ".ln_" not in n}
    wrong |= {f"visual.more.{n}": torch.zeros(1) for n in range(11)}
    wrong["visual.proj"] = torch.zeros(3, 4)
    wrong["visual.class_embedding"] = torch.zeros(64, dtype=torch.int32)

    with pytest.raises(IncompatibleWeights) as caught:
        reader.read(forms.open_clip(forms.VIT, wrong, tmp_path))

    message = str(caught.value)
    assert "18 missing" in message
    assert "and 15 more" in message
    assert "11 unexpected" in message
    assert "visual.proj is 3x4, expected 64x32" in message
    assert "visual.class_embedding of int32" in message


def test_logit_scale_above_1000_is_rejected(vit: Tensors, tmp_path: Path) -> None:
    with pytest.raises(IncompatibleWeights, match="logit_scale"):
        reader.read(forms.open_clip(forms.VIT, vit | {"logit_scale": torch.tensor(8.0)}, tmp_path))


def test_config_of_another_layout_is_used_if_it_is_the_only_one(
    vit: Tensors, tmp_path: Path
) -> None:
    forms.transformers(forms.VIT, vit, tmp_path)
    (tmp_path / "config.json").unlink()
    forms.write_json(tmp_path / "open_clip_config.json", forms.open_clip_config(forms.VIT))

    assert reader.read(tmp_path).spec == forms.VIT


def test_unreadable_file_is_a_weights_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.pt").write_bytes(b"x")

    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(tmp_path / "a.pt"))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(WeightsError, match=r"a\.pt: cannot be read \(Permission denied\)"):
        reader.read(tmp_path / "a.pt")


@pytest.mark.parametrize(("spec", "size"), [(forms.VIT, 48), (forms.VIT, 16), (forms.RESNET, 96)])
def test_image_size_sets_the_input_size_of_the_network(
    spec: Any, size: int, tmp_path: Path
) -> None:
    tensors = forms.tensors_of(spec)

    checkpoint: Checkpoint = reader.read(forms.openai_archive(spec, tensors, tmp_path), None, size)

    assert checkpoint.spec.preprocess.size == checkpoint.spec.network.vision.image_size == size
    assert checkpoint.network.visual(torch.zeros(1, 3, size, size)).shape == (1, 32)


@pytest.mark.parametrize("size", [0, -32, 33, 8 * 10**6, True, 32.0, "32"])
def test_image_size_that_is_not_a_multiple_of_the_patch_size_is_rejected(
    size: Any, vit: Tensors, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="multiple of 8"):
        reader.read(forms.ours(forms.VIT, vit, tmp_path), None, size)


def test_image_size_of_the_checkpoint_keeps_position_embeddings(
    vit: Tensors, tmp_path: Path
) -> None:
    path = forms.ours(forms.VIT, vit, tmp_path)

    assert torch.equal(
        reader.read(path, None, 32).network.visual.positional_embedding,
        vit["visual.positional_embedding"],
    )


def test_unknown_layout_error_names_the_tensors(tmp_path: Path) -> None:
    save_file({"blip.vision": torch.ones(2)}, tmp_path / "other.safetensors")

    with pytest.raises(IncompatibleWeights, match=r"unsupported layout.*blip\.vision"):
        reader.read(tmp_path / "other.safetensors")


def test_like_prevails_over_a_config_of_another_library(vit: Tensors, tmp_path: Path) -> None:
    forms.open_clip(forms.VIT, vit, tmp_path)
    (tmp_path / "open_clip_config.json").unlink()
    forms.write_json(tmp_path / "config.json", {"architecture": "vit_base_patch32_clip_224"})

    spec = reader.read(tmp_path, Published("quick_gelu", PreprocessConfig(224))).spec

    assert spec == forms.VIT


def test_a_processor_config_without_an_image_processor_is_not_preprocessing(
    vit: Tensors, tmp_path: Path
) -> None:
    path = forms.transformers(forms.VIT, vit, tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    forms.write_json(tmp_path / "processor_config.json", {"processor_class": "CLIPProcessor"})

    assert reader.read(path, Published("gelu", PreprocessConfig(224))).spec == forms.VIT
