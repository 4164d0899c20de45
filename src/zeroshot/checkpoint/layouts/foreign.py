"""Recognize tensors that are no plain state dict of a CLIP, and say what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Set

from zeroshot.checkpoint.layouts.wrappers import towers_below
from zeroshot.errors import shortened, some

SAVE = "torch.save(model.state_dict(), 'clip.pt')"

# A pattern of tensor names -> what the file is, and what to do. No supported layout has such names.
MARKS = (
    (
        r"(^|\.)(_modules|_parameters)\.",
        f"a pickled module (torch.save(model)); write {SAVE} instead",
    ),
    (
        r"(^|\.)lora_(A|B|embedding_A|embedding_B|down|up|magnitude_vector)\b|\.base_layer\.",
        "a LoRA adapter that is not merged; merge it with PEFT's model.merge_and_unload(), then "
        "save the result with save_pretrained",
    ),
    (
        r"\.(SCB|absmax|nested_absmax|quant_map|weight_format|quant_state\.\w+)$",
        "weights quantized by bitsandbytes; load the original model in float16 or float32 and "
        "save it again",
    ),
    (
        r"\.(qweight|qzeros|g_idx|weight_scale|weight_packed|_data_scale)$|\._packed_params\b",
        "quantized weights; load the original model in float16 or float32 and save it again",
    ),
)
OPEN_CLIP, TRANSFORMERS = "open_clip_config.json", "config.json"
ALTERNATIVES = {
    OPEN_CLIP: ", or pass like= (--like) the name of a catalog model of the same architecture, "
    "such as 'ViT-B-16-SigLIP:webli'",
    TRANSFORMERS: "; like= cannot replace them",
}
# A pattern of tensor names -> the family that has such names, and the config file that contains
# what its tensors do not determine; "" if it is not supported. The first match counts.
FAMILIES = (
    (r"visual\.trunk\.attn_pool\.latent$", "SigLIP or PE-Core in open_clip", OPEN_CLIP),
    (r"visual\.trunk\.blocks\.0\.attn\.(q_bias|q_proj\.weight)$", "EVA-CLIP", OPEN_CLIP),
    (r"visual\.trunk\.stages\.0\.blocks\.0\.conv_dw\.", "CLIP with a ConvNeXt", OPEN_CLIP),
    (r"visual\.trunk\.stages\..*\.token_mixer\.", "MobileCLIP", OPEN_CLIP),
    (r"text\.transformer\.(embeddings|encoder)\.", "CLIP with a text tower of BERT", OPEN_CLIP),
    (r"visual\.trunk\.", "CLIP with an image tower of timm", OPEN_CLIP),
    (r"vision_model\.head\.probe$", "SigLIP in transformers", TRANSFORMERS),
    (r"text_model\.embeddings\.word_embeddings\.", "Chinese-CLIP", TRANSFORMERS),
    (r"text_model\.roberta\.", "AltCLIP", ""),
    (r"text_model\.embeddings\.position_embedding_(res|ori)\.", "FG-CLIP", ""),
    (r"(qformer|text_decoder\.bert)\.", "BLIP", ""),
    (r"text_decoder\.", "CoCa", ""),
    (
        r"text_encoder\.transformer\.\d+\.(token_mixer|convffn)\.",
        "MobileCLIP-S0 in Apple's own format, whose text encoder is convolutional",
        "",
    ),
    (r"audio_(model|branch)\.", "CLAP, a model of sounds", ""),
)
UNSUPPORTED = re.compile("|".join(pattern for pattern, _, config in FAMILIES if not config))
TOWERS = {  # a tensor of one tower of CLIP -> what a file without the other tower is
    "visual.attn_pool.probe": "a Perception Encoder without its text tower",
    "visual.conv1.weight": "an image tower without its text tower",
    "vision_model.embeddings.patch_embedding.weight": "an image tower without its text tower",
    "text_model.embeddings.token_embedding.weight": "a text tower without its image tower",
    "token_embedding.weight": "a text tower without its image tower",
}


def explain(names: Iterable[str]) -> str:
    """Return what a file with these tensors is and what to do, or "" for a plain state dict."""
    names = list(names)
    for pattern, advice in MARKS:
        if (found := next((name for name in names if re.search(pattern, name)), None)) is not None:
            return f"expected a state dict, got {advice} (a tensor is {shortened(found)!r})"
    return ""


def explain_family(names: Iterable[str]) -> str:
    """Return the family that has such tensors and what it requires; "" for OpenAI's names."""
    family, config = _family_of(names)
    if family and config:
        return (
            f"the tensors are those of {family}, and do not determine the whole network; "
            f"download {config}, and the preprocessor and tokenizer files if there are any, into "
            f"the same folder{ALTERNATIVES[config]}"
        )
    return _unsupported(family) if family else ""


def explain_unsupported(names: Iterable[str]) -> str:
    """Return the family that has such tensors if no config file can help, else ""."""
    names = list(names)
    if not any(map(UNSUPPORTED.match, names)):  # one pass, because every file is checked
        return ""
    family, config = _family_of(names)
    return _unsupported(family) if family and not config else ""


def _family_of(names: Iterable[str]) -> tuple[str, str]:
    """Return a family and its config file, or two empty strings."""
    names = list(names)
    for pattern, family, config in FAMILIES:
        if any(re.match(pattern, name) for name in names):
            return family, config
    return "", ""


def _unsupported(family: str) -> str:
    return (
        f"the tensors are those of {family}, which is not supported; run it with its publisher's "
        "code, or choose another model with `zeroshot models`"
    )


def explain_tower(names: Set[str]) -> str:
    """Return what a file with one tower only is; "" if no tower is known."""
    found = next((what for name, what in TOWERS.items() if name in names), "")
    return f"the tensors are those of {found}; both are required" if found else ""


def explain_prefixes(names: Iterable[str]) -> str:
    """Return what to do if a CLIP is below a prefix, among other tensors; else ""."""
    names = list(names)
    prefixes = towers_below(names)
    if not prefixes:
        return ""
    if len(prefixes) > 1:
        listed = shortened(some(sorted(prefixes), 5), 200)
        return f"image towers are below several prefixes: {listed}; save one of the models alone"
    prefix = prefixes[0]
    others = sorted(name for name in names if not name.startswith(prefix))
    if not others:
        return ""
    attribute = prefix.rstrip(".")
    return (
        f"a CLIP may be below {prefix!r}, but {len(others)} other tensors are beside it "
        f"({shortened(some(others, 2), 120)}); save the CLIP alone, as in "
        f"torch.save(model.{attribute}.state_dict(), 'clip.pt')"
    )
