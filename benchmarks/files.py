"""T12: JPEG files to the top 5 of 1000 labels, compared with typical code for other libraries.

The label embeddings are computed beforehand. Only the transformers pipeline does not keep them and
encodes all labels on every call, so it processes two files. The limit is the time of the model on
preprocessed pixels, as if decoding were free.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import peers
import torch
from checkpoints import open_clip_folder, transformers_folder, unit
from photographs import SMALL, photographs
from PIL import Image
from table import Row, Run, main
from torch import Tensor

import zeroshot
from zeroshot import prompts
from zeroshot.diagnostics.bench import alternate, gemm, random_pixels, timed
from zeroshot.machine import cores

BFLOAT16, FLOAT32 = "bfloat16", "float32"
BATCH = 32  # images, for the other libraries
TOP = 5
OURS = "zeroshot stream bfloat16"
OPEN_CLIP = "open_clip float32, DataLoader"
LOOP = "transformers bfloat16, loop"
PIPELINE = "transformers pipeline"
ALONE = "the model alone"
TARGETS = {OPEN_CLIP: 5.5, LOOP: 1.5, PIPELINE: 500.0}


def measure(run: Run) -> Iterator[Row]:
    """Classify files with every contender, as many as it processes in a few seconds."""
    if not run.wants("T12"):
        return
    folder = transformers_folder(run, "ViT-B/32")
    labels = [names[0] for names in prompts.labels("imagenet").values()]
    labels = list(dict.fromkeys(labels))[: run.size(1000, 10)]
    files = photographs(run, run.size(SMALL, (96, 72)), run.size(400, 4))
    model = zeroshot.load(folder, device="cpu", dtype=BFLOAT16)
    head = zeroshot.Head.build(model, labels)
    classifier = model.classifier(head)
    pixels = random_pixels(run.size(256, 4), model.preprocess.size)
    counts = {OURS: len(files), ALONE: len(pixels)}
    contenders: dict[str, Callable[[], object]] = {
        OURS: lambda: list(classifier.stream(files, top=TOP)),
        ALONE: lambda: model.encode_pixels(pixels),
    }
    for name, count, make in (
        (OPEN_CLIP, run.size(96, 2), open_clip_loader),
        (LOOP, run.size(192, 2), transformers_loop),
    ):
        if peers.installed(*NEEDS[name]):
            counts[name] = count
            contenders[name] = partial(make(run, folder, head.weight), files[:count])
    found = alternate(contenders, rounds=run.size(5, 1))
    speeds = {name: count / found.median(name) for name, count in counts.items()}
    probe = f"GEMM {gemm(FLOAT32):,.0f} / {gemm(BFLOAT16):,.0f} GFLOP/s"
    share = found.ratio(OURS, ALONE) * counts[OURS] / counts[ALONE]
    ratios = {
        name: found.ratio(OURS, name) * counts[OURS] / counts[name]
        for name in (OPEN_CLIP, LOOP)
        if name in counts
    }
    if peers.installed(*NEEDS[PIPELINE]):
        few = files[:2]
        pipeline = transformers_pipeline(folder)
        seconds = timed(lambda: pipeline([str(path) for path in few], candidate_labels=labels))
        again = timed(contenders[OURS])
        speeds[PIPELINE] = len(few) / seconds
        ratios[PIPELINE] = len(files) / again / speeds[PIPELINE]
    for name, least in TARGETS.items():
        what = f"files to top 5 of {len(labels)} labels, {OURS} vs. {name}"
        if name not in speeds:
            yield Row("T12", what, None, f"{speeds[OURS]:.1f} images/s", least)
            continue
        figures = f"{speeds[OURS]:.1f} vs. {speeds[name]:.4g} images/s; model alone "
        figures += f"{speeds[ALONE]:.0f}; {probe}"
        bars = {who: speed for who, speed in speeds.items() if who != ALONE}
        yield Row(
            "T12",
            what,
            ratios[name],
            figures,
            least,
            share=share,
            limit=ALONE,
            bars=bars,
            unit="files/s",
        )


NEEDS = {
    OPEN_CLIP: ("open_clip", "torchvision"),
    LOOP: ("transformers", "torchvision"),
    PIPELINE: ("transformers", "torchvision"),
}


class _Files(torch.utils.data.Dataset[Tensor]):
    def __init__(self, files: Sequence[Path], transform: Any) -> None:
        self.files, self.transform = files, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, place: int) -> Tensor:
        pixels: Tensor = self.transform(Image.open(self.files[place]))
        return pixels


def open_clip_loader(run: Run, _: Path, head: Tensor) -> Callable[[Sequence[Path]], object]:
    """Return open_clip's zero-shot evaluation loop: a DataLoader with one worker per core."""
    model, transform = peers.open_clip_model(open_clip_folder(run, "ViT-B/32"))

    @torch.inference_mode()
    def classify(files: Sequence[Path]) -> list[Tensor]:
        loader = torch.utils.data.DataLoader(
            _Files(files, transform), batch_size=BATCH, num_workers=run.size(cores(), 0)
        )
        return [best(model.encode_image(pixels), head) for pixels in loader]

    return classify


def transformers_loop(_: Run, folder: Path, head: Tensor) -> Callable[[Sequence[Path]], object]:
    """Return the loop from transformers' documentation, in bfloat16 with a stored head."""
    model = peers.transformers_model(folder, BFLOAT16)
    processor = peers.transformers().CLIPImageProcessor.from_pretrained(folder)

    @torch.inference_mode()
    def classify(files: Sequence[Path]) -> list[Tensor]:
        found = []
        for first in range(0, len(files), BATCH):
            images = [Image.open(path) for path in files[first : first + BATCH]]
            pixels = processor(images=images, return_tensors="pt")["pixel_values"]
            features = model.get_image_features(pixel_values=pixels.to(model.dtype))
            found.append(best(features.pooler_output, head))
        return found

    return classify


def transformers_pipeline(folder: Path) -> Any:
    """Create transformers' pipeline for the task."""
    return peers.transformers().pipeline(
        "zero-shot-image-classification", model=str(folder), device="cpu"
    )


def best(embeddings: Tensor, head: Tensor) -> Tensor:
    """Return the indices of the best labels of each image."""
    return (100 * unit(embeddings) @ head.T).softmax(dim=-1).topk(min(TOP, len(head))).indices


if __name__ == "__main__":
    main(measure, __doc__)
