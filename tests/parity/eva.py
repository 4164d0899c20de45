"""EVA-CLIP, MobileCLIP and CLIPA as open_clip writes them, and the sizes of timm's towers.

The networks have the options of the published ones at small widths. Their image towers are
registered with timm by new names, and added to zeroshot's table.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import checkpoints
import timm
import torch
from checkpoints import Peer
from peers import OPENAI_MEAN, OPENAI_STD, open_clip
from safetensors.torch import load_file
from timm.models import register_model
from timm.models.eva import checkpoint_filter_fn

from tests.checkpoint.families_clipa import vocabulary
from tests.checkpoint.families_eva import GOLDEN
from tests.checkpoint.families_eva_own import own_names
from zeroshot.checkpoint.config_fields import Fields
from zeroshot.checkpoint.layouts import timm as towers
from zeroshot.checkpoint.layouts.open_clip import read_timm_tower
from zeroshot.checkpoint.tensors import NOT_WEIGHTS
from zeroshot.checkpoint.weights import on_meta
from zeroshot.spec import NetworkConfig, TextConfig, ViTConfig

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
SQUASH = IMAGENET | {"interpolation": "bilinear", "resize_mode": "squash"}
PREPROCESS = {"mean": list(OPENAI_MEAN), "std": list(OPENAI_STD)}
WIDTH, LAYERS, HEADS = 96, 3, 4
TEXT = {"width": 64, "heads": 2, "layers": 3}


@dataclass(frozen=True)
class Small:
    """A model of open_clip with a narrow image tower, registered with timm as `name`."""

    model: str  # of open_clip's model_configs
    name: str

    @property
    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = open_clip.get_model_config(self.model)
        config["vision_cfg"]["timm_model_name"] = self.name
        config["text_cfg"] |= TEXT
        return config | {"embed_dim": 80}


def register(name: str, base: str, config: ViTConfig, **sizes: Any) -> str:
    """Register a tower with timm, of other sizes than `base`, and in zeroshot's table."""

    def build(pretrained: bool = False, **options: Any) -> torch.nn.Module:
        made: torch.nn.Module = timm.create_model(base, pretrained=False, **sizes | options)
        return made

    build.__name__ = build.__qualname__ = name
    build.__module__ = __name__
    register_model(build)
    towers.TOWERS[name] = config
    return name


def narrow(base: str, key: str) -> str:
    """Register a tower with the options of a published one; return its name."""
    published = towers.TOWERS[key]
    name, config = f"narrow_{base}", replace(published, layers=LAYERS)
    if published.stem != "patch":  # the stem has the width of the published tower
        return register(name, base, config, depth=LAYERS)
    ratio = 4 * 2 / 3 if published.gated_mlp else published.mlp_width / published.width
    config = replace(config, width=WIDTH, heads=HEADS, mlp_width=int(WIDTH * ratio))
    return register(name, base, config, embed_dim=WIDTH, depth=LAYERS, num_heads=HEADS)


def golden_folder(name: str, base: str, seed: int, *, causal: bool) -> Callable[[Path], None]:
    """Return a writer of a tiny model for tests/fixtures."""
    config = GOLDEN[name]
    register(
        name,
        base,
        config,
        img_size=config.image_size,
        patch_size=config.patch_size,
        embed_dim=config.width,
        depth=config.layers,
        num_heads=config.heads,
        mlp_ratio=config.mlp_width / config.width,
    )
    model = {
        "embed_dim": 40,
        "custom_text": True,
        "vision_cfg": {
            "image_size": config.image_size, "timm_model_name": name,
            "timm_model_pretrained": False, "timm_pool": "token", "timm_proj": None,
        },
        "text_cfg": {
            "context_length": 77, "vocab_size": 49408, "width": 32, "heads": 1, "layers": 1,
            "no_causal_mask": not causal,
        },
    }  # fmt: skip

    def write(path: Path) -> None:
        checkpoints.write_open_clip_folder(path, model, PREPROCESS, seed=seed, logit_scale=20.0)

    return write


SMALL = {
    small.model: small
    for small in (
        Small("EVA02-B-16", narrow("eva02_base_patch16_clip_224", "eva02_base_patch16_clip")),
        Small("EVA02-L-14-336", narrow("eva02_large_patch14_clip_336", "eva02_large_patch14_clip")),
        Small(
            "EVA02-E-14", narrow("eva02_enormous_patch14_clip_224", "eva02_enormous_patch14_clip")
        ),
        Small("EVA01-g-14", narrow("eva_giant_patch14_224", "eva_giant_patch14")),
        Small("MobileCLIP-B", narrow("vit_base_mci_224", "vit_base_mci")),
        Small("MobileCLIP2-L-14", narrow("vit_large_patch14_clip_224", "vit_large_patch14_clip")),
    )
}
CLIPA = {
    "embed_dim": 80,
    "vision_cfg": {
        "image_size": 84, "layers": 3, "width": 160, "head_width": 80, "patch_size": 14,
        "no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True,
    },
    "text_cfg": {
        "context_length": 32, "vocab_size": 400, "hf_tokenizer_name": "bert-base-uncased",
        "tokenizer_kwargs": {"strip_sep_token": True}, "pool_type": "last", "no_causal_mask": True,
        **TEXT,
    },
}  # fmt: skip


def folder(model: str, seed: int, preprocess: dict[str, Any]) -> Callable[[Path], None]:
    """Return a writer of a model of `SMALL` with all tensors random."""

    def write(path: Path) -> None:
        checkpoints.write_open_clip_folder(
            path, SMALL[model].config, PREPROCESS | preprocess, seed=seed, logit_scale=50.0
        )

    return write


