"""A name, repository or path becomes a Model."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from zeroshot import catalog
from zeroshot.catalog import Entry
from zeroshot.checkpoint import reader
from zeroshot.engine import choose_device, choose_dtype
from zeroshot.errors import InputError, ModelNotFound
from zeroshot.images.preprocess import Decode
from zeroshot.model import Model
from zeroshot.resources import warn_of_namesake


def load(
    name: str | os.PathLike[str] = catalog.DEFAULT,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    decode: Decode = "exact",
    parity: bool = False,
    image_size: int | None = None,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
    lock: str | os.PathLike[str] | None = None,
    like: str | None = None,
) -> Model:
    """Load a model by name, hub repository, or path to a file or folder.

    `name` is one of `available_models()` ("mini" needs no download), a hub repository
    "owner/name", or a path to weights in OpenAI's, open_clip's or the transformers layout. A
    path is anything that exists, or begins with "." or "/".

    `device` and `dtype` default to the best there is. `decode="fast"` reads large JPEGs at a half
    or less of their size, which is two to four times quicker and nearly the same. `parity=True`
    prepares images exactly as OpenAI's code does: resized before they are converted to RGB, EXIF
    orientation ignored. `image_size`,
    in pixels, resizes the position embeddings where it is not the checkpoint's own. `revision`,
    `cache_dir` and `offline` concern the hub only. `lock` names a file that `zeroshot lock` wrote:
    what it holds is loaded, and nothing else. `like` names a catalogued checkpoint whose
    activation and preprocessing hold for a bare state dict, which does not say them.

    Raises ModelNotFound, DownloadError and its subclasses, IncompatibleWeights, UnsafeWeightsError.
    """
    warn_of_namesake()
    if not isinstance(name, str | os.PathLike):
        raise InputError(f"expected a name or path, got {type(name).__name__} {name!r}")
    if not os.fspath(name):
        raise InputError("the model's name is empty; zeroshot.available_models() lists those known")
    chosen_device = choose_device(device)
    chosen_dtype = choose_dtype(dtype, chosen_device)
    if decode not in ("exact", "fast"):
        raise InputError(f"decode={decode!r} must be 'exact' or 'fast'")
    if lock is None:
        display, path, entry = _locate(
            name, revision=revision, cache_dir=cache_dir, offline=offline
        )
    elif revision is None:
        from zeroshot import hub

        display, path = hub.fetch_pinned(lock, str(name), cache_dir=cache_dir, offline=offline)
        entry = catalog.published(str(name))
    else:
        raise InputError(f"revision {revision!r} and a lock, which names one too: pass either")
    alike = catalog.find(like) if like is not None else entry
    checkpoint = reader.read(
        path,
        alike.published if alike else None,
        image_size,
        entry.published if entry else None,
    )
    return Model(checkpoint, display, chosen_device, chosen_dtype, decode=decode, parity=parity)


def _locate(
    name: str | os.PathLike[str],
    *,
    revision: str | None,
    cache_dir: str | os.PathLike[str] | None,
    offline: bool,
) -> tuple[str, Path, Entry | None]:
    """Return a name to show, the local file or folder, and the entry of a model to be fetched."""
    text = os.fspath(name)
    path = Path(text).expanduser()
    if isinstance(name, os.PathLike) or text.startswith((".", "/", "~")):
        if not path.exists():
            raise ModelNotFound(f"{path}: no such file or folder")
        return path.name, path, None
    try:
        entry = catalog.find(text)
    except ModelNotFound as unknown:
        if path.exists():
            return path.name, path, None
        elsewhere = text.count("/") == 1 and not catalog.is_file_name(text)
        if not elsewhere or catalog.looks_like_ours(text):
            raise
        from zeroshot import hub

        try:
            found = hub.fetch(text, revision=revision, cache_dir=cache_dir, offline=offline)
        except ModelNotFound as missing:
            raise ModelNotFound(f"{missing}. And {unknown}") from missing
        return text, found.weights, None
    if entry.path is not None:
        return entry.name, entry.path, None
    from zeroshot import hub  # imported late: a seventh of our own imports, and rarely needed

    weights = hub.fetch_entry(entry, revision=revision, cache_dir=cache_dir, offline=offline)
    return entry.name, weights, entry
