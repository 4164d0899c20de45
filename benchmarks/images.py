"""T1 T2 T4 T5 T6 T14: image encoders, compared with transformers, OpenVINO and OpenAI's code.

All contenders embed the same pixels in one process and alternate. zeroshot uses
`model.encode_pixels`; each other library uses its fastest batch size. The limit is the matrix
multiplication timed between the rounds; the operation count is that of the full network for all.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import peers
import torch
from checkpoints import agreement, config, open_clip_folder, transformers_folder
from table import Row, Run, main
from torch import Tensor

import zeroshot
from zeroshot.diagnostics.bench import GEMM_SIDE, Rounds, alternate, flop_per_image, random_pixels
from zeroshot.nn.network import Network

FLOAT32, BFLOAT16 = "float32", "bfloat16"
BEST_BATCH = 32  # images, for transformers on a CPU (8 to 32 are equally fast)
READING = "reading the bfloat16 weights once"
LIMIT = {FLOAT32: "a float32 GEMM", BFLOAT16: "a bfloat16 GEMM"}

Contenders = dict[str, Callable[[], Tensor]]


def measure(run: Run) -> Iterator[Row]:
    """Measure the selected targets."""
    if run.wants("T1", "T2"):
        yield from throughput(run)
    if run.wants("T4"):
        yield from latency(run)
    if run.wants("T5"):
        yield from larger(run)
    if run.wants("T6"):
        yield from resnet(run)
    if run.wants("T14"):
        yield from batches(run)


@contextmanager
def memory_given_back() -> Iterator[None]:
    """Release models before the next ones are loaded."""
    try:
        yield
    finally:
        gc.collect()


def ours(folder: object, dtype: str, pixels: Tensor, name: str | None = None) -> Contenders:
    """Embed pixels with zeroshot."""
    model = zeroshot.load(folder, device="cpu", dtype=dtype)  # type: ignore[arg-type]
    return {name or f"zeroshot {dtype}": partial(model.encode_pixels, pixels)}


def taken(run: Run, contenders: Mapping[str, Callable[[], object]], rounds: int) -> Rounds:
    """Run contenders alternately, with both GEMM probes in between."""
    return alternate(
        contenders,
        rounds=run.size(rounds, 1),
        probes=(FLOAT32, BFLOAT16),
        side=run.size(GEMM_SIDE, 64),
    )


def flop(run: Run, name: str) -> float:
    """Count the operations of one image in the full network."""
    network = config(run, name)
    return flop_per_image(Network(network).visual, network.vision.image_size)


def row(
    found: Rounds,
    *,
    number: str,
    what: str,
    name: str,
    over: str,
    images: int,
    flop: float,
    least: float | None = None,
    note: str = "",
) -> Row:
    """Return a row that compares two throughputs."""
    dtype = BFLOAT16 if BFLOAT16 in name else FLOAT32
    gemm = f"GEMM {found.gemm(FLOAT32):,.0f} / {found.gemm(BFLOAT16):,.0f} GFLOP/s"
    if over not in found.seconds:
        return Row(number, what, None, gemm, least)
    speeds = f"{images / found.median(name):.1f} vs. {images / found.median(over):.1f} images/s"
    share = found.share(name, images * flop, dtype)
    figures = "; ".join(part for part in (speeds, note, gemm) if part)
    bars = {who: images / found.median(who) for who in found.seconds}
    return Row(
        number,
        what,
        found.ratio(name, over),
        figures,
        least,
        share=share,
        limit=LIMIT[dtype],
        bars=bars,
        unit="images/s",
    )


def throughput(run: Run) -> Iterator[Row]:
    """T1 and T2: ViT-B/32, all contenders in one run."""
    with memory_given_back():
        folder = transformers_folder(run, "ViT-B/32")
        size = config(run, "ViT-B/32").vision.image_size
        images = run.size(64, peers.OPENVINO_BATCH)
        pixels = random_pixels(images, size)
        contenders = ours(folder, BFLOAT16, pixels) | ours(folder, FLOAT32, pixels)
        if peers.installed("transformers"):
            for dtype in (FLOAT32, BFLOAT16):
                model = peers.transformers_model(folder, dtype)
                encode = peers.transformers_images(model, BEST_BATCH)
                contenders[f"transformers {dtype}"] = partial(encode, pixels)
            if peers.installed("openvino"):
                model = peers.transformers_model(folder, FLOAT32)
                for dtype in (FLOAT32, BFLOAT16):
                    encode = peers.openvino_images(model, size, dtype)
                    contenders[f"OpenVINO {dtype}"] = partial(encode, pixels)
        found = taken(run, contenders, rounds=7)
        state = partial(row, found, images=images, flop=flop(run, "ViT-B/32"))
        reference = contenders.get("transformers float32")
        cosines = {
            name: "" if reference is None else f"cosine {agreement(work(), reference()):.6f}"
            for name, work in contenders.items()
        }
        fast, exact = f"zeroshot {BFLOAT16}", f"zeroshot {FLOAT32}"
        for number, name, over, least in (
            ("T1", fast, "transformers float32", 5.9),
            ("T1", fast, "OpenVINO bfloat16", 1.15),
            ("T1", fast, "transformers bfloat16", None),
            ("T2", exact, "transformers float32", 1.15),
            ("T2", exact, "OpenVINO float32", None),
        ):
            if run.wants(number):
                what = f"ViT-B/32 images/s, {name} vs. {over}"
                yield state(
                    number=number, what=what, name=name, over=over, least=least, note=cosines[name]
                )


def latency(run: Run) -> Iterator[Row]:
    """T4: one image at a time, ViT-B/32."""
    with memory_given_back():
        folder = transformers_folder(run, "ViT-B/32")
        size = config(run, "ViT-B/32").vision.image_size
        pixels = random_pixels(1, size)
        name = f"zeroshot {BFLOAT16}"
        contenders = ours(folder, BFLOAT16, pixels)
        if peers.installed("transformers"):
            model = peers.transformers_model(folder, FLOAT32)
            encode = peers.transformers_images(model, 1)
            contenders["transformers float32"] = partial(encode, pixels)
            if peers.installed("openvino"):
                encode = peers.openvino_images(model, size, BFLOAT16, batch=1, streams=1)
                contenders["OpenVINO bfloat16"] = partial(encode, pixels)
        tower = Network(config(run, "ViT-B/32")).visual
        weights = torch.zeros(
            sum(p.numel() for p in tower.parameters()) // 2
        )  # same number of bytes
        found = taken(run, contenders | {READING: weights.sum}, rounds=40)
        for over, most in (("transformers float32", 1 / 3.5), ("OpenVINO bfloat16", 1.0)):
            what = f"ViT-B/32, one image, {name} vs. {over}"
            most = round(most, 3)
            if over not in contenders:
                yield Row("T4", what, None, "", most=most)
                continue
            ms = f"{found.median(name) * 1e3:.1f} vs. {found.median(over) * 1e3:.1f} ms"
            figures = f"{ms}; {READING} {found.median(READING) * 1e3:.1f} ms"
            reached = 1 / found.ratio(name, over)
            share = found.ratio(name, READING)
            yield Row("T4", what, reached, figures, None, most, share, READING)


def larger(run: Run) -> Iterator[Row]:
    """T5: ViT-B/16 and ViT-L/14."""
    for model_name, least, images, rounds in (("ViT-B/16", 6.0, 16, 5), ("ViT-L/14", 7.0, 8, 5)):
        with memory_given_back():
            folder = transformers_folder(run, model_name)
            images = run.size(images, 2)
            pixels = random_pixels(images, config(run, model_name).vision.image_size)
            name, over = f"zeroshot {BFLOAT16}", "transformers float32"
            contenders = ours(folder, BFLOAT16, pixels)
            if peers.installed("transformers"):
                encode = peers.transformers_images(peers.transformers_model(folder, FLOAT32), 8)
                contenders[over] = partial(encode, pixels)
            found = taken(run, contenders, rounds)
            note = ""
            if over in contenders:
                note = f"cosine {agreement(contenders[name](), contenders[over]()):.6f}"
            yield row(
                found,
                number="T5",
                what=f"{model_name} images/s, {name} vs. {over}",
                name=name,
                over=over,
                images=images,
                flop=flop(run, model_name),
                least=least,
                note=note,
            )
            del contenders


def resnet(run: Run) -> Iterator[Row]:
    """T6: RN50 against OpenAI's own code."""
    with memory_given_back():
        folder = open_clip_folder(run, "RN50")
        images = run.size(32, 2)
        pixels = random_pixels(images, config(run, "RN50").vision.image_size)
        contenders = ours(folder, BFLOAT16, pixels) | ours(folder, FLOAT32, pixels)
        over = "OpenAI's code float32"
        if peers.installed("clip"):
            encode = openai_images(peers.openai_model(folder), 8)
            contenders[over] = partial(encode, pixels)
        found = taken(run, contenders, rounds=7)
        for dtype, least in ((BFLOAT16, 4.9), (FLOAT32, 1.35)):
            name = f"zeroshot {dtype}"
            note = ""
            if over in contenders:
                note = f"cosine {agreement(contenders[name](), contenders[over]()):.6f}"
            yield row(
                found,
                number="T6",
                what=f"RN50 images/s, {name} vs. {over}",
                name=name,
                over=over,
                images=images,
                flop=flop(run, "RN50"),
                least=least,
                note=note,
            )


