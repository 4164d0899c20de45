"""Examines this installation: versions, machine, cache, checkpoints, and that every stage is right.

Nothing is fetched and nothing is changed; the value of a token is never read further than that it
is there.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import zeroshot
from zeroshot import catalog, files
from zeroshot.catalog import Entry
from zeroshot.machine import cores, processor

if TYPE_CHECKING:
    from zeroshot.hub.inspection import Cached

Status = Literal["ok", "note", "bad"]
PACKAGES = ("torch", "numpy", "pillow", "huggingface_hub", "safetensors", "ftfy", "regex")
PILLOW_ADVISED = (12, 3)  # CVE-2026-25990, -40192, -42311 and an endless loop are fixed by it
ROOM = 2e9  # bytes free below which a download may not fit: ViT-B/32 takes 0.6 GB, ViT-L/14 1.7 GB


@dataclass(frozen=True)
class Check:
    """One line of a report."""

    group: str
    name: str
    status: Status  # note: worth knowing, but nothing fails of it
    detail: str
    advice: str = ""  # what to do


def examine(*, verify: bool = False) -> Iterator[Check]:
    """Yield every check, the quick ones first; with `verify` cached files are hashed as well."""
    yield from versions()
    yield from machine()
    yield from cache()
    yield from checkpoints(verify=verify)
    yield from stages()


# ---- versions


def versions() -> Iterator[Check]:
    """Tell what is installed, and whether another package is in the way."""
    yield Check("versions", "zeroshot", "ok", zeroshot.__version__)
    yield Check("versions", "python", "ok", f"{platform.python_version()}, {sys.executable}")
    for name in PACKAGES:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Check(
                "versions", name, "bad", "not installed", f"{_python()} -m pip install {name}"
            )
            continue
        if name == "pillow" and _numbers(version) < PILLOW_ADVISED:
            yield Check(
                "versions",
                name,
                "note",
                f"{version} has known holes, in formats that zeroshot does not open",
                f"{_python()} -m pip install --upgrade pillow, to 12.3 or later",
            )
        else:
            yield Check("versions", name, "ok", version)
    try:
        other = metadata.version("zeroshot")
    except metadata.PackageNotFoundError:
        return
    yield Check(
        "versions",
        "package 'zeroshot'",
        "bad",
        f"{other} is another project's, and its files stand where ours belong",
        f"{_python()} -m pip uninstall zeroshot, then install --force-reinstall zeroshot-clip",
    )


def _python() -> str:
    return Path(sys.executable).name


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


# ---- machine


def machine() -> Iterator[Check]:
    """Tell what can compute here, and what `load` would choose."""
    import torch

    from zeroshot.engine import choose_device, choose_dtype

    yield Check(
        "machine", "cpu", "ok", f"{processor()}; {cores()} of {os.cpu_count()} cores usable"
    )
    capability = torch.backends.cpu.get_cpu_capability()
    abilities = [capability, *_abilities()]
    if capability == "DEFAULT":
        yield Check(
            "machine",
            "instructions",
            "note",
            "torch uses no vector instructions on this CPU; expect it to be slow",
            "look whether a torch build for this processor exists",
        )
    else:
        yield Check("machine", "instructions", "ok", ", ".join(dict.fromkeys(abilities)))
    threads = torch.get_num_threads()
    if threads > cores():
        yield Check(
            "machine",
            "threads",
            "note",
            f"torch runs {threads} threads on {cores()} usable cores",
            f"set OMP_NUM_THREADS={cores()}",
        )
    else:
        yield Check("machine", "threads", "ok", str(threads))
    yield _accelerator()
    device = choose_device(None)
    dtype = str(choose_dtype(None, device)).removeprefix("torch.")
    yield Check("machine", "load() chooses", "ok", f"{device}, {dtype}")


def _abilities() -> list[str]:
    """Ask torch what the processor multiplies natively; older releases cannot say."""
    import torch

    probes = {
        "_is_avx2_supported": "AVX2",
        "_is_avx512_supported": "AVX512",
        "_is_avx512_vnni_supported": "AVX512-VNNI",
        "_is_avx512_bf16_supported": "AVX512-BF16",
        "_is_amx_tile_supported": "AMX",
        "_is_amx_fp16_supported": "AMX-FP16",
    }
    return [name for probe, name in probes.items() if getattr(torch.cpu, probe, bool)()]


def _accelerator() -> Check:
    import torch

    if torch.cuda.is_available():
        properties = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        names = ", ".join(f"{p.name} ({p.total_memory / 1e9:.0f} GB)" for p in properties)
        return Check("machine", "gpu", "ok", names)
    if torch.backends.mps.is_available():
        return Check("machine", "gpu", "ok", "Apple GPU through MPS")
    if Path("/proc/driver/nvidia/version").exists():
        return Check(
            "machine",
            "gpu",
            "note",
            f"an NVIDIA driver is loaded, but torch {torch.__version__} cannot use it",
            "install torch for this driver: pytorch.org/get-started",
        )
    return Check("machine", "gpu", "ok", "none")


# ---- cache


def cache() -> Iterator[Check]:
    """Tell where downloads go and come from, as huggingface_hub sees it."""
    import huggingface_hub
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE)
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    room = f"{folder}, {_bytes(free)} free"
    if not os.access(existing, os.W_OK):
        yield Check(
            "hub",
            "cache",
            "note",
            f"{room}, but it cannot be written: only what is in it can be loaded",
            "set HF_HOME to a folder of your own to download more",
        )
    elif free < ROOM:
        yield Check(
            "hub", "cache", "note", room, "make room, or set HF_HOME to a folder on a larger disk"
        )
    else:
        yield Check("hub", "cache", "ok", room)
    mirror = constants.ENDPOINT.rstrip("/") != "https://huggingface.co"
    yield Check(
        "hub", "endpoint", "note" if mirror else "ok", constants.ENDPOINT, _mirrored() * mirror
    )
    if constants.HF_HUB_OFFLINE:
        flags = [f for f in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE") if os.environ.get(f)]
        yield Check(
            "hub",
            "offline",
            "note",
            f"on, by {' and '.join(flags) or 'huggingface_hub'}: nothing is downloaded",
            f"unset {' '.join(flags)}, to download" if flags else "",
        )
    else:
        yield Check("hub", "offline", "ok", "off")
    present = huggingface_hub.get_token() is not None
    yield Check(
        "hub", "token", "ok", "there is one" if present else "none; only gated models need one"
    )


def _mirrored() -> str:
    return "unset HF_ENDPOINT, if this mirror is not meant"


# ---- checkpoints


def checkpoints(*, verify: bool = False) -> Iterator[Check]:
    """Tell the state of each catalogued checkpoint that is here."""
    from zeroshot.hub.inspection import cached_checkpoints

    count = 0
    for entry in catalog.entries().values():
        if entry.path is not None:
            yield embedded(entry)
            continue
        for found in cached_checkpoints(entry, verify=verify):
            count += 1
            report = archived if found.is_archive else cached
            yield report(found, verify=verify)
    if not count:
        yield Check("checkpoints", "cached", "ok", "none of the catalog yet")


def embedded(entry: Entry) -> Check:
    """Check the bytes of the model in the package, where its hash is recorded."""
    path = entry.path
    assert path is not None
    if not path.is_file():
        if path.parents[1].joinpath("pyproject.toml").is_file():
            made = "this checkout has none; `make mini` makes it"
            return Check("checkpoints", entry.name, "note", made)
        return Check(
            "checkpoints",
            entry.name,
            "bad",
            f"{path} is missing",
            f"{_python()} -m pip install --force-reinstall zeroshot-clip",
        )
    detail = f"in the package, {_bytes(path.stat().st_size)}"
    if entry.sha256 and files.sha256(path) != entry.sha256:
        return Check(
            "checkpoints",
            entry.name,
            "bad",
            f"{detail}, but {path} is not the published file",
            f"{_python()} -m pip install --force-reinstall zeroshot-clip",
        )
    return Check("checkpoints", entry.name, "ok", detail + ", sha256 right" * bool(entry.sha256))


def cached(found: Cached, *, verify: bool) -> Check:
    """Report on one repository's folder in the hub's cache."""
    entry = found.entry
    own = found.repository == entry.repository
    name = entry.name if own else f"{entry.name} ({found.repository})"

    def check(status: Status, detail: str, advice: str = "") -> Check:
        return Check("checkpoints", name, status, detail, advice)

    again = f"remove {found.path} and load it again"
    if found.broken:
        return check("bad", f"{found.broken} leads to no file", again)
    rest = f"; {found.unfinished} unfinished downloads take room" if found.unfinished else ""
    prune = "`hf cache prune` removes what is unfinished" if found.unfinished else ""
    if not found.commits:
        return check("note", f"no weights yet{rest}", f"load it once, online. {prune}".strip())
    commits = ", ".join(sorted({commit[:7] for commit in found.commits}))
    detail = f"{_bytes(found.size)}, commit {commits}"
    if found.damaged:
        return check("bad", f"{detail}, but {found.damaged}", again)
    if verify:
        detail += f", {found.verified} files hashed and right"
        detail += f", {found.unverified} of unknown hash" if found.unverified else ""
    return check("note" if found.unfinished else "ok", detail + rest, prune)


def archived(found: Cached, *, verify: bool) -> Check:
    """Report on a publisher's own archive, which is fetched when no hub answers."""
    name, detail = f"{found.entry.name} ({found.repository})", _bytes(found.size)
    if found.damaged:
        advice = f"remove {found.path} and load it again"
        return Check("checkpoints", name, "bad", f"{detail}, but {found.damaged}", advice)
    return Check("checkpoints", name, "ok", detail + ", hashed and right" * verify)


