"""Read CLIPModel, MetaClip2Model, SiglipModel, Siglip2Model and ChineseCLIPModel of transformers.

It has its own tensor names, `config.json` and a preprocessor config. Sources:
`convert_clip_original_pytorch_to_hf.py`, CLIPTextConfig, CLIPVisionConfig and CLIPImageProcessor of
transformers; the harmless fields are those that PreTrainedConfig writes in versions 4 and 5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from zeroshot.checkpoint.config_fields import (
    Fields,
    check_spec,
    read_config,
    require_clip_vocabulary,
    use_other,
)
from zeroshot.checkpoint.layouts import bert, transformers_chinese_clip, transformers_siglip
from zeroshot.checkpoint.layouts.base import (
    Checkpointed,
    Layout,
    join_projections,
    to_native_names,
)
from zeroshot.checkpoint.layouts.foreign import explain_family
from zeroshot.checkpoint.layouts.open_clip_tokenizers import (
    BERT,
    MT5,
    XLM_ROBERTA,
    siglip_tokenizer,
)
from zeroshot.checkpoint.tensors import StoredTensor
from zeroshot.errors import IncompatibleWeights
from zeroshot.spec import (
    OPENAI_MEAN,
    OPENAI_STD,
    Activation,
    BertConfig,
    Interpolation,
    NetworkConfig,
    PreprocessConfig,
    Published,
    Scoring,
    Spec,
    TextConfig,
    TokenizerConfig,
    ViTConfig,
)

CONFIG = "config.json"
KINDS = ("clip", "siglip", "siglip2", "metaclip_2", "chinese_clip")  # values of model_type
PREPROCESS = ("preprocessor_config.json", "processor_config.json")
NAMES = (
    (r"^vision_model\.embeddings\.class_embedding$", "visual.class_embedding"),
    # of SigLIP
    (r"^vision_model\.head\.probe$", "visual.attn_pool.probe"),
    (r"^vision_model\.head\.attention\.", "visual.attn_pool."),
    (r"^vision_model\.head\.layernorm\.", "visual.attn_pool.ln."),
    (r"^vision_model\.head\.mlp\.", "visual.attn_pool.mlp."),
    (r"^text_model\.head\.weight$", "text.text_projection"),
    (r"^text_model\.head\.bias$", "text.text_projection_bias"),
    (r"^vision_model\.embeddings\.patch_embedding\.", "visual.conv1."),
    (r"^vision_model\.embeddings\.position_embedding\.weight$", "visual.positional_embedding"),
    (r"^vision_model\.pre_layrnorm\.", "visual.ln_pre."),  # spelled like this in the files
    (r"^vision_model\.post_layernorm\.", "visual.ln_post."),
    (r"^vision_model\.encoder\.layers\.", "visual.transformer.resblocks."),
    (r"^visual_projection\.weight$", "visual.proj"),
    (r"^text_model\.embeddings\.token_embedding\.", "text.token_embedding."),
    (r"^text_model\.embeddings\.position_embedding\.weight$", "text.positional_embedding"),
    (r"^text_model\.final_layer_norm\.", "text.ln_final."),
    (r"^text_model\.encoder\.layers\.", "text.transformer.resblocks."),
    (r"^text_projection\.weight$", "text.text_projection"),
    (r"\.layer_norm([12])\.", r".ln_\1."),
    (r"\.self_attn\.out_proj\.", ".attn.out_proj."),
    (r"\.self_attn\.([qkv])_proj\.", r".attn.\1_proj."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
)
ACTIVATIONS: dict[object, Activation] = {
    "quick_gelu": "quick_gelu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}
LIKE: dict[object, str] = {  # model_type -> a model with the same preprocessing; else OpenAI's
    "siglip": "siglip",
    "siglip2": "siglip2-naflex",
    "metaclip_2": "metaclip2",
    "chinese_clip": "chinese-clip",
}
RESAMPLING: dict[object, Interpolation] = {2: "bilinear", 3: "bicubic"}  # PIL's numbers
FIRST_END = 2  # this eos_token_id means "the largest id", as in configs of before 2023
# Id of the end of a text -> tokenizer of MetaCLIP 2: XLM-V's or mT5's. Cleaning is that of its
# training, as in open_clip; MetaClip2Processor does not clean texts.
METACLIP_2 = {
    2: replace(XLM_ROBERTA, cleaning="whitespace"),
    1: replace(MT5, cleaning="canonicalize"),
}
# Fields that any config of the library may contain and that do not change embeddings: options for
# loading, training and text generation.
HARMLESS = (
    *(
        "_name_or_path",
        "_attn_implementation",
        "_attn_implementation_autoset",
        "_commit_hash",
        "architectures",
    ),
    *(
        "attention_dropout",
        "attn_implementation",
        "auto_map",
        "dropout",
        "dtype",
        "finetuning_task",
    ),
    *("gradient_checkpointing", "id2label", "initializer_factor", "initializer_range"),
    *("label2id", "logit_scale_init_value", "model_type", "num_labels", "output_attentions"),
    *("output_hidden_states", "prefix", "problem_type", "projection_dim", "return_dict"),
    *("task_specific_params", "tf_legacy_loss", "tie_encoder_decoder", "tie_word_embeddings"),
    *("tokenizer_class", "torch_dtype", "torchscript", "transformers_version"),
    *("transformers.js_config", "use_bfloat16", "use_cache", "chunk_size_feed_forward"),
    *("bad_words_ids", "begin_suppress_tokens", "bos_token_id", "decoder_start_token_id"),
    *("diversity_penalty", "do_sample", "early_stopping", "encoder_no_repeat_ngram_size"),
    *("exponential_decay_length_penalty", "forced_bos_token_id", "forced_eos_token_id"),
    *("length_penalty", "max_length", "min_length", "no_repeat_ngram_size", "num_beam_groups"),
    *("num_beams", "num_return_sequences", "output_scores", "pad_token_id"),
    *("remove_invalid_values", "repetition_penalty", "return_dict_in_generate", "sep_token_id"),
    *("suppress_tokens", "temperature", "top_k", "top_p", "typical_p"),
    *("cross_attention_hidden_size", "mask_token_id", "cls_token_id", "unk_token_id"),
)
OLD_TYPE = "feature_extractor_type"  # names the processor in configs of before 2023
# A preprocessor config contains one of these fields.
PREPROCESS_MARKS = {"size", "image_processor", "max_num_patches"}
PREPROCESS_FIELDS = (
    *("crop_size", "do_center_crop", "do_normalize", "do_rescale", "do_resize", "image_mean"),
    *("image_std", "resample", "rescale_factor", "size", "do_pad"),
    # internal to the library
    *("_processor_class", "_valid_processor_keys", "auto_map", "data_format", "default_to_square"),
    *("device", "disable_grouping", "do_convert_rgb", "feature_extractor_type", "image_seq_length"),
    *("image_processor_type", "input_data_format", "pad_size", "processor_class"),
    *("return_tensors", "transformers_version", "use_square_size"),
)
SWITCHES = (
    "add_cross_attention",
    "is_decoder",
    "is_encoder_decoder",
    "pruned_heads",
)  # must be disabled
TOWER_FIELDS = (
    *(*HARMLESS, *SWITCHES, "hidden_size", "intermediate_size", "num_hidden_layers"),
    *("num_attention_heads", "hidden_act", "layer_norm_eps"),
)
VISION_FIELDS = (*TOWER_FIELDS, "image_size", "patch_size", "num_channels", "eos_token_id")
ANY_GRID_FIELDS = (*TOWER_FIELDS, "num_patches", "patch_size", "num_channels")
TEXT_FIELDS = (*TOWER_FIELDS, "max_position_embeddings", "vocab_size", "eos_token_id")
MODEL_FIELDS = (
    *(*HARMLESS, *SWITCHES, "eos_token_id", "text_config", "vision_config"),
    *("text_config_dict", "vision_config_dict"),
)
MORE_FIELDS: dict[str, tuple[str, ...]] = {  # by model_type
    "siglip": transformers_siglip.FIELDS,
    "siglip2": transformers_siglip.FIELDS,
    "chinese_clip": transformers_chinese_clip.FIELDS,
}


def _recognizes(names: Set[str], metadata: Mapping[str, str]) -> bool:
    return "vision_model.embeddings.patch_embedding.weight" in names and any(
        name.startswith("text_model.") for name in names
    )


def _rename(tensors: dict[str, Tensor], source: str) -> dict[str, StoredTensor]:
    """Rename tensors and group queries, keys and values; no values are read."""
    encoder, tensors = bert.split(tensors, transformers_chinese_clip.PREFIX)
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        ours = name
        for pattern, replacement in NAMES:
            ours = re.sub(pattern, replacement, ours)
        if ours in ("visual.proj", "text.text_projection") and tensor.ndim == 2:
            tensor = tensor.T
        elif ours == "visual.conv1.weight" and tensor.ndim == 2:
            tensor = transformers_siglip.to_convolution(tensor)
        elif ours == "visual.attn_pool.probe":
            tensor = tensor.reshape(-1)
        renamed[ours] = tensor
    return to_native_names(join_projections(renamed) | encoder, source)


def _spec(found: Checkpointed, like: Published | None) -> Spec:
    if problem := explain_family(found.names):
        raise IncompatibleWeights(f"{found.path}: {problem}", source=str(found.path))
    raise _missing_error(found.path, CONFIG)


def _read(path: Path, preprocess: PreprocessConfig | None) -> Spec:
    config = read_config(path)
    network = network_of(config)
    beside = [path.parent / name for name in PREPROCESS]
    configs = (read_config(file) for file in beside if file.is_file())
    found = next((each for each in configs if PREPROCESS_MARKS & set(each.content)), None)
    kind, size = config.content.get("model_type"), network.vision.image_size
    if found is None and preprocess is None:
        raise _missing_error(path, PREPROCESS[0], LIKE.get(kind, "ViT-B/32"))
    if kind == "siglip2":
        patch = config.part("vision_config").number("patch_size", 16)
        preprocess = any_grid_of(found or Fields({"patch_size": patch}, str(path)), size)
    elif found is not None:
        preprocess = preprocess_of(found, kind)
    elif preprocess is not None:
        preprocess = replace(preprocess, size=size)
    assert preprocess is not None
    tokenizer = _tokenizer_of(kind, network.text)
    scoring: Scoring = "sigmoid" if network.logit_bias else "softmax"
    return check_spec(Spec(network, preprocess, scoring=scoring, tokenizer=tokenizer), str(path))


def _tokenizer_of(kind: object, text: TextConfig | BertConfig) -> TokenizerConfig | None:
    """Return the tokenizer of a kind of model; None for CLIP's."""
    length = text.context_length
    if kind == "chinese_clip":
        return replace(BERT, context_length=length)
    if kind == "metaclip_2" and text.last_id is not None:
        return replace(METACLIP_2[text.last_id], context_length=length)
    if kind == "siglip2":  # Gemma's tokenizer whatever its size
        return replace(siglip_tokenizer(length, text.vocab_size), pad=0)
    return siglip_tokenizer(length, text.vocab_size) if kind == "siglip" else None


