"""Which network a checkpoint is, and what belongs to its weights besides tensors.

A `Spec` is everything the tensors alone do not say. It is read from the files that lie beside
them (open_clip's and the transformers library's), from tensor shapes where those are decisive,
or from our own single-file layout. What none of these says is an error, never a guess.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from zeroshot.errors import IncompatibleWeights
from zeroshot.nn.config import (
    Activation,
    ConceptConfig,
    NetworkConfig,
    ResNetConfig,
    TextConfig,
    VisionConfig,
    ViTConfig,
)
from zeroshot.pixels import OPENAI_MEAN, OPENAI_STD, Interpolation, Preprocess
from zeroshot.tokenizer import MERGES

HEAD_WIDTH = 64  # of OpenAI's towers; others say theirs in a config file
OPEN_CLIP_MLP_RATIO = 4.0
RESAMPLE_NAMES: dict[object, Interpolation] = {
    2: "bilinear",
    3: "bicubic",
}  # PIL's numbers in preprocessor_config.json


@dataclass(frozen=True)
class Spec:
    """A checkpoint's network and everything that must travel with its weights."""

    network: NetworkConfig
    preprocess: Preprocess
    merges: int = MERGES  # of the tokenizer's vocabulary


@dataclass(frozen=True)
class Hints:
    """What bare tensors do not say: taken from a known checkpoint that they resemble."""

    activation: Activation
    preprocess: Preprocess


