"""Which network a checkpoint is, and what belongs to its weights besides tensors.

A `Spec` is everything the tensors alone do not say. It is read from the files that lie beside
them (open_clip's and the transformers library's), from tensor shapes where those are decisive,
or from our own single-file layout. What none of these says is an error, never a guess.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

from zeroshot.checkpoint.stored import Stored
from zeroshot.errors import IncompatibleWeights, InputError
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
MAX_JSON = 2**20  # bytes of a config file; the index of a thousand tensors has a tenth of that
LIMITS = {  # far beyond any CLIP, near enough that no config can ask for an endless network
    "embed_dim": 16_384,
    "image_size": 4096,
    "size": 4096,
    "patch_size": 1024,
    "width": 16_384,
    "layers": 256,
    "heads": 1024,
    "mlp_width": 131_072,
    "context_length": 4096,
    "vocab_size": 100_000,
    "concepts": 1_000_000,
    "top_k": 1_000_000,
}
# Facts of the weights; what else a Preprocess holds is a wish of the caller.
PREPROCESS = ("size", "mean", "std", "interpolation", "resize_mode")
RESNET_STRIDE = 32  # pixels a place of its last feature map
OPEN_CLIP_MODEL = ("multimodal_cfg", "init_logit_bias")  # features of open_clip that are not CLIP's
OPEN_CLIP_VISION = (
    "timm_model_name",
    "attentional_pool",
    "no_ln_pre",
    "ls_init_value",
)
OPEN_CLIP_TEXT = (
    "hf_model_name",
    "no_causal_mask",
    "embed_cls",
    "proj_bias",
    "ls_init_value",
)
OPEN_CLIP_BLOCK = (
    "qk_norm",
    "scaled_cosine_attn",
    "scale_heads",
    "scale_attn_inner",
    "scale_attn",
    "scale_fc",
)
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


def from_shapes(tensors: Mapping[str, Stored], hints: Hints, source: str) -> Spec:
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
    except (KeyError, IndexError, ValueError) as error:
        if isinstance(error, IncompatibleWeights):
            raise
        raise IncompatibleWeights(
            f"{source}: tensor {error} is missing or odd, so the architecture cannot be read off; "
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
    return checked(
        Spec(NetworkConfig(embed_dim, vision, text), preprocess, merges_of(text, source)), source
    )


def _vision_from_shapes(
    tensors: Mapping[str, Stored], activation: Activation, source: str
) -> VisionConfig:
    if "visual.class_embedding" in tensors:
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


def _count(tensors: Mapping[str, Stored], prefix: str) -> int:
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
    """Say how many merges a vocabulary has, when it is CLIP's; of another it is an error."""
    if text.vocab_size != MERGES + 514:
        raise IncompatibleWeights(
            f"{source}: a vocabulary of {text.vocab_size} ids is not CLIP's byte-pair encoding of "
            f"{MERGES + 514}; its tokenizer is not supported",
            source=source,
        )
    return MERGES