def own_file(model: str, seed: int) -> Callable[[Path], None]:
    """Return a writer of a small EVA-CLIP in the names of the original files.

    timm's code, which converts such files, restores its own names. Heads of the text tower have 64
    channels, because the file does not contain their number.
    """
    config = SMALL[model].config
    config["text_cfg"] |= {"width": 128, "heads": 2}
    narrow_tower = towers.TOWERS[SMALL[model].name]
    towers.TOWERS[f"eva02_{SMALL[model].name}"] = narrow_tower  # the layout searches by this prefix

    def write(path: Path) -> None:
        folder = path.parent / "open_clip"
        checkpoints.write_open_clip_folder(folder, config, PREPROCESS, seed=seed, logit_scale=50.0)
        state = load_file(folder / "open_clip_model.safetensors")
        content = own_names(state)
        torch.save(content, path)
        with torch.device("meta"):
            made = timm.create_model(SMALL[model].name, num_classes=config["embed_dim"])
        restored = restore(content, made)
        assert restored.keys() == state.keys()
        assert all(torch.equal(restored[name], state[name]) for name in state)

    return write


def restore(content: dict[str, torch.Tensor], trunk: Any) -> dict[str, torch.Tensor]:
    """Return the tensors in open_clip's layout, with those of the image as timm converts them."""
    image = checkpoint_filter_fn(content, trunk)
    text = {name: tensor for name, tensor in content.items() if not name.startswith("visual.")}
    return text | {f"{towers.PREFIX}{name}": tensor for name, tensor in image.items()}


def read_own_file(path: Path) -> Peer:
    """Load the file with open_clip and timm, which converts its names."""
    folder = path.parent / "open_clip"
    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    content = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(restore(content, model.visual.trunk), strict=True)
    return checkpoints.open_clip_peer(model.eval(), transform)


def clipa_folder(seed: int, *, golden: bool = False) -> Callable[[Path], None]:
    """Return a writer of a small CLIPA, or a tiny one, and of a vocabulary of BERT."""
    config: dict[str, Any] = copy.deepcopy(CLIPA)
    if golden:
        config["vision_cfg"] |= {"image_size": 28, "patch_size": 7, "layers": 2, "width": 32}
        config["vision_cfg"] |= {"head_width": 16}
        config["text_cfg"] |= {"width": 32, "layers": 2}

    def write(path: Path) -> None:
        checkpoints.write_open_clip_folder(path, config, SQUASH, seed=seed, logit_scale=50.0)
        (path / "vocab.txt").write_bytes(vocabulary())
        settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
        (path / "tokenizer_config.json").write_text(json.dumps(settings))

    return write


def read_clipa_folder(path: Path) -> Peer:
    """Load with open_clip, which reads the tokenizer of the folder as its config says."""
    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{path}")
    tokenizer: Callable[..., torch.Tensor] = open_clip.get_tokenizer(f"local-dir:{path}")
    return checkpoints.open_clip_peer(model.eval(), transform, lambda texts: tokenizer(list(texts)))


def read_open_clip_folder(path: Path) -> Peer:
    """Load with open_clip, whose text towers without a mask read rows with their padding."""
    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{path}")
    return checkpoints.open_clip_peer(model.eval(), transform)


def resized_peer(path: Path, size: int) -> Peer:
    """Load with open_clip, and let timm change the input size of the image tower."""
    peer = read_open_clip_folder(path)
    peer.model.visual.trunk.set_input_size(img_size=size)
    return peer


# ---- the table of towers


PUBLISHED = (
    *("eva_giant_patch14_224", "eva_giant_patch14_clip_224", "eva02_base_patch16_clip_224"),
    *("eva02_large_patch14_clip_224", "eva02_large_patch14_clip_336"),
    *("eva02_enormous_patch14_clip_224", "vit_base_mci_224"),
    *("vit_base_patch32_clip_224", "vit_base_patch16_clip_224", "vit_large_patch14_clip_224"),
    *("vit_large_patch14_clip_336", "vit_huge_patch14_clip_224", "vit_huge_patch14_clip_378"),
    *("vit_base_patch32_clip_quickgelu_224", "vit_large_patch14_clip_quickgelu_336"),
    *("vit_base_patch16_clip_quickgelu_224", "vit_huge_patch14_clip_quickgelu_378"),
)


def different_towers() -> Iterator[str]:
    """Yield the published towers whose shapes, heads or epsilon differ in timm and zeroshot."""
    text = TextConfig(8, 600, 16, 1, 1, 16, "gelu")
    for name in PUBLISHED:
        with torch.device("meta"):
            theirs = timm.create_model(name, num_classes=64, global_pool="token")
        tensors = {f"{towers.PREFIX}{n}": tensor for n, tensor in theirs.state_dict().items()}
        stored = towers.LAYOUT.rename(tensors, name)
        found = {n: each.shape for n, each in stored.items()}
        size = theirs.patch_embed.img_size[0]
        config = tower(name, size)
        state = on_meta(NetworkConfig(64, config, text)).visual.state_dict()
        expected = {
            f"visual.{n}": tensor.shape
            for n, tensor in state.items()
            if not n.endswith(NOT_WEIGHTS)
        }
        activation = type(getattr(theirs.blocks[0].mlp, "act", None)).__name__
        quick = (activation == "QuickGELU") == (config.activation == "quick_gelu")
        heads, eps = theirs.blocks[0].attn.num_heads, theirs.blocks[0].norm1.eps
        if found != expected or (heads, eps) != (config.heads, config.eps) or not quick:
            yield name


def tower(name: str, size: int) -> ViTConfig:
    """Return the sizes that zeroshot has for a name."""
    fields = {
        "timm_model_name": name, "timm_pool": "token", "timm_proj": None, "image_size": size,
    }  # fmt: skip
    found = read_timm_tower(Fields(fields, "config"))
    assert isinstance(found, ViTConfig)
    return found
