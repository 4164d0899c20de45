"""Remove prefixes that training scripts add to a state dict.

Examples are `state_dict.` and `module.`.
"""

from __future__ import annotations

from torch import Tensor

WRAPPERS = ("state_dict", "model_state_dict", "model", "module")
MAX_DEPTH = 4  # {"model": {"state_dict": {"module.…"}}} is the deepest known nesting
ROOTS = ("visual.", "vision_model.")  # every layout's image tower starts with one


def unwrap(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with wrapper prefixes removed from their names."""
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
