"""Values stay in their file until a module is worked with, and are let go of afterwards."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.checkpoint import forms
from tests.checkpoint.forms import Tensors
from zeroshot import load
from zeroshot.checkpoint import reader
from zeroshot.checkpoint.formats.files import read_content
from zeroshot.checkpoint.layouts import native
from zeroshot.checkpoint.layouts.native import to_json
from zeroshot.checkpoint.tensors import StoredTensor
from zeroshot.checkpoint.weights import Weights
from zeroshot.errors import IncompatibleWeights
from zeroshot.spec import NetworkConfig, PreprocessConfig, Spec, TextConfig, ViTConfig


@pytest.fixture
def vit() -> Tensors:
    return forms.tensors_of(forms.VIT)


@pytest.fixture
def weights(vit: Tensors, tmp_path: Path) -> Weights:
    return reader.read(forms.transformers(forms.VIT, vit, tmp_path)).weights


@pytest.mark.parametrize(
    "stored",
    [
        StoredTensor((torch.arange(12.0).view(4, 3),)),
        StoredTensor(tuple(torch.arange(12.0).half().view(3, 4).unbind(0))),
        StoredTensor((torch.arange(12).view(4, 3).to(torch.int8),), scale=torch.arange(4.0) / 8),
        StoredTensor((torch.arange(15.0).view(5, 3),), positions=9),
    ],
    ids=["whole", "parts", "int8", "resampled"],
)
def test_a_sample_is_a_piece_of_the_whole(stored: StoredTensor) -> None:
    whole = stored.read()
    flat = whole.reshape(-1)

    assert whole.shape == stored.shape
    assert whole.dtype == torch.float32
    for start, stop in [(0, 2), (3, 9), (0, len(flat)), (len(flat) - 1, len(flat) + 4), (5, 5)]:
        assert torch.equal(stored.sample(start, stop), flat[start:stop])


def test_a_borrowed_tensor_keeps_its_values_after_others_were_released(
    weights: Weights, vit: Tensors
) -> None:
    values = weights.values("visual.transformer.resblocks.1")
    borrowed = values["mlp.c_fc.weight"]

    for name in vit:
        weights.read(name)
        values.release()

    assert torch.equal(borrowed, vit["visual.transformer.resblocks.1.mlp.c_fc.weight"])


def test_a_materialized_module_owns_its_values(weights: Weights, vit: Tensors) -> None:
    tower = weights.materialize("visual")
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.zero_()

    again = weights.materialize("visual").state_dict()

    assert again.keys() == {n.removeprefix("visual.") for n in vit if n.startswith("visual.")}
    assert all(torch.equal(tensor, vit[f"visual.{name}"]) for name, tensor in again.items())
    assert all(tensor.is_meta for tensor in weights.on_meta.state_dict().values())


def test_a_module_can_be_materialized_in_another_precision(weights: Weights) -> None:
    tower = weights.materialize("text", dtype=torch.bfloat16)

    assert {parameter.dtype for parameter in tower.parameters()} == {torch.bfloat16}


def test_nan_in_a_tensor_is_an_error_each_time_and_spares_the_other_tower(
    vit: Tensors, tmp_path: Path
) -> None:
    broken = vit | {"text.ln_final.bias": torch.full_like(vit["text.ln_final.bias"], torch.nan)}
    model = load(forms.ours(forms.VIT, broken, tmp_path), device="cpu")

    for _ in range(2):
        with pytest.raises(IncompatibleWeights, match=r"text\.ln_final\.bias contains NaN"):
            model.encode_text("a cat")

    assert all(tensor.is_meta for tensor in model.checkpoint.weights.on_meta.state_dict().values())
    assert model.encode_pixels(torch.zeros(1, 3, 32, 32)).shape == (1, 32)


def test_a_user_may_write_to_the_networks_values(vit: Tensors, tmp_path: Path) -> None:
    model = load(forms.ours(forms.VIT, vit, tmp_path), device="cpu", dtype="float32")
    wanted = model.to(dtype="float32").encode_text("a cat")
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.zero_()

    assert torch.equal(model.encode_text("a cat"), wanted)
    assert not any(parameter.any() for parameter in model.network.parameters())


def test_a_network_made_in_inference_mode_can_be_trained(vit: Tensors, tmp_path: Path) -> None:
    model = load(forms.ours(forms.VIT, vit, tmp_path), device="cpu")
    with torch.inference_mode():
        network = model.network

    network.requires_grad_(True)
    network.visual(torch.zeros(1, 3, 32, 32)).sum().backward()

    assert network.visual.proj.grad is not None


def test_memory_that_cannot_be_given_back_is_kept(vit: Tensors, tmp_path: Path) -> None:
    class Locked:
        def madvise(self, _: int) -> None:
            raise OSError(22, "Invalid argument")

    weights = reader.read(forms.ours(forms.VIT, vit, tmp_path)).weights
    weights._maps = (Locked(),)  # type: ignore[assignment]

    weights.check()


def test_a_pickle_holds_each_value_once_though_tensors_share_memory(vit: Tensors) -> None:
    flat = torch.cat([tensor.reshape(-1) for tensor in vit.values()])
    sizes = [tensor.numel() for tensor in vit.values()]
    views = zip(vit, flat.split(sizes), strict=True)
    stored = {name: StoredTensor((view.view(vit[name].shape),)) for name, view in views}

    assert len(pickle.dumps(Weights(forms.VIT.network, stored))) < 1.5 * flat.nbytes


def test_models_of_one_checkpoint_may_be_made_ready_at_once(vit: Tensors, tmp_path: Path) -> None:
    first = load(forms.transformers(forms.VIT, vit, tmp_path), device="cpu", dtype="float32")
    models = [first.to(dtype=dtype) for dtype in ("float32", "bfloat16") * 4]
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    wanted, errors = first.encode_pixels(pixels), []

    def work(model: object) -> None:
        try:
            cosine = (model.encode_pixels(pixels) * wanted).sum(dim=1).min()  # type: ignore[attr-defined]
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
def test_a_model_can_be_copied_before_and_after_its_first_use(
    way: object, used: bool, vit: Tensors, tmp_path: Path
) -> None:
    model = load(forms.transformers(forms.VIT, vit, tmp_path), device="cpu", dtype="float32")
    if used:
        model.encode_text("a dog")

    again = way(model)  # type: ignore[operator]

    assert again.identity == model.identity
    assert torch.equal(again.encode_text("a cat"), model.encode_text("a cat"))


def test_a_tensor_that_lies_askew_in_its_file_is_read_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "odd.safetensors"
    header = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    header += b" " * (3 - len(header) % 8 + 8)  # so the tensor begins at no multiple of four
    path.write_bytes(len(header).to_bytes(8, "little") + header + torch.ones(2).numpy().tobytes())

    assert torch.equal(read_content(path).tensors["a"], torch.ones(2))


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


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no Linux")
def test_the_peak_of_memory_is_the_packed_towers_not_the_file_as_well(tmp_path: Path) -> None:
    spec = WIDE
    tensors = forms.tensors_of(spec)
    path = tmp_path / "wide.safetensors"
    save_file(tensors, path, {native.METADATA_KEY: json.dumps(to_json(spec))})

    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True
    )

    assert int(done.stdout) < 0.75 * path.stat().st_size  # half of it is the packed bfloat16
