"""P4: serve ten fixed labels over HTTP with `zeroshot serve` and with common alternatives.

The others are a plain FastAPI app around the zero-shot-image-classification pipeline of
transformers, and LitServe around open_clip, with batches and with labels that it embeds once. All
have the same random ViT-B/32 weights and get the same JPEG files. A server is a process group of
its own; the clients run in this process, on the same cores, and send the next request when the last
one is answered. The servers take turns, and figures are medians of the rounds.

Servers whose packages are missing are skipped: `pip install fastapi uvicorn python-multipart
litserve` beside the requirements.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import peers
from checkpoints import open_clip_folder, transformers_folder
from photographs import SMALL, photographs
from table import Row, Run, main

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from tests.serving.live import Connection, Tally, flood  # noqa: E402

LABELS = ["cat", "dog", "bird", "car", "tree", "house", "person", "boat", "flower", "food"]
TEMPLATE = "a photo of a {}."
CLIENTS = (8, 32)
ROUNDS = int(os.environ.get("ROUNDS", "2"))
SECONDS = float(os.environ.get("DURATION", "15"))
START_SECONDS = 120.0
OURS, OURS_FLOAT32 = "zeroshot serve", "zeroshot serve --dtype float32"
FASTAPI, LITSERVE = "FastAPI, transformers pipeline", "LitServe, open_clip"

# Arguments: weights, port, labels and template. A function of FastAPI that is not async runs in a
# pool of threads, as its documentation recommends for work that blocks.
FASTAPI_APP = """
import json, sys
import torch, uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image
from transformers import pipeline

weights, port, labels, template = sys.argv[1:]
classifier = pipeline("zero-shot-image-classification", model=weights, device="cpu")
app = FastAPI()

@app.post("/predict")
def predict(image: UploadFile):
    return classifier(
        Image.open(image.file), candidate_labels=json.loads(labels), hypothesis_template=template
    )

uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning")
"""
LITSERVE_APP = """
import base64, io, json, sys
import litserve, open_clip, torch
from PIL import Image

class Classifier(litserve.LitAPI):
    def setup(self, device):
        weights, _, labels, template = sys.argv[1:]
        self.labels = json.loads(labels)
        self.model, self.transform = open_clip.create_model_from_pretrained(f"local-dir:{weights}")
        self.model.eval()
        tokenizer = open_clip.get_tokenizer("ViT-B-32")
        with torch.inference_mode():
            texts = self.model.encode_text(tokenizer([template.format(x) for x in self.labels]))
            self.head = torch.nn.functional.normalize(texts, dim=-1).T
            self.scale = self.model.logit_scale.exp()

    def decode_request(self, request):
        image = Image.open(io.BytesIO(base64.b64decode(request["image"])))
        return self.transform(image)

    def predict(self, pixels):
        with torch.inference_mode():
            features = torch.nn.functional.normalize(self.model.encode_image(pixels), dim=-1)
            return (self.scale * features @ self.head).softmax(dim=-1)

    def encode_response(self, output):
        return dict(zip(self.labels, output.tolist()))

if __name__ == "__main__":
    server = litserve.LitServer(
        Classifier(max_batch_size=32, batch_timeout=0.01), accelerator="cpu"
    )
    server.run(
        host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", generate_client_file=False
    )