def checked(spec: Spec, source: str) -> Spec:
    """Return the spec if a network can be built of it, or name the number that forbids it."""
    network = spec.network
    vision, text = network.vision, network.text

    def refuse(what: str, value: object, wanted: str) -> IncompatibleWeights:
        return IncompatibleWeights(
            f"{source}: {what} is {reprlib.repr(value)}, wanted {wanted}", source=source
        )

    parts = {"": network, "vision ": vision, "text ": text, "preprocess ": spec.preprocess}
    for part, config in parts.items():
        for field in fields(config):
            value = getattr(config, field.name)
            limit = LIMITS.get(field.name)
            stages = field.name == "layers" and isinstance(config, ResNetConfig)
            for number in value if stages and isinstance(value, tuple) else (value,):
                if limit and (type(number) is not int or not 0 < number <= limit):
                    raise refuse(part + field.name, number, f"1 to {limit}")
            if field.name in ("eps", "temperature") and not _finite(value, above=0):
                raise refuse(part + field.name, value, "a small number above 0")
            if field.name == "activation" and value not in get_args(Activation):
                raise refuse(part + field.name, value, f"one of {get_args(Activation)}")
    if text.width % text.heads:
        raise refuse("text heads", text.heads, f"a divisor of the width {text.width}")
    match vision:
        case ViTConfig():
            fits = vision.width % vision.heads == 0 and vision.patch_size <= vision.image_size
        case ResNetConfig():
            fits = (
                isinstance(vision.layers, tuple)
                and len(vision.layers) == 4
                and vision.width * 32 % vision.heads == 0
                and vision.image_size % RESNET_STRIDE == 0
            )
        case ConceptConfig():
            fits = vision.variant in (0, 1, 2) and vision.top_k <= vision.concepts
    if not fits:
        raise refuse("the image tower", vision, "numbers that divide each other")
    _check_preprocess(spec.preprocess, vision.image_size, refuse)
    if type(spec.merges) is not int or not 0 <= spec.merges <= min(MERGES, text.vocab_size - 514):
        raise refuse("tokenizer merges", spec.merges, f"at most {text.vocab_size - 514}")
    return spec


def _check_preprocess(
    preprocess: Preprocess, image_size: int, refuse: Callable[[str, object, str], Exception]
) -> None:
    if preprocess.size != image_size:
        raise refuse("preprocess size", preprocess.size, f"{image_size}, as the image tower")
    for name, above in (("mean", -math.inf), ("std", 0.0)):
        value = getattr(preprocess, name)
        if not isinstance(value, tuple) or len(value) != 3 or not _finite(*value, above=above):
            raise refuse(f"preprocess {name}", value, "three numbers, one a colour")
    if preprocess.interpolation not in get_args(Interpolation):
        raise refuse("interpolation", preprocess.interpolation, "'bicubic' or 'bilinear'")
    if preprocess.resize_mode not in ("shortest", "squash"):
        raise refuse("resize_mode", preprocess.resize_mode, "'shortest' or 'squash'")


def _finite(*values: object, above: float) -> bool:
    return all(isinstance(value, int | float) and above < value < math.inf for value in values)


def resized(spec: Spec, size: int) -> Spec:
    """Return the spec of the same network looking at pictures of another size.

    Raises InputError when its image tower cannot.
    """
    vision = spec.network.vision
    match vision:
        case ViTConfig():
            step = vision.patch_size
        case ResNetConfig():
            step = RESNET_STRIDE
        case ConceptConfig():
            raise InputError(f"image_size={size!r}: the embedded model's size is fixed")
    if type(size) is not int or not 0 < size <= LIMITS["image_size"] or size % step:
        raise InputError(
            f"image_size={size!r} is not a multiple of {step} pixels up to {LIMITS['image_size']}"
        )
    network = replace(spec.network, vision=replace(vision, image_size=size))
    return replace(spec, network=network, preprocess=replace(spec.preprocess, size=size))


class Facts:
    """A JSON object read field by field, complaining about the file and field by name."""

    def __init__(self, content: object, source: str, prefix: str = "") -> None:
        if not isinstance(content, dict):
            raise IncompatibleWeights(
                f"{source}: {prefix.rstrip('.') or 'the file'} is not a JSON object", source=source
            )
        self.content, self.source, self.prefix = content, source, prefix

    def part(self, key: str) -> Facts:
        """Return the object under a key; an absent one is empty."""
        return Facts(self.content.get(key) or {}, self.source, f"{self.prefix}{key}.")

    def number(self, key: str, default: int | None = None) -> int:
        """Return a positive whole number."""
        value = self.content.get(key)
        value = default if value is None else value
        if isinstance(value, list) and value and value.count(value[0]) == len(value) <= 2:
            value = value[0]  # height and width
        if type(value) is not int or not 0 < value < 2**31:
            raise self.refusal(key, value, "a positive whole number")
        return value

    def real(self, key: str, default: float) -> float:
        """Return a number."""
        value = self.content.get(key, default)
        if not _finite(value, above=-(2.0**31)) or value > 2**31:
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
            or not _finite(*value, above=-1000)
            or max(value) > 1000
        ):
            raise self.refusal(key, value, "three numbers, one a colour")
        return float(value[0]), float(value[1]), float(value[2])

    def refusal(self, key: str, value: object, wanted: str) -> IncompatibleWeights:
        """Make the error for a field that is not as wanted."""
        return IncompatibleWeights(
            f"{self.source}: {self.prefix}{key} is {reprlib.repr(value)}, wanted {wanted}",
            source=self.source,
        )


