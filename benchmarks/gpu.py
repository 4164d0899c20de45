"""G1 to G7: a CUDA GPU, compared with transformers in one run; writes results-cuda.md.

    benchmarks/environment.sh benchmarks/gpu.py              # all rows except G6, under 4 minutes
    benchmarks/environment.sh benchmarks/gpu.py --only G6    # the test suite on the GPU
    benchmarks/environment.sh benchmarks/gpu.py --quick --device cpu    # smoke test without a GPU

Both libraries get the same random weights, pixels and files, and alternate in one process. The
device is synchronized after every call. The limits of the machine are printed beside the rows: the
matrix products of the towers at their real shapes, and copies from host to device.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import peers
import torch
from checkpoints import agreement, config, transformers_folder, unit
from photographs import SMALL, mean_bytes, photographs
from PIL import Image
from table import Row, Run, as_markdown, as_text, options, replace, run_of
from torch import Tensor

import zeroshot
from zeroshot import Head, prompts
from zeroshot.diagnostics.bench import alternate, machine, random_pixels, timed
from zeroshot.images.jpeg import find_decoder
from zeroshot.machine import cores
from zeroshot.spec import ViTConfig

HERE = Path(__file__).parent
ROOT = HERE.parent
TOP = 5
TRANSFORMERS = "transformers"
PRODUCTS = "the tower's matrix products alone"
NUMBERS = ("G1", "G2", "G3", "G4", "G5", "G6", "G7")
NO_GPU = (
    "no CUDA GPU: benchmarks/gpu.py needs one; to run its code without one: --quick --device cpu"
)


@dataclass(frozen=True)
class Place:
    """The device that is measured, and the precision of both libraries on it."""

    device: torch.device
    dtype: str

    def finish(self, work: Callable[[], object]) -> Callable[[], object]:
        """Return `work` followed by the end of everything it started on the device."""

        def finished() -> object:
            result = work()
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            return result

        return finished

    def repeat(self, work: Callable[[], object], times: int) -> Callable[[], object]:
        """Return `work` done several times in a row, without a wait between them."""

        def repeated() -> object:
            result = None
            for _ in range(times):
                result = work()
            return result

        return self.finish(repeated)

    def load(self, folder: Path, **arguments: Any) -> zeroshot.Model:
        """Load a checkpoint with zeroshot."""
        return zeroshot.load(folder, device=self.device, dtype=self.dtype, **arguments)

    def peer(self, folder: Path) -> Any:
        """Load a checkpoint with transformers, with torch's fused attention."""
        return peers.transformers_model(folder, self.dtype, attention="sdpa").to(self.device)


def measure(run: Run, place: Place) -> Iterator[Row]:
    """Measure the selected rows, each group without the models of the others."""
    if run.wants("G1", "G2", "G7"):
        yield from limits(run, place)
    for wanted, group in (
        (("G1", "G2"), base),
        (("G7",), large),
        (("G3", "G4"), files),
        (("G5",), heads),
    ):
        if run.wants(*wanted):
            yield from group(run, place)
            gc.collect()
            if place.device.type == "cuda":
                torch.cuda.empty_cache()
    if "G6" in run.only:
        yield suite(run, place)


# ---- limits of the machine


def limits(run: Run, place: Place) -> Iterator[Row]:
    """Matrix products at the shapes of a batch, and copies of pixels to the device."""
    for name in ("ViT-B/32", "ViT-L/14"):
        seconds, operations, parts = products(run, place, name, run.size(256, 2))
        yield Row(
            "limit",
            f"{name}, {PRODUCTS}, {place.dtype}, {run.size(256, 2)} images",
            None,
            parts,
            result=f"{operations / seconds / 1e12:,.3g} TFLOP/s",
        )
    for what, speed in copies(run, place).items():
        figures = f"{run.size(256, 2)} images of {run.size(224, 32)} pixels at once"
        yield Row(
            "limit", f"host to device, {what}", None, figures, result=f"{speed:,.0f} images/s"
        )