def _bytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


# ---- stages


def stages() -> Iterator[Check]:
    """Run each stage on stored inputs, and the embedded model where it is here."""
    from zeroshot.diagnostics import selfcheck
    from zeroshot.engine import choose_device, choose_dtype

    device = choose_device(None)
    for finding in selfcheck.stages(device, choose_dtype(None, device)):
        if finding.problem:
            advice = "answers of this installation are wrong; reinstall, and report it with --json"
            yield Check("stages", finding.stage, "bad", finding.problem, advice)
        else:
            yield Check("stages", finding.stage, "ok", finding.measured)
    entry = catalog.find(catalog.EMBEDDED)
    if entry.path is not None and entry.path.is_file():
        yield whole_model()


def whole_model() -> Check:
    """Compare the embedded model's answers with those of its plain network."""
    import torch

    from zeroshot import loading
    from zeroshot.diagnostics import selfcheck

    try:
        loaded = loading.load(catalog.EMBEDDED, dtype="float32")
        picture, sentence = selfcheck.picture(), "a photo of a cat."
        found = torch.stack([loaded.encode_image(picture), loaded.encode_text(sentence)]).cpu()
        with torch.inference_mode():
            image = loaded.network.visual(torch.from_numpy(loaded.prepare(picture))[None])
            text = loaded.network.text(torch.tensor(loaded.tokenizer.rows([sentence])))
            plain = torch.nn.functional.normalize(torch.cat([image, text]).float(), dim=-1)
    except Exception as error:
        detail = f"raised {type(error).__name__}: {error}"
        return Check("stages", "embedded model", "bad", detail, "report it with --json")
    error_ = float((found - plain).norm(dim=-1).max())
    detail = f"off by {error_:.0e} of an embedding's length from its plain network"
    limit = selfcheck.TOLERANCE["float32"]
    if error_ <= limit:
        return Check("stages", "embedded model", "ok", detail)
    return Check("stages", "embedded model", "bad", detail, "report it with --json")
