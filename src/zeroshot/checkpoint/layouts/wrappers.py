"""Strip what training scripts put around a state dict: `state_dict.`, `module.` and the like."""

from __future__ import annotations

from torch import Tensor

WRAPPERS = ("state_dict", "model_state_dict", "model", "module")
MAX_DEPTH = 4  # {"model": {"state_dict": {"module.…"}}} is as deep as it gets
ROOTS = ("visual.", "vision_model.")  # every layout's image tower starts with one


def unwrap(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors by the names they have without a wrapper."""
    for _ in range(MAX_DEPTH):
        for wrapper in WRAPPERS:
            inner = {
                name.removeprefix(f"{wrapper}."): tensor
                for name, tensor in tensors.items()
                if name.startswith(f"{wrapper}.")
            }
            if any(name.startswith((*ROOTS, *WRAPPERS)) for name in inner):
                tensors = inner
                break
        else:
            break
    return tensors