def network_of(config: Fields) -> NetworkConfig:
    """Read the content of `config.json`."""
    kind = config.content.get("model_type")
    if kind not in KINDS:
        is_part = str(kind).endswith(("_vision_model", "_text_model"))
        other = use_other("transformers")
        advice = "load the model that has both towers" if is_part else other
        raise config.field_error("model_type", kind, f"one of {', '.join(KINDS)}; {advice}")
    # The older of two field names takes precedence, as in transformers.
    vision, text = (
        config.part(f"{tower}_config_dict" if config.content.get(f"{tower}_config_dict") else name)
        for tower, name in (("vision", "vision_config"), ("text", "text_config"))
    )
    if kind in ("siglip", "siglip2"):  # transformers does not read the older names there
        config.require(vision_config_dict={}, text_config_dict={})
    more = MORE_FIELDS.get(kind, ())
    image_fields = ANY_GRID_FIELDS if kind == "siglip2" else VISION_FIELDS
    for part, known in ((config, MODEL_FIELDS), (vision, image_fields), (text, TEXT_FIELDS)):
        part.allow_only((*known, *more))
        for switch in SWITCHES:
            if value := part.content.get(switch):
                raise part.field_error(switch, value, "none; it changes the network")
    if kind in ("siglip", "siglip2"):
        return transformers_siglip.network_of(vision, text, any_grid=kind == "siglip2")
    vision.require(num_channels=3)
    vision_config = ViTConfig(
        image_size=vision.number("image_size", 224),
        patch_size=vision.number("patch_size", 32),
        width=vision.number("hidden_size", 768),
        layers=vision.number("num_hidden_layers", 12),
        heads=vision.number("num_attention_heads", 12),
        mlp_width=vision.number("intermediate_size", 3072),
        activation=vision.choice("hidden_act", ACTIVATIONS, "quick_gelu"),
        eps=vision.real("layer_norm_eps", 1e-5),
    )
    embed_dim = config.number("projection_dim", 512)
    if kind == "chinese_clip":
        activation = text.choice("hidden_act", ACTIVATIONS, "gelu")
        bert_config = transformers_chinese_clip.read_text(text, activation)
        return NetworkConfig(embed_dim, vision_config, bert_config)
    text_config = TextConfig(
        context_length=text.number("max_position_embeddings", 77),
        vocab_size=text.number("vocab_size", 49408),
        width=text.number("hidden_size", 512),
        layers=text.number("num_hidden_layers", 12),
        heads=text.number("num_attention_heads", 8),
        mlp_width=text.number("intermediate_size", 2048),
        activation=text.choice("hidden_act", ACTIVATIONS, "quick_gelu"),
        eps=text.real("layer_norm_eps", 1e-5),
    )
    if kind == "metaclip_2":
        text_config = replace(text_config, pool="end", end_id=_read_end(text))
    else:
        _require_clip_text(text, text_config.vocab_size)
    return NetworkConfig(embed_dim, vision_config, text_config)


