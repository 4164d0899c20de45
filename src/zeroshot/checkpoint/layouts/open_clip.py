"""Read open_clip's checkpoints.

They have OpenAI's tensor names and `open_clip_config.json`. Keys and defaults are those of
CLIPVisionCfg, CLIPTextCfg (`model.py`) and PreprocessCfg (`transform.py`) of open_clip 3.3. As in
open_clip, an unknown field is an error.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Set
from dataclasses import replace
from itertools import product
from pathlib import Path

from torch import Tensor

from zeroshot.checkpoint.config_fields import (
    Fields,
    check_spec,
    read_config,
    require_clip_vocabulary,
    use_other,
)
from zeroshot.checkpoint.layouts import bert, timm, timm_convnext, timm_fastvit
from zeroshot.checkpoint.layouts.base import Checkpointed, Layout, to_native_names
from zeroshot.checkpoint.layouts.foreign import explain_family
from zeroshot.checkpoint.layouts.open_clip_tokenizers import read_tokenizer
from zeroshot.checkpoint.layouts.openai import HEAD_WIDTH, from_shapes
from zeroshot.checkpoint.tensors import StoredTensor
from zeroshot.errors import IncompatibleWeights
from zeroshot.spec import (
    OPENAI_MEAN,
    OPENAI_STD,
    Activation,
    BertConfig,
    ImagePool,
    ImageTowerConfig,
    NetworkConfig,
    PreprocessConfig,
    Projection,
    Published,
    ResNetConfig,
    Scoring,
    Spec,
    TextConfig,
    TextPool,
    ViTConfig,
)

CONFIG = "open_clip_config.json"
TIMM = (timm.LAYOUT, timm_convnext.LAYOUT, timm_fastvit.LAYOUT)  # kinds of image towers of timm
TIMM_PREFIXES = (timm.PREFIX, "visual.head.")  # of a tower, and a projection behind one
PROJECTION = "text.text_projection.weight"  # of a linear layer
LINEAR = {
    PROJECTION: "text.text_projection",
    "text.text_projection.bias": "text.text_projection_bias",
}
IMAGE_POOLS: dict[str, ImagePool] = {"tok": "token", "avg": "mean"}
TEXT_POOLS: dict[str, TextPool] = {"argmax": "largest", "last": "last", "eos": "end"}
GELUS: dict[str, Activation] = {"none": "gelu", "tanh": "gelu_tanh"}
END_ID = 2  # default of open_clip
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
    "model": ("multimodal_cfg",),
    "vision": ("attentional_pool",),
    "text": ("embed_cls", "tokenizer_mode"),
}


def _recognizes(names: Set[str], metadata: Mapping[str, str]) -> bool:
    image_towers = {"visual.conv1.weight"}.union(*(kind.first for kind in TIMM))
    text_towers = {
        *("token_embedding.weight", "text.token_embedding.weight"),
        f"{bert.PREFIX}{bert.WORDS}",
    }
    return bool(image_towers & names) and bool(text_towers & names)


def _rename(tensors: dict[str, Tensor], source: str) -> dict[str, StoredTensor]:
    encoder, tensors = bert.split(tensors, bert.PREFIX)
    if encoder:
        tensors = dict(bert.rename_head(name, each) for name, each in tensors.items())
    trunk = {name: each for name, each in tensors.items() if name.startswith(TIMM_PREFIXES)}
    others = {
        LINEAR.get(name, name): (each.T if name == PROJECTION and each.ndim == 2 else each,)
        for name, each in tensors.items()
        if name not in trunk
    }
    kind = next((each for each in TIMM if trunk.keys() & set(each.first)), timm.LAYOUT)
    return to_native_names(others | encoder, source) | kind.rename(trunk, source)


def _spec(found: Checkpointed, like: Published | None) -> Spec:
    if like is not None and like.model_cfg is not None:
        spec = from_config(Fields({"model_cfg": dict(like.model_cfg)}, str(found.path)))
        return replace(spec, preprocess=replace(like.preprocess, size=spec.preprocess.size))
    if problem := explain_family(found.names):
        raise IncompatibleWeights(f"{found.path}: {problem}", source=str(found.path))
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
    named = bool(text.content.get("hf_model_name"))
    text_config = bert.read_tower(text) if named else _read_text(model, text)
    tokenizer = read_tokenizer(text, text_config.context_length, full_rows=text_config.full_rows)
    if tokenizer is None:
        _require_clip_tokenizer(config, text, text_config)
    elif text_config.pool == "largest":
        raise text.field_error("pool_type", "argmax", "'eos' or 'last' with hf_tokenizer_name")
    network = NetworkConfig(
        model.number("embed_dim"),
        _read_vision(model, vision, image_size),
        text_config,
        logit_bias=model.content.get("init_logit_bias") is not None,
    )
    preprocess = _read_preprocess(config.part("preprocess_cfg"), image_size)
    scoring: Scoring = "sigmoid" if network.logit_bias else "softmax"
    spec = Spec(network, preprocess, scoring=scoring, tokenizer=tokenizer)
    return check_spec(spec, config.source)


def _read_text(model: Fields, text: Fields) -> TextConfig:
    width = text.number("width", 512)
    pool = text.choice("pool_type", TEXT_POOLS, "argmax")
    projection: Projection = "biased" if text.flag("proj_bias") else "matrix"
    return TextConfig(
        context_length=text.number("context_length", 77),
        vocab_size=text.number("vocab_size", 49408),
        width=width,
        layers=text.number("layers", 12),
        heads=text.number("heads", 8),
        mlp_width=int(width * text.real("mlp_ratio", MLP_RATIO)),
        activation=_read_activation(model, text),
        eps=text.part("norm_kwargs").real("eps", 1e-5),
        causal=not text.flag("no_causal_mask"),
        pool=pool,
        end_id=text.number("eos_id", END_ID) if pool == "end" else 0,
        projection="none" if text.content.get("proj_type") == "none" else projection,
    )


def _require_clip_tokenizer(config: Fields, text: Fields, tower: TextConfig | BertConfig) -> None:
    """Reject text towers that do not fit rows of CLIP's tokenizer."""
    if tower.pad is not None:
        raise text.field_error("hf_tokenizer_name", None, "the tokenizer of hf_model_name")
    if name := config.content.get("hf_tokenizer_name"):
        raise config.field_error(
            "hf_tokenizer_name", name, "none; a tokenizer is named in text_cfg"
        )
    require_clip_vocabulary(tower.vocab_size, config.source)
    if tower.pool != "largest":
        raise text.field_error(
            "pool_type", text.content["pool_type"], "'argmax' with CLIP's tokenizer"
        )


