"""The tokenizer file is one of a model's files: fetched if the config needs one, and locked."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import zeroshot
from tests.checkpoint import families, forms
from tests.hub.mini_hub import MiniHub
from zeroshot import errors, hub
from zeroshot.checkpoint.reader import check_configs
from zeroshot.weight_files import BYTE_BPE, NESTED, TOKENIZERS

SMALL = ("config.json", "preprocessor_config.json")
NAME = "owner/siglip"


def put(mini: MiniHub, folder: Path, *, prefix: str = "", tokenizers: tuple[str, ...]) -> str:
    """Put a SigLIP on the hub, with its tokenizer under these names."""
    written = families.write_transformers(folder)
    small = {f"{prefix}{name}": (written / name).read_bytes() for name in SMALL}
    large = {f"{prefix}model.safetensors": (written / "model.safetensors").read_bytes()}
    large |= {f"{prefix}{name}": families.vocabulary() for name in tokenizers}
    return mini.add(NAME, small, lfs=large)


def downloads(mini: MiniHub) -> int:
    """Return the number of large files that were downloaded."""
    return len(mini.requests("GET", "/lfs/"))


def load(name: str = NAME, **options: object) -> zeroshot.Model:
    return zeroshot.load(name, device="cpu", dtype="float32", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("prefix", ["", NESTED])
def test_repository_gives_the_embeddings_of_the_folder(
    mini: MiniHub, tmp_path: Path, prefix: str
) -> None:
    commit = put(mini, tmp_path / "here", prefix=prefix, tokenizers=("spiece.model",))
    here = zeroshot.load(tmp_path / "here", device="cpu", dtype="float32")

    model = load()

    assert torch.equal(model.encode_text("a cat"), here.encode_text("a cat"))
    mini.log.clear()
    assert load(revision=commit).encode_text("a cat").shape == (48,)
    assert load(offline=True).identity == model.identity
    assert mini.log == []


def test_only_the_first_known_tokenizer_file_is_fetched(mini: MiniHub, tmp_path: Path) -> None:
    put(mini, tmp_path / "here", tokenizers=("tokenizer.json", "tokenizer.model", "README.md"))

    found = hub.fetch(NAME, judge=check_configs)

    assert list(found.files) == [*SMALL, "tokenizer.model", "model.safetensors"]
    assert downloads(mini) == 2


def test_missing_library_is_logged_before_the_first_download_only(
    mini: MiniHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    put(mini, tmp_path / "here", tokenizers=("spiece.model",))
    monkeypatch.setitem(sys.modules, "tokenizers", None)

    load().encode_image(Image.new("RGB", (32, 32)))

    (warning,) = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert warning.startswith(f"{NAME}: texts require the tokenizers package")
    assert "pip install 'zeroshot-clip[tokenizers]'" in warning
    caplog.clear()
    load()
    assert not caplog.records or "tokenizers" not in caplog.text


def test_missing_tokenizer_file_is_an_error_before_the_weights(
    mini: MiniHub, tmp_path: Path
) -> None:
    put(mini, tmp_path / "here", tokenizers=())

    with pytest.raises(errors.ModelNotFound, match=r"has no file spiece\.model or") as caught:
        load()

    assert all(name in str(caught.value) for name in TOKENIZERS)
    assert len(str(caught.value)) < 600
    assert downloads(mini) == 0


def test_tokenizer_of_clip_is_not_requested(mini: MiniHub, tmp_path: Path) -> None:
    folder = forms.transformers(forms.VIT, forms.tensors_of(forms.VIT), tmp_path)
    small = {name: (folder / name).read_bytes() for name in SMALL}
    large = {name: (folder / name).read_bytes() for name in ("model.safetensors",)}
    mini.add(NAME, small, lfs=large | {"tokenizer.json": b"{}"})

    load()

    asked = {request.path.rpartition("/")[2] for request in mini.log}
    assert asked.isdisjoint(TOKENIZERS)


def test_lock_contains_the_tokenizer_file(mini: MiniHub, tmp_path: Path) -> None:
    put(mini, tmp_path / "here", tokenizers=("spiece.model",))
    path = tmp_path / "zeroshot.lock"
    pinned = hub.pin(NAME, judge=check_configs)
    hub.write_lock(path, [pinned])
    mini.log.clear()

    model = load(lock=path, cache_dir=tmp_path / "another")

    assert [file.name for file in pinned.files] == [*SMALL, "spiece.model", "model.safetensors"]
    assert model.encode_text("a cat").shape == (48,)
    assert downloads(mini) == 2


def test_other_tokenizer_file_than_the_locked_one_is_refused(mini: MiniHub, tmp_path: Path) -> None:
    put(mini, tmp_path / "here", tokenizers=("spiece.model",))
    path = tmp_path / "zeroshot.lock"
    hub.write_lock(path, [hub.pin(NAME, judge=check_configs)])
    digest = families.sha256_of_vocabulary()
    path.write_text(path.read_text().replace(digest, "0" * 64))

    with pytest.raises(errors.ChecksumError, match=r"spiece\.model"):
        load(lock=path)


def test_both_files_of_a_byte_pair_encoding_are_fetched_and_locked(
    mini: MiniHub, tmp_path: Path
) -> None:
    put(mini, tmp_path / "here", tokenizers=BYTE_BPE)

    found = hub.fetch(NAME, judge=check_configs)
    pinned = hub.pin(NAME, judge=check_configs)

    assert list(found.files) == [*SMALL, *BYTE_BPE, "model.safetensors"]
    assert {file.name for file in pinned.files} == set(found.files)


@pytest.mark.parametrize("name", BYTE_BPE)
def test_one_of_both_files_is_an_error_before_the_weights(
    mini: MiniHub, tmp_path: Path, name: str
) -> None:
    put(mini, tmp_path / "here", tokenizers=(name,))

    with pytest.raises(errors.ModelNotFound, match=r"has no file spiece\.model or .* merges\.txt"):
        zeroshot.load(NAME)

    assert not any("model.safetensors" in request.path for request in mini.log)
