"""Read Apple's own files of MobileCLIP S1, S2 and B.

They have no config. Names become those of open_clip, as in `convert.py` of open_clip, and in
`fastvit.py` and `vision_transformer_hybrid.py` of timm; sizes are those of the published tower with
the same shapes. The projection of images has no bias, so zeros are inserted. Sources:
`text_encoder.py`, `image_encoder.py` and `configs` in `mobileclip` of apple/ml-mobileclip.
"""

from __future__ import annotations

import bisect
import math
import re
from collections.abc import Mapping, Sequence, Set

from torch import Tensor

from zeroshot.checkpoint.config_fields import check_spec
from zeroshot.checkpoint.layouts import open_clip, timm, timm_fastvit
from zeroshot.checkpoint.layouts.base import Checkpointed, Layout, check_new
from zeroshot.checkpoint.layouts.openai import count_modules, network_from_shapes
from zeroshot.checkpoint.tensors import StoredTensor
from zeroshot.errors import IncompatibleWeights, shortened
from zeroshot.spec import (
    ImageTowerConfig,
    PreprocessConfig,
    Published,
    Spec,
)

IMAGE, TEXT = "image_encoder.model.", "text_encoder."
FIRST = (  # of FastViT, and of the vision transformer
    f"{IMAGE}patch_embed.0.rbr_conv.0.conv.weight",
    f"{IMAGE}patch_emb.0.block.conv.weight",
)
WORDS = f"{TEXT}embedding_layer.weight"
BLOCKS = (  # of transformers: this package's names, with timm's for the image
    (r"\.pre_norm_mha\.0\.", ".ln_1.", ".norm1."),
    (r"\.pre_norm_mha\.1\.qkv_proj\.", ".attn.in_proj_", ".attn.qkv."),
    (r"\.pre_norm_mha\.1\.out_proj\.", ".attn.out_proj.", ".attn.proj."),
    (r"\.pre_norm_ffn\.0\.", ".ln_2.", ".norm2."),
    (r"\.pre_norm_ffn\.1\.", ".mlp.c_fc.", ".mlp.fc1."),
    (r"\.pre_norm_ffn\.4\.", ".mlp.c_proj.", ".mlp.fc2."),
)
TEXT_NAMES = (
    *((pattern, ours) for pattern, ours, _ in BLOCKS),
    (r"^embedding_layer\.", "token_embedding."),
    (r"^positional_embedding\.pos_embed\.pos_embed$", "positional_embedding"),
    (r"^transformer\.", "transformer.resblocks."),
    (r"^final_layer_norm\.", "ln_final."),
    (r"^projection_layer$", "text_projection"),
)
IMAGE_NAMES = (
    *((pattern, timms) for pattern, _, timms in BLOCKS),
    (r"^patch_embed\.", "stem."),
    (r"^patch_emb\.(\d+)\.block\.conv\.", r"patch_embed.backbone.\1.conv."),
    (r"^patch_emb\.(\d+)\.block\.norm\.", r"patch_embed.backbone.\1.bn."),
    (r"^pos_embed\.pos_embed\.pos_embed$", "pos_embed"),
    (r"^transformer\.", "blocks."),
    (r"^post_transformer_norm\.", "norm."),
    (r"^classifier\.proj$", "head.weight"),
    (r"^conv_exp\.", "final_conv."),
    (r"\brbr_conv\b", "conv_kxk"),
    (r"\brbr_scale\b", "conv_scale"),
    (r"\brbr_skip\b", "identity"),
    (r"\blkb_origin\b", "large_conv"),
    (r"\bconvffn\b", "mlp"),
    (r"\bse\.reduce\b", "se.fc1"),
    (r"\bse\.expand\b", "se.fc2"),
    (r"\b(layer_scale(?:_\d)?)$", r"\1.gamma"),
    (r"^head\.proj$", "head.fc.weight"),
)
POSITIONS = ("text.positional_embedding", f"{timm.PREFIX}pos_embed")  # [1, 1, n, w]
HEADS = (f"{timm.PREFIX}head.weight", f"{timm.PREFIX}head.fc.weight")  # transposed
DOWN = re.compile(rf"{re.escape(IMAGE)}network\.(\d+)\.proj\.")  # the first module of a stage
STEM = "visual.stem.0.weight"  # of FastViT, by this package's name


