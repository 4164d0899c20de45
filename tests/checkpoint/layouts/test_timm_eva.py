"""EVA-CLIP, MobileCLIP and CLIP's own towers of timm in open_clip's layout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

import zeroshot
from tests.checkpoint import families_eva as eva
from tests.checkpoint.forms import write_json
from tests.checkpoint.support import changed
from tests.support import photograph
from zeroshot.checkpoint import reader
from zeroshot.checkpoint.config_fields import Fields
from zeroshot.checkpoint.layouts import open_clip, timm
from zeroshot.errors import IncompatibleWeights
from zeroshot.spec import PreprocessConfig, ViTConfig

TOWERS = eva.TOWERS
EVA = [name for name in TOWERS if name.startswith("eva")]


@pytest.fixture(autouse=True)
def _tiny_towers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, config in TOWERS.items():
        monkeypatch.setitem(timm.TOWERS, name, config)


def tower_of(name: str) -> ViTConfig:
    return open_clip.read_timm_tower(
        Fields(
            {"timm_model_name": name, "timm_pool": "token", "timm_proj": None, "image_size": 224},
            "x.json",
        )
    )


@pytest.mark.parametrize("tower", TOWERS)
def test_every_tensor_is_read_by_its_own_name(tower: str, tmp_path: Path) -> None:
    spec = eva.spec_of(TOWERS[tower])
    tensors = eva.tensors_of(spec)
    eva.write(tmp_path, tower, tensors)

    found = reader.read(tmp_path)

    assert (found.spec, found.layout) == (spec, "open_clip")
    state = found.network.state_dict()
    assert {name for name in state if not name.endswith("num_batches_tracked")} == tensors.keys()
    assert [name for name in tensors if not torch.equal(state[name], tensors[name])] == []


@pytest.mark.parametrize("tower", EVA)
def test_keys_without_bias_get_zeros(tower: str, tmp_path: Path) -> None:
    tensors = eva.tensors_of(eva.spec_of(TOWERS[tower]))
    eva.write(tmp_path, tower, tensors)

    bias = reader.read(tmp_path).weights.read("visual.transformer.resblocks.1.attn.in_proj_bias")

    query, key, value = bias.chunk(3)
    assert not key.any()
    assert query.abs().min() > 0
    assert value.abs().min() > 0


@pytest.mark.parametrize("kind", ["q_bias", "v_bias"])
def test_missing_bias_is_reported(kind: str, tmp_path: Path) -> None:
    tower = "eva_tiny_patch8"
    tensors = eva.tensors_of(eva.spec_of(TOWERS[tower]))
    eva.write(tmp_path, tower, tensors)
    stored = eva.timm_tensors(tensors, separate=False)
    del stored[f"{timm.PREFIX}blocks.1.attn.{kind}"]
    save_file(stored, tmp_path / "open_clip_model.safetensors")

    with pytest.raises(IncompatibleWeights, match=r"1 missing: visual.*\.attn\.in_proj_bias"):
        reader.read(tmp_path)


@pytest.mark.parametrize("tower", TOWERS)
def test_saved_model_gives_the_same_embeddings(tower: str, tmp_path: Path) -> None:
    eva.write(tmp_path, tower, eva.tensors_of(eva.spec_of(TOWERS[tower])))
    model = zeroshot.load(tmp_path, device="cpu", dtype="float32")
    images = [photograph(50 + n, 60, n) for n in range(3)]
    found = model.encode_image(images)
    model.save(tmp_path / "saved.safetensors")

    saved = zeroshot.load(tmp_path / "saved.safetensors", device="cpu", dtype="float32")

    assert saved.identity == model.identity
    torch.testing.assert_close(saved.encode_image(images), found, rtol=0, atol=1e-6)
    pixels = torch.stack([torch.from_numpy(model.prepare(image)) for image in images])
    expected = F.normalize(model.network.visual(pixels), dim=1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("tower", TOWERS)
def test_other_image_size_resamples_positions(tower: str, tmp_path: Path) -> None:
    config = TOWERS[tower]
    size = 2 * config.image_size
    tensors = eva.tensors_of(eva.spec_of(config))
    eva.write(tmp_path, tower, tensors)

    found = reader.read(tmp_path, image_size=size)

    positions = found.network.state_dict()["visual.positional_embedding"]
    extra = config.extra_positions
    assert len(positions) == (size // config.patch_size) ** 2 + extra
    assert torch.equal(positions[:extra], tensors["visual.positional_embedding"][:extra])
    assert found.network.visual(torch.zeros(1, 3, size, size)).shape == (1, 24)


# ---- the table of towers


@pytest.mark.parametrize(
    ("name", "expected"),
    [  # width, layers, heads, MLP, patch
        ("eva_giant_patch14_224", (1408, 40, 16, 6144, 14)),
        ("eva_giant_patch14_clip_224", (1408, 40, 16, 6144, 14)),
        ("eva02_base_patch16_clip_224", (768, 12, 12, 2048, 16)),
        ("eva02_large_patch14_clip_224", (1024, 24, 16, 2730, 14)),
        ("eva02_large_patch14_clip_336", (1024, 24, 16, 2730, 14)),
        ("eva02_enormous_patch14_clip_224", (1792, 64, 16, 15360, 14)),
        ("vit_base_mci_224", (768, 12, 12, 3072, 16)),
        ("vit_large_patch14_clip_224", (1024, 24, 16, 4096, 14)),
        ("vit_huge_patch14_clip_quickgelu_378", (1280, 32, 16, 5120, 14)),
    ],
)
def test_name_of_a_tower_gives_its_sizes(name: str, expected: tuple[int, ...]) -> None:
    found = tower_of(name)

    sizes = (found.width, found.layers, found.heads, found.mlp_width, found.patch_size)
    assert sizes == expected
    assert list(found.problems()) == []


def test_options_of_evas_towers_follow_their_names() -> None:
    giant, base = tower_of("eva_giant_patch14_224"), tower_of("eva02_base_patch16_clip_224")
    enormous = tower_of("eva02_enormous_patch14_clip_224")

    assert base.block_options == (True, True, "input")
    assert giant.block_options == (False, False, "input")
    assert enormous.block_options == (False, False, "output")
    assert {giant.eps, base.eps, enormous.eps} == {1e-6}
    assert (base.rotary, base.rotary_grid, base.rotary_start) == ("yx", 16, 0)
    assert (giant.rotary, enormous.rotary) == ("none", "none")


def test_activation_of_clips_towers_is_that_of_the_name() -> None:
    for size in ("base_patch32", "base_patch16", "large_patch14", "huge_patch14"):
        assert tower_of(f"vit_{size}_clip_224").activation == "gelu"
        assert tower_of(f"vit_{size}_clip_quickgelu_224").activation == "quick_gelu"


def test_quick_gelu_of_a_config_does_not_change_a_tower_of_timm() -> None:
    config = changed(eva.config("eva_tiny_patch8"), "model_cfg.quick_gelu", True)

    network = open_clip.from_config(config).network

    assert (network.vision.activation, network.text.activation) == ("gelu", "quick_gelu")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("timm_pool", "avg", "timm_pool is 'avg', expected 'token'"),
        ("timm_proj", "linear", "timm_proj is 'linear', expected null"),
        ("timm_model_name", "eva02_base_patch14_224", "timm_model_name is 'eva02_base"),
        ("timm_model_name", "eva02_small_patch14_336", "timm_model_name is 'eva02_small"),
    ],
)
def test_unsupported_value_is_rejected(field: str, value: Any, expected: str) -> None:
    document = eva.config("eva_tiny_patch8")
    with pytest.raises(IncompatibleWeights, match=expected) as caught:
        open_clip.from_config(changed(document, f"model_cfg.vision_cfg.{field}", value))

    assert len(str(caught.value)) < 600


def test_projection_that_a_config_leaves_out_is_that_of_open_clip() -> None:
    document = eva.config("eva_tiny_patch8")
    del document["model_cfg"]["vision_cfg"]["timm_proj"]

    with pytest.raises(IncompatibleWeights, match="timm_proj is 'linear', expected null"):
        open_clip.from_config(Fields(document, "x.json"))


def test_rotary_places_stay_on_the_grid_of_16_at_other_sizes() -> None:
    from zeroshot.nn.rotary import angles

    small = replace(eva.EVA_02, image_size=128)  # 16 patches a side
    like = torch.zeros(1)
    cos, _ = angles(small, like) or (like, like)
    wide, _ = angles(small.resized(256), like) or (like, like)

    grid, twice = cos.view(16, 16, -1), wide.view(32, 32, -1)
    torch.testing.assert_close(twice[::2, ::2], grid)


def test_size_of_the_image_is_that_of_the_config(tmp_path: Path) -> None:
    tower = "eva02_tiny_patch8_clip_40"
    eva.write(tmp_path, tower, eva.tensors_of(eva.spec_of(TOWERS[tower])))
    document = eva.config(tower)
    document["model_cfg"]["vision_cfg"]["image_size"] = 48
    write_json(tmp_path / "open_clip_config.json", document)

    assert open_clip.from_config(Fields(document, "x")).preprocess == PreprocessConfig(48)
    with pytest.raises(IncompatibleWeights, match="positional_embedding is 26x64, expected 37x64"):
        reader.read(tmp_path)
