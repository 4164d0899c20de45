"""Read the original files of EVA-CLIP, those of QuanSun/EVA-CLIP.

They have no config. Names become those of open_clip with timm, as in `eva.py` of timm; sizes are
those of the published tower with the same shapes. Files store the tables of rotary positions, which
are computed instead. Sources: `eva_vit_model.py` and `factory.py` in `EVA-CLIP/rei/eva_clip` of
baaivision/EVA.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Set

from torch import Tensor

from zeroshot.checkpoint.config_fields import check_spec
from zeroshot.checkpoint.layouts import open_clip, timm
from zeroshot.checkpoint.layouts.base import TEXT_ROOTS, Checkpointed, Layout, check_new
from zeroshot.checkpoint.layouts.openai import count_modules, network_from_shapes
from zeroshot.checkpoint.tensors import StoredTensor
from zeroshot.errors import IncompatibleWeights
from zeroshot.spec import PreprocessConfig, Published, Spec, ViTConfig

IMAGE = "visual."
FIRST = {"visual.cls_token", "visual.patch_embed.proj.weight", "visual.blocks.0.norm1.weight"}
WORDS = {"token_embedding.weight", "text.token_embedding.weight"}
ROTARY = re.compile(r"visual\.(blocks\.\d+\.attn\.)?rope\.freqs_(cos|sin)")  # computed values
NAMES = (  # below the prefix
    (r"\.attn\.inner_attn_ln\.", ".attn.norm."),
    (r"\.mlp\.ffn_ln\.", ".mlp.norm."),
    (r"\.mlp\.w1\.", ".mlp.fc1_g."),
    (r"\.mlp\.w2\.", ".mlp.fc1_x."),
    (r"\.mlp\.w3\.", ".mlp.fc2."),
)
SCALE = "text.logit_scale"  # of files that were converted to a separate text tower
TOWERS = ("eva_", "eva02_")  # of timm


def _recognizes(names: Set[str], metadata: Mapping[str, str]) -> bool:
    return names >= FIRST and bool(names & WORDS)


def _rename(tensors: dict[str, Tensor], source: str) -> dict[str, StoredTensor]:
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if ROTARY.fullmatch(name):
            continue
        ours = _rename_one(name)
        check_new(ours, renamed, name, source, " in open_clip")
        renamed[ours] = tensor
    return open_clip.LAYOUT.rename(renamed, source)


def _rename_one(name: str) -> str:
    """Return the name in open_clip's layout."""
    if not name.startswith(IMAGE):
        return f"text.{name}" if name.startswith(TEXT_ROOTS) else name.replace(SCALE, "logit_scale")
    name = timm.PREFIX + name.removeprefix(IMAGE)
    for pattern, replacement in NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _spec(found: Checkpointed, like: Published | None) -> Spec:
    network = network_from_shapes(found, _read_vision)
    preprocess = PreprocessConfig(network.vision.image_size)
    return check_spec(Spec(network, preprocess), str(found.path))


def _read_vision(tensors: Mapping[str, StoredTensor], source: str) -> ViTConfig:
    """Return the image tower of the published size with these shapes."""
    width, _, patch, _ = tensors["visual.conv1.weight"].shape
    layers = count_modules(tensors, "visual.transformer.resblocks.")
    mlp_width = tensors["visual.transformer.resblocks.0.mlp.c_fc.weight"].shape[0]
    sizes = (patch, width, layers, mlp_width)
    for name, tower in timm.TOWERS.items():
        if name.startswith(TOWERS) and sizes == (
            *(tower.patch_size, tower.width, tower.layers, tower.mlp_width),
        ):
            positions, _ = tensors["visual.positional_embedding"].shape
            return tower.resized(math.isqrt(max(positions - 1, 0)) * patch)
    raise IncompatibleWeights(
        f"{source}: expected one of the sizes of EVA-CLIP (EVA01 g; EVA02 B, L, E), got patches of "
        f"{patch} pixels, width {width}, {layers} layers and MLP width {mlp_width}, whose heads "
        "are unknown; use open_clip's layout, whose config contains them",
        source=source,
    )


LAYOUT = Layout("eva", _recognizes, _rename, _spec)
