"""P1 P2 P3: label a folder with zeroshot.label and with other tools, and disturb them.

P1 is the speed over the same JPEG files with the same random ViT-B/32 weights. P2 is what a tool
does with 20 damaged files among them. P3 is what it has to compute again after it was killed in its
middle. Each tool runs in a process of its own, as its documentation shows: transformers' pipeline,
an open_clip loop over a DataLoader, and clip-retrieval's inference, which writes embeddings without
labels. What a tool does not write itself is written at its end, as JSON.

The pipeline encodes all labels again for each image, so it gets few files and 10 labels.
clip-retrieval is optional: `pip install clip-retrieval` beside the requirements.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peers
from checkpoints import open_clip_folder, transformers_folder
from photographs import SMALL, photographs
from table import Row, Run, main

from zeroshot.machine import cores

LABELS = ["cat", "dog", "bird", "car", "tree", "house", "person", "boat", "flower", "food"]
BATCH = 32  # images, for the other tools
DAMAGED = 20
FILES = int(os.environ.get("FILES", "2000"))
OURS, PIPELINE = "zeroshot label", "transformers pipeline"
OPEN_CLIP, RETRIEVAL = "open_clip DataLoader", "clip-retrieval"
NEEDS = {
    OURS: ("pyarrow",),
    OPEN_CLIP: ("open_clip", "torchvision"),
    RETRIEVAL: ("clip_retrieval", "open_clip"),
    PIPELINE: ("transformers", "torchvision"),
}
SHARE = {PIPELINE: 10}  # one file in so many
PARTS = 8  # of the tables of those that write parts
READY = "ready"


def measure(run: Run) -> Iterator[Row]:
    """Measure all tools that are installed."""
    weights = {
        PIPELINE: transformers_folder(run, "ViT-B/32"),
        OURS: transformers_folder(run, "ViT-B/32"),
        OPEN_CLIP: open_clip_folder(run, "ViT-B/32"),
        RETRIEVAL: open_clip_folder(run, "ViT-B/32"),
    }
    speed: dict[str, float] = {}
    for name, modules in NEEDS.items():
        if not peers.installed(*modules) or (run.quick and name == RETRIEVAL):
            yield Row("P1", f"files to labels, {name}", None, "")
            continue
        count = run.size(FILES, 24) // (1 if run.quick else SHARE.get(name, 1))
        folder = Path(tempfile.mkdtemp(dir=run.work))
        try:
            task = Task(name, weights[name], link(run, folder / "intact", count), folder)
            whole = task.run("whole")
            speed[name] = whole.rows / whole.seconds
            figures = f"{speed[name]:.1f} images/s, "
            figures += f"{1e3 * whole.processor / count:.0f} ms of processor time per image, "
            figures += f"{whole.rows} of {count} files"
            ratio = speed[OURS] / speed[name] if OURS in speed else None
            if run.wants("P1"):
                yield Row("P1", f"files to labels, {OURS} vs. {name}", ratio, figures)
            if run.wants("P2"):
                yield damaged(run, task, count)
            if run.wants("P3"):
                yield killed(task, count, whole)
        finally:
            shutil.rmtree(folder)


@dataclass(frozen=True)
class Ending:
    """How a process ended."""

    code: int
    seconds: float  # after its model was loaded
    rows: int  # that it wrote
    errors: int  # of them
    computed: int  # images that it computed
    message: str  # the last line on stderr
    processor: float  # seconds of all cores, after its model was loaded


@dataclass(frozen=True)
class Task:
    """A tool, and what it labels."""

    tool: str
    weights: Path
    images: Path
    work: Path

    def run(self, out: str, *, images: Path | None = None, kill_after: float = 0.0) -> Ending:
        """Run the tool in a process; kill it after so many seconds, if any."""
        answer = self.work / f"{out}.json"
        answer.unlink(missing_ok=True)
        arguments = [self.tool, self.weights, images or self.images, self.work / out, answer]
        command = [sys.executable, __file__, "--tool", *map(str, arguments)]
        log = self.work / f"{out}.log"
        before, loading = children_seconds(), 0.0
        with log.open("wb") as errors:
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
            assert child.stdout is not None
            for line in child.stdout:
                if line.startswith(READY.encode()):
                    loading = float(line.split()[1])
                    break
            start = time.perf_counter()
            if kill_after:
                time.sleep(kill_after)
                child.send_signal(signal.SIGKILL)
            child.stdout.read()
            code = child.wait()
        seconds = time.perf_counter() - start
        processor = children_seconds() - before - loading
        found = json.loads(answer.read_text("utf-8")) if answer.exists() else {}
        rows, bad = written(self.tool, self.work / out)
        lines = log.read_text("utf-8", "replace").strip().splitlines()
        message = lines[-1][:100] if lines and code else ""
        return Ending(code, seconds, rows, bad, found.get("computed", 0), message, processor)


def children_seconds() -> float:
    """Return the processor time of the processes that this one started, and of theirs."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


