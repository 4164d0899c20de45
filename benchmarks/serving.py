"""Measure `zeroshot serve`: processor time per image, overload, and SIGTERM under load.

The server is a process of its own; clients run in this one, on the same cores. Processor time does
not depend on how busy the machine is, times of answers do.

    python benchmarks/serving.py [--quick] [--model mini] [--seconds 600]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from tests.serving.live import LiveServer, Tally, flood  # noqa: E402

CLIENTS = 32
QUEUE = 256  # the default
OVERLOAD = 2 * QUEUE  # clients
DIRECT = """
import sys, time, zeroshot
photos = [open(path, "rb").read() for path in sys.argv[2:]]
classifier = zeroshot.load(sys.argv[1]).classifier(["cat", "dog"])
list(classifier.stream(photos * 4))
start, images = time.process_time(), photos * 30
assert len(list(classifier.stream(images, top=2))) == len(images)
print((time.process_time() - start) / len(images))
"""


def photographs() -> list[bytes]:
    """Return photographs as JPEG files of 500 x 375 pixels."""
    files = []
    for path in sorted((ROOT / "examples" / "photos").glob("*.jpg"))[:8]:
        stream = BytesIO()
        Image.open(path).convert("RGB").resize((500, 375)).save(stream, "JPEG", quality=90)
        files.append(stream.getvalue())
    return files


def load(
    server: LiveServer, bodies: Sequence[bytes], seconds: float, clients: int, pause: float = 0.0
) -> Tally:
    """Send requests for some seconds and return how they ended."""

    async def run() -> Tally:
        stop = asyncio.Event()
        task = asyncio.ensure_future(
            flood(server.port, bodies, clients=clients, stop=stop, pause=pause)
        )
        await asyncio.sleep(seconds)
        stop.set()
        return await task

    return asyncio.run(run())


def start(model: str) -> LiveServer:
    """Start a server whose queue holds half of the clients of the overload."""
    return LiveServer(model, "--max-queue", str(QUEUE), OMP_NUM_THREADS=str(os.cpu_count())).wait()


def measure_processor_time(
    server: LiveServer, model: str, photos: list[bytes], folder: Path, quick: bool
) -> None:
    """Print the processor time of the server per image, against that of `stream`."""
    paths = []
    for number, photo in enumerate(photos):
        paths.append(folder / f"{number}.jpg")
        paths[-1].write_bytes(photo)
    load(server, photos, 0.5 if quick else 3, CLIENTS)
    for _ in range(1 if quick else 3):
        words = [sys.executable, "-c", DIRECT, model, *map(str, paths)]
        direct = float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
        before = server.cpu_seconds
        tally = load(server, photos, 0.5 if quick else 10, CLIENTS)
        served = (server.cpu_seconds - before) / tally.statuses[200]
        print(
            f"B13  server {1e3 * served:.2f} ms of processor time per image, stream "
            f"{1e3 * direct:.2f} ms, ratio {served / direct:.2f}"
        )


def measure_overload(server: LiveServer, photos: list[bytes], seconds: float) -> None:
    """Print how requests of twice as many clients as the queue holds end, and the memory."""
    bodies = [*photos[:4], b"garbage"]
    first = load(server, bodies, seconds / 10, OVERLOAD, pause=1.0)  # all connect at once
    start = server.resident_bytes
    tally = load(server, bodies, seconds, OVERLOAD, pause=1.0)
    growth = server.resident_bytes / start - 1
    for name, length, each in (("first", seconds / 10, first), ("next", seconds, tally)):
        busy, most = (1e3 * each.percentile(503, share) for share in (0.99, 1.0))
        print(
            f"B14  {name} {length:.0f} s: {dict(each.statuses)}, "
            f"503: p99 {busy:.0f} ms, longest {most:.0f} ms"
        )
    print(f"B14  memory {start / 1e6:.0f} MB, then {growth:+.1%}")


def measure_stops(server: LiveServer, model: str, photos: list[bytes], quick: bool) -> None:
    """Print how requests end when the server gets SIGTERM at a random moment."""
    random_ = random.Random(1)
    ends: Counter[int | str] = Counter()
    codes: Counter[int] = Counter()
    for turn in range(1 if quick else 50):
        server = start(model) if turn else server

        async def run(server: LiveServer = server) -> Tally:
            stop = asyncio.Event()
            task = asyncio.ensure_future(
                flood(server.port, photos, clients=CLIENTS, stop=stop, stop_on=[503])
            )
            await asyncio.sleep(0.2 + random_.random())
            server.terminate()
            await asyncio.sleep(2)
            stop.set()
            return await task

        ends += asyncio.run(run()).statuses
        codes[server.stop()] += 1
    print(f"B15  {sum(codes.values())} stops, exit codes {dict(codes)}: {dict(ends)}")


def main() -> None:
    """Run the measurements."""
    import tempfile

    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="a few seconds, for tests")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the overload")
    arguments = parser.parse_args()
    photos = photographs()
    server = start(arguments.model)
    with tempfile.TemporaryDirectory() as folder:
        measure_processor_time(server, arguments.model, photos, Path(folder), arguments.quick)
    measure_overload(server, photos, 1 if arguments.quick else arguments.seconds)
    measure_stops(server, arguments.model, photos, arguments.quick)


if __name__ == "__main__":
    main()
