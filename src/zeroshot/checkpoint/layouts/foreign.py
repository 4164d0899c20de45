"""Recognize tensors that are no plain state dict of a CLIP, and say how to save one."""

from __future__ import annotations

import re
from collections.abc import Iterable

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


def explain(names: Iterable[str]) -> str:
    """Return what a file with these tensors is and what to do, or "" for a plain state dict."""
    names = list(names)
    for pattern, advice in MARKS:
        if (found := next((name for name in names if re.search(pattern, name)), None)) is not None:
            return f"expected a state dict, got {advice} (a tensor is {shortened(found)!r})"
    return ""


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
