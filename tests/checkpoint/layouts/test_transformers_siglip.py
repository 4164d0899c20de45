"""SiglipModel of transformers: config and tensors, and the same model in the other layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import zeroshot
from tests.checkpoint import families, families_naflex
from tests.checkpoint.forms import write_json
from tests.checkpoint.support import changed
from zeroshot import catalog
from zeroshot.checkpoint import reader
from zeroshot.checkpoint.config_fields import Fields
from zeroshot.checkpoint.layouts import transformers
from zeroshot.checkpoint.layouts.open_clip_tokenizers import siglip_tokenizer
from zeroshot.checkpoint.layouts.transformers_siglip import to_convolution
from zeroshot.errors import IncompatibleWeights
from zeroshot.spec import PreprocessConfig, TextConfig, ViTConfig

CONFIG = families.huggingface_config()


def test_every_tensor_is_read_by_its_own_name(tmp_path: Path) -> None:
    tensors = families.tensors_of(families.SIGLIP)

    found = reader.read(families.write_transformers(tmp_path, tensors=tensors))

    assert (found.spec, found.layout) == (families.SIGLIP, "transformers")
    state = found.network.state_dict()
    assert state.keys() == tensors.keys()
    assert [name for name in tensors if not torch.equal(state[name], tensors[name])] == []


@pytest.mark.usefixtures("tiny_towers")
def test_identity_is_equal_in_both_layouts(tmp_path: Path) -> None:
    first = zeroshot.load(families.write_transformers(tmp_path / "a"), device="cpu")
    second = zeroshot.load(families.write_open_clip(tmp_path / "b"), device="cpu")

    assert first.identity == second.identity
    assert (first.logit_scale, first.logit_bias) == (second.logit_scale, second.logit_bias)


def test_defaults_are_those_of_the_base_model() -> None:
    document = {"model_type": "siglip", "vision_config": {}, "text_config": {}}

    found = transformers.network_of(Fields(document, "x.json"))

    assert isinstance(found.vision, ViTConfig)
    assert isinstance(found.text, TextConfig)
    assert (found.embed_dim, found.vision.width, found.vision.patch_size) == (768, 768, 16)
    assert (found.text.context_length, found.text.vocab_size) == (64, 32000)
    assert found.vision.activation == found.text.activation == "gelu_tanh"
    assert found.logit_bias


@pytest.mark.parametrize(
    ("path", "value", "what"),
    [
        ("vision_config.hidden_act", "swish", r"vision_config\.hidden_act is 'swish'"),
        ("text_config.hidden_act", ["gelu"], r"text_config\.hidden_act is \['gelu'\]"),
        ("vision_config.vision_use_head", False, "vision_use_head is False, expected True"),
        ("vision_config.num_channels", 1, "num_channels is 1"),
        ("vision_config.num_patches", 256, r"unsupported fields vision_config\.num_patches"),
        ("text_config.use_rope", True, r"unsupported fields text_config\.use_rope"),
        ("is_decoder", True, "is_decoder is True"),
        ("text_config.max_position_embeddings", -1, "max_position_embeddings is -1"),
        ("text_config_dict", {"num_attention_heads": 4}, r"text_config_dict is \{'num_attention_"),
        ("model_type", "siglip3", "model_type is 'siglip3', expected one of clip, siglip, siglip2"),
    ],
)
def test_unsupported_value_is_rejected_by_field_name(path: str, value: Any, what: str) -> None:
    with pytest.raises(IncompatibleWeights, match=what):
        transformers.network_of(changed(CONFIG, path, value))


def test_width_that_differs_from_the_shared_space_is_rejected(tmp_path: Path) -> None:
    families.write_transformers(tmp_path)
    document = families.huggingface_config()
    document["text_config"]["projection_size"] = 40
    write_json(tmp_path / "config.json", document)

    with pytest.raises(IncompatibleWeights, match="vision width is 48, expected 40"):
        reader.read(tmp_path)


@pytest.mark.parametrize("named", ["SiglipImageProcessor", "SiglipImageProcessorFast", None])
def test_pixels_are_normalized_by_one_half_unless_the_config_says_otherwise(
    named: str | None, tmp_path: Path
) -> None:
    families.write_transformers(tmp_path)
    size = {"height": 32, "width": 32}
    write_json(tmp_path / "preprocessor_config.json", {"image_processor_type": named, "size": size})

    preprocess = reader.read(tmp_path).spec.preprocess

    assert (preprocess.mean, preprocess.std) == (families.HALF, families.HALF)


def test_pad_of_the_larger_vocabulary_is_that_of_siglip_2() -> None:
    assert (siglip_tokenizer(64, 32_000).pad, siglip_tokenizer(64, 256_000).pad) == (1, 0)


# ---- NaFlex


def test_every_tensor_of_naflex_is_read_by_its_own_name(tmp_path: Path) -> None:
    tensors = families_naflex.tensors()

    found = reader.read(families_naflex.write_transformers(tmp_path))

    assert (found.spec, found.layout) == (families_naflex.NAFLEX, "transformers")
    state = found.network.state_dict()
    assert state.keys() == tensors.keys()
    assert [name for name in tensors if not torch.equal(state[name], tensors[name])] == []


def test_defaults_of_naflex_are_those_of_the_base_model() -> None:
    document = {"model_type": "siglip2", "vision_config": {}, "text_config": {}}

    found = transformers.network_of(Fields(document, "x.json"))
    pixels = transformers.any_grid_of(Fields({}, "preprocessor_config.json"), 256)

    assert isinstance(found.vision, ViTConfig)
    assert (found.vision.any_grid, found.vision.image_size, found.vision.patch_size) == (
        True,
        256,
        16,
    )
    assert (found.embed_dim, found.text.context_length) == (768, 64)
    assert pixels == PreprocessConfig(
        256, families.HALF, families.HALF, "bilinear", "aspect", patch=16, max_patches=256
    )


@pytest.mark.parametrize(
    ("path", "value", "what"),
    [
        ("vision_config.num_patches", 15, "num_patches is 15, expected a square number"),
        ("vision_config.image_size", 32, r"unsupported fields vision_config\.image_size"),
        ("vision_config.use_rope", True, r"unsupported fields vision_config\.use_rope"),
        ("vision_config.vision_use_head", False, "vision_use_head is False"),
        ("text_config.num_patches", 16, r"unsupported fields text_config\.num_patches"),
    ],
)
def test_unsupported_value_of_naflex_is_rejected(path: str, value: Any, what: str) -> None:
    with pytest.raises(IncompatibleWeights, match=what):
        transformers.network_of(changed(families_naflex.huggingface_config(), path, value))


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("size", {"height": 32, "width": 32}, "size is .* images keep their aspect ratio"),
        ("do_center_crop", True, "do_center_crop is True, expected none"),
        ("do_pad", True, "do_pad is True"),
        ("resample", 0, "resample is 0, expected 2 or 3"),
        ("do_resize", False, "do_resize is False"),
        ("patch_size", 16, "preprocess patch is 16, expected 8, as the image tower has it"),
        ("max_num_patches", 100_000, "preprocess max_patches is 100000, expected 1 to 4096"),
        ("max_num_patches", 0, "max_num_patches is 0, expected a positive integer"),
        ("min_num_patches", 4, "unsupported fields min_num_patches"),
    ],
)
def test_unsupported_preprocessing_of_naflex_is_rejected(
    name: str, value: Any, what: str, tmp_path: Path
) -> None:
    families_naflex.write_transformers(tmp_path)
    document = families_naflex.huggingface_preprocess() | {name: value}
    write_json(tmp_path / "preprocessor_config.json", document)

    with pytest.raises(IncompatibleWeights, match=what):
        reader.read(tmp_path)


def test_patches_of_preprocessing_may_be_null(tmp_path: Path) -> None:
    families_naflex.write_transformers(tmp_path)
    document = dict.fromkeys(("size", "crop_size", "do_pad", "do_center_crop"))
    write_json(
        tmp_path / "preprocessor_config.json", families_naflex.huggingface_preprocess() | document
    )

    assert reader.read(tmp_path).spec == families_naflex.NAFLEX


def test_missing_preprocessing_of_naflex_is_named(tmp_path: Path) -> None:
    families_naflex.write_transformers(tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()

    with pytest.raises(
        IncompatibleWeights,
        match=r"preprocessor_config\.json: no such.* like='siglip2-naflex'",
    ):
        reader.read(tmp_path)


def test_model_that_replaces_missing_preprocessing_is_of_the_same_family(tmp_path: Path) -> None:
    families.write_transformers(tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()

    with pytest.raises(IncompatibleWeights, match=r"no such file.* like='siglip' \(--like\)"):
        reader.read(tmp_path)
    found = reader.read(tmp_path, catalog.find("siglip").published).spec
    assert found.preprocess == families.SIGLIP.preprocess
    assert all(catalog.find(name).name for name in transformers.LIKE.values())


def test_patches_are_stored_by_rows_columns_and_channels() -> None:
    weight = torch.arange(2 * 48.0).reshape(2, 48)

    found = to_convolution(weight)

    assert found.shape == (2, 3, 4, 4)
    assert found[1, 2, 3, 1] == weight[1, (3 * 4 + 1) * 3 + 2]
    assert to_convolution(torch.zeros(2, 50)).shape == (2, 50)  # reported as a wrong shape later
