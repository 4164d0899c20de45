"""How a network runs fast on this device: precision, packing, fusing, batch shapes.

The only room that knows hardware. `device` chooses where and in which precision; `runner` holds
the Engine that the model talks to; on a CPU it runs the towers as `vision`, `text` and `resnet`
rewrite them, made of the packed layers in `linear` and `blocks`, spread over the one-thread
`workers`; `resampling` makes pixels of the `levels` of a picture. Every rewrite is proved equal to
the plain way by a test.
"""

from zeroshot.engine.device import choose_device, choose_dtype
from zeroshot.engine.resampling import resample
from zeroshot.engine.runner import Engine

__all__ = ["Engine", "choose_device", "choose_dtype", "resample"]