def from_shapes(tensors: Mapping[str, Tensor], hints: Hints, source: str) -> Spec:
    """Read the architecture off tensor shapes (`build_model` of openai/CLIP).

    `tensors` bear this package's names. Heads are taken to be 64 wide, as in all of OpenAI's
    towers; checkpoints with other heads come with a config file.
    """
    try:
        text_width = tensors["text.ln_final.weight"].shape[0]
        embed_dim = tensors["text.text_projection"].shape[1]
        text = TextConfig(
            context_length=tensors["text.positional_embedding"].shape[0],
            vocab_size=tensors["text.token_embedding.weight"].shape[0],
            width=text_width,
            layers=_count(tensors, "text.transformer.resblocks."),
            heads=_heads(text_width, source),
            mlp_width=tensors["text.transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
            activation=hints.activation,
        )
        vision = _vision_from_shapes(tensors, hints.activation, source)
    except (KeyError, IndexError) as error:
        raise IncompatibleWeights(
            f"{source}: tensor {error} is missing, so the architecture cannot be read off; "
            "the file is not a whole CLIP",
            source=source,
        ) from error
    preprocess = Preprocess(
        size=vision.image_size,
        mean=hints.preprocess.mean,
        std=hints.preprocess.std,
        interpolation=hints.preprocess.interpolation,
        resize_mode=hints.preprocess.resize_mode,
    )
    return Spec(NetworkConfig(embed_dim, vision, text), preprocess, merges_of(text, source))


def _vision_from_shapes(
    tensors: Mapping[str, Tensor], activation: Activation, source: str
) -> VisionConfig:
    if "visual.proj" in tensors:
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
    places, _ = tensors["visual.attnpool.positional_embedding"].shape
    width = tensors["visual.layer1.0.conv1.weight"].shape[0]
    first, second, third, fourth = (_count(tensors, f"visual.layer{n}.") for n in range(1, 5))
    return ResNetConfig(
        image_size=32 * round((places - 1) ** 0.5),
        width=width,
        layers=(first, second, third, fourth),
        heads=width * 32 // HEAD_WIDTH,
    )


def _count(tensors: Mapping[str, Tensor], prefix: str) -> int:
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


def merges_of(text: TextConfig, source: str) -> int:
    """Say how many merges a vocabulary of this size has, or that it is not CLIP's."""
    merges = text.vocab_size - 512 - 2
    if not 0 <= merges <= MERGES:
        raise IncompatibleWeights(
            f"{source}: a vocabulary of {text.vocab_size} ids is not CLIP's byte-pair encoding "
            f"(at most {MERGES + 514}); its tokenizer is not supported",
            source=source,
        )
    return merges


class Facts:
    """A JSON object read field by field, complaining about the file and field by name."""

    def __init__(self, content: object, source: str, prefix: str = "") -> None:
        if not isinstance(content, dict):
            raise IncompatibleWeights(f"{source}: {prefix or 'the file'} is not a JSON object")
        self.content, self.source, self.prefix = content, source, prefix

    def part(self, key: str) -> Facts:
        """Return the object under a key; an absent one is empty."""
        return Facts(self.content.get(key) or {}, self.source, f"{self.prefix}{key}.")

    def number(self, key: str, default: int | None = None) -> int:
        """Return a positive whole number."""
        value = self.content.get(key)
        value = default if value is None else value
        if isinstance(value, list) and len(set(value)) == 1:
            value = value[0]
        if type(value) is not int or not 0 < value < 2**31:
            raise self.refusal(key, value, "a positive whole number")
        return value

    def real(self, key: str, default: float) -> float:
        """Return a number."""
        value = self.content.get(key, default)
        if not isinstance(value, int | float):
            raise self.refusal(key, value, "a number")
        return float(value)

    def channels(
        self, key: str, default: tuple[float, float, float] | None = None
    ) -> tuple[float, float, float]:
        """Return one number a colour channel."""
        value = self.content.get(key, default)
        if isinstance(value, int | float):
            value = [value] * 3
        if (
            not isinstance(value, list | tuple)
            or len(value) != 3
            or not all(isinstance(v, int | float) for v in value)
        ):
            raise self.refusal(key, value, "three numbers, one a colour")
        return float(value[0]), float(value[1]), float(value[2])

    def refusal(self, key: str, value: object, wanted: str) -> IncompatibleWeights:
        """Make the error for a field that is not as wanted."""
        return IncompatibleWeights(
            f"{self.source}: {self.prefix}{key} is {value!r}, wanted {wanted}", source=self.source
        )


def read_json(path: Path) -> Facts:
    """Read a config file."""
    try:
        return Facts(json.loads(path.read_text("utf-8")), str(path))
    except (ValueError, RecursionError) as error:
        raise IncompatibleWeights(f"{path}: not valid JSON ({error})", source=str(path)) from error


def from_open_clip(config: Facts) -> Spec:
    """Read `open_clip_config.json`; keys and defaults of its CLIPVisionCfg and CLIPTextCfg."""
    model = config.part("model_cfg")
    quick: Activation = "quick_gelu" if model.content.get("quick_gelu") else "gelu"
    embed_dim = model.number("embed_dim")
    vision, text = model.part("vision_cfg"), model.part("text_cfg")
    _only(vision, ("timm_model_name", "attentional_pool", "no_ln_pre", "patch_dropout_impl"))
    _only(text, ("hf_model_name", "no_causal_mask", "embed_cls", "proj_bias"))
    if text.content.get("pool_type", "argmax") != "argmax":
        raise text.refusal("pool_type", text.content["pool_type"], "'argmax'")
    if vision.content.get("pool_type", "tok") != "tok":
        raise vision.refusal("pool_type", vision.content["pool_type"], "'tok'")
    if model.content.get("custom_text") and text.content.get("hf_tokenizer_name"):
        raise text.refusal("hf_tokenizer_name", text.content["hf_tokenizer_name"], "none")
    image_size = vision.number("image_size", 224)
    layers = vision.content.get("layers", 12)
    width = vision.number("width", 768)
    head_width = vision.number("head_width", HEAD_WIDTH)
    image: VisionConfig
    if isinstance(layers, list):
        if len(layers) != 4 or not all(type(n) is int and n > 0 for n in layers):
            raise vision.refusal("layers", layers, "four numbers of blocks")
        image = ResNetConfig(
            image_size=image_size,
            width=width,
            layers=(layers[0], layers[1], layers[2], layers[3]),
            heads=width * 32 // head_width,
        )
    else:
        image = ViTConfig(
            image_size=image_size,
            patch_size=vision.number("patch_size", 16),
            width=width,
            layers=vision.number("layers", 12),
            heads=width // head_width,
            mlp_width=int(width * vision.real("mlp_ratio", OPEN_CLIP_MLP_RATIO)),
            activation=quick,
        )
    text_width = text.number("width", 512)
    words = TextConfig(
        context_length=text.number("context_length", 77),
        vocab_size=text.number("vocab_size", 49408),
        width=text_width,
        layers=text.number("layers", 12),
        heads=text.number("heads", 8),
        mlp_width=int(text_width * text.real("mlp_ratio", OPEN_CLIP_MLP_RATIO)),
        activation=quick,
    )
    return Spec(
        NetworkConfig(embed_dim, image, words),
        _open_clip_preprocess(config.part("preprocess_cfg"), image_size),
        merges_of(words, config.source),
    )


def _only(facts: Facts, unsupported: tuple[str, ...]) -> None:
    for key in unsupported:
        if facts.content.get(key):
            raise facts.refusal(key, facts.content[key], "none: only OpenAI's towers are supported")


def _open_clip_preprocess(facts: Facts, image_size: int) -> Preprocess:
    interpolation = facts.content.get("interpolation", "bicubic")
    resize_mode = facts.content.get("resize_mode", "shortest")
    if interpolation not in ("bicubic", "bilinear"):
        raise facts.refusal("interpolation", interpolation, "'bicubic' or 'bilinear'")
    if resize_mode not in ("shortest", "squash"):
        raise facts.refusal("resize_mode", resize_mode, "'shortest' or 'squash'")
    return Preprocess(
        size=facts.number("size", image_size),
        mean=facts.channels("mean", OPENAI_MEAN),
        std=facts.channels("std", OPENAI_STD),
        interpolation=interpolation,
        resize_mode=resize_mode,
    )


def from_huggingface(config: Facts, preprocess: Preprocess) -> Spec:
    """Read `config.json` of a CLIPModel (keys and defaults of CLIPTextConfig, CLIPVisionConfig)."""
    kind = config.content.get("model_type")
    if kind != "clip":
        raise config.refusal("model_type", kind, "'clip'")
    vision, text = config.part("vision_config"), config.part("text_config")
    width, text_width = vision.number("hidden_size", 768), text.number("hidden_size", 512)
    image = ViTConfig(
        image_size=vision.number("image_size", 224),
        patch_size=vision.number("patch_size", 32),
        width=width,
        layers=vision.number("num_hidden_layers", 12),
        heads=vision.number("num_attention_heads", 12),
        mlp_width=vision.number("intermediate_size", 3072),
        activation=_huggingface_activation(vision),
        eps=vision.real("layer_norm_eps", 1e-5),
    )
    words = TextConfig(
        context_length=text.number("max_position_embeddings", 77),
        vocab_size=text.number("vocab_size", 49408),
        width=text_width,
        layers=text.number("num_hidden_layers", 12),
        heads=text.number("num_attention_heads", 8),
        mlp_width=text.number("intermediate_size", 2048),
        activation=_huggingface_activation(text),
        eps=text.real("layer_norm_eps", 1e-5),
    )
    embed_dim = config.number("projection_dim", 512)
    return Spec(NetworkConfig(embed_dim, image, words), preprocess, merges_of(words, config.source))


def _huggingface_activation(facts: Facts) -> Activation:
    name = facts.content.get("hidden_act", "quick_gelu")
    names: dict[object, Activation] = {
        "quick_gelu": "quick_gelu",
        "gelu": "gelu",
        "gelu_new": "gelu_tanh",
        "gelu_pytorch_tanh": "gelu_tanh",
    }
    if name not in names:
        raise facts.refusal("hidden_act", name, f"one of {', '.join(map(str, names))}")
    return names[name]


def huggingface_preprocess(facts: Facts) -> Preprocess:
    """Read `preprocessor_config.json` of a CLIPImageProcessor."""
    size = facts.content.get("size")
    if isinstance(size, int):
        size = {"shortest_edge": size}
    crop = facts.content.get("crop_size")
    if isinstance(crop, int):
        crop = {"height": crop, "width": crop}
    if not isinstance(size, dict):
        raise facts.refusal("size", size, "a number or an object")
    resample = RESAMPLE_NAMES.get(facts.content.get("resample", 3))
    if resample is None:
        raise facts.refusal("resample", facts.content.get("resample"), "2 or 3")
    mean, std = facts.channels("image_mean", OPENAI_MEAN), facts.channels("image_std", OPENAI_STD)
    if "shortest_edge" in size:
        edge = size["shortest_edge"]
        if facts.content.get("do_center_crop") is False:
            raise facts.refusal("do_center_crop", False, "true where the short side is resized")
        if crop is not None and crop != {"height": edge, "width": edge}:
            raise facts.refusal("crop_size", crop, f"{edge} both ways, as size")
        side = Facts(size, facts.source, "size.").number("shortest_edge")
        return Preprocess(side, mean, std, resample)
    side = Facts(size, facts.source, "size.").number("height")
    if size.get("width") != side:
        raise facts.refusal("size", size, "a square")
    return Preprocess(side, mean, std, resample, "squash")


def to_json(spec: Spec) -> dict[str, Any]:
    """Write a spec as plain data."""
    network = spec.network
    preprocess = asdict(spec.preprocess)
    del preprocess["parity"]  # a wish of the caller, not a fact of the weights
    return {
        "architecture": {
            "embed_dim": network.embed_dim,
            "vision": {"kind": network.vision.kind, **asdict(network.vision)},
            "text": {"kind": network.text.kind, **asdict(network.text)},
        },
        "preprocess": preprocess,
        "tokenizer": {"merges": spec.merges},
    }


def from_json(facts: Facts) -> Spec:
    """Read what `to_json` wrote."""
    architecture = facts.part("architecture")
    kinds: dict[object, type[Any]] = {
        kind.kind: kind for kind in (ViTConfig, ResNetConfig, ConceptConfig)
    }
    vision, text = architecture.part("vision"), architecture.part("text")
    kind = vision.content.get("kind")
    if kind not in kinds:
        raise vision.refusal("kind", kind, f"one of {', '.join(map(str, kinds))}")
    words = _filled(TextConfig, text)
    network = NetworkConfig(architecture.number("embed_dim"), _filled(kinds[kind], vision), words)
    preprocess = _filled(Preprocess, facts.part("preprocess"))
    merges = facts.part("tokenizer").number("merges", merges_of(words, facts.source) or 1)
    return Spec(network, preprocess, merges)


def _filled(kind: type[Any], facts: Facts) -> Any:
    """Make a config value from the fields that bear its names."""
    known = {field.name for field in fields(kind)}
    values = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in facts.content.items()
        if key in known
    }
    try:
        return kind(**values)
    except TypeError as error:
        raise IncompatibleWeights(
            f"{facts.source}: {facts.prefix.rstrip('.')}: {error}", source=facts.source
        ) from error
