"""Measure the gain from sharing common prompt prefixes, by the number of labels.

Not part of `make bench`, which compares with other libraries. `engine/cpu/prefix_trees.py` is based
on these results. The same prompts run with prefix sharing and without.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from unittest import mock

from checkpoints import FULL, agreement
from torch import Tensor

from zeroshot import prompts
from zeroshot.diagnostics.bench import alternate, machine, random_model
from zeroshot.engine.cpu import prefix_trees

NETWORK = "ViT-B/32"
LABELS = (3, 10, 30)
ROUNDS = 3


def run_separately(work: Callable[[], Tensor]) -> Tensor:
    """Run the workload without prefix sharing."""
    with mock.patch.object(prefix_trees, "_common_prefix", return_value=0):
        return work()


def main() -> None:
    """Print one line per number of labels."""
    print(", ".join(machine().values()))
    labels = [names[0] for names in prompts.labels("imagenet").values()]
    templates = prompts.get("imagenet").templates
    for dtype in ("float32", "bfloat16"):
        model = random_model(FULL[NETWORK], device="cpu", dtype=dtype)
        for count in LABELS:
            sentences = [
                t.replace(prompts.SLOT, name) for t in templates for name in labels[:count]
            ]
            shared = partial(model.encode_text, sentences)
            contenders = {"shared": shared, "separate": partial(run_separately, shared)}
            near = agreement(shared(), run_separately(shared))
            found = alternate(contenders, rounds=ROUNDS)
            seconds = " vs. ".join(f"{found.median(kind):.2f}" for kind in contenders)
            print(
                f"{len(templates)} x {count} {dtype}: {found.ratio('shared', 'separate'):.2f}x as "
                f"fast, {seconds} s; cosine {near:.6f}"
            )


if __name__ == "__main__":
    main()
