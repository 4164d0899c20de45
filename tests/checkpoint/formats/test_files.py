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
from zeroshot.errors import IncompatibleWeights, ModelNotFound, UnsafeWeightsError, WeightsError


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


def put(folder: Path, vit: Tensors) -> Path:
    """Write a checkpoint of the transformers library into a new folder."""
    folder.mkdir(parents=True)
    forms.transformers(forms.VIT, vit, folder)
    return folder


@pytest.mark.parametrize(
    "below",
    [
        "0_CLIPModel",
        "checkpoint-500",
        "snapshots/0123abc",
        "snapshots/0123abc/0_CLIPModel",
    ],
)
def test_the_only_model_below_a_folder_is_found(below: str, vit: Tensors, tmp_path: Path) -> None:
    put(tmp_path / below, vit)
    (tmp_path / "1_Pooling").mkdir()

    assert Path(reader.read(tmp_path).source).parent == tmp_path / below


def test_the_snapshot_of_main_is_preferred(vit: Tensors, tmp_path: Path) -> None:
    for commit in ("aaa", "bbb", "ccc"):
        put(tmp_path / "snapshots" / commit, vit)
    with pytest.raises(ModelNotFound, match=r"several folders contain a model: .*aaa.*pass one"):
        reader.read(tmp_path)
    (tmp_path / "refs").mkdir()
    (tmp_path / "refs" / "main").write_text("bbb\n")

    assert Path(reader.read(tmp_path).source).parent.name == "bbb"


def test_several_checkpoints_of_a_trainer_are_listed(vit: Tensors, tmp_path: Path) -> None:
    for step in (500, 1000):
        put(tmp_path / f"checkpoint-{step}", vit)

    with pytest.raises(ModelNotFound, match=r"checkpoint-1000, .*checkpoint-500; pass one of them"):
        reader.read(tmp_path)


def test_weights_in_an_ordinary_subfolder_are_named_but_not_loaded(
    vit: Tensors, tmp_path: Path
) -> None:
    put(tmp_path / "best", vit)

    with pytest.raises(ModelNotFound, match=r"found none there, but weights in .*best; pass that"):
        reader.read(tmp_path)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("__0_0.distcp", "dcp_to_torch"),
        ("tf_model.h5", "from_tf=True"),
        ("flax_model.msgpack", "from_flax=True"),
        ("model.onnx", "ONNX"),
        ("model.gguf", "GGUF"),
    ],
)
def test_a_folder_of_another_format_says_what_to_do(name: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / name).touch()

    with pytest.raises(ModelNotFound, match=says) as caught:
        reader.read(tmp_path)

    assert len(str(caught.value)) - len(str(tmp_path)) < 400


def test_other_formats_beside_readable_weights_do_not_matter(vit: Tensors, tmp_path: Path) -> None:
    put(tmp_path / "model", vit)
    for name in ("tf_model.h5", "flax_model.msgpack", "model.onnx"):
        (tmp_path / "model" / name).touch()

    assert reader.read(tmp_path / "model").spec == forms.VIT


def test_weights_are_found_by_a_suffix_in_capitals(vit: Tensors, tmp_path: Path) -> None:
    forms.transformers(forms.VIT, vit, tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "CLIP.SAFETENSORS")

    assert reader.read(tmp_path).layout == "transformers"


def test_a_broken_link_to_weights_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").symlink_to("../../blobs/0a1b")

    with pytest.raises(ModelNotFound, match=r"model\.safetensors: a broken link to .*blobs/0a1b"):
        reader.read(tmp_path)


def test_an_index_that_names_a_long_file_gives_a_short_error(tmp_path: Path) -> None:
    index = {"weight_map": {"logit_scale": f"{'x' * 5000}.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))

    with pytest.raises(WeightsError) as caught:
        reader.read(tmp_path)
    assert len(str(caught.value)) < 600
