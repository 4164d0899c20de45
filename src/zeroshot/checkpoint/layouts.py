"""Renames the tensors of the world's CLIP layouts to this package's names.

Ours are OpenAI's, with `text.` before the text tower's. Sources: `model.py` of openai/CLIP and
open_clip, `convert_clip_original_pytorch_to_hf.py` of transformers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from torch import Tensor

from zeroshot.errors import IncompatibleWeights

Layout = Literal["native", "openai", "open_clip", "huggingface"]
Parts = tuple[Tensor, ...]  # of one tensor of ours, which lie below one another

WRAPPERS = ("state_dict", "model_state_dict", "model", "module")  # where training scripts put it
TEXT_ROOTS = (
    "token_embedding.",
    "positional_embedding",
    "transformer.",
    "ln_final.",
    "text_projection",
)
NO_WEIGHTS = ("num_batches_tracked", "attn_mask", "position_ids")  # counters and constants
OPENAI_EXTRAS = ("input_resolution", "context_length", "vocab_size")  # facts kept as tensors
HUGGINGFACE_NAMES = (
    (r"^vision_model\.embeddings\.class_embedding$", "visual.class_embedding"),
    (r"^vision_model\.embeddings\.patch_embedding\.", "visual.conv1."),
    (r"^vision_model\.embeddings\.position_embedding\.weight$", "visual.positional_embedding"),
    (r"^vision_model\.pre_layrnorm\.", "visual.ln_pre."),  # spelt like this in the files
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


def unwrap(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Strip what training scripts put around a state dict: `state_dict.`, `module.`, ..."""
    for _ in range(4):  # {"model": {"state_dict": {"module.…"}}} is as deep as it gets
        for wrapper in WRAPPERS:
            inner = {
                name.removeprefix(f"{wrapper}."): tensor
                for name, tensor in tensors.items()
                if name.startswith(f"{wrapper}.")
            }
            if any(name.startswith(("visual.", "vision_model.", *WRAPPERS)) for name in inner):
                tensors = inner
                break
        else:
            break
    return tensors


def detect(names: Iterable[str], source: str) -> Layout:
    """Say which layout these tensor names are of, or raise IncompatibleWeights."""
    known = set(names)
    if "visual.conv1.weight" in known and "token_embedding.weight" in known:
        return "openai" if any(extra in known for extra in OPENAI_EXTRAS) else "open_clip"
    if "visual.conv1.weight" in known and "text.token_embedding.weight" in known:
        return "open_clip"
    if "vision_model.embeddings.patch_embedding.weight" in known and any(
        name.startswith("text_model.") for name in known
    ):
        return "huggingface"
    raise IncompatibleWeights(
        f"{source}: not a CLIP of a known layout; its tensors are named {some(sorted(known))}; "
        "known are OpenAI's, open_clip's and the transformers library's CLIPModel",
        source=source,
    )


def to_native(tensors: dict[str, Tensor], layout: Layout, source: str) -> dict[str, Parts]:
    """Rename and reshape tensors to this package's names; what is not a weight is left out.

    Nothing is read of them: what must be joined is handed out in parts.
    """
    parts: dict[str, Parts] = {name: (tensor,) for name, tensor in tensors.items()}
    if layout == "huggingface":
        parts = _from_huggingface(tensors)
    named: dict[str, Parts] = {}
    for name, found in parts.items():
        if name in OPENAI_EXTRAS or name.endswith(NO_WEIGHTS):
            continue
        if name == "logit_scale" and found[0].numel() == 1:
            found = (found[0].reshape(()),)  # both scalars and vectors of one occur
        ours = f"text.{name}" if name.startswith(TEXT_ROOTS) else name
        if ours in named:
            raise IncompatibleWeights(
                f"{source}: two tensors, one of them {name!r}, both are {ours!r}; the file mixes "
                "layouts, get it again from its publisher",
                source=source,
            )
        named[ours] = found
    return named


def _from_huggingface(tensors: dict[str, Tensor]) -> dict[str, Parts]:
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        ours = name
        for pattern, replacement in HUGGINGFACE_NAMES:
            ours = re.sub(pattern, replacement, ours)
        if ours in ("visual.proj", "text.text_projection") and tensor.ndim == 2:
            tensor = tensor.T
        renamed[ours] = tensor
    joined: dict[str, Parts] = {}
    for name, tensor in renamed.items():
        found = re.match(r"(.*\.attn\.)([qkv])_proj\.(weight|bias)$", name)
        stem, part, kind = found.groups() if found else ("", "", "")
        parts = [renamed.get(f"{stem}{letter}_proj.{kind}") for letter in "qkv"]
        alike = [p for p in parts if p is not None and p.shape == tensor.shape]
        if not found or len(alike) < 3 or len({p.dtype for p in alike}) > 1 or not tensor.ndim:
            joined[name] = (tensor,)  # one that stays alone here will be reported as unexpected
        elif part == "q":
            joined[f"{stem}in_proj_{kind}"] = tuple(alike)
    return joined


def some(names: list[str], limit: int = 10) -> str:
    """List up to `limit` names, and how many there are beyond."""
    listed = ", ".join(names[:limit])
    return f"{listed} and {len(names) - limit} more" if len(names) > limit else listed