def openai_images(model: object, batch: int) -> Callable[[Tensor], Tensor]:
    """Embed images with OpenAI's model, one batch at a time."""

    @torch.inference_mode()
    def encode(pixels: Tensor) -> Tensor:
        return torch.cat([model.encode_image(part) for part in pixels.split(batch)])  # type: ignore[attr-defined]

    return encode


def batches(run: Run) -> Iterator[Row]:
    """T14: the same images in batches of different sizes."""
    with memory_given_back():
        model = zeroshot.load(transformers_folder(run, "ViT-B/32"), device="cpu", dtype=BFLOAT16)
        images = run.size(256, 8)
        sizes = [size for size in run.size((8, 16, 32, 64, 128, 256), (4, 8)) if size <= images]
        pixels = random_pixels(images, model.preprocess.size)

        def encode(size: int) -> None:
            for part in pixels.split(size):
                model.encode_pixels(part)

        contenders = {f"zeroshot {BFLOAT16}, {size}": partial(encode, size) for size in sizes}
        found = taken(run, contenders, rounds=5)
        largest = list(contenders)[-1]
        best = min(contenders, key=found.median)
        speeds = ", ".join(
            f"{size}: {images / found.median(name):.0f}"
            for size, name in zip(sizes, contenders, strict=True)
        )
        yield Row(
            "T14",
            f"ViT-B/32 {BFLOAT16}, batch of {sizes[-1]} vs. the fastest batch size",
            found.ratio(largest, best),
            f"images/s by batch: {speeds}; GEMM {found.gemm(BFLOAT16):,.0f} GFLOP/s",
            least=0.97,
            share=found.share(largest, images * flop(run, "ViT-B/32"), BFLOAT16),
            limit=LIMIT[BFLOAT16],
        )


if __name__ == "__main__":
    main(measure, __doc__)
