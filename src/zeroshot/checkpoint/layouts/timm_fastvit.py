"""Read FastViT of timm, the image tower of MobileCLIP S0 to S4, inside of open_clip's layout.

Published files contain the branches of training, which are folded. Names are those of timm 1.0.31
(`timm/models/fastvit.py`). Files of `reparameterize_model` of timm contain folded branches.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from zeroshot.checkpoint import folding
from zeroshot.checkpoint.config_fields import Fields
from zeroshot.checkpoint.folding import Recipe
from zeroshot.checkpoint.layouts.base import ImageLayout
from zeroshot.checkpoint.tensors import NOT_WEIGHTS, StoredTensor
from zeroshot.spec import FastViTConfig

PREFIX = "visual.trunk."
FIRST = (f"{PREFIX}stem.0.conv_kxk.0.conv.weight", f"{PREFIX}stem.0.reparam_conv.weight")
DOWN = r"(stages\.\d+)\.downsample\.proj\."
BLOCK = r"(stages\.\d+\.blocks\.\d+)\."
# Pattern of a name, module of this package, and what computes its weight and bias. The second group
# is the name that the recipe expects.
FOLDED: tuple[tuple[str, str, Recipe], ...] = (
    (r"(stem\.\d+)\.(.+)", r"\1", folding.branches),
    (DOWN + r"0\.((?:large|small)_conv\..+)", r"\1.down.conv", folding.branches),
    (DOWN + r"1\.(.+)", r"\1.down.point", folding.branches),
    (r"(stages\.\d+)\.pos_emb\.pos_enc\.(.+)", r"\1.positions", folding.with_residual),
    (BLOCK + r"token_mixer\.((?:mixer|norm|layer_scale)\..+)", r"\1.conv", folding.token_mixer),
    (BLOCK + r"mlp\.(conv\..+)", r"\1.mlp.conv", folding.branches),
    (BLOCK + r"mlp\.fc2\.(.+)", r"\1.mlp.c_proj", folding.scaled),
    (BLOCK + r"layer_scale(?:_2)?\.(gamma)", r"\1.mlp.c_proj", folding.scaled),
    (BLOCK + r"token_mixer\.proj\.(.+)", r"\1.attn.out_proj", folding.scaled),
    (BLOCK + r"layer_scale_1\.(gamma)", r"\1.attn.out_proj", folding.scaled),
    (BLOCK + r"(norm\..+)", r"\1.attn.in_proj", folding.normalized),
    (BLOCK + r"token_mixer\.(qkv\..+)", r"\1.attn.in_proj", folding.normalized),
    (r"(final_conv)\.((?:conv_kxk|conv_scale)\..+)", "conv", folding.branches),
)
RENAMED = (  # these are tried first; reparam_conv is a convolution whose branches timm has folded
    (r"(stem\.\d+)\.reparam_conv\.", r"\1."),
    (DOWN + r"0\.reparam_conv\.", r"\1.down.conv."),
    (DOWN + r"0\.se\.", r"\1.down.squeeze."),
    (DOWN + r"1\.reparam_conv\.", r"\1.down.point."),
    (r"(stages\.\d+)\.pos_emb\.reparam_conv\.", r"\1.positions."),
    (BLOCK + r"token_mixer\.reparam_conv\.", r"\1.conv."),
    (BLOCK + r"mlp\.fc1\.", r"\1.mlp.c_fc."),
    (r"final_conv\.reparam_conv\.", "conv."),
    (r"final_conv\.se\.", "squeeze."),
    (r"head\.fc\.", "proj."),
)


def _config(width: int, layers: tuple[int, ...]) -> FastViTConfig:
    large = len(layers) == 5
    return FastViTConfig(
        image_size=256,  # replaced by that of the config
        width=width,
        layers=layers,
        mlp_ratio=4 if large else 3,
        squeeze=not large,
        layer_norm=large,
    )


TOWERS: dict[str, FastViTConfig] = {
    "fastvit_mci0": _config(64, (2, 6, 10, 2)),
    "fastvit_mci1": _config(64, (4, 12, 20, 4)),
    "fastvit_mci2": _config(80, (4, 12, 24, 4)),
    "fastvit_mci3": _config(96, (2, 12, 24, 4, 2)),
    "fastvit_mci4": _config(128, (2, 12, 24, 4, 4)),
}


def _check_fields(vision: Fields, config: FastViTConfig) -> FastViTConfig:
    """Return the tower; raise IncompatibleWeights for another pool or projection than it has."""
    vision.require(timm_pool="avg")
    if projection := vision.content.get("timm_proj"):
        raise vision.field_error("timm_proj", projection, "null: the tower has a projection")
    return config


def rename(tensors: Mapping[str, Tensor], source: str) -> dict[str, StoredTensor]:
    """Return the tensors of the image tower by this package's names, with folded branches.

    Raises IncompatibleWeights if a branch is incomplete.
    """
    stored: dict[str, StoredTensor] = {}
    modules: dict[str, tuple[Recipe, dict[str, Tensor]]] = {}
    for name, tensor in tensors.items():
        if name.endswith(NOT_WEIGHTS):
            continue
        theirs = name.removeprefix(PREFIX)
        module, part, recipe = _find(theirs)
        if recipe is None:
            stored[f"visual.{module}"] = StoredTensor((tensor,))
        else:
            modules.setdefault(module, (recipe, {}))[1][part] = tensor
    for module, (recipe, parts) in modules.items():
        folds = folding.plan(recipe, parts, f"visual.{module}", source)
        separator = "_" if module.endswith("in_proj") else "."
        for kind, fold in zip(("weight", "bias"), folds, strict=True):
            name = f"visual.{module}{separator}{kind}"
            stored[name] = StoredTensor(tuple(parts.values()), fold=fold)
    return stored


def _find(name: str) -> tuple[str, str, Recipe | None]:
    """Return the module, the name for a recipe and the recipe; or our name and no recipe."""
    for pattern, ours in RENAMED:
        if re.match(pattern, name):
            return re.sub(f"^{pattern}", ours, name), "", None
    for pattern, ours, recipe in FOLDED:
        if found := re.fullmatch(pattern, name):
            return found.expand(ours), found[2], recipe
    return name, "", None


LAYOUT = ImageLayout(FIRST, TOWERS, _check_fields, rename)
