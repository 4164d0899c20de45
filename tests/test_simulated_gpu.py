"""The simulated GPU refuses what a GPU refuses, so that tests fail here as they would there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CODE = """
import sys, numpy, torch, zeroshot
from tests import simulated_gpu
simulated_gpu.install()

def refused(work):
    try:
        work()
    except (TypeError, RuntimeError) as error:
        return str(error)
    raise SystemExit(f"not refused: {work}")

model = zeroshot.load(sys.argv[1], dtype="float32")
cpu = zeroshot.load(sys.argv[1], device="cpu", dtype="float32")
assert str(model.device) == "cuda" and str(cpu.device) == "cpu"
assert type(model._engine.backend).__name__ == "CudaBackend"
assert type(cpu._engine.backend).__name__ == "CpuBackend"
found, expected = model.encode_text(["a", "b"]), cpu.encode_text(["a", "b"])
assert str(found.device) == "cuda:0" and str(expected.device) == "cpu"
assert "can't convert cuda:0" in refused(lambda: found.numpy())
assert "can't convert cuda:0" in refused(lambda: numpy.asarray(found))
assert "same device" in refused(lambda: found - expected)
assert "same device" in refused(lambda: torch.stack([found[0], expected[0]]))
assert float((found.cpu() - expected).abs().max()) < 1e-5
assert float((found - expected.to(found.device)).abs().max()) < 1e-5
assert str((2 * found).device) == str(torch.ones(2, device="cuda").device) == "cuda:0"
assert found.tolist() == found.cpu().numpy().tolist()
assert model.classifier(["a", "b"])(numpy.zeros((40, 40, 3), numpy.uint8)).label in "ab"
fast = zeroshot.load(sys.argv[1], dtype="tf32")
assert fast._engine.tf32 and fast._engine.backend.tf32 and fast.to(dtype="float32").dtype
layer = torch.nn.Linear(2, 2)
assert layer.to("cpu") is layer.to(torch.float32) is layer.to("cpu", torch.float32)
assert torch.cuda.get_device_properties(0).name == "simulated GPU"
print("all as on a GPU")
"""


def test_a_simulated_gpu_refuses_what_a_gpu_refuses(tiny_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tiny_path)],
        cwd=ROOT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )

    assert done.stdout == "all as on a GPU\n", done.stderr
