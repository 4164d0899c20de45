"""Write and read head files: one safetensors file with the facts of the head in its metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from zeroshot.calibration import from_plain, to_plain
from zeroshot.errors import HeadMismatch, HeadNotFound, seen_from, shortened
from zeroshot.files import write_atomically
from zeroshot.vocabulary import Background

if TYPE_CHECKING:
    from zeroshot.head import Head

METADATA_KEY = "zeroshot.head/2"
OLDER_KEYS = ("zeroshot.head/1",)  # files without scoring and calibration
MAX_HEADER = 16 * 2**20  # bytes; limit of the JSON header of a head file


def write(path: Path, head: Head) -> None:
    """Write a head to a temporary file, which is then renamed. Raises SaveError."""
    tensors = {"weight": head.weight.cpu().contiguous()}
    if head.background is not None:
        tensors["background"] = head.background.rows.half()
    if head.calibration is not None:
        _, arrays = to_plain(head.calibration)
        tensors |= {name: torch.from_numpy(values.copy()) for name, values in arrays.items()}
    metadata = {METADATA_KEY: _to_json(head)}
    with write_atomically(path) as temporary:
        temporary.write_bytes(save(tensors, metadata))


def read(path: Path) -> dict[str, Any]:
    """Return the fields of the head in a file; use it within `errors_of`."""
    with path.open("rb") as file:
        length, start = int.from_bytes(file.read(8), "little"), file.read(1)
    if start != b"{":
        raise KeyError("safetensors header")
    if length > MAX_HEADER:
        raise ValueError(f"header of {length} bytes, the limit is {MAX_HEADER}")
    with safe_open(path, framework="pt") as opened:
        metadata = opened.metadata() or {}
        key = next((key for key in OLDER_KEYS if key in metadata), METADATA_KEY)
        facts = json.loads(metadata[key])
        if not isinstance(facts, dict):
            raise TypeError(f"expected a JSON object, got {type(facts).__name__}")
        tensors = {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118
    return _from_facts(facts, tensors)


@contextmanager
def errors_of(path: Path) -> Iterator[None]:
    """Turn errors of reading a head into HeadNotFound and HeadMismatch."""
    try:
        yield
    except FileNotFoundError as error:
        raise HeadNotFound(f"{path}: no such head file{seen_from(path)}; check the path") from error
    except KeyError as error:
        raise HeadMismatch(
            f"{path}: not a head file ({error} is missing); make one with "
            "model.head(labels).save(path) (on the command line --save-head)"
        ) from error
    except (
        SafetensorError,
        OSError,
        ValueError,
        TypeError,
        RecursionError,
        OverflowError,
    ) as error:
        raise HeadMismatch(
            f"{path}: not a head file, corrupted, or from a newer version "
            f"({shortened(str(error), 200)}); rebuild it with model.head(labels).save(path) "
            "(on the command line --save-head)"
        ) from error


def _to_json(head: Head) -> str:
    """Return the facts of a head other than its weight."""
    return json.dumps(
        {
            "labels": head.labels,
            "names": head.names,
            "templates": head.templates,
            "prompts": head.prompts,
            "logit_scale": head.logit_scale,
            "logit_bias": head.logit_bias,
            "model": head.model,
            "scoring": head.scoring,
            "calibration": None if head.calibration is None else to_plain(head.calibration)[0],
            "source": head.source,
            "inverse_temperature": head.inverse_temperature,
            "none_offset": head.none_offset,
            "paths": head.paths,
            "examples": head.examples,
            "logistic": head.logistic,
            "words": None if head.background is None else head.background.words,
        },
        ensure_ascii=False,
    )


def _from_facts(facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the fields of a head from a file's metadata.

    Raises KeyError, ValueError or TypeError.
    """
    weight, background, calibration = tensors["weight"], None, None
    if facts.get("words") is not None:
        background = Background(_to_tuple(facts["words"]), tensors["background"].float())
    if facts.get("calibration") is not None:
        if not isinstance(facts["calibration"], dict):
            raise TypeError("expected calibration to be a JSON object")
        arrays = {name: values.numpy() for name, values in tensors.items()}
        calibration = from_plain(facts["calibration"], arrays)
    paths = facts.get("paths")
    return {
        "labels": _to_tuple(facts["labels"]),
        "weight": weight,
        "logit_scale": float(facts["logit_scale"]),
        "logit_bias": None if facts["logit_bias"] is None else float(facts["logit_bias"]),
        "model": facts["model"],
        "names": tuple(map(_to_tuple, _to_tuple(facts["names"]))),
        "templates": _to_tuple(facts["templates"]),
        "prompts": facts["prompts"],
        "scoring": facts.get("scoring", "softmax"),
        "calibration": calibration,
        "source": facts.get("source"),
        "background": background,
        "inverse_temperature": float(facts.get("inverse_temperature", 1.0)),
        "none_offset": float(facts.get("none_offset", 0.0)),
        "paths": None if paths is None else tuple(tuple(map(str, path)) for path in paths),
        "examples": tuple(map(str, facts.get("examples", ()))),
        "logistic": _to_pair(facts.get("logistic")),
    }


def _to_tuple(values: object) -> tuple[Any, ...]:
    """Return a JSON list as tuple; raise TypeError for other values."""
    if not isinstance(values, list):
        raise TypeError(f"expected a list, got {type(values).__name__}")
    return tuple(values)


def _to_pair(values: Any) -> tuple[float, float] | None:
    """Return two numbers of a file; raise TypeError or ValueError for anything else."""
    if values is None:
        return None
    scale, offset = values
    return float(scale), float(offset)
