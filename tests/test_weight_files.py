"""Which files of a folder hold a model, and what the index of a sharded one can name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from zeroshot import weight_files
from zeroshot.errors import UnsafeWeightsError
from zeroshot.weight_files import INDEX, SUFFIXES, TOKENIZERS, WEIGHTS, check_name, read_index


def write_index(folder: Path, places: Any) -> Path:
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": places}))
    return path


def test_safetensors_files_come_before_pickles() -> None:
    is_pickle = [name.removesuffix(INDEX).endswith(".bin") for name in WEIGHTS]

    assert is_pickle == sorted(is_pickle)
    assert len(set(WEIGHTS)) == len(WEIGHTS)


def test_a_single_file_comes_before_shards_of_the_same_format() -> None:
    for suffix in (".safetensors", ".bin"):
        sharded = [n.endswith(INDEX) for n in WEIGHTS if n.removesuffix(INDEX).endswith(suffix)]
        assert sharded == sorted(sharded)


def test_every_weights_file_has_a_known_suffix() -> None:
    assert all(name.removesuffix(INDEX).endswith(SUFFIXES) for name in WEIGHTS)


def test_an_index_is_read(tmp_path: Path) -> None:
    places = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}

    assert read_index(write_index(tmp_path, places)) == places


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_shards_can_have_every_weights_suffix(suffix: str, tmp_path: Path) -> None:
    assert read_index(write_index(tmp_path, {"a": f"shard{suffix}"})) == {"a": f"shard{suffix}"}


@pytest.mark.parametrize(
    "name",
    [
        *("../secret.safetensors", "/etc/model.bin", "sub/shard.safetensors", "..", ".", ""),
        *("a\\b.safetensors", "notes.txt", "model.py", "shard.safetensors/", 5, None, ["a.bin"]),
    ],
)
def test_an_index_names_only_weights_files_beside_it(name: Any, tmp_path: Path) -> None:
    path = write_index(tmp_path, {"a": "good.safetensors", "b": name})

    with pytest.raises(
        UnsafeWeightsError, match="expected file names in the same folder in weight_map, got"
    ) as caught:
        read_index(path)

    assert caught.value.source == str(path)


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "5", "null", "{}", "[" * 100_000, "\xff"),
        *(f'{{"weight_map": {value}}}' for value in ("5", "{}", "null", '["a"]')),
    ],
    ids=lambda content: content[:20],
)
def test_a_damaged_index_is_rejected(content: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_bytes(content.encode("latin-1"))

    with pytest.raises(UnsafeWeightsError, match="not an index of a sharded checkpoint") as caught:
        read_index(path)

    assert caught.value.source == str(path)


def test_the_size_of_an_index_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_index(tmp_path, {"a": "shard.safetensors"})
    size = path.stat().st_size

    monkeypatch.setattr(weight_files, "MAX_INDEX", size)
    assert read_index(path) == {"a": "shard.safetensors"}
    monkeypatch.setattr(weight_files, "MAX_INDEX", size - 1)
    with pytest.raises(UnsafeWeightsError, match=f"larger than {size - 1} bytes"):
        read_index(path)


@pytest.mark.parametrize(("limit", "accepted"), [(3, True), (2, False)])
def test_the_number_of_shards_is_limited(
    limit: int, accepted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight_files, "MAX_SHARDS", limit)
    path = write_index(tmp_path, {f"t{n}": f"shard-{n % 3}.bin" for n in range(30)})

    if accepted:
        assert len(read_index(path)) == 30
    else:
        with pytest.raises(UnsafeWeightsError, match="more than 2 files"):
            read_index(path)


@pytest.mark.parametrize("name", ["model.safetensors", "sub/model.bin", "a b.pt", "..a.bin"])
def test_names_within_a_repository_are_accepted(name: str) -> None:
    check_name(name, "owner/name")


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/../../x", "a\\b", "a\0b", ".."])
def test_names_outside_of_a_repository_are_rejected(name: str) -> None:
    with pytest.raises(
        UnsafeWeightsError,
        match=r"expected a file name inside the repository, got .*, which is outside",
    ) as caught:
        check_name(name, "owner/name")

    assert caught.value.source == "owner/name"


def test_sentencepiece_models_come_before_a_tokenizer_json() -> None:
    suffixes = [Path(name).suffix for name in TOKENIZERS]

    assert suffixes == [".model", ".model", ".model", ".json", ".txt"]
