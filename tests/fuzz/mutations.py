"""Small valid files, ways to corrupt them, and the result of reading them."""

from __future__ import annotations

import io
import json
import os
import random
import struct
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from zeroshot.checkpoint import reader
from zeroshot.checkpoint.config_fields import read_config
from zeroshot.checkpoint.formats import files
from zeroshot.checkpoint.layouts import open_clip
from zeroshot.checkpoint.layouts.native import METADATA_KEY, to_json
from zeroshot.checkpoint.weights import on_meta
from zeroshot.errors import ZeroshotError
from zeroshot.spec import NetworkConfig, PreprocessConfig, Published, Spec, TextConfig, ViTConfig

SEED = 20_261_122
HINTS = Published("quick_gelu", PreprocessConfig(224))
MAX_SECONDS = 5.0
INTERESTING = (0, 1, 127, 128, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)


@dataclass(frozen=True)
class Seed:
    """A valid file, and which reader is tried on its corrupted copies."""

    name: str
    suffix: str
    content: bytes
    judge: Callable[[Path], object] = files.read_content
    wrap: Callable[[bytes], bytes] = bytes  # puts the intact rest around the corrupted part


@cache
def seeds() -> tuple[Seed, ...]:
    """Return a valid file of each kind, of one to five kB."""
    tensors = {
        "visual.conv1.weight": torch.arange(12.0).reshape(2, 3, 2, 1),
        "token_embedding.weight": torch.ones(2, 4).half(),
        "logit_scale": torch.tensor(1.0),
    }
    modern, old, traced = io.BytesIO(), io.BytesIO(), io.BytesIO()
    torch.save({"state_dict": tensors, "epoch": 3}, modern)
    torch.save(tensors, old, _use_new_zipfile_serialization=False)
    tree = torch.nn.Linear(3, 2)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.")  # deprecated as a whole
        torch.jit.save(torch.jit.script(tree), traced)
    flat = save(tensors, {"format": "pt"})
    spec = _spec()
    return (
        Seed("zip", ".pt", modern.getvalue()),
        Seed("torchscript", ".pt", traced.getvalue()),
        Seed("legacy", ".bin", old.getvalue()),
        Seed("safetensors", ".safetensors", flat),
        Seed("pickle", ".pt", _pickle(modern), wrap=partial(_with_pickle, modern)),
        Seed("header", ".safetensors", _header(flat), wrap=partial(_with_header, flat)),
        Seed("spec", ".safetensors", json.dumps(to_json(spec)).encode(), whole, _checkpoint),
        Seed("config", ".json", _config(), _beside),
    )


def whole(path: Path) -> object:
    """Read a checkpoint to the end: tensors, spec, network."""
    checkpoint = reader.read(path, HINTS)
    checkpoint.weights.check()
    return checkpoint


def _beside(path: Path) -> object:
    return open_clip.from_config(read_config(path))


def _config() -> bytes:
    towers = {"vision_cfg": {"layers": 12, "patch_size": 32}, "text_cfg": {"heads": 8}}
    content = {"model_cfg": {"embed_dim": 512, "quick_gelu": True, **towers}}
    return json.dumps(content | {"preprocess_cfg": {"mean": [0.5, 0.5, 0.5]}}).encode()


def _pickle(archive: io.BytesIO) -> bytes:
    with zipfile.ZipFile(archive) as file:
        return file.read("archive/data.pkl")


def _with_pickle(archive: io.BytesIO, content: bytes) -> bytes:
    """Put another pickle into a zip of torch.save."""
    result = io.BytesIO()
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(result, "w") as new:
        for entry in old.infolist():
            pickle = entry.filename.endswith("data.pkl")
            new.writestr(entry.filename, content if pickle else old.read(entry))
    return result.getvalue()


def _header(file: bytes) -> bytes:
    return file[8 : 8 + int.from_bytes(file[:8], "little")]


