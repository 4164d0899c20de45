"""Compare unfused attention with torch's fused operator, in whole bfloat16 encoders on this CPU.

Not part of `make bench`, which compares with other libraries. `engine/cpu/attention.py` is based on
these results. Agreement is the lowest cosine with the same weights in float32, once as it is and
once after subtracting the mean of the batch, which is stricter.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from unittest import mock

from checkpoints import FULL, agreement
from torch import Tensor

from zeroshot.diagnostics.bench import alternate, machine, random_model, random_pixels
from zeroshot.engine.cpu import attention

CASES = {"ViT-B/32": 64, "ViT-B/16": 16, "ViT-L/14": 8}  # images
ROUNDS = 7
SAMPLE = 8  # images whose embeddings are compared


def run(unfused: bool, work: Callable[[], Tensor]) -> Tensor:
    """Run the workload with unfused or fused attention."""
    with mock.patch.object(attention, "is_unfused_faster", return_value=unfused):
        return work()


def nearness(found: Tensor, wanted: Tensor) -> str:
    """Format the lowest cosine, plain and centered."""
    mean = wanted.mean(dim=0)
    return f"{agreement(found, wanted):.5f} / {agreement(found - mean, wanted - mean):.5f}"


def main() -> None:
    """Print one line per network."""
    print(", ".join(machine().values()))
    for name, images in CASES.items():
        pixels = random_pixels(images, FULL[name].vision.image_size)
        exact = random_model(FULL[name], device="cpu", dtype="float32")
        wanted = exact.encode_pixels(pixels[:SAMPLE])
        del exact
        model = random_model(FULL[name], device="cpu", dtype="bfloat16")
        kinds = {"unfused": True, "fused": False}
        contenders = {
            kind: partial(run, unfused, partial(model.encode_pixels, pixels))
            for kind, unfused in kinds.items()
        }
        found = alternate(contenders, rounds=ROUNDS)
        near = {kind: nearness(work()[:SAMPLE], wanted) for kind, work in contenders.items()}
        speeds = " vs. ".join(f"{images / found.median(kind):.2f}" for kind in kinds)
        print(
            f"{name}: {found.ratio('unfused', 'fused'):.3f}x as fast, {speeds} images/s; "
            f"cosine {near['unfused']}, fused {near['fused']}"
        )


if __name__ == "__main__":
    main()
