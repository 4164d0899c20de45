"""Read OpenAI's checkpoints, and Long-CLIP's, which were trained from them.

They are TorchScript archives or bare state dicts, without a config file. The architecture is
derived from tensor shapes, as in `build_model` of openai/CLIP. Sources of the names: `model.py` of
openai/CLIP and `model_longclip.py` of beichenzbc/Long-CLIP.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Set
from dataclasses import replace

from torch import Tensor

from zeroshot.checkpoint.config_fields import check_spec, require_clip_vocabulary
from zeroshot.checkpoint.layouts.base import Checkpointed, Layout, to_native_names
from zeroshot.checkpoint.tensors import StoredTensor
from zeroshot.errors import IncompatibleWeights
from zeroshot.spec import (
    RESNET_STRIDE,
    Activation,
    ImageTowerConfig,
    NetworkConfig,
    PreprocessConfig,
    Published,
    ResNetConfig,
    Spec,
    TextConfig,
    ViTConfig,
)

HEAD_WIDTH = 64  # in OpenAI's towers, and in all of up to 1024 channels
# Width of an image tower -> width of its heads: H/14, g/14, bigG/14, e/14 of open_clip
WIDE_HEADS = {1280: 80, 1408: 88, 1664: 104, 1792: 112}
EXTRAS = ("input_resolution", "context_length", "vocab_size")  # facts stored as tensors
POSITIONS, MORE_POSITIONS = "positional_embedding", "positional_embedding_res"
KEPT_POSITIONS = 20  # of the first table of Long-CLIP; the others are those of the second
OPENAI_RECIPE = Published("quick_gelu", PreprocessConfig(224))  # for all nine of OpenAI's archives


def _recognizes(names: Set[str], metadata: Mapping[str, str]) -> bool:
    return {"visual.conv1.weight", "token_embedding.weight"} <= names and any(
        extra in names for extra in (*EXTRAS, MORE_POSITIONS)
    )


def _rename(tensors: dict[str, Tensor], source: str) -> dict[str, StoredTensor]:
    parts: dict[str, tuple[Tensor, ...]] = {name: (each,) for name, each in tensors.items()}
    first, second = tensors.get(POSITIONS), tensors.get(MORE_POSITIONS)
    if first is not None and second is not None and first.ndim and first.shape == second.shape:
        del parts[MORE_POSITIONS]
        parts[POSITIONS] = first[:KEPT_POSITIONS], second[KEPT_POSITIONS:]
    return to_native_names(parts, source, ignored=EXTRAS)


def _spec(found: Checkpointed, like: Published | None) -> Spec:
    recipe = OPENAI_RECIPE
    width = next(iter(found.stored["visual.conv1.weight"].shape), 0)
    if width in WIDE_HEADS:  # not trained from OpenAI's
        if like is None:
            raise IncompatibleWeights(
                f"{found.path}: tensors do not determine the activation of a tower as wide as that "
                "of ViT-H/14; pass a checkpoint of the same family, as in "
                "like='ViT-bigG-14:laion2b' (--like)",
                source=str(found.path),
            )
        recipe = like
    return from_shapes(found.stored, recipe, str(found.path))


def from_shapes(tensors: Mapping[str, StoredTensor], like: Published, source: str) -> Spec:
    """Derive the architecture from tensor shapes.

    `like` gives activation and preprocessing. `tensors` have this package's names. The width of a
    head is assumed to be 64, or that of open_clip's image towers of the same width; checkpoints
    with other heads have a config file.
    """
    try:
        text = text_from_shapes(tensors, like.activation, source)
        embed_dim = tensors["text.text_projection"].shape[1]
        read_vision = next((read for name, read in IMAGE_TOWERS.items() if name in tensors), None)
        if read_vision is None:
            raise KeyError(next(iter(IMAGE_TOWERS)))
        vision = read_vision(tensors, like.activation, source)
    except (KeyError, IndexError, ValueError) as error:
        if isinstance(error, IncompatibleWeights):
            raise
        raise shape_error(error, source) from error
    preprocess = replace(like.preprocess, size=vision.image_size)
    return check_spec(Spec(NetworkConfig(embed_dim, vision, text), preprocess), source)


def text_from_shapes(
    tensors: Mapping[str, StoredTensor], activation: Activation, source: str
) -> TextConfig:
    """Derive CLIP's text tower from tensor shapes.

    Raises IncompatibleWeights for another vocabulary, and KeyError or others for a missing tensor.
    """
    width = tensors["text.ln_final.weight"].shape[0]
    text = TextConfig(
        context_length=tensors["text.positional_embedding"].shape[0],
        vocab_size=tensors["text.token_embedding.weight"].shape[0],
        width=width,
        layers=count_modules(tensors, "text.transformer.resblocks."),
        heads=_count_heads(width, source),
        mlp_width=tensors["text.transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
        activation=activation,
    )
    require_clip_vocabulary(text.vocab_size, source)
    return text


def network_from_shapes(
    found: Checkpointed,
    read_vision: Callable[[Mapping[str, StoredTensor], str], ImageTowerConfig],
    *,
    causal: bool = True,
) -> NetworkConfig:
    """Derive a network with CLIP's text tower and GELU; `read_vision` derives its image tower.

    Raises IncompatibleWeights if a tensor is missing or has an unexpected shape.
    """
    source = str(found.path)
    try:
        vision = read_vision(found.stored, source)
        text = replace(text_from_shapes(found.stored, "gelu", source), causal=causal)
        embed_dim = found.stored["text.text_projection"].shape[1]
    except (KeyError, IndexError, ValueError) as error:
        if isinstance(error, IncompatibleWeights):
            raise
        raise shape_error(error, source) from error
    return NetworkConfig(embed_dim, vision, text)


def shape_error(error: Exception, source: str) -> IncompatibleWeights:
    """Return the error for a tensor that is missing or has other dimensions."""
    return IncompatibleWeights(
        f"{source}: tensor {error} is missing or has an unexpected shape, so the architecture "
        "cannot be determined; the file is not a complete CLIP",
        source=source,
    )


def _read_vit(
    tensors: Mapping[str, StoredTensor], activation: Activation, source: str
) -> ImageTowerConfig:
    width, _, patch, _ = tensors["visual.conv1.weight"].shape
    grid = math.isqrt(max(tensors["visual.positional_embedding"].shape[0] - 1, 0))
    return ViTConfig(
        image_size=grid * patch,
        patch_size=patch,
        width=width,
        layers=count_modules(tensors, "visual.transformer.resblocks."),
        heads=_count_heads(width, source, WIDE_HEADS.get(width, HEAD_WIDTH)),
        mlp_width=tensors["visual.transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
        activation=activation,
    )


def _read_resnet(
    tensors: Mapping[str, StoredTensor], activation: Activation, source: str
) -> ImageTowerConfig:
    positions, _ = tensors["visual.attnpool.positional_embedding"].shape
    width = tensors["visual.layer1.0.conv1.weight"].shape[0]
    first, second, third, fourth = (
        count_modules(tensors, f"visual.layer{n}.") for n in range(1, 5)
    )
    return ResNetConfig(
        image_size=RESNET_STRIDE * math.isqrt(max(positions - 1, 0)),
        width=width,
        layers=(first, second, third, fourth),
        heads=width * 32 // HEAD_WIDTH,
    )


# A tensor that only one kind of image tower has -> the function that reads the tower's shapes.
IMAGE_TOWERS: dict[
    str, Callable[[Mapping[str, StoredTensor], Activation, str], ImageTowerConfig]
] = {
    "visual.class_embedding": _read_vit,
    "visual.attnpool.positional_embedding": _read_resnet,
}


def count_modules(tensors: Mapping[str, StoredTensor], prefix: str) -> int:
    """Count the numbered modules with a name prefix."""
    return len({name[len(prefix) :].split(".")[0] for name in tensors if name.startswith(prefix)})


def _count_heads(width: int, source: str, head_width: int = HEAD_WIDTH) -> int:
    if width % head_width:
        raise IncompatibleWeights(
            f"{source}: expected a tower width divisible by {head_width}, got {width}; the tensors "
            "do not determine the heads, download open_clip_config.json into the same folder",
            source=source,
        )
    return width // head_width


LAYOUT = Layout("openai", _recognizes, _rename, _spec)
