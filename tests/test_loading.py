"""A name, repository or path is loaded as a model, or the error says what to do."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import zeroshot
from tests.support import photograph
from zeroshot import hub
from zeroshot.checkpoint.reader import check_configs
from zeroshot.errors import ImageError, InputError, ModelNotFound, ZeroshotError


def test_load_accepts_device_and_dtype(tiny_path: Path) -> None:
    model = zeroshot.load(str(tiny_path), device=torch.device("cpu"), dtype="bfloat16")
    assert (model.device.type, model.dtype) == ("cpu", torch.bfloat16)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"device": "gpu"}, "unsupported device 'gpu'"),
        ({"device": "cuda"}, "no CUDA GPU"),
        ({"dtype": "int8"}, "dtype='int8'"),
        ({"dtype": "fp16"}, "choose one of"),
    ],
)
def test_unavailable_devices_and_dtypes_are_rejected(
    tiny_path: Path, options: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=says):
        zeroshot.load(tiny_path, **options)


def test_paths_can_be_relative_and_strings(
    tiny: zeroshot.Model, tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_path.parent)
    for name in ("tiny.safetensors", "./tiny.safetensors", ".", Path("tiny.safetensors")):
        assert zeroshot.load(name, device="cpu").identity == tiny.identity


def test_a_model_knows_its_name_for_load_unless_it_is_a_local_file(tiny_path: Path) -> None:
    assert zeroshot.load("mini").source == "mini"
    assert zeroshot.load("mini").to(dtype="float32").source == "mini"
    assert zeroshot.load("mini").head(["a", "b"]).source == "mini"
    assert zeroshot.load(tiny_path).source is None


@pytest.mark.parametrize("name", ["./none", "/none/at/all", Path("none"), "~/none.safetensors"])
def test_a_missing_path_is_reported(name: str | Path) -> None:
    with pytest.raises(ModelNotFound, match="no such file or folder"):
        zeroshot.load(name)


@pytest.mark.parametrize(
    ("name", "near"), [("ViT-B-33", "ViT-B/32"), ("vit b 32x", "ViT-B/32"), ("RN5O", "RN50")]
)
def test_an_unknown_name_suggests_the_nearest(name: str, near: str) -> None:
    with pytest.raises(ModelNotFound, match=f"did you mean '{near}'"):
        zeroshot.load(name, offline=True)


@pytest.mark.parametrize("name", [None, 5, b"ViT-B/32", ["ViT-B/32"]])
def test_a_name_of_another_type_is_rejected(name: Any) -> None:
    with pytest.raises(InputError, match=type(name).__name__):
        zeroshot.load(name)


def test_available_models_lists_unique_names() -> None:
    names = zeroshot.available_models()
    assert "ViT-B/32" in names
    assert "mini" in names
    assert len(names) == len(set(names))


def test_loading_and_classifying_give_no_warning(tiny_path: Path, photos: list[Path]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = zeroshot.load(tiny_path, device="cpu")
        model.classifier(["a", "b"])(photos)


@pytest.mark.parametrize("name", ["nofile.pt", "weights/none.safetensors"])
def test_a_missing_weights_file_is_not_reported_as_an_unknown_name(name: str) -> None:
    with pytest.raises(ModelNotFound, match=r"no such file \(working folder"):
        zeroshot.load(name)


def test_an_empty_name_is_rejected() -> None:
    with pytest.raises(InputError, match="expected a model name or path, got ''"):
        zeroshot.load("")


# sources and options


def test_a_catalogued_name_is_found_by_its_aliases() -> None:
    model = zeroshot.load("MINI", device="cpu", dtype="float32")

    assert model.name == "mini"


def test_a_file_in_the_working_folder_is_loaded_by_name(
    tiny: zeroshot.Model, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my-model").write_bytes(tiny_path.read_bytes())
    monkeypatch.chdir(tmp_path)

    model = zeroshot.load("my-model", device="cpu", dtype="float32")

    assert (model.name, model.identity) == ("my-model", tiny.identity)


def test_a_tilde_is_expanded(
    tiny: zeroshot.Model, tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tiny_path.parent))

    assert zeroshot.load(f"~/{tiny_path.name}", device="cpu").identity == tiny.identity


def test_a_repository_that_is_not_found_also_suggests_a_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fetch(name: str, **options: Any) -> None:
        asked.append((name, options))
        raise ModelNotFound(f"{name}: no such repository")

    asked: list[Any] = []
    monkeypatch.setattr(hub, "fetch", fetch)

    with pytest.raises(
        ModelNotFound, match=r"owner/clip: no such repository\. Also, no model named 'owner/clip'"
    ):
        zeroshot.load("owner/clip", revision="v1", offline=True)

    options = {"revision": "v1", "cache_dir": None, "offline": True, "judge": check_configs}
    assert asked == [("owner/clip", options)]


def test_a_repository_is_fetched_and_loaded(
    tiny: zeroshot.Model, tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "fetch", lambda name, **options: SimpleNamespace(weights=tiny_path))

    model = zeroshot.load("owner/clip", device="cpu", dtype="float32")

    assert (model.name, model.identity) == ("owner/clip", tiny.identity)


def test_a_path_object_is_never_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "fetch", lambda *a, **o: pytest.fail("must not be fetched"))

    with pytest.raises(ModelNotFound, match="no such file or folder"):
        zeroshot.load(Path("owner/clip"))


@pytest.mark.parametrize("decode", ["draft", None, True])
def test_an_invalid_decode_is_rejected(tiny_path: Path, decode: Any) -> None:
    with pytest.raises(InputError, match=r"decode=.* must be 'exact' or 'fast'"):
        zeroshot.load(tiny_path, decode=decode)


@pytest.mark.parametrize("limit", [0, 1.5, "64"])
def test_an_invalid_size_limit_is_rejected(tiny_path: Path, limit: Any) -> None:
    with pytest.raises(InputError, match=r"max_pixels=.* must be an integer of at least 1; the"):
        zeroshot.load(tiny_path, max_pixels=limit)


def test_an_invalid_background_is_rejected(tiny_path: Path) -> None:
    with pytest.raises(InputError, match="expected background='white'"):
        zeroshot.load(tiny_path, background="no color")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_size_limit_and_background_are_used(tiny_path: Path, dtype: str) -> None:
    limited = zeroshot.load(tiny_path, device="cpu", dtype=dtype, max_pixels=99)
    with pytest.raises(ImageError, match="max_pixels=2867"):
        limited.encode_image(photograph())
    model = zeroshot.load(tiny_path, device="cpu", dtype=dtype, background="white")
    clear, white = np.zeros((32, 32, 4), np.uint8), np.full((32, 32, 3), 255, np.uint8)
    for same in (model, model.to(dtype=dtype)):
        torch.testing.assert_close(same.encode_image(clear), same.encode_image(white))
    assert limited.to(dtype=dtype).preprocess.max_pixels == 99


def test_parity_and_decode_are_options_of_the_preprocessing(tiny_path: Path) -> None:
    model = zeroshot.load(tiny_path, device="cpu", parity=True, decode="fast")

    assert (model.preprocess.parity, model.preprocess.decode) == (True, "fast")
    moved = model.to(dtype="float32")
    assert (moved.preprocess.parity, moved.preprocess.decode) == (True, "fast")


def test_image_size_resizes_the_input(tiny_path: Path) -> None:
    model = zeroshot.load(tiny_path, device="cpu", image_size=48)

    assert model.prepare(photograph()).shape == (3, 48, 48)
    assert model.encode_image(photograph()).shape == (16,)


def test_an_invalid_image_size_is_rejected(tiny_path: Path) -> None:
    with pytest.raises(ZeroshotError, match="33"):
        zeroshot.load(tiny_path, device="cpu", image_size=33)


def test_a_lock_and_a_revision_together_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected either revision or lock"):
        zeroshot.load("mini", lock=tmp_path / "zeroshot.lock", revision="main")


def test_a_locked_model_is_loaded_from_the_pinned_files(
    tiny: zeroshot.Model, tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "fetch_pinned", lambda lock, name, **options: (name, tiny_path))

    model = zeroshot.load("owner/clip", lock="zeroshot.lock", device="cpu", dtype="float32")

    assert (model.name, model.identity) == ("owner/clip", tiny.identity)


def test_an_unknown_like_is_rejected(tiny_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="did you mean"):
        zeroshot.load(tiny_path, like="ViT-B/33")


@pytest.mark.parametrize("name", ["mini", "vitb32", "openai/clip-vit-base-patch32", "ViT-B/32"])
def test_a_local_path_wins_over_a_catalog_model_with_a_warning(
    name: str,
    tiny: zeroshot.Model,
    tiny_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir(parents=True)
    (tmp_path / name / "model.safetensors").write_bytes(tiny_path.read_bytes())

    assert zeroshot.load(name, device="cpu", offline=True).identity == tiny.identity

    (record,) = caplog.records
    assert f"'./{name}'" in record.getMessage()
    assert f"'catalog:{name}'" in record.getMessage()
    caplog.clear()
    assert zeroshot.load(f"./{name}", device="cpu").identity == tiny.identity
    assert not caplog.records
    with pytest.raises(InputError, match=f"omit the revision, or load 'catalog:{name}'"):
        zeroshot.load(name, revision="main", offline=True)


def test_the_catalog_prefix_skips_a_local_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mini").mkdir()

    assert zeroshot.load("catalog:mini", device="cpu").name == "mini"
    assert not caplog.records


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"visual.proj": torch.zeros(99, 99)}, r"got a state_dict \(dict\); write it with torch"),
        (torch.nn.Linear(2, 2), r"got a model \(Linear\).*torch\.save\(model\.state_dict\(\)"),
        (torch.zeros(99, 99), "got Tensor"),
    ],
)
def test_weights_instead_of_a_name_say_how_to_save_them(given: Any, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        zeroshot.load(given)

    assert len(str(caught.value)) < 600


def test_a_model_instead_of_a_name_is_to_be_used_directly(tiny: zeroshot.Model) -> None:
    with pytest.raises(InputError, match="use it directly"):
        zeroshot.load(tiny)  # type: ignore[arg-type]


def test_image_size_is_any_kind_of_integer(tiny_path: Path) -> None:
    model = zeroshot.load(tiny_path, device="cpu", image_size=np.int64(48))  # type: ignore[arg-type]

    assert model.preprocess.size == 48
    for wrong in ("48", 48.0, True, 0):
        with pytest.raises(InputError, match=r"image_size=.* must be an integer of at least 1"):
            zeroshot.load(tiny_path, image_size=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"revision": "v1"}, "'mini' is part of the package; omit the revision"),
        ({"revision": 1}, "expected revision to be a str, got int 1"),
        ({"like": Path("mini")}, "expected like to be a str"),
        ({"like": "ViT-B/32"}, "mini contains its own activation and preprocessing; omit it"),
        ({"cache_dir": 5}, "expected a path as str or os.PathLike, got int 5"),
    ],
    ids=str,
)
def test_options_without_effect_or_of_another_type_are_rejected(
    options: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        zeroshot.load("mini", **options)


def test_a_local_path_has_no_revision(tiny_path: Path) -> None:
    with pytest.raises(InputError, match="is a local file or folder; omit the revision"):
        zeroshot.load(tiny_path, revision="v1")
