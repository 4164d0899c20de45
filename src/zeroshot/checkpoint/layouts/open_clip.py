"""Read open_clip's checkpoints.

They have OpenAI's tensor names and `open_clip_config.json`. Keys and defaults are those of
CLIPVisionCfg, CLIPTextCfg (`model.py`) and PreprocessCfg (`transform.py`) of open_clip 3.3. As in
open_clip, an unknown field is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from pathlib import Path

from torch import Tensor

from zeroshot.checkpoint.config_fields import (
    Fields,
    check_spec,
    read_config,
    require_clip_vocabulary,
)
from zeroshot.checkpoint.layouts.base import Checkpointed, Layout, to_native_names
from zeroshot.checkpoint.layouts.openai import HEAD_WIDTH, from_shapes
from zeroshot.checkpoint.tensors import StoredTensor
from zeroshot.errors import IncompatibleWeights
from zeroshot.spec import (
    OPENAI_MEAN,
    OPENAI_STD,
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

CONFIG = "open_clip_config.json"
MLP_RATIO = 4.0
FILE_FIELDS = ("model_cfg", "preprocess_cfg", "hf_tokenizer_name", "hf_model_name")
# Fields that are read here, and fields that do not change embeddings: training settings,
# additional outputs, and settings of features that are disabled.
MODEL_FIELDS = (
    *("embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "multimodal_cfg", "init_logit_bias"),
    *("init_logit_scale", "nonscalar_logit_scale", "cast_dtype", "output_dict", "custom_text"),
)
BLOCK_FIELDS = (
    *("act_kwargs", "norm_kwargs", "mlp_ratio", "width", "layers", "ls_init_value", "pool_type"),
    *("qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn"),
    *("scale_fc", "block_type", "final_ln_after_pool", "output_tokens"),
)
VISION_FIELDS = (
    *BLOCK_FIELDS,
    *("head_width", "patch_size", "image_size", "pos_embed_type", "timm_model_name"),
    *("attentional_pool", "no_ln_pre", "attn_pooler_queries", "attn_pooler_heads"),
    *("patch_dropout", "timm_model_pretrained", "timm_pool", "timm_proj", "timm_proj_bias"),
    *("timm_drop", "timm_drop_path"),
)
TEXT_FIELDS = (
    *BLOCK_FIELDS,
    *("context_length", "vocab_size", "heads", "proj_type", "proj_bias", "embed_cls"),
    *("no_causal_mask", "hf_tokenizer_name", "hf_model_name", "tokenizer_kwargs"),
    *("pad_id", "eos_id", "tokenizer_mode", "hf_model_pretrained", "hf_proj_type"),
    *("hf_pooler_type",),
)
PREPROCESS_FIELDS = (
    *("size", "mode", "mean", "std", "interpolation", "resize_mode"),
    "fill_color",  # for unsupported resize modes
)
# Features that OpenAI's towers do not have; they must be disabled.
SWITCHES = {
    "block": (
        *("qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn"),
        *("scale_fc", "ls_init_value"),
    ),
    "model": ("multimodal_cfg", "init_logit_bias"),
    "vision": ("timm_model_name", "attentional_pool", "no_ln_pre"),
    "text": (
        *("hf_model_name", "hf_tokenizer_name", "no_causal_mask", "embed_cls", "proj_bias"),
        "tokenizer_mode",
    ),
}


def _recognizes(names: Set[str], metadata: Mapping[str, str]) -> bool:
    return "visual.conv1.weight" in names and bool(
        {"token_embedding.weight", "text.token_embedding.weight"} & names
    )


def _rename(tensors: dict[str, Tensor], source: str) -> dict[str, StoredTensor]:
    return to_native_names({name: (tensor,) for name, tensor in tensors.items()}, source)


def _spec(found: Checkpointed, like: Published | None) -> Spec:
    if like is None:
        raise IncompatibleWeights(
            f"{found.path}: bare tensors do not determine activation and preprocessing; expected "
            f"{CONFIG} beside them; download it, or pass a checkpoint of the same family, as in "
            "like='ViT-B/32' (--like)",
            source=str(found.path),
        )
    return from_shapes(found.stored, like, str(found.path))


def _read(path: Path, preprocess: PreprocessConfig | None) -> Spec:
    return from_config(read_config(path))


def from_config(config: Fields) -> Spec:
    """Read the content of `open_clip_config.json`."""
    config.allow_only(FILE_FIELDS)
    model = config.part("model_cfg")
    vision, text = model.part("vision_cfg"), model.part("text_cfg")
    _require_clip(config, model, vision, text)
    image_size = vision.number("image_size", 224)
    text_width = text.number("width", 512)
    text_config = TextConfig(
        context_length=text.number("context_length", 77),
        vocab_size=text.number("vocab_size", 49408),
        width=text_width,
        layers=text.number("layers", 12),
        heads=text.number("heads", 8),
        mlp_width=int(text_width * text.real("mlp_ratio", MLP_RATIO)),
        activation=_read_activation(model, text),
        eps=text.part("norm_kwargs").real("eps", 1e-5),
    )
    require_clip_vocabulary(text_config.vocab_size, config.source)
    network = NetworkConfig(
        model.number("embed_dim"), _read_vision(model, vision, image_size), text_config
    )
    preprocess = _read_preprocess(config.part("preprocess_cfg"), image_size)
    return check_spec(Spec(network, preprocess), config.source)


def _read_vision(model: Fields, vision: Fields, image_size: int) -> ImageTowerConfig:
    """Read the image tower; a list of layers means a ResNet, as in open_clip."""
    layers = vision.content.get("layers", 12)
    width = vision.number("width", 768)
    head_width = vision.number("head_width", HEAD_WIDTH)
    if isinstance(layers, list):
        if len(layers) != 4 or not all(type(n) is int and n > 0 for n in layers):
            raise vision.field_error("layers", layers, "four numbers of blocks")
        stages = (layers[0], layers[1], layers[2], layers[3])
        return ResNetConfig(image_size, width, stages, heads=width * 32 // head_width)
    return ViTConfig(
        image_size=image_size,
        patch_size=vision.number("patch_size", 16),
        width=width,
        layers=vision.number("layers", 12),
        heads=width // head_width,
        mlp_width=int(width * vision.real("mlp_ratio", MLP_RATIO)),
        activation=_read_activation(model, vision),
        eps=vision.part("norm_kwargs").real("eps", 1e-5),
    )


def _require_clip(config: Fields, model: Fields, vision: Fields, text: Fields) -> None:
    """Reject features of open_clip that CLIP does not have, with the field's name."""
    model.allow_only(MODEL_FIELDS)
    vision.allow_only(VISION_FIELDS)
    text.allow_only(TEXT_FIELDS)
    config.part("preprocess_cfg").allow_only(PREPROCESS_FIELDS)
    for part, fields in (
        (model, SWITCHES["model"]),
        (vision, SWITCHES["vision"] + SWITCHES["block"]),
        (text, SWITCHES["text"] + SWITCHES["block"]),
        (config, ("hf_tokenizer_name", "hf_model_name")),
    ):
        for field in fields:
            if value := part.content.get(field):
                raise part.field_error(
                    field, value, "none; only the towers of OpenAI's CLIP are supported"
                )
    vision.require(pool_type="tok", pos_embed_type="learnable")
    text.require(pool_type="argmax", proj_type="linear")
    for tower in (vision, text):
        tower.part("act_kwargs").allow_only(["approximate"])
        tower.part("norm_kwargs").allow_only(["eps", "elementwise_affine"])
        tower.part("norm_kwargs").require(elementwise_affine=True)
    tokenizer = text.part("tokenizer_kwargs")
    tokenizer.allow_only(["clean"])
    tokenizer.require(clean="lower")


def _read_activation(model: Fields, tower: Fields) -> Activation:
    kind = tower.part("act_kwargs").content.get("approximate", "none")
    if kind not in ("none", "tanh"):
        raise tower.field_error("act_kwargs.approximate", kind, "'none' or 'tanh'")
    if model.content.get("quick_gelu"):
        return "quick_gelu"
    return "gelu_tanh" if kind == "tanh" else "gelu"


def _read_preprocess(fields: Fields, image_size: int) -> PreprocessConfig:
    """Read the preprocessing; the size is that of the tower, as in open_clip."""
    fields.require(mode="RGB")
    return PreprocessConfig(
        size=image_size,
        mean=fields.channels("mean", OPENAI_MEAN),
        std=fields.channels("std", OPENAI_STD),
        interpolation=fields.content.get("interpolation", "bicubic"),
        resize_mode=fields.content.get("resize_mode", "shortest"),
    )


LAYOUT = Layout("open_clip", _recognizes, _rename, _spec, CONFIG, _read, ("model_cfg",))