def damaged(run: Run, task: Task, count: int) -> Row:
    """P2: some of the files are damaged."""
    images = link(run, task.work / "some-damaged", count)
    files = sorted(images.iterdir())
    for file in files[:: max(1, count // DAMAGED)][:DAMAGED]:
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content[: len(content) // 3])
    found = task.run("damaged", images=images)
    figures = f"exit code {found.code}, {found.rows} of {count} rows"
    figures += f", {found.errors} of them errors" if found.errors else ""
    figures += f"; {found.message}" if found.message else ""
    lost = count - found.rows
    what = f"{DAMAGED} damaged files, {task.tool}"
    return Row("P2", what, float(lost), figures, result=f"{lost} rows lost")


def killed(task: Task, count: int, whole: Ending) -> Row:
    """P3: SIGKILL in the middle; what the next start computes again."""
    seconds = 0.6 * whole.seconds
    first = task.run("killed", kill_after=seconds)
    while first.code == 0:  # it was faster this time
        for path in task.work.glob("killed*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        seconds *= 0.6
        first = task.run("killed", kill_after=seconds)
    second = task.run("killed")
    figures = f"{first.rows} of {count} rows on the disk after the kill; the next start computed "
    figures += f"{second.computed} images in {second.seconds:.0f} s, undisturbed "
    figures += f"{whole.seconds:.0f} s; {second.rows} rows at its end"
    what = f"killed after {seconds / whole.seconds:.0%} of the time, {task.tool}"
    again = second.computed / count
    return Row("P3", what, again, figures, result=f"{again:.0%} computed after the kill")


def link(run: Run, folder: Path, count: int) -> Path:
    """Create a folder with this number of photographs."""
    folder.mkdir()
    for file in photographs(run, run.size(SMALL, (96, 72)), count):
        os.link(file, folder / file.name)
    return folder


def written(tool: str, out: Path) -> tuple[int, int]:
    """Return the number of rows that a tool wrote, and how many of them are errors."""
    if tool == OURS:
        from zeroshot.bulk.output import Output

        if not (out / "_run.json").exists():
            return 0, 0
        kinds = [row["error_kind"] for row in Output.open(out).rows()]
        return len(kinds), sum(kind is not None for kind in kinds)
    if tool == RETRIEVAL:
        from pyarrow import parquet

        files = out.glob("metadata/*.parquet")
        return sum(parquet.read_metadata(file).num_rows for file in files), 0
    file = out.with_suffix(".rows.json")
    return (len(json.loads(file.read_text("utf-8"))) if file.exists() else 0), 0


# ---- in the process of a tool


def ready() -> None:
    """Say that the model is loaded, and the processor time until then."""
    print(READY, time.process_time(), flush=True)


def zeroshot_label(weights: str, files: Sequence[str], out: Path) -> int:
    """Label files with zeroshot; return the number of computed images."""
    import zeroshot

    model = zeroshot.load(weights, device="cpu")
    classifier = model.classifier(LABELS)
    ready()
    found = zeroshot.label(
        files, out, classifier=classifier, part_rows=max(1, len(files) // PARTS), progress=False
    )
    return found.computed


def transformers_pipeline(weights: str, files: Sequence[str], out: Path) -> int:
    """Label files with transformers' pipeline."""
    pipeline = peers.transformers().pipeline(
        "zero-shot-image-classification", model=weights, device="cpu"
    )
    ready()
    found = [{"path": file, "labels": pipeline(file, candidate_labels=LABELS)} for file in files]
    out.with_suffix(".rows.json").write_text(json.dumps(found), "utf-8")
    return len(files)


def open_clip_loader(weights: str, files: Sequence[str], out: Path) -> int:
    """Label files with open_clip and a DataLoader, with a worker per core."""
    import torch
    from files import _Files

    model, transform = peers.open_clip_model(Path(weights))
    tokenizer = peers.open_clip().get_tokenizer("ViT-B-32")
    rows: list[dict[str, Any]] = []
    with torch.inference_mode():
        texts = model.encode_text(tokenizer([f"a photo of a {label}." for label in LABELS]))
        head = torch.nn.functional.normalize(texts, dim=-1)
        ready()
        loader = torch.utils.data.DataLoader(
            _Files([Path(file) for file in files], transform),
            batch_size=BATCH,
            num_workers=cores(),
        )
        for pixels in loader:
            features = torch.nn.functional.normalize(model.encode_image(pixels), dim=-1)
            scores = (100 * features @ head.T).softmax(dim=-1)
            for values in scores.tolist():
                rows.append({"path": files[len(rows)], "scores": values})
    out.with_suffix(".rows.json").write_text(json.dumps(rows), "utf-8")
    return len(rows)


def clip_retrieval(weights: str, files: Sequence[str], out: Path) -> int:
    """Embed files with clip-retrieval."""
    import packaging.version

    stand_in = types.ModuleType("pkg_resources")  # as in `peers.openai`
    stand_in.packaging = packaging  # type: ignore[attr-defined]
    sys.modules.setdefault("pkg_resources", stand_in)
    if not peers.installed("sentence_transformers"):  # of its multilingual models
        texts = types.ModuleType("sentence_transformers")
        texts.SentenceTransformer = None  # type: ignore[attr-defined]
        sys.modules["sentence_transformers"] = texts
    from clip_retrieval import clip_inference
    from clip_retrieval.clip_inference.mapper import ClipMapper

    computed = 0
    call = ClipMapper.__call__

    def counting(self: Any, item: Any) -> Any:
        nonlocal computed
        computed += len(item["image_filename"])
        return call(self, item)

    ClipMapper.__call__ = counting
    name = f"open_clip:ViT-B-32-quickgelu/{weights}/open_clip_model.safetensors"
    ready()  # it loads the model itself, so its times include that
    clip_inference(
        input_dataset=str(Path(files[0]).parent),
        output_folder=str(out),
        enable_text=False,
        batch_size=BATCH,
        num_prepro_workers=cores(),
        write_batch_size=max(1, len(files) // PARTS),
        clip_model=name,
    )
    return computed


TOOLS = {
    OURS: zeroshot_label,
    PIPELINE: transformers_pipeline,
    OPEN_CLIP: open_clip_loader,
    RETRIEVAL: clip_retrieval,
}


def tool(name: str, weights: str, images: str, out: str, answer: str) -> None:
    """Run one tool in this process."""
    files = sorted(str(file) for file in Path(images).iterdir())
    computed = TOOLS[name](weights, files, Path(out))
    Path(answer).write_text(json.dumps({"computed": computed}), "utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--tool"]:
        tool(*sys.argv[2:])
    else:
        main(measure, __doc__)