@torch.inference_mode()
def products(run: Run, place: Place, name: str, images: int) -> tuple[float, float, str]:
    """Time the linear layers of an image tower for a batch.

    Returns the seconds and operations of all layers, and the speed of each shape as text.
    """
    vision = config(run, name).vision
    assert isinstance(vision, ViTConfig)
    rows = images * ((vision.image_size // vision.patch_size) ** 2 + 1)
    width, inner = vision.width, vision.mlp_width
    shapes = {"qkv": (width, 3 * width), "out": (width, width)}
    shapes |= {"fc1": (width, inner), "fc2": (inner, width)}
    precision = getattr(torch, place.dtype)
    total, operations, parts = 0.0, 0.0, []
    for layer, (fan_in, fan_out) in shapes.items():
        left = torch.randn(rows, fan_in, device=place.device).to(precision)
        right = torch.randn(fan_in, fan_out, device=place.device).to(precision)
        repeats = run.size(20, 2)

        def multiply(left: Tensor = left, right: Tensor = right) -> Tensor:
            return left @ right

        work = place.repeat(multiply, repeats)
        work()
        seconds = min(timed(work) for _ in range(3)) / repeats
        flop = 2.0 * rows * fan_in * fan_out
        total, operations = total + seconds, operations + flop
        parts.append(f"{layer} [{rows:,}, {fan_in}] x {fan_out}: {flop / seconds / 1e12:,.3g}")
    return vision.layers * total, vision.layers * operations, "; ".join(parts) + " TFLOP/s"


def copies(run: Run, place: Place) -> dict[str, float]:
    """Return the images per second that reach the device, by kind of host memory."""
    images, size = run.size(256, 2), run.size(224, 32)
    found = {}
    for kind in (torch.float32, torch.uint8):
        host = torch.ones(images, 3, size, size, dtype=kind)
        there = torch.empty_like(host, device=place.device)
        sources = {"pageable": host}
        if place.device.type == "cuda":
            sources["pinned"] = host.pin_memory()
        for memory, source in sources.items():

            def copy(source: Tensor = source, there: Tensor = there) -> Tensor:
                return there.copy_(source, non_blocking=True)

            work = place.repeat(copy, run.size(10, 2))
            work()
            seconds = min(timed(work) for _ in range(3)) / run.size(10, 2)
            found[f"{str(kind).removeprefix('torch.')} {memory}"] = images / seconds
    return found


# ---- towers: G1, G2, G7


def base(run: Run, place: Place) -> Iterator[Row]:
    """G1 and G2: ViT-B/32, a batch and one image; the pixels are on the device."""
    folder = transformers_folder(run, "ViT-B/32")
    model = place.load(folder)
    theirs = place.peer(folder) if peers.installed(TRANSFORMERS) else None
    if run.wants("G1"):
        yield tower(run, place, "G1", "ViT-B/32", model, theirs, 1.35)
    if run.wants("G2"):
        yield latency(run, place, model, theirs)


def large(run: Run, place: Place) -> Iterator[Row]:
    """G7: ViT-L/14."""
    folder = transformers_folder(run, "ViT-L/14")
    theirs = place.peer(folder) if peers.installed(TRANSFORMERS) else None
    yield tower(run, place, "G7", "ViT-L/14", place.load(folder), theirs, 1.1)


def tower(
    run: Run,
    place: Place,
    number: str,
    name: str,
    model: zeroshot.Model,
    theirs: Any,
    least: float,
) -> Row:
    """Compare the throughput of an image tower on a batch of 256."""
    images, repeats = run.size(256, 2), run.size(8 if name == "ViT-B/32" else 3, 1)
    pixels = random_pixels(images, model.preprocess.square).to(place.device)
    contenders = {"zeroshot": lambda: model.encode_pixels(pixels)}
    if theirs is not None:
        encode = peers.transformers_images(theirs, images)
        contenders[TRANSFORMERS] = lambda: encode(pixels)
    found = alternate(
        {who: place.repeat(work, repeats) for who, work in contenders.items()},
        rounds=run.size(9, 1),
    )
    speeds = {who: images * repeats / found.median(who) for who in contenders}
    seconds, _, _ = products(run, place, name, images)
    share = speeds["zeroshot"] * seconds / images
    what = f"{name} {place.dtype}, {images} images on the device, zeroshot vs. {TRANSFORMERS}"
    if theirs is None:
        figures = f"{speeds['zeroshot']:,.0f} images/s"
        return Row(number, what, None, figures, least, share=share, limit=PRODUCTS)
    cosine = agreement(contenders["zeroshot"](), contenders[TRANSFORMERS]())
    figures = f"{compared(speeds)} images/s; cosine {cosine:.6f}"
    return Row(
        number,
        what,
        found.ratio("zeroshot", TRANSFORMERS),
        figures,
        least,
        share=share,
        limit=PRODUCTS,
        bars=speeds,
        unit="images/s",
    )


def latency(run: Run, place: Place, model: zeroshot.Model, theirs: Any) -> Row:
    """G2: compare the time of one decoded image, which waits for its result."""
    pixels = random_pixels(1, model.preprocess.square).to(place.device)
    contenders = {"zeroshot": place.finish(lambda: model.encode_pixels(pixels))}
    what = f"ViT-B/32 {place.dtype}, one image on the device, zeroshot vs. {TRANSFORMERS}"
    most = 0.3333
    if theirs is not None:
        encode = peers.transformers_images(theirs, 1)
        contenders[TRANSFORMERS] = place.finish(lambda: encode(pixels))
    found = alternate(contenders, rounds=run.size(100, 1))
    ms = {who: found.median(who) * 1e3 for who in contenders}
    if theirs is None:
        return Row("G2", what, None, f"{ms['zeroshot']:.2f} ms", most=most)
    figures = f"{ms['zeroshot']:.2f} vs. {ms[TRANSFORMERS]:.2f} ms"
    return Row("G2", what, 1 / found.ratio("zeroshot", TRANSFORMERS), figures, most=most)


# ---- files: G3, G4


def files(run: Run, place: Place) -> Iterator[Row]:
    """G3 and G4: JPEG files to the top 5 of 1000 labels; the head is computed beforehand."""
    folder = transformers_folder(run, "ViT-B/32")
    paths = photographs(run, run.size(SMALL, (96, 72)), run.size(600, 4))
    model = place.load(folder)
    fast = place.load(folder, decode="fast")
    labels = imagenet_labels(run)
    head = Head.build(model, labels, "{}")
    counts = {"zeroshot": len(paths) * run.size(6, 1), "fast": len(paths) * run.size(12, 1)}
    contenders: dict[str, Callable[[], object]] = {}
    for who, each in (("zeroshot", model), ("fast", fast)):
        many = paths * (counts[who] // len(paths))
        contenders[who] = streamed(each.classifier(head), many)
    if peers.installed(TRANSFORMERS, "torchvision"):
        counts[TRANSFORMERS] = len(paths)
        contenders[TRANSFORMERS] = loader(run, place, folder, head.weight, paths)
    found = alternate(
        {who: place.finish(work) for who, work in contenders.items()}, rounds=run.size(3, 1)
    )
    speeds = {who: counts[who] / found.median(who) for who in contenders}
    alone = tower_speed(run, place, model)
    exact = model.encode_image(paths[:64])
    cosines = {
        "zeroshot": agreement(exact, reference(folder, paths[:64]).to(exact.device)),
        "fast": agreement(fast.encode_image(paths[:64]), exact),
    }
    against = {"zeroshot": "its float32 model on the CPU", "fast": "the exact decoder"}
    size = f"{mean_bytes(paths) / 1e3:.0f} kB"
    for number, who, least in (("G3", "zeroshot", 5.0), ("G4", "fast", 12.0)):
        if not run.wants(number):
            continue
        mode = "" if who == "zeroshot" else ' decode="fast"'
        what = f"JPEG files of {size} to top {TOP} of {len(labels)} labels, zeroshot{mode} vs. "
        what += f"{TRANSFORMERS} + DataLoader, {cores()} workers"
        share, note = speeds[who] / alone, f"cosine with {against[who]} {cosines[who]:.6f}"
        if TRANSFORMERS not in speeds:
            figures = f"{speeds[who]:,.0f} images/s; {note}"
            yield Row(number, what, None, figures, least, share=share, limit="the tower alone")
            continue
        ratio = found.ratio(who, TRANSFORMERS) * counts[who] / counts[TRANSFORMERS]
        bars = {"zeroshot": speeds[who], TRANSFORMERS: speeds[TRANSFORMERS]}
        yield Row(
            number,
            what,
            ratio,
            f"{compared(bars)} images/s; tower alone {alone:,.0f}; {note}",
            least,
            share=share,
            limit="the tower alone",
            bars=bars,
            unit="files/s",
        )


def streamed(classifier: zeroshot.Classifier, paths: Sequence[Path]) -> Callable[[], object]:
    """Return the classification of all files with zeroshot."""
    return lambda: sum(1 for _ in classifier.stream(paths, top=TOP))


def tower_speed(run: Run, place: Place, model: zeroshot.Model) -> float:
    """Return the images per second of the tower on pixels that are on the device."""
    images = run.size(256, 2)
    pixels = random_pixels(images, model.preprocess.square).to(place.device)
    work = place.repeat(lambda: model.encode_pixels(pixels), run.size(8, 1))
    work()
    return images * run.size(8, 1) / min(timed(work) for _ in range(3))


def reference(folder: Path, paths: Sequence[Path]) -> Tensor:
    """Embed files in float32 on the CPU, with the reference preprocessing."""
    return zeroshot.load(folder, device="cpu", dtype="float32").encode_image(paths)


class _Files(torch.utils.data.Dataset[Tensor]):
    def __init__(self, paths: Sequence[Path], processor: Any) -> None:
        self.paths, self.processor = paths, processor

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int) -> Tensor:
        with Image.open(self.paths[place]) as image:
            pixels: Tensor = self.processor(images=image, return_tensors="pt")["pixel_values"][0]
        return pixels


def loader(
    run: Run, place: Place, folder: Path, head: Tensor, paths: Sequence[Path]
) -> Callable[[], object]:
    """Return transformers' loop with one DataLoader worker per core, kept between rounds."""
    model = place.peer(folder)
    processor = peers.transformers().CLIPImageProcessor.from_pretrained(folder)
    workers = run.size(cores(), 0)
    on_gpu = place.device.type == "cuda"
    batches = torch.utils.data.DataLoader(
        _Files(paths, processor),
        batch_size=run.size(64, 2),
        num_workers=workers,
        pin_memory=on_gpu,
        persistent_workers=workers > 0,
    )
    weight = head.to(place.device)

    @torch.inference_mode()
    def classify() -> list[list[list[int]]]:
        found = []
        for pixels in batches:
            there = pixels.to(place.device, model.dtype, non_blocking=True)
            rows = unit(model.get_image_features(pixel_values=there).pooler_output)
            scores = (100 * rows @ weight.T).softmax(dim=-1)
            found.append(scores.topk(min(TOP, len(weight))).indices.tolist())
        return found

    return classify


# ---- text: G5


def imagenet_labels(run: Run) -> list[str]:
    """Return the first names of ImageNet's labels, each once."""
    labels = [names[0] for names in prompts.labels("imagenet").values()]
    return list(dict.fromkeys(labels))[: run.size(1000, 10)]


def heads(run: Run, place: Place) -> Iterator[Row]:
    """G5: a head of 80 templates and 1000 labels, from strings, against towers alone."""
    folder = transformers_folder(run, "ViT-B/32")
    model, labels = place.load(folder), imagenet_labels(run)
    templates = tuple(prompts.get("imagenet").templates[: run.size(80, 2)])
    texts = [template.replace("{}", label) for label in labels for template in templates]
    prompt_set = prompts.PromptSet(templates)
    contenders = {"zeroshot": place.finish(lambda: Head.build(model, labels, prompt_set))}
    what = f"head of {len(templates)} x {len(labels)}, zeroshot from strings vs. {TRANSFORMERS}"
    what += " from ids, 77 tokens"
    note = ""
    if peers.installed(TRANSFORMERS):
        theirs = place.peer(folder)
        ids = torch.from_numpy(model.tokenizer(texts)).to(place.device)
        encode = peers.transformers_texts(theirs, run.size(1024, 8))
        contenders[TRANSFORMERS] = place.finish(lambda: encode(ids))
        few = slice(0, None, max(1, len(texts) // 512))
        cosine = agreement(model.encode_text(texts[few]), encode(ids[few]))
        note = f"; cosine {cosine:.6f}"
    found = alternate(contenders, rounds=run.size(3, 1))
    seconds = {who: found.median(who) for who in contenders}
    figures = f"{seconds['zeroshot']:.3f} s{note}"
    if TRANSFORMERS not in contenders:
        yield Row("G5", what, None, figures, least=3.0)
        return
    figures = f"{seconds['zeroshot']:.3f} vs. {seconds[TRANSFORMERS]:.3f} s{note}"
    yield Row("G5", what, found.ratio("zeroshot", TRANSFORMERS), figures, least=3.0)


# ---- tests: G6


def suite(run: Run, place: Place) -> Row:
    """G6: run the tests with the device as default; only the first file with --quick."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += run.size([], ["tests/engine/test_device.py"])
    environment = os.environ | {"ZEROSHOT_TEST_DEVICE": place.device.type}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    last = (done.stdout.strip().splitlines() or ["no output"])[-1]
    numbers = {kind: int(count) for count, kind in re.findall(r"(\d+) (\w+)", last)}
    failed = sum(numbers.get(kind, 0) for kind in ("failed", "error", "errors"))
    what = f"test suite with {place.device.type} as default device; target: 0 failed"
    result = f"{failed} failed" if numbers.get("passed") else f"no result, exit {done.returncode}"
    return Row("G6", what, None, last.strip("= "), result=result)


# ---- report


def compared(speeds: Mapping[str, float]) -> str:
    """Format the speeds of contenders, zeroshot first."""
    return " vs. ".join(f"{speed:,.0f}" for speed in speeds.values())


def report(rows: Sequence[Row], place: Place, seconds: float) -> str:
    """Return the text of results-cuda.md."""
    facts = machine(place.device)
    packages = ", ".join(f"{name} {release}" for name, release in peers.versions().items())
    stated = [row for row in rows if row.verdict]
    reached = sum(row.verdict == "yes" for row in stated)
    missing = [number for number in NUMBERS if number not in {row.number for row in rows}]
    absent = f" Not measured in this run: {', '.join(missing)}." if missing else ""
    return f"""# Benchmark results on a GPU

Generated by benchmarks/gpu.py; do not edit. {date.today()}, {seconds:.0f} s.

Machine: {facts.get("accelerator", "no GPU")}, CUDA {torch.version.cuda or "none"};
{facts["processor"]}, cores: {facts["cores"]}; {platform.platform(terse=True)},
Python {facts["python"]}.
Versions: zeroshot {zeroshot.__version__}, {packages}.
JPEG decoder of zeroshot: {find_decoder()}.

Weights are random and seeded, and the same for both libraries. Contenders alternate in one process,
and the device is synchronized after each call. `ratio` is the median of the ratios within rounds.
`figures` are medians, zeroshot first. `cosine` is the lowest one between embeddings of both sides.
transformers runs in {place.dtype} with torch's fused attention (sdpa). G3 and G4 read files from
the page cache, and the workers of the DataLoader are started before the timed rounds. The label
cache is not used in G5. G6 is the test suite (`make test-gpu`).{absent}

{reached} of {len(stated)} targets reached.

{as_markdown(rows)}
"""


def choose_place(name: str) -> Place:
    """Return the device to measure; exit if it is a GPU that is not there."""
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit(NO_GPU)
    return Place(device, "float16" if device.type == "cuda" else "float32")


def main() -> None:
    """Measure, print the table and write it."""
    parser = options(__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--device", default="cuda", help="device to measure (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, help="output folder; default: this folder, none with --quick or --only"
    )
    arguments = parser.parse_args()
    place, run = choose_place(arguments.device), run_of(arguments)
    if place.device.type != "cuda" and not run.quick:
        raise SystemExit(f"--device {arguments.device} needs --quick: the targets are for GPUs")
    start = time.perf_counter()
    rows = []
    for row in measure(run, place):
        print(row.number, row.what, *row.cells[3:4], row.figures, sep=" | ", flush=True)
        rows.append(row)
    seconds = time.perf_counter() - start
    rows.sort(key=lambda row: row.number)
    print(f"\n{as_text(rows)}\n\n{seconds:.0f} s")
    out = arguments.out or (None if run.quick or run.only else HERE)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        replace(out / "results-cuda.md", report(rows, place, seconds))
        print(f"wrote {out / 'results-cuda.md'}")


if __name__ == "__main__":
    main()
