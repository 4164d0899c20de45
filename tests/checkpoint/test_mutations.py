"""One tensor or config field of each family is damaged: typed errors, never another network."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.checkpoint import (
    families,
    families_bert,
    families_convnext,
    families_fastvit,
    families_metaclip,
    families_naflex,
)
from tests.checkpoint.forms import write_json
from zeroshot.checkpoint import reader
from zeroshot.checkpoint.formats import files
from zeroshot.errors import ZeroshotError

pytestmark = pytest.mark.usefixtures("tiny_towers", "tiny_berts")
CONFIGS = ("open_clip_config.json", "config.json", "preprocessor_config.json")
VALUES: tuple[Any, ...] = (0, -1, None, "x", 10**30, 1.5, [], [1], {}, True, math.nan)


def _laion(folder: Path) -> None:
    families_bert.write_open_clip(folder, families_bert.LAION)


def _biomed(folder: Path) -> None:
    families_bert.write_open_clip(folder, families_bert.BIOMED)


WRITERS: dict[str, Callable[[Path], Any]] = {
    "siglip": families.write_transformers,
    "siglip-open_clip": families.write_open_clip,
    "pe": partial(families.write_open_clip, spec=families.PE, tower="vit_pe_core_test_patch8"),
    "naflex": families_naflex.write_transformers,
    "metaclip": families_metaclip.write_transformers,
    "laion": _laion,
    "biomed": _biomed,
    "chinese": families_bert.write_transformers,
    "fastvit": partial(families_fastvit.write, name="fastvit_test_small"),
    "convnext": partial(families_convnext.write, projection="mlp"),
}


@pytest.fixture(scope="module", params=WRITERS)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("family") / request.param
    WRITERS[request.param](folder)
    return folder


def weights_of(folder: Path) -> Path:
    return next(folder.glob("*.safetensors"))


def outcome(family: Path, tensors: dict[str, Tensor] | None = None) -> str:
    """Read a family with these tensors; say "read", or the message of the typed error."""
    intact = files.read_content
    with pytest.MonkeyPatch.context() as patch:
        if tensors is not None:
            patch.setattr(
                files, "read_content", lambda path: replace(intact(path), tensors=tensors)
            )
        try:
            reader.read(family).weights.check()
        except ZeroshotError as error:
            message = str(error)
        else:
            message = "read"
    assert len(message) < 600
    return message


def damaged(tensor: Tensor) -> list[Tensor | None]:
    """Return versions of a tensor that are no part of the network; None: it is missing."""
    found: list[Tensor | None] = [None, tensor.long(), tensor.new_zeros(0)]
    if tensor.ndim:
        found += [tensor[:0], tensor[..., :0], torch.cat([tensor, tensor]), tensor.new_ones(())]
    if tensor.ndim == 2 and len(tensor) != len(tensor.T):
        found.append(tensor.T)
    return found


def sample(tensors: dict[str, Tensor]) -> list[str]:
    """Return one name of each kind, of which layers have many; not the unused types of texts."""
    kinds = {
        re.sub(r"\d+", "0", name): name
        for name, each in tensors.items()
        if each.is_floating_point() and "token_type" not in name
    }
    return list(kinds.values())


def test_damaged_tensor_is_a_typed_error(family: Path) -> None:
    tensors = load_file(weights_of(family))
    assert outcome(family, tensors) == "read"
    for n, name in enumerate(sample(tensors)):
        versions = damaged(tensors[name])
        version = versions[n % len(versions)]
        if version is not None and version.numel() == tensors[name].numel() == 1:
            continue  # a number may be a vector of one
        content = {other: each for other, each in tensors.items() if other != name}
        if version is not None:
            content[name] = version
        assert outcome(family, content) != "read", (name, version)


def test_additional_tensor_is_a_typed_error(family: Path) -> None:
    tensors = load_file(weights_of(family))
    first = next(name for name in tensors if name.startswith(("visual.", "vision_model.")))
    stem = first.rpartition(".")[0]
    for name in (f"{stem}.more", "visual.more.weight", "text.more.weight"):
        assert "more" in outcome(family, tensors | {name: torch.ones(2)})


def test_value_that_is_not_finite_is_found_in_every_kind_of_tensor(family: Path) -> None:
    tensors = load_file(weights_of(family))
    for n, name in enumerate(sample(tensors)):
        broken = tensors[name].clone()
        broken.view(-1)[-1] = (math.nan, math.inf, -math.inf)[n % 3]
        assert outcome(family, tensors | {name: broken}) != "read", name


def test_variance_of_infinity_does_not_vanish_in_a_folded_weight(tmp_path: Path) -> None:
    families_fastvit.write(tmp_path, "fastvit_test_small")
    tensors = load_file(weights_of(tmp_path))
    name = "visual.trunk.stem.0.conv_kxk.0.bn.running_var"
    broken = tensors | {name: torch.full_like(tensors[name], math.inf)}

    assert "visual.stem.0.weight contains NaN or infinity" in outcome(tmp_path, broken)


@pytest.mark.parametrize("rows", [0, 2])
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("siglip-open_clip", "visual.trunk.pos_embed"),
        ("laion", "text.transformer.embeddings.token_type_embeddings.weight"),
        ("naflex", "vision_model.embeddings.patch_embedding.weight"),
    ],
)
def test_table_of_which_one_part_is_used_has_that_part(
    kind: str, name: str, rows: int, tmp_path: Path
) -> None:
    WRITERS[kind](tmp_path / kind)
    tensors = load_file(weights_of(tmp_path / kind))
    tensors[name] = tensors[name].new_zeros(rows, 0, 0)

    assert "shape" in outcome(tmp_path / kind, tensors)


def paths(content: dict[str, Any], *above: str) -> Iterator[tuple[str, ...]]:
    for key, value in content.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from paths(value, *above, key)


def test_config_with_any_value_is_read_or_a_typed_error(family: Path) -> None:
    for config in (family / name for name in CONFIGS if (family / name).is_file()):
        intact = config.read_text("utf-8")
        for n, path in enumerate(paths(json.loads(intact))):
            for value in (VALUES * 2)[n % len(VALUES) :][:3]:
                content = json.loads(intact)
                place = content
                for key in path[:-1]:
                    place = place[key]
                place[path[-1]] = value
                write_json(config, content)
                outcome(family)
        config.write_text(intact, "utf-8")
