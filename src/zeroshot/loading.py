"""Load a model by name, Hub repository or path."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import torch

from zeroshot import catalog
from zeroshot.arguments import count, file_path, flag, instance
from zeroshot.catalog import Entry
from zeroshot.checkpoint import reader
from zeroshot.engine import choose_device, choose_dtype
from zeroshot.errors import InputError, ModelNotFound, short_errors, shortened
from zeroshot.images.limits import MAX_PIXELS
from zeroshot.images.preprocess import Decode, check_options
from zeroshot.images.transparency import Background
from zeroshot.model import Model
from zeroshot.resources import warn_of_namesake

log = logging.getLogger("zeroshot")


@short_errors
def load(
    name: str | os.PathLike[str] = catalog.DEFAULT,
    *,
    device: str | int | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    decode: Decode = "exact",
    parity: bool = False,
    image_size: int | None = None,
    max_patches: int | None = None,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
    lock: str | os.PathLike[str] | None = None,
    like: str | None = None,
    max_pixels: int = MAX_PIXELS,
    background: Background = None,
) -> Model:
    """Load a model by name, Hub repository, or path to a file or folder.

    Args:
        name: one of `available_models()` ("mini" needs no download), a Hub repository
            "owner/name", or a path to a checkpoint in the OpenAI, open_clip or transformers
            layout. A name that exists as a file or folder, or starts with ".", "/" or "~", is a
            path. If the catalog has the name too, the local file or folder is loaded and a warning
            is logged; "catalog:NAME" is always the catalog's.
        device: "cpu", "cuda" or "mps", a torch.device, or the index of a CUDA GPU (-1 is the CPU);
            by default the best one available.
        dtype: float32, bfloat16 or float16, or tf32 on CUDA; by default the fastest one for the
            device.
        decode: "exact", or "fast" to decode large JPEGs at half their size or less, which is 2 to
            4 times faster with nearly the same results.
        parity: True preprocesses images exactly as OpenAI's code: resize before the conversion to
            RGB, and ignore the EXIF orientation.
        image_size: input size in pixels; by default the checkpoint's own. Position embeddings are
            resized if needed. Models that keep the aspect ratio have none.
        max_patches: largest number of patches of an image, for models that keep the aspect ratio
            (SigLIP 2 NaFlex); by default the checkpoint's own, 256. More patches show more detail
            and take more time; SigLIP 2 was trained with at most 1024.
        revision: branch, tag or commit of a Hub repository.
        cache_dir: cache folder for downloads from the Hub.
        offline: True uses only cached files.
        lock: path of a file written by `zeroshot lock`; only files in it are loaded.
        like: name of a catalog model, whose activation and preprocessing are used for a bare
            state dict.
        max_pixels: images with more pixels are rejected before they are decoded; decoding takes
            about 3 bytes of memory per pixel.
        background: color behind transparent images: "white", "black" or (r, g, b). By default the
            hidden colors of transparent pixels are used, as in OpenAI's code.

    Returns:
        A Model on the device.

    Raises:
        InputError: An argument is invalid.
        ModelNotFound: No checkpoint has that name, repository or path.
        DownloadError: A file cannot be downloaded or verified.
        IncompatibleWeights, UnsafeWeightsError: The file cannot be used.

    Example:
        >>> zeroshot.load("mini", device="cpu", dtype="float32")
        <Model mini 384-d on cpu, float32>
    """
    warn_of_namesake()
    _check_name(name)
    if image_size is not None:
        image_size = count("image_size", image_size, 1)
    if max_patches is not None:
        max_patches = count("max_patches", max_patches, 1)
    chosen_device = choose_device(device)
    chosen_dtype = choose_dtype(dtype, chosen_device)
    check_options(parity, decode, max_pixels, background)
    offline = flag("offline", offline)
    cache_dir = None if cache_dir is None else file_path(cache_dir)
    for option, value in (("revision", revision), ("like", like)):
        if value is not None:
            instance(option, value, str, "omit it for the default")
    if lock is None:
        source, path, entry = _locate(name, revision=revision, cache_dir=cache_dir, offline=offline)
    else:
        source, path, entry = _locate_pinned(
            name, lock, revision=revision, cache_dir=cache_dir, offline=offline
        )
    reference = catalog.find(like) if like is not None else entry
    checkpoint = reader.read(
        path,
        reference.published if reference else None,
        image_size,
        entry.published if entry else None,
        max_patches,
    )
    display = source or path.name
    if like is not None and checkpoint.layout == "native":
        raise InputError(
            f"like={shortened(repr(like))} is for a bare state dict, but {display} contains its "
            "own activation and preprocessing; omit it"
        )
    log.info("%s: loaded from %s for %s, %s", display, path, chosen_device, chosen_dtype)
    if entry is not None:
        _note_license(entry.name)
    return Model(
        checkpoint,
        display,
        chosen_device,
        dtype,
        decode=decode,
        parity=parity,
        max_pixels=max_pixels,
        background=background,
        source=source,
    )


def _check_name(name: object) -> None:
    """Raise InputError unless this is a str or path that is not empty."""
    advice = "try 'mini'"
    if isinstance(name, torch.nn.Module | Mapping):
        kind = "state_dict" if isinstance(name, Mapping) else "model"
        state = "state_dict" if isinstance(name, Mapping) else "model.state_dict()"
        raise InputError(
            f"expected a model name or path, got a {kind} ({type(name).__name__}); write it with "
            f"torch.save({state}, 'clip.pt') and load 'clip.pt' with like= the name of the catalog "
            "model that it was trained from"
        )
    if isinstance(name, Model):
        advice = "use it directly, or model.to(...) for another device"
    if not isinstance(name, str | os.PathLike):
        raise InputError(
            f"expected a model name or path, got {type(name).__name__} "
            f"{shortened(repr(name))}; {advice}"
        )
    file_path(name)
    if not os.fspath(name):
        raise InputError("expected a model name or path, got ''; see zeroshot.available_models()")


def _locate_pinned(
    name: str | os.PathLike[str],
    lock: str | os.PathLike[str],
    *,
    revision: str | None,
    cache_dir: str | os.PathLike[str] | None,
    offline: bool,
) -> tuple[str, Path, Entry | None]:
    """Return what `_locate` returns, for a model in a lock file."""
    if revision is not None:
        raise InputError(
            f"expected either revision or lock, got revision={shortened(revision)!r} and "
            f"lock={shortened(str(lock))!r}; omit the revision, because the lock has one"
        )
    from zeroshot import hub

    lock = file_path(lock)
    display, path = hub.fetch_pinned(lock, str(name), cache_dir=cache_dir, offline=offline)
    return display, path, catalog.find_remote(str(name))


def _locate(
    name: str | os.PathLike[str],
    *,
    revision: str | None,
    cache_dir: str | os.PathLike[str] | None,
    offline: bool,
) -> tuple[str | None, Path, Entry | None]:
    """Return the name unless it is a path, the local path, and the catalog entry of a download."""
    text = os.fspath(name)
    path = Path(os.path.expanduser(text))
    if isinstance(name, os.PathLike) or text.startswith((".", "/", "~")):
        if not _exists(path):
            raise ModelNotFound(f"{path}: no such file or folder; check the path")
        _refuse_revision(revision, text, "a local file or folder; omit the revision")
        return None, path, None
    if _exists(path):
        _note_namesake(text, revision)
        return None, path, None
    try:
        entry = catalog.find(text)
    except ModelNotFound as not_cataloged:
        may_be_repository = text.count("/") == 1 and not catalog.is_file_name(text)
        is_misspelled = catalog.looks_like_catalog_name(text)
        is_other = bool(catalog.unsupported(text) or catalog.in_other_format(text))
        if not may_be_repository or is_misspelled or is_other:
            raise
        from zeroshot import hub

        try:
            found = hub.fetch(
                text,
                revision=revision,
                cache_dir=cache_dir,
                offline=offline,
                judge=reader.check_configs,
            )
        except ModelNotFound as missing:
            raise ModelNotFound(f"{missing}. Also, {not_cataloged}") from missing
        return text, found.weights, None
    if entry.path is not None:
        _refuse_revision(revision, text, "part of the package; omit the revision")
        return entry.name, entry.path, None
    from zeroshot import hub  # imported late: 1/7 of the package import time, and rarely used

    weights = hub.fetch_entry(
        entry,
        revision=revision,
        cache_dir=cache_dir,
        offline=offline,
        judge=reader.check_configs,
    )
    return entry.name, weights, entry


@cache
def _note_license(name: str) -> None:
    """Log a warning if a catalog model is not for commercial use, once per process."""
    entry = catalog.find(name)
    if entry.restriction:
        log.warning("%s: its license, %s, permits %s", name, entry.license, entry.restriction)


def _exists(path: Path) -> bool:
    """Return whether there is a file or folder; False for names that no file can have."""
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, or with a null character
        return False


def _note_namesake(name: str, revision: str | None) -> None:
    """Log a warning if a local file or folder has the name of a catalog model.

    Raises InputError if a revision was requested, which a local file does not have.
    """
    try:
        catalog.find(name)
    except ModelNotFound:
        remote = "run in another folder"
    else:
        forced = f"{catalog.PREFIX}{name}"
        remote = f"load {forced!r}"
        log.warning(
            "%r is both a local path and a catalog model; loading the local './%s' (write './%s' "
            "to omit this warning, or %r for the catalog model)",
            name,
            name,
            name,
            forced,
        )
    _refuse_revision(revision, name, f"a local file or folder; omit the revision, or {remote}")


def _refuse_revision(revision: str | None, name: str, rest: str) -> None:
    """Raise InputError for a revision of a model that has none."""
    if revision is not None:
        raise InputError(
            f"revision={shortened(repr(revision))} selects a version on the Hub, but "
            f"{shortened(repr(name))} is {rest}"
        )
