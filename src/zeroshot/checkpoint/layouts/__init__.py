"""Convert named tensors to this package's names and a spec.

There is one object per publisher. `LAYOUTS` is the table. `openai`, `perception_encoder`,
`mobileclip`, `eva`, `open_clip`, `transformers` and `native` each define one `Layout`; `wrappers`
removes the prefixes that training scripts add to a state dict, and `foreign` says what to do about
tensors that are no plain state dict.
"""

from zeroshot.checkpoint.layouts import (
    eva,
    mobileclip,
    native,
    open_clip,
    openai,
    perception_encoder,
    transformers,
)
from zeroshot.checkpoint.layouts.base import Checkpointed, Layout
from zeroshot.checkpoint.layouts.foreign import (
    explain,
    explain_family,
    explain_prefixes,
    explain_tower,
    explain_unsupported,
)
from zeroshot.checkpoint.layouts.wrappers import remove_inserted, unwrap

LAYOUTS = (
    native.LAYOUT,
    openai.LAYOUT,
    perception_encoder.LAYOUT,  # before open_clip, which has some of its names
    mobileclip.LAYOUT,
    eva.LAYOUT,
    open_clip.LAYOUT,
    transformers.LAYOUT,
)

__all__ = [
    "LAYOUTS",
    "Checkpointed",
    "Layout",
    "explain",
    "explain_family",
    "explain_prefixes",
    "explain_tower",
    "explain_unsupported",
    "remove_inserted",
    "unwrap",
]
