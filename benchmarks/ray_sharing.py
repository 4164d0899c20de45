"""B12: how busy the workers of a Ray cluster are, on one, two and four simulated nodes.

    python benchmarks/ray_sharing.py            # needs: pip install 'zeroshot-clip[ray]'
    python benchmarks/ray_sharing.py --seconds 5

Each node has two CPUs, one for a worker. A worker sleeps for 60 ms per image instead of computing,
so the simulated nodes do not share the processor, and Ray's distribution of blocks is measured
alone, with the settings of `zeroshot.integrations.ray.label`. The share counts from the moment at
which all workers have worked for WARM_UP seconds to the moment at which the first one runs dry.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

import numpy as np

PER_IMAGE = 0.06  # seconds
BATCH = 8  # images
WARM_UP = 10.0  # seconds


class Sleeper:
    """Stands for a model; adds when and where it was busy."""

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        start = time.time()
        rows = len(batch["id"])
        time.sleep(PER_IMAGE * rows)
        return {
            "worker": np.full(rows, os.getpid()),
            "start": np.full(rows, start),
            "end": np.full(rows, time.time()),
        }


def measure(nodes: int, seconds: float) -> tuple[float, int]:
    """Return the share of busy time of the workers, and the number of workers."""
    import ray
    from ray.cluster_utils import Cluster

    from zeroshot.integrations import ray as ours

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    try:
        for _ in range(nodes - 1):
            cluster.add_node(num_cpus=2)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
        images = int(nodes * (seconds + WARM_UP) / PER_IMAGE)
        dataset = ray.data.range(images, override_num_blocks=max(20, images // 40))
        busy = dataset.map_batches(
            Sleeper, batch_size=BATCH, compute=ray.data.ActorPoolStrategy(size=nodes), num_cpus=1
        )
        with ours._applied(busy.context, ours._get_settings(120, ours.CPU_BLOCK)):
            table = busy.to_pandas().drop_duplicates()
        return share(table.to_numpy()), table["worker"].nunique()
    finally:
        ray.shutdown()
        cluster.shutdown()


def share(spans: np.ndarray[Any, Any]) -> float:
    """Return the busy share of workers from rows of worker, start and end of a batch."""
    workers = np.unique(spans[:, 0])
    firsts = [spans[spans[:, 0] == worker, 1].min() for worker in workers]
    lasts = [spans[spans[:, 0] == worker, 2].max() for worker in workers]
    begin, end = max(firsts) + WARM_UP, min(lasts)
    if end <= begin:
        raise SystemExit("a worker ended before the warm-up of another; use a larger --seconds")
    inside = np.minimum(spans[:, 2], end) - np.maximum(spans[:, 1], begin)
    return float(np.maximum(inside, 0).sum() / (len(workers) * (end - begin)))


def main() -> None:
    """Measure and print the shares."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="after the warm-up")
    parser.add_argument("--nodes", default="1,2,4")
    arguments = parser.parse_args()
    for nodes in map(int, arguments.nodes.split(",")):
        found, workers = measure(nodes, arguments.seconds)
        print(f"B12 | {nodes} nodes, {workers} workers | busy {found:.3f} of the time", flush=True)


if __name__ == "__main__":
    main()