def _recognizes(names: Set[str], metadata: Mapping[str, str]) -> bool:
    return WORDS in names and any(each in names for each in FIRST)


def _rename(tensors: dict[str, Tensor], source: str) -> dict[str, StoredTensor]:
    ends = sorted({int(found[1]) for found in map(DOWN.match, tensors) if found})
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        ours = _rename_one(name, ends)
        if ours in POSITIONS and tensor.ndim == 4 and tensor.shape[:2] == (1, 1):
            tensor = tensor[0, 0]
        elif ours in HEADS and tensor.ndim == 2:
            bias = f"{ours.removesuffix('weight')}bias"
            renamed.setdefault(bias, tensor.new_zeros(tensor.shape[1]))
            tensor = tensor.T
        check_new(ours, renamed, name, source, " in open_clip")
        renamed[ours] = tensor
    return open_clip.LAYOUT.rename(renamed, source)


def _rename_one(name: str, ends: Sequence[int]) -> str:
    """Return the name in open_clip's layout; `ends` are the places of modules between stages."""
    for prefix, theirs, names in ((TEXT, "text.", TEXT_NAMES), (IMAGE, timm.PREFIX, IMAGE_NAMES)):
        if name.startswith(prefix):
            name = name.removeprefix(prefix)
            if found := re.match(r"network\.(\d+)\.", name):
                name = _name_of_stage(found, bisect.bisect_right(ends, int(found[1])))
            for pattern, replacement in names:
                name = re.sub(pattern, replacement, name)
            return theirs + name
    return name


def _name_of_stage(found: re.Match[str], stage: int) -> str:
    """Return a name of timm, which groups the sequence of modules that Apple's network is."""
    rest = found.string[found.end() :]
    for theirs, timms in (("proj.", "downsample.proj."), ("pe.", "pos_emb.pos_enc.")):
        if rest.startswith(theirs):
            return f"stages.{stage}.{timms}{rest.removeprefix(theirs)}"
    return f"stages.{stage}.blocks.{rest}"


def _spec(found: Checkpointed, like: Published | None) -> Spec:
    causal = STEM not in found.stored  # as in mobileclip_s1.json and mobileclip_s2.json
    network = network_from_shapes(found, _read_vision, causal=causal)
    preprocess = PreprocessConfig(network.vision.image_size, (0.0,) * 3, (1.0,) * 3, "bilinear")
    return check_spec(Spec(network, preprocess), str(found.path))


def _read_vision(tensors: Mapping[str, StoredTensor], source: str) -> ImageTowerConfig:
    """Return the image tower of the published size with these shapes."""
    if STEM in tensors:
        layers = tuple(
            count_modules(tensors, f"visual.stages.{n}.blocks.")
            for n in range(count_modules(tensors, "visual.stages."))
        )
        sizes: tuple[object, ...] = (tensors[STEM].shape[0], layers)
        for convolutional in timm_fastvit.TOWERS.values():
            if sizes == (convolutional.width, convolutional.layers):
                return convolutional
    else:
        positions, width = tensors["visual.positional_embedding"].shape
        layers = (count_modules(tensors, "visual.transformer.resblocks."),)
        sizes = (width, layers)
        for tower in timm.TOWERS.values():
            if tower.stem == "convolutions" and sizes == (tower.width, (tower.layers,)):
                return tower.resized(math.isqrt(positions) * tower.patch_size)
    raise IncompatibleWeights(
        f"{source}: expected one of the sizes of MobileCLIP (S1, S2, B), got a tower of width "
        f"{sizes[0]} with {shortened(repr(layers))} blocks, whose heads and image size are "
        "unknown; use open_clip's layout, whose config contains them",
        source=source,
    )


LAYOUT = Layout("mobileclip", _recognizes, _rename, _spec)
