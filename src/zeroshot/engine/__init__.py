"""Run a network fast on a device.

This is the only package that depends on the hardware. `device` chooses device and precision.
`runner` contains the Engine that a model uses. `backend` defines the interface of a kind of device:
`cpu/` runs optimized towers, `plain` runs the modules of `zeroshot.nn` on any other device.
`resampling` makes pixels, using the memory that `pillow_memory` exposes. `torch_state` sets the
torch state in which towers run. A test compares each optimization with the plain version.
"""

from zeroshot.engine.device import choose_device, choose_dtype
from zeroshot.engine.resampling import resample
from zeroshot.engine.runner import Engine

__all__ = ["Engine", "choose_device", "choose_dtype", "resample"]