def _require_clip_text(text: Fields, vocab_size: int) -> None:
    """Reject another vocabulary than CLIP's, and another token to project than its largest id."""
    require_clip_vocabulary(vocab_size, text.source)
    end = text.content.get("eos_token_id")
    if end not in (None, FIRST_END, vocab_size - 1):  # the position of pooling
        raise text.field_error("eos_token_id", end, f"{vocab_size - 1}, CLIP's end-of-text token")


def _read_end(text: Fields) -> int:
    """Read the id of the token that MetaCLIP 2 projects: 2 means 2 there, unlike in CLIP."""
    end = text.content.get("eos_token_id")
    if type(end) is not int or end not in METACLIP_2:
        raise text.field_error(
            "eos_token_id", end, "2 with XLM-V's tokenizer, 1 with mT5's; others are not supported"
        )
    return end


def preprocess_of(fields: Fields, kind: object = "clip") -> PreprocessConfig:
    """Read `preprocessor_config.json`, or the same part of `processor_config.json`.

    Its defaults depend on the processor that it names, or else on the `kind` of model.
    """
    if "image_processor" in fields.content:
        fields = fields.part("image_processor")
    fields.allow_only(PREPROCESS_FIELDS)
    named = fields.content.get("image_processor_type") or fields.content.get(OLD_TYPE) or kind
    siglip = str(named).lower().startswith("siglip")
    half = transformers_siglip.HALF
    size = fields.content.get("size")
    if isinstance(size, int):
        size = {"shortest_edge": size}
    crop = fields.content.get("crop_size")
    if isinstance(crop, int):
        crop = {"height": crop, "width": crop}
    if isinstance(size, dict):
        size = {side: value for side, value in size.items() if value is not None}
    if not isinstance(size, dict):
        raise fields.field_error("size", size, "a number or an object")
    resample = _read_steps(fields, 3)
    mean = fields.channels("image_mean", half if siglip else OPENAI_MEAN)
    std = fields.channels("image_std", half if siglip else OPENAI_STD)
    if "shortest_edge" in size:
        edge = size["shortest_edge"]
        if fields.content.get("do_center_crop") is False:
            raise fields.field_error("do_center_crop", False, "true when the short side is resized")
        if crop is not None and crop != {"height": edge, "width": edge}:
            raise fields.field_error("crop_size", crop, f"{edge} in both dimensions, as size")
        side = Fields(size, fields.source, "size.").number("shortest_edge")
        return PreprocessConfig(side, mean, std, resample)
    side = Fields(size, fields.source, "size.").number("height")
    if size.get("width") != side:
        raise fields.field_error("size", size, "a square")
    # SiglipImageProcessor never crops; the others crop unless it is switched off.
    crops = not siglip and fields.content.get("do_center_crop") is not False
    if crops and crop not in (None, {"height": side, "width": side}):
        raise fields.field_error("crop_size", crop, f"{side} in both dimensions, as size")
    return PreprocessConfig(side, mean, std, resample, "squash")


