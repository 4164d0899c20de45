"""Attention written out against torch's fused one, in whole towers of bfloat16 on this processor.

Not part of `make bench`, which compares with the peers: this is what `engine/attention.py` decides
by. Agreement is the least cosine with the same weights in float32, as it is and with the mean of
the batch taken off, which is stricter.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from unittest import mock

from checkpoints import FULL, agreement
from torch import Tensor

from zeroshot.diagnostics.bench import alternate, machine, pictures, random_model
from zeroshot.engine.cpu import attention

CASES = {"ViT-B/32": 64, "ViT-B/16": 16, "ViT-L/14": 8}  # images
ROUNDS = 7
SAMPLE = 8  # images whose embeddings are compared


def run(written_out: bool, work: Callable[[], Tensor]) -> Tensor:
    """Do work with attention of one kind or the other."""
    with mock.patch.object(attention, "is_written_out", return_value=written_out):
        return work()


def nearness(found: Tensor, wanted: Tensor) -> str:
    """State the least cosine, plain and centred."""
    mean = wanted.mean(dim=0)
    return f"{agreement(found, wanted):.5f} / {agreement(found - mean, wanted - mean):.5f}"


def main() -> None:
    """Print a line for each network."""
    print(", ".join(machine().values()))
    for name, images in CASES.items():
        pixels = pictures(images, FULL[name].vision.image_size)
        exact = random_model(FULL[name], device="cpu", dtype="float32")
        wanted = exact.encode_pixels(pixels[:SAMPLE])
        del exact
        model = random_model(FULL[name], device="cpu", dtype="bfloat16")
        kinds = {"written out": True, "fused": False}
        contenders = {
            kind: partial(run, written_out, partial(model.encode_pixels, pixels))
            for kind, written_out in kinds.items()
        }
        found = alternate(contenders, rounds=ROUNDS)
        near = {kind: nearness(work()[:SAMPLE], wanted) for kind, work in contenders.items()}
        speeds = " : ".join(f"{images / found.median(kind):.2f}" for kind in kinds)
        print(
            f"{name}: {found.ratio('written out', 'fused'):.3f}x of fused, {speeds} images/s; "
            f"cosine {near['written out']}, fused {near['fused']}"
        )


if __name__ == "__main__":
    main()
