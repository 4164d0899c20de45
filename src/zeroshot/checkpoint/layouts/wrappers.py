"""Remove prefixes that training scripts add to a state dict.

Examples are `state_dict.` of a training script, `module.` of DistributedDataParallel, `_orig_mod.`
of torch.compile, and the name of an attribute of the module that was saved, such as `clip.` of a
LightningModule.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from torch import Tensor

# Known wrappers. Other tensors beside them are dropped: optimizer, teacher, another head.
WRAPPERS = ("state_dict", "model_state_dict", "model", "module")
INSERTED = {  # segments that torch inserts wherever a module was wrapped
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
}
MAX_DEPTH = 8  # wrappers; {"model": {"state_dict": {"module.clip.…"}}} has four
# Every layout's image tower starts with one; the third is that of MobileCLIP.
ROOTS = ("visual.", "vision_model.", "image_encoder.model.patch_emb")


def unwrap(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with wrapper prefixes removed from their names.

    A known wrapper is removed if the image tower is below it, and the tensors beside it are
    dropped. Any other prefix is removed only if all tensors have it.
    """
    for _ in range(MAX_DEPTH):
        if any(name.startswith(ROOTS) for name in tensors):
            break
        firsts = Counter(name.partition(".")[0] for name in tensors)
        common = tuple(first for first, count in firsts.items() if count == len(tensors))
        for wrapper in (*WRAPPERS, *common):
            inner = _below(tensors, wrapper)
            if any(_has_root(name) for name in inner):
                tensors = inner
                break
        else:
            break
    return tensors


def remove_inserted(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors without the segments of `INSERTED`, wherever they are in a name.

    If two tensors then had the same name, nothing is removed.
    """
    if not any("_orig_mod." in name or "_wrapped_module." in name for name in tensors):
        return tensors
    renamed = {
        ".".join(part for part in name.split(".") if part not in INSERTED): tensor
        for name, tensor in tensors.items()
    }
    return renamed if len(renamed) == len(tensors) else tensors


def towers_below(names: Iterable[str]) -> list[str]:
    """Return the prefixes below which there is an image tower, such as ["student.", "teacher."]."""
    found = dict.fromkeys(
        name[:start] for name in names for root in ROOTS if (start := name.find(f".{root}") + 1) > 0
    )
    return list(found)


def _below(tensors: dict[str, Tensor], wrapper: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(f"{wrapper}."): tensor
        for name, tensor in tensors.items()
        if name.startswith(f"{wrapper}.")
    }


def _has_root(name: str) -> bool:
    return name.startswith(ROOTS) or any(f".{root}" in name for root in ROOTS)
