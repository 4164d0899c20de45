"""How a network runs fast on this device. The only package that depends on hardware.

`device` chooses device and precision; `runner` holds the Engine that a model uses; `backend` is
what a kind of device must offer: `cpu/` runs rewritten towers, `plain` the modules of
`zeroshot.nn` on any other device. `resampling` makes pixels, of the memory that `pillow_memory`
finds; `torch_state` is the torch state that towers run in. A test compares every faster way with
the plain one.
"""

from zeroshot.engine.device import choose_device, choose_dtype
from zeroshot.engine.resampling import resample
from zeroshot.engine.runner import Engine

__all__ = ["Engine", "choose_device", "choose_dtype", "resample"]
