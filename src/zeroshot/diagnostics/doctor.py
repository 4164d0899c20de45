"""Check an installation: versions, hardware, cache, checkpoints, results and speed.

Nothing is downloaded or changed. Only the form of a token is checked; its value is not printed.
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
from zeroshot.errors import ModelAccessDenied
from zeroshot.machine import cores, processor

if TYPE_CHECKING:
    import torch

    from zeroshot.hub.inspection import Cached

Status = Literal["ok", "note", "bad"]
PACKAGES = ("torch", "numpy", "pillow", "huggingface_hub", "safetensors", "ftfy", "regex")
PILLOW_ADVISED = (12, 3)  # fixes CVE-2026-25990, -40192, -42311 and an endless loop
FEEDING_SECONDS = 0.1  # per measurement and round
TOKENIZERS = "tokenizers"  # of the extra with this name
MIN_FREE = 2e9  # bytes; ViT-B/32 takes 0.6 GB, ViT-L/14 1.7 GB


@dataclass(frozen=True)
class Check:
    """One line of a report."""

    group: str
    name: str
    status: Status  # "note": not a problem
    detail: str
    advice: str = ""  # what to do


def examine(*, verify: bool = False) -> Iterator[Check]:
    """Yield all checks, the fast ones first; `verify=True` also hashes cached files."""
    yield from check_versions()
    yield from check_machine()
    yield from check_cache()
    yield from check_checkpoints(verify=verify)
    yield from check_stages()
    yield from check_feeding()


# ---- versions


def check_versions() -> Iterator[Check]:
    """Check package versions, and whether an unrelated `zeroshot` is installed."""
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
        if name == "pillow" and _version_tuple(version) < PILLOW_ADVISED:
            yield Check(
                "versions",
                name,
                "note",
                f"{version} has known vulnerabilities, in formats that zeroshot does not open",
                f"{_python()} -m pip install --upgrade pillow, to 12.3 or later",
            )
        else:
            yield Check("versions", name, "ok", version)
    yield check_tokenizers()
    try:
        other = metadata.version("zeroshot")
    except metadata.PackageNotFoundError:
        return
    yield Check(
        "versions",
        "package 'zeroshot'",
        "bad",
        f"{other} is an unrelated package that overwrites files of this one",
        f"{_python()} -m pip uninstall zeroshot, then "
        "pip install --force-reinstall --no-deps zeroshot-clip",
    )


def check_tokenizers() -> Check:
    """Check the optional package that models with another tokenizer than CLIP's require."""
    try:
        return Check("versions", TOKENIZERS, "ok", metadata.version(TOKENIZERS))
    except metadata.PackageNotFoundError:
        return Check(
            "versions",
            TOKENIZERS,
            "note",
            "not installed; texts of SigLIP, MetaCLIP 2 and some other models require it",
            f"{_python()} -m pip install 'zeroshot-clip[{TOKENIZERS}]'",
        )


def _python() -> str:
    return Path(sys.executable).name


