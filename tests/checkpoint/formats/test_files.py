"""A path leads to one weights file, or to the shards of an index."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.checkpoint import forms, hostile
from tests.checkpoint.forms import Tensors
from zeroshot.checkpoint import reader
from zeroshot.checkpoint.formats import files
from zeroshot.errors import IncompatibleWeights, ModelNotFound, UnsafeWeightsError


def test_folder_with_several_weights_files_is_ambiguous(vit: Tensors, tmp_path: Path) -> None:
    for name in ("a.pt", "b.pt"):
        (tmp_path / name).touch()
    with pytest.raises(ModelNotFound, match=r"a\.pt, b\.pt; pass the file"):
        reader.read(tmp_path)


def test_missing_shard_is_named(vit: Tensors, tmp_path: Path) -> None:
    forms.open_clip_shards(forms.VIT, vit, tmp_path)
    (tmp_path / "open_clip_model-00002-of-00002.safetensors").unlink()

    with pytest.raises(ModelNotFound, match=r"1 of 2 shards .*open_clip_model-00002"):
        reader.read(tmp_path)


def test_shard_that_contradicts_the_index_is_rejected(vit: Tensors, tmp_path: Path) -> None:
    forms.open_clip_shards(forms.VIT, vit, tmp_path)
    save_file(
        {"visual.proj": vit["visual.proj"]}, tmp_path / "open_clip_model-00001-of-00002.safetensors"
    )

    with pytest.raises(IncompatibleWeights, match="do not match the index"):
        reader.read(tmp_path)


@pytest.mark.parametrize("place", ["../elsewhere.safetensors", "/etc/passwd", "a/b.bin", "x.py", 3])
def test_index_cannot_name_files_in_other_folders(place: object, tmp_path: Path) -> None:
    index = {"weight_map": {"logit_scale": place}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))

    with pytest.raises(UnsafeWeightsError, match="file names in the same folder"):
        reader.read(tmp_path)


def test_git_lfs_pointer_error_says_how_to_fetch_the_file(tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n"
    (tmp_path / "model.safetensors").write_text(pointer)

    with pytest.raises(UnsafeWeightsError, match="git lfs pull"):
        reader.read(tmp_path)


@pytest.mark.parametrize("name", ["open_clip_model.safetensors", "model.safetensors"])
def test_safetensors_files_are_preferred_over_pickles(
    name: str, vit: Tensors, tmp_path: Path
) -> None:
    forms.open_clip(forms.VIT, vit, tmp_path)
    (tmp_path / "open_clip_model.safetensors").rename(tmp_path / name)
    for pickled in ("open_clip_pytorch_model.bin", "pytorch_model.bin"):
        (tmp_path / pickled).write_bytes(b"not weights")

    assert reader.read(tmp_path).source == str(tmp_path / name)


def test_shard_index_of_two_megabytes_is_read(vit: Tensors, tmp_path: Path) -> None:
    forms.open_clip_shards(forms.VIT, vit, tmp_path)
    (index,) = tmp_path.glob("*.index.json")
    content = json.loads(index.read_text())
    content["metadata"] = {"note": "x" * 2**21}
    index.write_text(json.dumps(content))

    assert reader.read(tmp_path).spec == forms.VIT


def test_fifo_empty_folder_and_symlink_loop_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.pt")
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop.pt").symlink_to(tmp_path / "loop.pt")
    for name in ("fifo.pt", "empty", "loop.pt", "absent.pt", "a\0b.pt"):
        with pytest.raises(ModelNotFound):
            reader.read(tmp_path / name)


def test_symlink_to_a_weights_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(hostile.good_safetensors())
    (tmp_path / "model.safetensors").symlink_to(tmp_path / "blob")

    assert set(files.read_content(files.find_weights(tmp_path)).tensors) == {"w", "x"}


def test_a_file_replaced_while_it_is_read_is_read_again(
    vit: Tensors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offsets of one file and data of another would be loaded as silently wrong weights."""
    path = forms.ours(forms.VIT, vit, tmp_path)
    other = path.read_bytes()
    old = {name: tensor + 1 for name, tensor in vit.items()}
    (tmp_path / "old").mkdir()
    replaced = forms.ours(forms.VIT, old, tmp_path / "old")
    os.replace(replaced, path)
    read_once, calls = files._read_once, []

    def read_and_replace(source: Path) -> object:
        content = read_once(source)
        if not calls:
            (tmp_path / "new").write_bytes(other)
            os.replace(tmp_path / "new", path)
        calls.append(source)
        return content

    monkeypatch.setattr(files, "_read_once", read_and_replace)

    found = reader.read(path).weights.read("visual.proj")

    assert len(calls) == 2
    assert torch.equal(found, vit["visual.proj"])


def test_a_file_that_keeps_changing_is_an_error(
    vit: Tensors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = forms.ours(forms.VIT, vit, tmp_path)
    identities = iter(range(100))
    monkeypatch.setattr(files, "_file_identity", lambda _: next(identities))

    with pytest.raises(IncompatibleWeights, match="changed while it was read, 3 times"):
        reader.read(path)