def _with_header(file: bytes, content: bytes) -> bytes:
    """Put another header into a safetensors file, its length right."""
    return len(content).to_bytes(8, "little") + content + file[8 + len(_header(file)) :]


def _spec() -> Spec:
    """Describe the smallest possible CLIP."""
    vision = ViTConfig(2, 1, 2, 1, 1, 2, "gelu")
    network = NetworkConfig(2, vision, TextConfig(4, 514, 2, 1, 1, 2, "gelu"))
    return Spec(network, PreprocessConfig(2), 0)


def _checkpoint(spec: bytes) -> bytes:
    """Make that CLIP with another description in its metadata."""
    return save(_values(), {METADATA_KEY: spec.decode("utf-8", "replace")})


@cache
def _values() -> dict[str, Tensor]:
    state = on_meta(_spec().network).state_dict()
    tensors: dict[str, Tensor] = {name: torch.ones(t.shape) for name, t in state.items()}
    tensors["visual.proj"] = torch.ones(2, 2, dtype=torch.int8)
    tensors["visual.proj.scale"] = torch.ones(2)
    return tensors


def damaged(content: bytes, dice: random.Random) -> bytes:
    """Return the file with one to four changes."""
    raw = bytearray(content)
    # Half of the changes hit headers and pickles; the rest of a file is tensor values.
    meaning = len(raw) if dice.random() < 0.5 else min(len(raw), 600)
    for _ in range(dice.choice((1, 1, 1, 1, 2, 4))):
        place = dice.randrange(max(1, min(meaning, len(raw))))
        size = dice.randrange(1, 24)
        match dice.choice((0, 0, 0, 1, 1, 1, 5, 5, 2, 3, 4, 6, 7)):
            case 0:
                raw[place : place + 1] = bytes([dice.randrange(256)])
            case 1:
                raw[place : place + 1] = bytes(
                    [(raw[place] if raw else 0) ^ 1 << dice.randrange(8)]
                )
            case 2:
                del raw[place : place + size]
            case 3:
                raw[place:place] = dice.randbytes(size)
            case 4:
                other = dice.randrange(max(1, len(raw)))
                raw[place : place + size] = raw[other : other + size]
            case 5:
                number = dice.choice(INTERESTING)
                width, layout = dice.choice(((1, "<B"), (2, "<H"), (4, "<I"), (8, "<Q")))
                raw[place : place + width] = struct.pack(layout, number % 2 ** (8 * width))
            case 6:
                raw[place:place] = raw[place : place + size] * dice.randrange(1, 9)
            case _:
                del raw[dice.randrange(len(raw) + 1) :]
    return bytes(raw)


def verdict(seed: Seed, path: Path) -> str:
    """Say "read", or the name of our error; any other exception passes through."""
    try:
        seed.judge(path)
    except ZeroshotError as error:
        return type(error).__name__
    return "read"


def trials(count: int, seed: int = SEED) -> Iterator[tuple[str, bytes, str | BaseException]]:
    """Yield (seed's name, damaged file, verdict); an exception is one that escaped our tree."""
    known = seeds()
    # Each kind has its own dice, so that its damage does not depend on the sizes of other files:
    # torch.save writes longer zips in newer releases.
    dice = {kind.name: random.Random(f"{seed} {kind.name}") for kind in known}
    with tempfile.TemporaryDirectory(dir=_memory()) as folder:
        for n in range(count):
            chosen = known[n % len(known)]
            content = damaged(chosen.content, dice[chosen.name])
            path = Path(folder) / f"damaged{chosen.suffix}"
            path.unlink(missing_ok=True)  # tensors may still map the file of the trial before
            path.write_bytes(chosen.wrap(content))
            try:
                yield chosen.name, content, verdict(chosen, path)
            except GeneratorExit:
                raise
            except BaseException as error:  # this is what the report is for
                yield chosen.name, content, error


def _memory() -> str | None:
    """Return a folder in memory where there is one: files there cost nothing."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
