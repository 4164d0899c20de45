"""OpenAI's own checkpoints: TorchScript archives and bare state dicts, without a config file.

The architecture is read off tensor shapes, as `build_model` of openai/CLIP does. Source of names:
`model.py` of openai/CLIP.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set

from torch import Tensor

from zeroshot.checkpoint.config_fields import checked, require_clip_vocabulary
from zeroshot.checkpoint.layouts.base import Checkpointed, Layout, by_our_names
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

HEAD_WIDTH = 64  # of OpenAI's towers; others say theirs in a config file
EXTRAS = ("input_resolution", "context_length", "vocab_size")  # facts kept as tensors
ALL_NINE = Published("quick_gelu", PreprocessConfig(224))  # true of all of OpenAI's archives


def _recognizes(names: Set[str], metadata: Mapping[str, str]) -> bool:
    return {"visual.conv1.weight", "token_embedding.weight"} <= names and any(
        extra in names for extra in EXTRAS
    )


def _rename(tensors: dict[str, Tensor], source: str) -> dict[str, StoredTensor]:
    parts = {name: (tensor,) for name, tensor in tensors.items()}
    return by_our_names(parts, source, ignored=EXTRAS)


def _spec(found: Checkpointed, like: Published | None) -> Spec:
    return from_shapes(found.stored, ALL_NINE, str(found.path))


def from_shapes(tensors: Mapping[str, StoredTensor], like: Published, source: str) -> Spec:
    """Read the architecture off tensor shapes; activation and preprocessing are those of `like`.

    `tensors` have this package's names. Heads are taken to be 64 wide, as in all of OpenAI's
    towers; checkpoints with other heads come with a config file.
    """
    try:
        width = tensors["text.ln_final.weight"].shape[0]
        text = TextConfig(
            context_length=tensors["text.positional_embedding"].shape[0],
            vocab_size=tensors["text.token_embedding.weight"].shape[0],
            width=width,
            layers=_count(tensors, "text.transformer.resblocks."),
            heads=_heads(width, source),
            mlp_width=tensors["text.transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
            activation=like.activation,
        )
        embed_dim = tensors["text.text_projection"].shape[1]
        read_vision = next((read for name, read in IMAGE_TOWERS.items() if name in tensors), None)
        if read_vision is None:
            raise KeyError(next(iter(IMAGE_TOWERS)))
        vision = read_vision(tensors, like.activation, source)
    except (KeyError, IndexError, ValueError) as error:
        if isinstance(error, IncompatibleWeights):
            raise
        raise IncompatibleWeights(
            f"{source}: tensor {error} is missing or odd, so the architecture cannot be read off; "
            "the file is not a whole CLIP",
            source=source,
        ) from error
    require_clip_vocabulary(text.vocab_size, source)
    taken = like.preprocess
    preprocess = PreprocessConfig(
        vision.image_size, taken.mean, taken.std, taken.interpolation, taken.resize_mode
    )
    return checked(Spec(NetworkConfig(embed_dim, vision, text), preprocess), source)


def _vit(
    tensors: Mapping[str, StoredTensor], activation: Activation, source: str
) -> ImageTowerConfig:
    width, _, patch, _ = tensors["visual.conv1.weight"].shape
    grid = round((tensors["visual.positional_embedding"].shape[0] - 1) ** 0.5)
    return ViTConfig(
        image_size=grid * patch,
        patch_size=patch,
        width=width,
        layers=_count(tensors, "visual.transformer.resblocks."),
        heads=_heads(width, source),
        mlp_width=tensors["visual.transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
        activation=activation,
    )


def _resnet(
    tensors: Mapping[str, StoredTensor], activation: Activation, source: str
) -> ImageTowerConfig:
    positions, _ = tensors["visual.attnpool.positional_embedding"].shape
    width = tensors["visual.layer1.0.conv1.weight"].shape[0]
    first, second, third, fourth = (_count(tensors, f"visual.layer{n}.") for n in range(1, 5))
    return ResNetConfig(
        image_size=RESNET_STRIDE * round((positions - 1) ** 0.5),
        width=width,
        layers=(first, second, third, fourth),
        heads=width * 32 // HEAD_WIDTH,
    )


# A tensor that only one kind of image tower has -> what reads that tower's shapes.
IMAGE_TOWERS: dict[
    str, Callable[[Mapping[str, StoredTensor], Activation, str], ImageTowerConfig]
] = {
    "visual.class_embedding": _vit,
    "visual.attnpool.positional_embedding": _resnet,
}


def _count(tensors: Mapping[str, StoredTensor], prefix: str) -> int:
    """Count the numbered modules below a name."""
    return len({name[len(prefix) :].split(".")[0] for name in tensors if name.startswith(prefix)})


def _heads(width: int, source: str) -> int:
    if width % HEAD_WIDTH:
        raise IncompatibleWeights(
            f"{source}: a tower {width} wide does not split into heads of {HEAD_WIDTH}, and the "
            "tensors do not say how it does; put the open_clip_config.json it came with beside it",
            source=source,
        )
    return width // HEAD_WIDTH


LAYOUT = Layout("openai", _recognizes, _rename, _spec)
