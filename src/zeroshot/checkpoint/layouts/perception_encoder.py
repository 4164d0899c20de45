"""Read Meta's own files of PE-Core, the Perception Encoder with a text tower.

They have OpenAI's tensor names, those of an attention pool, and no config. Sizes are derived from
the tensors' shapes; the heads, which shapes do not determine, are those of the published size with
the same shapes. The other layout of PE-Core is open_clip's, with the same values and a bias of
zeros. Sources: `config.py`, `pe.py` and `transforms.py` of facebookresearch/perception_models.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Set

from torch import Tensor

from zeroshot.checkpoint.config_fields import check_spec
from zeroshot.checkpoint.layouts import timm
from zeroshot.checkpoint.layouts.base import Checkpointed, Layout, to_native_names
from zeroshot.checkpoint.layouts.openai import count_modules, network_from_shapes
from zeroshot.checkpoint.tensors import StoredTensor
from zeroshot.errors import IncompatibleWeights
from zeroshot.spec import PreprocessConfig, Published, Spec, ViTConfig

PROBE = "visual.attn_pool.probe"
NAMES = (
    ("visual.attn_pool.attn.", "visual.attn_pool."),
    ("visual.attn_pool.layernorm.", "visual.attn_pool.ln."),
)
TOWERS = "vit_pe_core_"  # of timm
HALF = (0.5, 0.5, 0.5)


def _recognizes(names: Set[str], metadata: Mapping[str, str]) -> bool:
    return {PROBE, "visual.conv1.weight", "token_embedding.weight"} <= names


def _rename(tensors: dict[str, Tensor], source: str) -> dict[str, StoredTensor]:
    renamed: dict[str, tuple[Tensor, ...]] = {}
    for name, tensor in tensors.items():
        for theirs, ours in NAMES:
            name = name.replace(theirs, ours)
        renamed[name] = (tensor.reshape(-1) if name == PROBE else tensor,)
    if (projection := tensors.get("visual.proj")) is not None and projection.ndim == 2:
        renamed["visual.proj_bias"] = (projection.new_zeros(projection.shape[1]),)
    return to_native_names(renamed, source)


def _spec(found: Checkpointed, like: Published | None) -> Spec:
    network = network_from_shapes(found, _read_vision)
    preprocess = PreprocessConfig(network.vision.image_size, HALF, HALF, "bilinear", "squash")
    return check_spec(Spec(network, preprocess), str(found.path))


def _read_vision(tensors: Mapping[str, StoredTensor], source: str) -> ViTConfig:
    """Return the image tower of the published size with these shapes."""
    width, _, patch, _ = tensors["visual.conv1.weight"].shape
    class_token = "visual.class_embedding" in tensors
    layers = count_modules(tensors, "visual.transformer.resblocks.")
    mlp_width = tensors["visual.transformer.resblocks.0.mlp.c_fc.weight"].shape[0]
    sizes = (patch, width, layers, mlp_width, class_token)
    for name, tower in timm.TOWERS.items():
        if name.startswith(TOWERS) and sizes == (
            *(tower.patch_size, tower.width, tower.layers, tower.mlp_width, tower.class_token),
        ):
            positions = tensors["visual.positional_embedding"].shape[0] - class_token
            return tower.resized(math.isqrt(max(positions, 0)) * patch)
    raise IncompatibleWeights(
        f"{source}: expected one of the sizes of PE-Core (T, S, B, L, G), got a Perception Encoder "
        f"with patches of {patch} pixels, width {width}, {layers} layers, MLP width {mlp_width} "
        f"and {'a' if class_token else 'no'} class token, whose heads are unknown; use open_clip's "
        "layout, whose config contains them",
        source=source,
    )


LAYOUT = Layout("perception_encoder", _recognizes, _rename, _spec)
