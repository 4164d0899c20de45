"""Values stay in their file until a module needs them, and are released afterwards."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.checkpoint import forms
from tests.checkpoint.forms import Tensors
from zeroshot import load
from zeroshot.checkpoint import reader
from zeroshot.checkpoint.layouts import native
from zeroshot.checkpoint.layouts.native import to_json
from zeroshot.checkpoint.tensors import StoredTensor
from zeroshot.checkpoint.weights import Weights, on_meta
from zeroshot.errors import IncompatibleWeights
from zeroshot.spec import NetworkConfig, PreprocessConfig, Spec, TextConfig, ViTConfig
from zeroshot.tokenizers.clip import ClipTokenizer


@pytest.fixture
def weights(vit: Tensors, tmp_path: Path) -> Weights:
    return reader.read(forms.transformers(forms.VIT, vit, tmp_path)).weights


def test_borrowed_tensor_stays_valid_after_release(weights: Weights, vit: Tensors) -> None:
    values = weights.values("visual.transformer.resblocks.1")
    borrowed = values["mlp.c_fc.weight"]

    for name in vit:
        weights.read(name)
        values.release()

    assert torch.equal(borrowed, vit["visual.transformer.resblocks.1.mlp.c_fc.weight"])


def test_materialized_module_owns_its_values(weights: Weights, vit: Tensors) -> None:
    tower = weights.materialize("visual")
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.zero_()

    again = weights.materialize("visual").state_dict()

    assert again.keys() == {n.removeprefix("visual.") for n in vit if n.startswith("visual.")}
    assert all(torch.equal(tensor, vit[f"visual.{name}"]) for name, tensor in again.items())
    assert all(tensor.is_meta for tensor in weights.on_meta.state_dict().values())


def test_module_is_materialized_in_another_precision(weights: Weights) -> None:
    tower = weights.materialize("text", dtype=torch.bfloat16)

    assert {parameter.dtype for parameter in tower.parameters()} == {torch.bfloat16}


def test_network_on_meta_has_no_values() -> None:
    network = on_meta(forms.VIT.network)

    assert all(tensor.is_meta for tensor in network.state_dict().values())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_tensor_with_nan_or_infinity_is_named(vit: Tensors, value: float, tmp_path: Path) -> None:
    broken = vit | {"visual.proj": vit["visual.proj"].clone()}
    broken["visual.proj"][5, 5] = value

    with pytest.raises(IncompatibleWeights, match=r"visual\.proj contains NaN or infinity"):
        reader.read(forms.open_clip(forms.VIT, broken, tmp_path)).weights.check()


def test_finite_values_with_an_overflowing_sum_are_accepted(vit: Tensors, tmp_path: Path) -> None:
    large = vit | {"visual.proj": torch.full((64, 32), 3e38)}

    reader.read(forms.open_clip(forms.VIT, large, tmp_path)).weights.check()


def test_nan_in_one_tower_is_an_error_each_time_and_the_other_tower_works(
    vit: Tensors, tmp_path: Path
) -> None:
    broken = vit | {"text.ln_final.bias": torch.full_like(vit["text.ln_final.bias"], torch.nan)}
    model = load(forms.ours(forms.VIT, broken, tmp_path), device="cpu")

    for _ in range(2):
        with pytest.raises(IncompatibleWeights, match=r"text\.ln_final\.bias contains NaN"):
            model.encode_text("a cat")

    assert all(tensor.is_meta for tensor in model.checkpoint.weights.on_meta.state_dict().values())
    assert model.encode_pixels(torch.zeros(1, 3, 32, 32)).shape == (1, 32)


def test_writing_to_the_network_does_not_change_the_model(vit: Tensors, tmp_path: Path) -> None:
    model = load(forms.ours(forms.VIT, vit, tmp_path), device="cpu", dtype="float32")
    expected = model.to(dtype="float32").encode_text("a cat")
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.zero_()

    assert torch.equal(model.encode_text("a cat"), expected)
    assert not any(parameter.any() for parameter in model.network.parameters())


def test_network_made_in_inference_mode_can_be_trained(vit: Tensors, tmp_path: Path) -> None:
    model = load(forms.ours(forms.VIT, vit, tmp_path), device="cpu")
    with torch.inference_mode():
        network = model.network

    network.requires_grad_(True)
    network.visual(torch.zeros(1, 3, 32, 32)).sum().backward()

    assert network.visual.proj.grad is not None


def test_check_ignores_memory_that_cannot_be_released(vit: Tensors, tmp_path: Path) -> None:
    class Locked:
        def madvise(self, _: int) -> None:
            raise OSError(22, "Invalid argument")

    weights = reader.read(forms.ours(forms.VIT, vit, tmp_path)).weights
    weights._maps = (Locked(),)  # type: ignore[assignment]

    weights.check()


def test_pickle_stores_shared_memory_once(vit: Tensors) -> None:
    flat = torch.cat([tensor.reshape(-1) for tensor in vit.values()])
    sizes = [tensor.numel() for tensor in vit.values()]
    views = zip(vit, flat.split(sizes), strict=True)
    stored = {name: StoredTensor((view.view(vit[name].shape),)) for name, view in views}

    assert len(pickle.dumps(Weights(forms.VIT.network, stored))) < 1.5 * flat.nbytes


def test_models_of_one_checkpoint_can_be_prepared_concurrently(
    vit: Tensors, tmp_path: Path
) -> None:
    first = load(forms.transformers(forms.VIT, vit, tmp_path), device="cpu", dtype="float32")
    models = [first.to(dtype=dtype) for dtype in ("float32", "bfloat16") * 4]
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    expected, errors = first.encode_pixels(pixels), []

    def work(model: object) -> None:
        try:
            cosine = (model.encode_pixels(pixels) * expected).sum(dim=1).min()  # type: ignore[attr-defined]
            model.encode_text(["a cat", "a dog"])  # type: ignore[attr-defined]
            assert cosine > 0.99
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []


@pytest.mark.parametrize("used", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("way", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_model_can_be_copied_before_and_after_first_use(
    way: object, used: bool, vit: Tensors, tmp_path: Path
) -> None:
    model = load(forms.transformers(forms.VIT, vit, tmp_path), device="cpu", dtype="float32")
    if used:
        model.encode_text("a dog")

    again = way(model)  # type: ignore[operator]

    assert again.identity == model.identity
    assert torch.equal(again.encode_text("a cat"), model.encode_text("a cat"))


def test_only_used_rows_of_the_token_table_are_read(vit: Tensors, tmp_path: Path) -> None:
    name = "text.token_embedding.weight"
    ((_, used, _),) = ClipTokenizer().rows(["cat"])
    broken = vit | {name: torch.full_like(vit[name], torch.nan)}
    for token in (used, *ClipTokenizer().rows([""])[0]):
        broken[name][token] = vit[name][token]
    model = load(forms.ours(forms.VIT, broken, tmp_path), device="cpu", dtype="float32")
    expected = load(forms.transformers(forms.VIT, vit, tmp_path), device="cpu", dtype="float32")

    assert torch.equal(model.encode_text("cat"), expected.encode_text("cat"))
    with pytest.raises(IncompatibleWeights, match=r"token_embedding\.weight contains NaN"):
        model.encode_text("dog")
    with pytest.raises(IncompatibleWeights, match=r"token_embedding\.weight contains NaN"):
        model.checkpoint.weights.check()


WIDE = Spec(  # 50 million values, 200 MB
    NetworkConfig(
        32,
        ViTConfig(32, 8, 768, 4, 12, 3072, "quick_gelu"),
        TextConfig(16, 49408, 256, 8, 4, 1024, "quick_gelu"),
    ),
    PreprocessConfig(32),
)
PEAK = """
import re, sys
from pathlib import Path
import torch, zeroshot
status = Path("/proc/self/status")
def peak(name="VmHWM"): return int(re.search(name + r":\\s+(\\d+)", status.read_text())[1]) * 1024
model = zeroshot.load(sys.argv[1], device="cpu", dtype="bfloat16")
torch.mm(torch.ones(8, 8, dtype=torch.bfloat16), torch.ones(8, 8, dtype=torch.bfloat16))
before = peak("VmRSS")
model.encode_pixels(torch.zeros(1, 3, 32, 32))
model.encode_text("a cat")
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="requires Linux")
def test_peak_memory_is_less_than_the_file_size(tmp_path: Path) -> None:
    spec = WIDE
    tensors = forms.tensors_of(spec)
    path = tmp_path / "wide.safetensors"
    save_file(tensors, path, {native.METADATA_KEY: json.dumps(to_json(spec))})

    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True
    )

    assert int(done.stdout) < 0.75 * path.stat().st_size  # half of it is the packed bfloat16


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="requires Linux")
def test_peak_memory_does_not_include_the_token_table(tmp_path: Path) -> None:
    text = TextConfig(16, 49408, 2048, 1, 32, 64, "quick_gelu")
    spec = replace(WIDE, network=replace(forms.VIT.network, text=text))
    tensors = {name: tensor.half() for name, tensor in forms.tensors_of(spec).items()}
    path = tmp_path / "table.safetensors"
    save_file(tensors, path, {native.METADATA_KEY: json.dumps(to_json(spec))})

    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True
    )

    table = tensors["text.token_embedding.weight"].nbytes  # 202 MB, 405 MB as float32
    assert int(done.stdout) < table  # of which packing the layer takes 0.8
