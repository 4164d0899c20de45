"""Compare with the accuracy that was published for a model, and say what differs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zeroshot import catalog, prompts
from zeroshot.errors import ModelNotFound
from zeroshot.head import Head

IMAGENET = 50_000  # images of the validation set
TEMPLATES = "imagenet"  # the prompt set of the figures of open_clip
OPEN_CLIP = "open_clip "  # start of the source of these figures


@dataclass(frozen=True)
class Published:
    """The published ImageNet top-1 of a model, in percent, and why it may differ."""

    top1: float
    source: str
    differs: str


def find(head: Head, encoder: Any, images: int) -> Published | None:
    """Return the published figure of the model that built a head, or None if there is none."""
    source = head.source or getattr(encoder, "source", None)
    try:
        entry = catalog.find(source) if source else None
    except ModelNotFound:
        entry = None
    if entry is None or entry.accuracy is None:
        return None
    known = entry.accuracy_source.startswith(OPEN_CLIP)
    differs = _differences(head, encoder, images, known)
    return Published(entry.accuracy, entry.accuracy_source, differs)


def _differences(head: Head, encoder: Any, images: int, prompts_known: bool) -> str:
    if len(head) != 1000 or set(head.labels) != set(prompts.labels(TEMPLATES)):
        return "your data are not ImageNet"
    found = []
    if images != IMAGENET:
        found.append(f"it is of {IMAGENET} images, yours of {images}")
    templates = prompts.get(TEMPLATES).templates
    if not prompts_known:
        found.append("its publisher's prompts may be others than yours")
    elif head.templates != templates:
        found.append(f"it uses {len(templates)} templates, yours {len(head.templates)}")
    dtype = str(getattr(encoder, "dtype", "torch.float32")).removeprefix("torch.")
    if dtype != "float32":
        found.append(f"your model computes in {dtype}")
    return ", ".join(found) or "with the same labels and prompts; the images are not checked"