def any_grid_of(fields: Fields, size: int) -> PreprocessConfig:
    """Read the preprocessor config of images that keep their aspect ratio.

    `size` is the side in pixels of the square grid of positions. The defaults are those of
    Siglip2ImageProcessor.
    """
    if "image_processor" in fields.content:
        fields = fields.part("image_processor")
    fields.allow_only((*PREPROCESS_FIELDS, "max_num_patches", "patch_size"))
    for name in ("size", "crop_size", "do_center_crop"):
        if value := fields.content.get(name):
            raise fields.field_error(name, value, "none, because images keep their aspect ratio")
    half = transformers_siglip.HALF
    return PreprocessConfig(
        size,
        fields.channels("image_mean", half),
        fields.channels("image_std", half),
        _read_steps(fields, 2),
        "aspect",
        patch=fields.number("patch_size", 16),
        max_patches=fields.number("max_num_patches", 256),
    )


def _read_steps(fields: Fields, default: int) -> Interpolation:
    """Check the steps of a preprocessor config, and return how it resamples."""
    fields.require(do_pad=False)
    number = fields.content.get("resample")
    number = default if number is None else number
    resample = RESAMPLING.get(number) if type(number) is int else None
    if resample is None:
        raise fields.field_error("resample", number, "2 or 3")
    for step in ("do_resize", "do_rescale", "do_normalize"):
        if fields.content.get(step) not in (None, True):
            raise fields.field_error(step, False, "true; images may have any size and scale")
    scale = fields.real("rescale_factor", 1 / 255)
    if abs(scale * 255 - 1) > 1e-6:
        raise fields.field_error("rescale_factor", scale, "1/255")
    return resample


def _missing_error(path: Path, name: str, like: str = "") -> IncompatibleWeights:
    """Return the error for a missing config file; `like` is a model with the preprocessing."""
    other = f", or pass the name of a model of the same family, as in like={like!r} (--like)"
    return IncompatibleWeights(
        f"{path.parent / name}: no such file; it belongs to {path.name}: download it into the same "
        f"folder{other if like else ''}",
        source=str(path),
    )


# "architecture" is the key of timm, whose models have no text tower.
CONFIG_KEYS = ("model_type", "architectures", "architecture")
LAYOUT = Layout("transformers", _recognizes, _rename, _spec, CONFIG, _read, CONFIG_KEYS)