def _read_vision(model: Fields, vision: Fields, image_size: int) -> ImageTowerConfig:
    """Read the image tower; a list of layers means a ResNet, as in open_clip."""
    tower, layers = vision.content.get("timm_model_name"), vision.content.get("layers", 12)
    if tower or isinstance(layers, list):
        vision.require(pool_type="tok", no_ln_pre=False, final_ln_after_pool=False)
    if tower:
        return read_timm_tower(vision)
    width = vision.number("width", 768)
    head_width = vision.number("head_width", HEAD_WIDTH)
    if isinstance(layers, list):
        if len(layers) != 4 or not all(type(n) is int and n > 0 for n in layers):
            raise vision.field_error("layers", layers, "four numbers of blocks")
        stages = (layers[0], layers[1], layers[2], layers[3])
        return ResNetConfig(image_size, width, stages, heads=width * 32 // head_width)
    pool = vision.choice("pool_type", IMAGE_POOLS, "tok")
    return ViTConfig(
        image_size=image_size,
        patch_size=vision.number("patch_size", 16),
        width=width,
        layers=vision.number("layers", 12),
        heads=width // head_width,
        mlp_width=int(width * vision.real("mlp_ratio", MLP_RATIO)),
        activation=_read_activation(model, vision),
        eps=vision.part("norm_kwargs").real("eps", 1e-5),
        pre_norm=not vision.flag("no_ln_pre"),
        pool=pool,
        norm_after_pool=vision.flag("final_ln_after_pool") and pool != "token",
    )


def read_timm_tower(vision: Fields) -> ImageTowerConfig:
    """Read the image tower of timm that a config names, with or without its image size.

    Raises IncompatibleWeights for an unknown one.
    """
    name = vision.content["timm_model_name"]
    names = (name, re.sub(r"_\d+$", "", name)) if isinstance(name, str) else ()
    for key, kind in product(names, TIMM):
        if key in kind.towers:
            tower = kind.read(vision, kind.towers[key])
            return tower.resized(vision.number("image_size", 224))
    known = [each for kind in TIMM for each in kind.towers]
    similar = difflib.get_close_matches(str(name)[:80], known, n=3)
    such = f", such as {' or '.join(similar)}" if similar else ""
    expected = f"a tower of a supported CLIP{such}; {use_other('open_clip')}"
    raise vision.field_error("timm_model_name", name, expected)


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
        (config, ("hf_model_name",)),
    ):
        for field in fields:
            if value := part.content.get(field):
                raise part.field_error(field, value, f"none; {use_other('open_clip')}")
    vision.require(pos_embed_type="learnable")
    if text.content.get("proj_type") not in (None, "linear", "none"):
        raise text.field_error("proj_type", text.content["proj_type"], "'linear' or 'none'")
    for tower in (vision, text):
        tower.part("act_kwargs").allow_only(["approximate"])
        tower.part("norm_kwargs").allow_only(["eps", "elementwise_affine"])
        tower.part("norm_kwargs").require(elementwise_affine=True)


def _read_activation(model: Fields, tower: Fields) -> Activation:
    gelu = tower.part("act_kwargs").choice("approximate", GELUS, "none")
    return "quick_gelu" if model.flag("quick_gelu") else gelu


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