def read_json(path: Path) -> Facts:
    """Read a config file."""
    with path.open("rb") as file:
        return parse_json(file.read(MAX_JSON + 1), str(path))


def parse_json(text: str | bytes, source: str) -> Facts:
    """Read a configuration of bounded length."""
    if len(text) > MAX_JSON:
        raise IncompatibleWeights(
            f"{source}: a configuration of more than {MAX_JSON} bytes is not a CLIP's",
            source=source,
        )
    try:
        return Facts(json.loads(text), source)
    except (ValueError, RecursionError) as error:
        if isinstance(error, IncompatibleWeights):
            raise
        raise IncompatibleWeights(f"{source}: not valid JSON ({error})", source=source) from error


def from_open_clip(config: Facts) -> Spec:
    """Read `open_clip_config.json`; keys and defaults of its CLIPVisionCfg and CLIPTextCfg."""
    model = config.part("model_cfg")
    embed_dim = model.number("embed_dim")
    vision, text = model.part("vision_cfg"), model.part("text_cfg")
    _only_clip(model, vision, text)
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
            activation=_open_clip_activation(model, vision),
            eps=vision.part("norm_kwargs").real("eps", 1e-5),
        )
    text_width = text.number("width", 512)
    words = TextConfig(
        context_length=text.number("context_length", 77),
        vocab_size=text.number("vocab_size", 49408),
        width=text_width,
        layers=text.number("layers", 12),
        heads=text.number("heads", 8),
        mlp_width=int(text_width * text.real("mlp_ratio", OPEN_CLIP_MLP_RATIO)),
        activation=_open_clip_activation(model, text),
        eps=text.part("norm_kwargs").real("eps", 1e-5),
    )
    preprocess = _open_clip_preprocess(config.part("preprocess_cfg"), image_size)
    network = NetworkConfig(embed_dim, image, words)
    return checked(Spec(network, preprocess, merges_of(words, config.source)), config.source)


def _only_clip(model: Facts, vision: Facts, text: Facts) -> None:
    """Refuse what open_clip can do beyond CLIP, naming the feature."""
    unsupported = (
        (model, OPEN_CLIP_MODEL),
        (vision, OPEN_CLIP_VISION + OPEN_CLIP_BLOCK),
        (text, OPEN_CLIP_TEXT + OPEN_CLIP_BLOCK),
    )
    for facts, keys in unsupported:
        for key in keys:
            if value := facts.content.get(key):
                raise facts.refusal(key, value, "none: only OpenAI's kinds of tower are supported")
    for facts, key, usual in (
        (vision, "pool_type", "tok"),
        (vision, "pos_embed_type", "learnable"),
        (text, "pool_type", "argmax"),
        (text, "proj_type", "linear"),
    ):
        if facts.content.get(key, usual) != usual:
            raise facts.refusal(key, facts.content[key], repr(usual))
    kind = text.part("tokenizer_kwargs").content.get("clean", "lower")
    if kind != "lower":
        raise text.refusal("tokenizer_kwargs.clean", kind, "'lower': CLIP's tokenizer")
    if model.content.get("custom_text") and text.content.get("hf_tokenizer_name"):
        raise text.refusal("hf_tokenizer_name", text.content["hf_tokenizer_name"], "none")


def _open_clip_activation(model: Facts, tower: Facts) -> Activation:
    kind = tower.part("act_kwargs").content.get("approximate", "none")
    if kind not in ("none", "tanh"):
        raise tower.refusal("act_kwargs.approximate", kind, "'none' or 'tanh'")
    if model.content.get("quick_gelu"):
        return "quick_gelu"
    return "gelu_tanh" if kind == "tanh" else "gelu"