def _version_tuple(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


# ---- machine


def check_machine() -> Iterator[Check]:
    """Check CPU, threads and GPU, and report the defaults of `load`."""
    import torch

    from zeroshot.engine import choose_device, choose_dtype

    yield Check(
        "machine", "cpu", "ok", f"{processor()}; {cores()} of {os.cpu_count()} cores usable"
    )
    capability = torch.backends.cpu.get_cpu_capability()
    instructions = [capability, *_instructions()]
    if capability == "DEFAULT":
        yield Check(
            "machine",
            "instructions",
            "note",
            "torch uses no vector instructions on this CPU, so models are slow",
            "check whether a torch build for this processor exists",
        )
    else:
        yield Check("machine", "instructions", "ok", ", ".join(dict.fromkeys(instructions)))
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
    yield check_jpeg_decoder()
    yield _accelerator()
    device = choose_device(None)
    if device.type == "cuda":
        yield check_gpu_decoder(device)
    dtype = str(choose_dtype(None, device)).removeprefix("torch.")
    yield Check("machine", "load() chooses", "ok", f"{device}, {dtype}")


def check_jpeg_decoder() -> Check:
    """Check which decoder reads JPEG files; one that fails or differs from Pillow is noted."""
    from zeroshot.images.jpeg import find_decoder

    found = find_decoder()
    usable = found.library is not None or not found.is_installed
    return Check("machine", "jpeg decoder", "ok" if usable else "note", str(found))


def check_gpu_decoder(device: torch.device) -> Check:
    """Check whether the GPU decodes JPEG files with decode="fast"."""
    from zeroshot.engine.cuda.jpeg import INSTALL, JpegDecoder
    from zeroshot.engine.cuda.runtime import make_runtime

    decoder = JpegDecoder(make_runtime(device), device)
    found = str(decoder)
    usable = decoder.is_usable or INSTALL in found  # an extra that is not installed is no fault
    return Check("machine", "decode='fast'", "ok" if usable else "note", found)


def _instructions() -> list[str]:
    """Return the CPU instructions that torch detects; older releases detect fewer."""
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


def check_cache() -> Iterator[Check]:
    """Check the cache folder, endpoint, offline mode and token of huggingface_hub."""
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE)
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    detail = f"{folder}, {files.format_bytes(free)} free"
    if not os.access(existing, os.W_OK):
        yield Check(
            "hub",
            "cache",
            "note",
            f"{detail}, but it is not writable: only cached models can be loaded",
            "set HF_HOME to a writable folder to download more",
        )
    elif free < MIN_FREE:
        yield Check(
            "hub",
            "cache",
            "note",
            detail,
            "free up space, or set HF_HOME to a folder on a larger disk",
        )
    else:
        yield Check("hub", "cache", "ok", detail)
    mirror = constants.ENDPOINT.rstrip("/") != "https://huggingface.co"
    yield Check(
        "hub", "endpoint", "note" if mirror else "ok", constants.ENDPOINT, _mirror_advice() * mirror
    )
    if constants.HF_HUB_OFFLINE:
        flags = [f for f in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE") if os.environ.get(f)]
        yield Check(
            "hub",
            "offline",
            "note",
            f"on, set by {' and '.join(flags) or 'huggingface_hub'}: nothing is downloaded",
            f"unset {' '.join(flags)} to allow downloads" if flags else "",
        )
    else:
        yield Check("hub", "offline", "ok", "off")
    yield check_token()


def check_token() -> Check:
    """Check whether the token for downloads can be sent, without a request."""
    from zeroshot.hub.location import TOKENS, find_token

    try:
        found = find_token()
    except ModelAccessDenied as error:
        detail, _, advice = str(error).partition("; ")
        return Check("hub", "token", "bad", f"{detail}; every download fails", advice)
    if found:
        return Check("hub", "token", "ok", "found")
    empty = [name for name in TOKENS if not os.environ.get(name, "unset").strip()]
    if empty:
        return Check("hub", "token", "note", f"none; {empty[0]} is empty", f"unset {empty[0]}")
    return Check("hub", "token", "ok", "none; only gated models need one")


def _mirror_advice() -> str:
    return "unset HF_ENDPOINT if you do not want to use this mirror"


# ---- checkpoints


def check_checkpoints(*, verify: bool = False) -> Iterator[Check]:
    """Check every cataloged checkpoint in the package and in the cache."""
    from zeroshot.hub.inspection import cached_checkpoints

    count = 0
    for entry in catalog.entries().values():
        if entry.path is not None:
            yield check_embedded(entry)
            continue
        for found in cached_checkpoints(entry, verify=verify):
            count += 1
            report = check_archive if found.is_archive else check_cached
            yield report(found, verify=verify)
    if not count:
        yield Check("checkpoints", "cached", "ok", "no model of the catalog yet")


def check_embedded(entry: Entry) -> Check:
    """Check the model in the package against its recorded hash, if there is one."""
    path = entry.path
    assert path is not None
    if not path.is_file():
        if path.parents[1].joinpath("pyproject.toml").is_file():
            detail = "missing in this checkout; `make mini` creates it"
            return Check("checkpoints", entry.name, "note", detail)
        return Check(
            "checkpoints",
            entry.name,
            "bad",
            f"{path} is missing",
            f"{_python()} -m pip install --force-reinstall zeroshot-clip",
        )
    detail = f"in the package, {files.format_bytes(path.stat().st_size)}"
    if entry.sha256 and files.sha256(path) != entry.sha256:
        return Check(
            "checkpoints",
            entry.name,
            "bad",
            f"{detail}, but {path} is not the published file: checksum mismatch",
            f"{_python()} -m pip install --force-reinstall zeroshot-clip",
        )
    return Check("checkpoints", entry.name, "ok", detail + ", sha256 verified" * bool(entry.sha256))


def check_cached(found: Cached, *, verify: bool) -> Check:
    """Check the folder of one repository in the Hub cache."""
    entry = found.entry
    own = found.repository == entry.repository
    name = entry.name if own else f"{entry.name} ({found.repository})"

    def check(status: Status, detail: str, advice: str = "") -> Check:
        return Check("checkpoints", name, status, detail, advice)

    advice = f"remove {found.path} and load the model again"
    if found.broken:
        return check("bad", f"{found.broken} is a broken symlink", advice)
    rest = f"; {found.unfinished} unfinished downloads use disk space" if found.unfinished else ""
    prune = "`hf cache prune` removes unfinished downloads" if found.unfinished else ""
    if not found.commits:
        return check(
            "note", f"no weights yet{rest}", f"load the model once online. {prune}".strip()
        )
    commits = ", ".join(sorted({commit[:7] for commit in found.commits}))
    detail = f"{files.format_bytes(found.size)}, commit {commits}"
    if found.damaged:
        return check("bad", f"{detail}, but {found.damaged}", advice)
    if verify:
        detail += f", {found.verified} files verified"
        detail += f", {found.unverified} without a published hash" if found.unverified else ""
    return check("note" if found.unfinished else "ok", detail + rest, prune)


def check_archive(found: Cached, *, verify: bool) -> Check:
    """Check a publisher's archive, which is downloaded if the Hub is unreachable."""
    name, detail = f"{found.entry.name} ({found.repository})", files.format_bytes(found.size)
    if found.damaged:
        advice = f"remove {found.path} and load the model again"
        return Check("checkpoints", name, "bad", f"{detail}, but {found.damaged}", advice)
    return Check("checkpoints", name, "ok", detail + ", verified" * verify)


# ---- stages


def check_stages() -> Iterator[Check]:
    """Run every stage on stored inputs, and the embedded model if it is present."""
    from zeroshot.diagnostics import selfcheck
    from zeroshot.engine import choose_device, choose_dtype

    device = choose_device(None)
    for finding in selfcheck.stages(device, choose_dtype(None, device)):
        if finding.problem:
            advice = "this installation gives wrong results; reinstall, or report it with --json"
            yield Check("stages", finding.stage, "bad", finding.problem, advice)
        else:
            yield Check("stages", finding.stage, "ok", finding.measured)
    entry = catalog.find(catalog.EMBEDDED)
    if entry.path is not None and entry.path.is_file():
        yield check_embedded_model()


def check_embedded_model() -> Check:
    """Compare the outputs of the embedded model with those of its plain network."""
    import torch

    from zeroshot import loading
    from zeroshot.diagnostics import selfcheck

    try:
        loaded = loading.load(catalog.EMBEDDED, dtype="float32")
        image, sentence = selfcheck.sample_image(), "a photo of a cat."
        found = torch.stack([loaded.encode_image(image), loaded.encode_text(sentence)]).cpu()
        with torch.inference_mode():
            visual = loaded.network.visual(torch.from_numpy(loaded.prepare(image))[None])
            text = loaded.network.text(torch.tensor(loaded.tokenizer.rows([sentence])))
            plain = torch.nn.functional.normalize(torch.cat([visual, text]).float(), dim=-1)
    except Exception as error:
        detail = f"raised {type(error).__name__}: {error}"
        return Check("stages", "embedded model", "bad", detail, "report it with --json")
    distance = float((found - plain).norm(dim=-1).max())
    detail = f"differs from its plain network by {distance:.0e} of an embedding's length"
    limit = selfcheck.TOLERANCE["float32"]
    if distance <= limit:
        return Check("stages", "embedded model", "ok", detail)
    return Check("stages", "embedded model", "bad", detail, "report it with --json")


# ---- speed


def check_feeding() -> Iterator[Check]:
    """Compare decoding with the image tower of the embedded model, if it is present."""
    entry = catalog.find(catalog.EMBEDDED)
    if entry.path is None or not entry.path.is_file():
        return
    from zeroshot import loading
    from zeroshot.diagnostics.feeding import measure_feeding

    try:
        found = measure_feeding(loading.load(catalog.EMBEDDED), seconds=FEEDING_SECONDS)
    except Exception as error:
        detail = f"raised {type(error).__name__}: {error}"
        yield Check("speed", "files", "bad", detail, "report it with --json")
        return
    where = f"{found.backend} on {found.device}, {found.threads} CPU cores"
    yield Check("speed", "backend", "ok", f"{where}, with {catalog.EMBEDDED}")
    status: Status = "note" if found.advice else "ok"
    detail = found.verdict.removesuffix(f"; {found.advice}")
    yield Check("speed", "files", status, detail, found.advice)