"""
BOUNDARY = "zeroshot-benchmark"


def form(photo: bytes) -> bytes:
    """Return a photograph as a file of a form."""
    lines = [
        f"--{BOUNDARY}",
        'Content-Disposition: form-data; name="image"; filename="photo.jpg"',
        "Content-Type: image/jpeg",
        "\r\n",
    ]
    return "\r\n".join(lines).encode() + photo + f"\r\n--{BOUNDARY}--\r\n".encode()


@dataclass(frozen=True)
class Contender:
    """A server, and the requests that it takes."""

    name: str
    modules: Sequence[str]  # that it needs
    command: Callable[[Run, int], list[str]]  # for a port
    path: str
    body: Callable[[bytes], bytes]  # of a photograph
    type: str  # of the body
    answer: Callable[[Any], dict[str, float]]  # probabilities by label
    one_template: str = ""  # the path of a request that has the template of the others


def app(name: str, source: str, folder: Callable[[Run, str], Path]) -> Callable[..., list[str]]:
    """Return how to start an app that is written to the work folder."""

    def command(run: Run, port: int) -> list[str]:
        file = run.work / name
        file.write_text(source, "utf-8")
        weights = str(folder(run, "ViT-B/32"))
        return [sys.executable, str(file), weights, str(port), json.dumps(LABELS), TEMPLATE]

    return command


SERVE = ("fastapi", "uvicorn", "python_multipart")


def ranking(answer: Any) -> dict[str, float]:
    """Return the probabilities of an answer of `zeroshot serve`."""
    return {each["label"]: each["probability"] for each in answer["results"][0]["ranking"]}


def zeroshot(name: str, *options: str) -> Contender:
    """Return `zeroshot serve` with a head that is fixed at the start."""

    def command(run: Run, port: int) -> list[str]:
        weights = str(transformers_folder(run, "ViT-B/32"))
        words = ["serve", "--model", weights, "--port", str(port), *options]
        return [sys.executable, "-m", "zeroshot", *words, "--head", f"ten={','.join(LABELS)}"]

    top = len(LABELS)
    one = urlencode({"labels": ",".join(LABELS), "templates": TEMPLATE, "top": top})
    return Contender(
        name,
        SERVE,
        command,
        f"/v1/classify?head=ten&top={top}",
        bytes,
        "image/jpeg",
        ranking,
        f"/v1/classify?{one}",
    )


CONTENDERS = (
    zeroshot(OURS),
    zeroshot(OURS_FLOAT32, "--dtype", "float32"),
    Contender(
        FASTAPI,
        (*SERVE, "transformers", "torchvision"),
        app("fastapi_app.py", FASTAPI_APP, transformers_folder),
        "/predict",
        form,
        f"multipart/form-data; boundary={BOUNDARY}",
        lambda answer: {each["label"]: each["score"] for each in answer},
    ),
    Contender(
        LITSERVE,
        ("litserve", "open_clip"),
        app("litserve_app.py", LITSERVE_APP, open_clip_folder),
        "/predict",
        lambda photo: json.dumps({"image": base64.b64encode(photo).decode()}).encode(),
        "application/json",
        dict,
    ),
)


class Server:
    """A contender as a process group of its own, on a free port of loopback."""

    def __init__(self, contender: Contender, run: Run) -> None:
        self.contender = contender
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.log = run.work / "server.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                contender.command(run, self.port),
                stdout=log,
                stderr=log,
                cwd=run.work,
                start_new_session=True,
                env=os.environ | {"HF_HUB_OFFLINE": "1"},
            )

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        for sent in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, sent)
                self.process.wait(10)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue

    @property
    def processor_seconds(self) -> float:
        """Return the processor time of all processes of the group."""
        ticks = 0
        for file in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = file.read_text().rsplit(")", 1)[1].split()
            except OSError:  # it ended
                continue
            if int(fields[2]) == self.process.pid:
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def ask(self, photo: bytes, path: str) -> dict[str, float]:
        """Return the answer for a photograph; wait until the server listens."""
        contender = self.contender
        end = time.monotonic() + START_SECONDS

        async def send() -> tuple[int, bytes]:
            connection = Connection(self.port)
            try:
                headers = [f"Content-Type: {contender.type}"]
                return await connection.send(path, contender.body(photo), headers)
            finally:
                await connection.close()

        while time.monotonic() < end and self.process.poll() is None:
            try:
                status, content = asyncio.run(send())
            except OSError:
                time.sleep(0.2)
                continue
            assert status == 200, content
            return contender.answer(json.loads(content))
        raise RuntimeError(f"{contender.name}: {self.log.read_text('utf-8', 'replace')[-2000:]}")

    def load(self, bodies: Sequence[bytes], seconds: float, clients: int) -> Measurement:
        """Send requests for some seconds, and wait for the last answers."""

        async def send() -> Tally:
            stop = asyncio.Event()
            task = asyncio.ensure_future(
                flood(
                    self.port,
                    bodies,
                    clients=clients,
                    stop=stop,
                    path=self.contender.path,
                    headers=[f"Content-Type: {self.contender.type}"],
                )
            )
            await asyncio.sleep(seconds)
            stop.set()
            return await task

        before, start = self.processor_seconds, time.perf_counter()
        machine, client = machine_seconds(), time.process_time()
        tally = asyncio.run(send())
        elapsed = time.perf_counter() - start
        used = self.processor_seconds - before
        others = machine_seconds() - machine - used - (time.process_time() - client)
        answered = tally.statuses[200]
        return Measurement(
            answered / elapsed,
            tally.percentile(200, 0.5),
            tally.percentile(200, 0.99),
            sum(tally.statuses.values()) - answered,
            used / max(1, answered),
            max(0.0, others) / elapsed / (os.cpu_count() or 1),
        )


def machine_seconds() -> float:
    """Return the processor time of all processes of the machine, and of its neighbors."""
    user, nice, system, _, _, *rest = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Measurement:
    """What clients of a server saw in one round."""

    speed: float  # images per second
    p50: float  # seconds
    p99: float
    errors: int
    processor: float  # seconds of the server per image
    others: float  # share of the machine that other processes used


def measure(run: Run) -> Iterator[Row]:
    """Measure all servers whose packages are installed."""
    photos = [file.read_bytes() for file in photographs(run, run.size(SMALL, (96, 72)), 32)]
    found: dict[tuple[str, int], list[Measurement]] = {}
    answers: dict[str, list[dict[str, float]]] = {}
    for _ in range(run.size(ROUNDS, 1)):
        for contender in CONTENDERS:
            if not peers.installed(*contender.modules):
                continue
            bodies = [contender.body(photo) for photo in photos]
            with Server(contender, run) as server:
                path = contender.one_template or contender.path
                answers[contender.name] = [server.ask(photo, path) for photo in photos[:8]]
                server.load(bodies, run.size(2.0, 0.2), CLIENTS[0])  # warm up
                for clients in CLIENTS:
                    measured = server.load(bodies, run.size(SECONDS, 0.3), clients)
                    found.setdefault((contender.name, clients), []).append(measured)
                    print(contender.name, clients, measured, file=sys.stderr, flush=True)
    for clients in CLIENTS:
        for contender in CONTENDERS:
            rounds = found.get((contender.name, clients), [])
            what = f"{clients} clients, {OURS} vs. {contender.name}"
            if not rounds:
                yield Row("P4", what, None, "")
                continue
            speed = statistics.median(each.speed for each in rounds)
            ours = statistics.median(each.speed for each in found[OURS, clients])
            yield Row("P4", what, ours / speed if speed else 0.0, figures(rounds))
    for name, theirs in answers.items():
        if name != OURS_FLOAT32 and OURS_FLOAT32 in answers:
            most = difference(answers[OURS_FLOAT32], theirs)
            what = f"largest difference of a probability, {OURS_FLOAT32} vs. {name}"
            yield Row("P4", what, most, f"of {len(theirs)} photographs", result=f"{most:.1e}")


def figures(rounds: Sequence[Measurement]) -> str:
    """Return the medians of rounds as text."""

    def median(of: Callable[[Measurement], float]) -> float:
        return statistics.median(map(of, rounds))

    each = ", ".join(f"{one.speed:.1f}" for one in rounds)
    return (
        f"{median(lambda one: one.speed):.1f} images/s ({each}), "
        f"p50 {1e3 * median(lambda one: one.p50):.0f} ms, "
        f"p99 {1e3 * median(lambda one: one.p99):.0f} ms, "
        f"{sum(one.errors for one in rounds)} errors, "
        f"{1e3 * median(lambda one: one.processor):.0f} ms of processor time per image, "
        f"{median(lambda one: one.others):.0%} of the machine used by others"
    )


def difference(ours: Sequence[dict[str, float]], theirs: Sequence[dict[str, float]]) -> float:
    """Return the largest difference between probabilities of the same labels."""
    return max(abs(a[label] - b[label]) for a, b in zip(ours, theirs, strict=True) for label in a)


if __name__ == "__main__":
    main(measure, __doc__)