def _open_clip_preprocess(facts: Facts, image_size: int) -> Preprocess:
    """Read the preprocessing; the size is the tower's, as in open_clip."""
    mode = facts.content.get("mode", "RGB")
    if mode != "RGB":
        raise facts.refusal("mode", mode, "'RGB'")
    return Preprocess(
        size=image_size,
        mean=facts.channels("mean", OPENAI_MEAN),
        std=facts.channels("std", OPENAI_STD),
        interpolation=facts.content.get("interpolation", "bicubic"),
        resize_mode=facts.content.get("resize_mode", "shortest"),
    )


def huggingface_network(config: Facts) -> NetworkConfig:
    """Read `config.json` of a CLIPModel (keys and defaults of CLIPTextConfig, CLIPVisionConfig)."""
    kind = config.content.get("model_type")
    if kind != "clip":
        raise config.refusal(
            "model_type", kind, "'clip': networks of other kinds are not supported"
        )
    # The older of two ways to say it wins, as in transformers.
    vision = config.part(
        "vision_config_dict" if config.content.get("vision_config_dict") else "vision_config"
    )
    text = config.part(
        "text_config_dict" if config.content.get("text_config_dict") else "text_config"
    )
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
    merges_of(words, config.source)
    return NetworkConfig(config.number("projection_dim", 512), image, words)


def _huggingface_activation(facts: Facts) -> Activation:
    name = facts.content.get("hidden_act", "quick_gelu")
    names: dict[object, Activation] = {
        "quick_gelu": "quick_gelu",
        "gelu": "gelu",
        "gelu_new": "gelu_tanh",
        "gelu_pytorch_tanh": "gelu_tanh",
    }
    if not isinstance(name, str) or name not in names:
        raise facts.refusal("hidden_act", name, f"one of {', '.join(map(str, names))}")
    return names[name]


def huggingface_preprocess(facts: Facts) -> Preprocess:
    """Read `preprocessor_config.json`, or `processor_config.json` that has it as a part."""
    if "image_processor" in facts.content:
        facts = facts.part("image_processor")
    size = facts.content.get("size")
    if isinstance(size, int):
        size = {"shortest_edge": size}
    crop = facts.content.get("crop_size")
    if isinstance(crop, int):
        crop = {"height": crop, "width": crop}
    if not isinstance(size, dict):
        raise facts.refusal("size", size, "a number or an object")
    number = facts.content.get("resample", 3)
    resample = RESAMPLE_NAMES.get(number) if type(number) is int else None
    if resample is None:
        raise facts.refusal("resample", number, "2 or 3")
    for step in ("do_resize", "do_rescale", "do_normalize"):
        if not facts.content.get(step, True):
            raise facts.refusal(step, False, "true: pictures of any size and scale come in")
    scale = facts.real("rescale_factor", 1 / 255)
    if abs(scale * 255 - 1) > 1e-6:
        raise facts.refusal("rescale_factor", scale, "1/255")
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
    return {
        "architecture": {
            "embed_dim": network.embed_dim,
            "vision": {"kind": network.vision.kind, **asdict(network.vision)},
            "text": {"kind": network.text.kind, **asdict(network.text)},
        },
        "preprocess": {name: getattr(spec.preprocess, name) for name in PREPROCESS},
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
    if not isinstance(kind, str) or kind not in kinds:
        raise vision.refusal("kind", kind, f"one of {', '.join(map(str, kinds))}")
    words = _filled(TextConfig, text)
    network = NetworkConfig(architecture.number("embed_dim"), _filled(kinds[kind], vision), words)
    pixels = facts.part("preprocess")
    pixels.content = {key: pixels.content[key] for key in PREPROCESS if key in pixels.content}
    preprocess = _filled(Preprocess, pixels)
    merges: Any = facts.part("tokenizer").content.get("merges")
    return checked(Spec(network, preprocess, merges), facts.source)


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
