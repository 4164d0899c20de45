"""Every layout becomes the same network, and what does not fit is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.checkpoint import forms
from tests.checkpoint.forms import Form, Tensors
from zeroshot import load
from zeroshot.checkpoint import positions, reader
from zeroshot.checkpoint.layouts import LAYOUTS
from zeroshot.checkpoint.reader import Checkpoint
from zeroshot.checkpoint.weights import on_meta
from zeroshot.errors import (
    IncompatibleWeights,
    InputError,
    ModelNotFound,
    UnsafeWeightsError,
    WeightsError,
)
from zeroshot.spec import PreprocessConfig, Published

# open_clip 3.3.0's own resize_pos_embed, torch 2.14.1, on the values of the tests below
UP = (
    0,
    0.004754677,
    0.09821434,
    0.3025447,
    0.4896483,
    0.4846807,
    0.7171448,
    1.123945,
    1.450053,
    1.797524,
    2.232458,
    2.93417,
    3.462748,
    3.120245,
    3.694184,
    4.598366,
    5.265949,
)
DOWN = (0, 1.242401, 2.349024, 8.170821, 10.9454)

CASES = [(forms.VIT, form) for form in forms.VIT_FORMS]
CASES += [(forms.RESNET, form) for form in forms.RESNET_FORMS]
IDS = [f"{spec.network.vision.kind}-{form.__name__}" for spec, form in CASES]


@pytest.fixture(scope="module")
def vit() -> Tensors:
    return forms.tensors_of(forms.VIT)


@pytest.mark.parametrize(("spec", "form"), CASES, ids=IDS)
def test_every_layout_becomes_the_same_network(spec: Any, form: Form, tmp_path: Path) -> None:
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
def test_one_checkpoint_has_one_identity_in_all_its_forms(
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


# ---- no parameter is ever anything but what the file says


def test_every_missing_tensor_is_an_error(vit: Tensors, tmp_path: Path) -> None:
    reader.read(forms.open_clip(forms.VIT, vit, tmp_path))
    file = tmp_path / "open_clip_model.safetensors"
    # Copies: the next line writes over the file, and some releases of safetensors map it.
    whole = {key: tensor.clone() for key, tensor in load_file(file).items()}
    for name in whole:
        save_file({key: tensor for key, tensor in whole.items() if key != name}, file)
        with pytest.raises(IncompatibleWeights):
            reader.read(tmp_path)


def test_no_random_number_is_drawn_and_no_tensor_left_unfilled(
    vit: Tensors, tmp_path: Path
) -> None:
    path = forms.open_clip(forms.VIT, vit, tmp_path)
    before = torch.random.get_rng_state()

    network = reader.read(path).network

    assert torch.equal(torch.random.get_rng_state(), before)
    tensors = (*network.parameters(), *network.buffers())
    assert not any(tensor.is_meta for tensor in tensors)


def test_a_blank_network_has_no_values_and_cannot_answer() -> None:
    network = on_meta(forms.VIT.network)

    assert all(tensor.is_meta for tensor in network.state_dict().values())


def test_all_mismatches_are_one_error_with_three_names_per_kind(
    vit: Tensors, tmp_path: Path
) -> None:
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


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_tensor_that_is_not_of_numbers_is_named(
    vit: Tensors, value: float, tmp_path: Path
) -> None:
    broken = vit | {"visual.proj": vit["visual.proj"].clone()}
    broken["visual.proj"][5, 5] = value

    with pytest.raises(IncompatibleWeights, match=r"visual\.proj contains NaN or infinity"):
        reader.read(forms.open_clip(forms.VIT, broken, tmp_path)).weights.check()


def test_a_large_sum_of_finite_values_is_no_infinity(vit: Tensors, tmp_path: Path) -> None:
    large = vit | {"visual.proj": torch.full((64, 32), 3e38)}

    reader.read(forms.open_clip(forms.VIT, large, tmp_path))


def test_a_scale_beyond_a_thousand_is_no_clips(vit: Tensors, tmp_path: Path) -> None:
    with pytest.raises(IncompatibleWeights, match="logit_scale"):
        reader.read(forms.open_clip(forms.VIT, vit | {"logit_scale": torch.tensor(8.0)}, tmp_path))


# ---- what the files do not say, and who says it instead


def test_bare_tensors_need_a_hint(vit: Tensors, tmp_path: Path) -> None:
    torch.save(forms.openai(vit), tmp_path / "bare.pt")

    with pytest.raises(IncompatibleWeights, match="like="):
        reader.read(tmp_path / "bare.pt")

    hints = Published("gelu", PreprocessConfig(224, interpolation="bilinear"))
    spec = reader.read(tmp_path / "bare.pt", hints).spec
    assert spec.network.text.activation == "gelu"
    assert spec.preprocess == PreprocessConfig(32, interpolation="bilinear")


def test_a_traced_model_that_is_not_openais_is_not_taken_for_one(
    vit: Tensors, tmp_path: Path
) -> None:
    forms.save_torchscript(forms.openai(vit), tmp_path / "traced.pt")

    with pytest.raises(IncompatibleWeights, match="do not determine activation"):
        reader.read(tmp_path / "traced.pt")


def test_heads_come_from_the_config_not_from_the_width(vit: Tensors, tmp_path: Path) -> None:
    path = forms.transformers(forms.VIT, vit, tmp_path)
    config = forms.huggingface_config(forms.VIT)
    config["vision_config"]["num_attention_heads"] = 4  # 16 wide, where OpenAI has 64
    forms.write_json(tmp_path / "config.json", config)

    assert reader.read(path).spec.network.vision.heads == 4


def test_either_config_will_do_where_a_folder_has_but_one(vit: Tensors, tmp_path: Path) -> None:
    forms.transformers(forms.VIT, vit, tmp_path)
    (tmp_path / "config.json").unlink()
    forms.write_json(tmp_path / "open_clip_config.json", forms.open_clip_config(forms.VIT))

    assert reader.read(tmp_path).spec == forms.VIT


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_a_folder_that_misses_a_config_says_which(name: str, vit: Tensors, tmp_path: Path) -> None:
    forms.transformers(forms.VIT, vit, tmp_path)
    (tmp_path / name).unlink()

    with pytest.raises(IncompatibleWeights, match=name):
        reader.read(tmp_path)


def test_a_hint_stands_in_for_a_missing_preprocessor_config(vit: Tensors, tmp_path: Path) -> None:
    forms.transformers(forms.VIT, vit, tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()

    assert reader.read(tmp_path, Published("gelu", PreprocessConfig(224))).spec == forms.VIT


# ---- which file is meant


def test_a_folder_of_several_unknown_files_asks_for_one(vit: Tensors, tmp_path: Path) -> None:
    for name in ("a.pt", "b.pt"):
        (tmp_path / name).touch()
    with pytest.raises(ModelNotFound, match=r"a\.pt, b\.pt; pass the file"):
        reader.read(tmp_path)


def test_shards_that_are_not_there_are_named(vit: Tensors, tmp_path: Path) -> None:
    forms.open_clip_shards(forms.VIT, vit, tmp_path)
    (tmp_path / "open_clip_model-00002-of-00002.safetensors").unlink()

    with pytest.raises(ModelNotFound, match=r"1 of 2 shards .*open_clip_model-00002"):
        reader.read(tmp_path)


def test_a_shard_of_another_revision_is_refused(vit: Tensors, tmp_path: Path) -> None:
    forms.open_clip_shards(forms.VIT, vit, tmp_path)
    save_file(
        {"visual.proj": vit["visual.proj"]}, tmp_path / "open_clip_model-00001-of-00002.safetensors"
    )

    with pytest.raises(IncompatibleWeights, match="do not match the index"):
        reader.read(tmp_path)


@pytest.mark.parametrize("place", ["../elsewhere.safetensors", "/etc/passwd", "a/b.bin", "x.py", 3])
def test_an_index_names_files_beside_it_only(place: object, tmp_path: Path) -> None:
    index = {"weight_map": {"logit_scale": place}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))

    with pytest.raises(UnsafeWeightsError, match="file names in the same folder"):
        reader.read(tmp_path)


def test_a_pointer_of_git_lfs_says_how_to_fetch_the_file(tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n"
    (tmp_path / "model.safetensors").write_text(pointer)

    with pytest.raises(UnsafeWeightsError, match="git lfs pull"):
        reader.read(tmp_path)


def test_a_file_that_cannot_be_opened_is_our_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.pt").write_bytes(b"x")

    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(tmp_path / "a.pt"))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(WeightsError, match=r"a\.pt: cannot be read \(Permission denied\)"):
        reader.read(tmp_path / "a.pt")


# ---- pictures of another size


def test_position_embeddings_are_resized_as_open_clip_resizes_them() -> None:
    values = torch.arange(10.0) ** 2 / 16  # class token and a grid of 3 x 3, one wide

    found = positions.resize(values[:, None], 16)[:, 0]

    torch.testing.assert_close(found, torch.tensor(UP), rtol=1e-6, atol=1e-6)


def test_position_embeddings_are_antialiased_when_they_shrink() -> None:
    values = torch.arange(17.0) ** 2 / 16  # class token and a grid of 4 x 4

    found = positions.resize(values[:, None], 4)[:, 0]

    torch.testing.assert_close(found, torch.tensor(DOWN), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("spec", "size"), [(forms.VIT, 48), (forms.VIT, 16), (forms.RESNET, 96)])
def test_a_size_asked_for_is_the_size_the_network_sees(
    spec: Any, size: int, tmp_path: Path
) -> None:
    tensors = forms.tensors_of(spec)

    checkpoint: Checkpoint = reader.read(forms.openai_archive(spec, tensors, tmp_path), None, size)

    assert checkpoint.spec.preprocess.size == checkpoint.spec.network.vision.image_size == size
    assert checkpoint.network.visual(torch.zeros(1, 3, size, size)).shape == (1, 32)


@pytest.mark.parametrize("size", [0, -32, 33, 8 * 10**6, True, 32.0, "32"])
def test_a_size_that_the_patches_do_not_fill_is_refused(
    size: Any, vit: Tensors, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="multiple of 8"):
        reader.read(forms.ours(forms.VIT, vit, tmp_path), None, size)


def test_the_own_size_changes_nothing(vit: Tensors, tmp_path: Path) -> None:
    path = forms.ours(forms.VIT, vit, tmp_path)

    assert torch.equal(
        reader.read(path, None, 32).network.visual.positional_embedding,
        vit["visual.positional_embedding"],
    )


def test_tensors_of_no_known_layout_are_named(tmp_path: Path) -> None:
    save_file({"blip.vision": torch.ones(2)}, tmp_path / "other.safetensors")

    with pytest.raises(IncompatibleWeights, match=r"unsupported layout.*blip\.vision"):
        reader.read(tmp_path / "other.safetensors")


def test_every_layout_has_a_name_of_its_own() -> None:
    assert [layout.name for layout in LAYOUTS] == ["native", "openai", "open_clip", "transformers"]


@pytest.mark.parametrize("name", ["open_clip_model.safetensors", "model.safetensors"])
def test_safetensors_files_win_over_pickles(name: str, vit: Tensors, tmp_path: Path) -> None:
    forms.open_clip(forms.VIT, vit, tmp_path)
    (tmp_path / "open_clip_model.safetensors").rename(tmp_path / name)
    for pickled in ("open_clip_pytorch_model.bin", "pytorch_model.bin"):
        (tmp_path / pickled).write_bytes(b"not weights")

    assert reader.read(tmp_path).source == str(tmp_path / name)


def test_a_shard_index_of_two_megabytes_is_read(vit: Tensors, tmp_path: Path) -> None:
    forms.open_clip_shards(forms.VIT, vit, tmp_path)
    (index,) = tmp_path.glob("*.index.json")
    content = json.loads(index.read_text())
    content["metadata"] = {"note": "x" * 2**21}
    index.write_text(json.dumps(content))

    assert reader.read(tmp_path).spec == forms.VIT
