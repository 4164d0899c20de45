"""Labeling on Ray: settings without a cluster, and kills on a simulated cluster if Ray is there."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from zeroshot.errors import InputError, MissingPackage, SaveError
from zeroshot.integrations import Labeler
from zeroshot.integrations import ray as helper
from zeroshot.integrations.ray import Node, choose_actors, choose_cpus, get_nodes

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"
FILES = 300  # every tenth is broken
LABELS = ["cat", "dog", "boat"]
SYSTEM = {"health_check_period_ms": 500, "health_check_failure_threshold": 3}


def placements(nodes: list[Node], cpus: float, workers: int) -> Iterator[list[int]]:
    """List the ways to put workers on nodes."""
    most = [range(int(node.cpus / cpus + 1e-9) + 1) for node in nodes]
    for numbers in itertools.product(*most):
        if sum(numbers) == workers:
            yield list(numbers)


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
    st.sampled_from([0.25, 0.5, 1.0, 1.5, 2.0]),
    st.sampled_from([1, 3]),
)
def test_workers_leave_cpus_free_wherever_they_are(
    sizes: list[int], cpus: float, reserved: int
) -> None:
    nodes = [Node(size, 0) for size in sizes]
    try:
        _, most = choose_actors(nodes, cpus, 0, reserved)
    except InputError:
        return

    for workers in range(1, most + 1):
        for numbers in placements(nodes, cpus, workers):
            pairs = zip(nodes, numbers, strict=True)
            assert sum(int(node.cpus - n * cpus + 1e-9) for node, n in pairs) >= reserved


@pytest.mark.parametrize(
    ("nodes", "cpus", "gpus", "reserved", "expected"),
    [
        ([Node(2, 0)], 1, 0, 1, 1),
        ([Node(16, 0)] * 3, 1, 0, 1, 47),
        ([Node(16, 0)] * 3, 1, 0, 3, 45),
        ([Node(2, 0)], 0.5, 0, 1, 2),
        ([Node(16, 1)] * 2, 15, 1, 1, 2),
        ([Node(16, 8), Node(8, 0)], 1, 1, 3, 8),
    ],
)
def test_number_of_workers(
    nodes: list[Node], cpus: float, gpus: float, reserved: int, expected: int
) -> None:
    assert choose_actors(nodes, cpus, gpus, reserved) == (1, expected)


@pytest.mark.parametrize(
    ("nodes", "cpus", "reserved"),
    [([Node(1, 0)], 1, 1), ([Node(2, 0)], 1, 3), ([Node(2, 0)], 2, 1), ([], 1, 1)],
)
def test_cluster_on_which_ray_would_hang_is_an_error(
    nodes: list[Node], cpus: float, reserved: int
) -> None:
    with pytest.raises(InputError, match=r"wait forever\. Add a node"):
        choose_actors(nodes, cpus, 0, reserved)


def test_worker_with_a_gpu_takes_its_share_of_the_cpus() -> None:
    assert choose_cpus([Node(16, 0)], 0) == 1
    assert choose_cpus([Node(16, 1), Node(4, 0)], 1) == 15
    assert choose_cpus([Node(17, 8)], 0.5) == 1


def test_dead_nodes_do_not_count() -> None:
    listed = [
        {"Alive": True, "Resources": {"CPU": 4.0, "GPU": 1.0}},
        {"Alive": False, "Resources": {"CPU": 4.0}},
        {"Alive": True, "Resources": {}},
    ]

    assert get_nodes(listed) == [Node(4, 1), Node(0, 0)]


def test_missing_ray_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)

    with pytest.raises(MissingPackage, match=r"pip install 'zeroshot-clip\[ray\]'"):
        helper.label(SimpleNamespace(), ["cat", "dog"])


def test_ray_without_the_timeout_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    data = SimpleNamespace(DataContext=object)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(data=data, __version__="2.57.1"))
    monkeypatch.setitem(sys.modules, "ray.data", data)

    with pytest.raises(MissingPackage, match=r"Ray 2\.58 or newer.*got 2\.57\.1"):
        helper.require_ray()


def test_folder_with_parquet_files_is_not_written_to(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"error_kind": ["io", None, "io"]}), tmp_path / "a.parquet")
    parquet.write_table(pa.table({"error_kind": pa.nulls(2)}), tmp_path / "b.parquet")

    with pytest.raises(InputError, match="got 2 Parquet files; pass another folder"):
        helper._Folder(tmp_path, resumes=False)
    assert helper._Folder(tmp_path, resumes=True).count() == (5, {"io": 2})


@pytest.mark.parametrize("actors", [0, "4", (2, 1), (1, 2, 3), True])
def test_wrong_number_of_actors(actors: Any) -> None:
    with pytest.raises(InputError, match="expected actors to be a positive number"):
        helper._check_actors(actors)


class FakeDataset:
    """Writes `rows` rows in place of those of 8 images, and keeps what it was called with."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.context = SimpleNamespace(
            execution_no_progress_timeout_s=1800, target_max_block_size=1 << 27
        )
        self.calls: dict[str, Any] = {}

    def schema(self) -> Any:
        return SimpleNamespace(base_schema=pa.schema({"bytes": pa.binary(), "path": pa.string()}))

    def count(self) -> int:
        return 8

    def map_batches(self, worker: Any, **options: Any) -> FakeDataset:
        self.calls |= options
        return self

    def write_parquet(self, path: str, **options: Any) -> None:
        self.calls |= options | vars(self.context)
        Path(path).mkdir()
        parquet.write_table(pa.table({"error_kind": ["io"] * self.rows}), f"{path}/a.parquet")


@pytest.fixture
def fake_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    context = SimpleNamespace(execution_no_progress_timeout_s=1800)
    data = SimpleNamespace(DataContext=context, ActorPoolStrategy=lambda **sizes: sizes)
    nodes = [{"Alive": True, "Resources": {"CPU": 4.0}}] * 2
    ray = SimpleNamespace(data=data, is_initialized=lambda: True, nodes=lambda: nodes)
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.data", data)


@pytest.mark.parametrize("rows", [7, 9])
def test_lost_and_repeated_rows_are_an_error(fake_ray: None, tmp_path: Path, rows: int) -> None:
    with pytest.raises(SaveError, match=f"expected 8 rows, one per image, got {rows}; delete"):
        helper.label(FakeDataset(rows), LABELS, tmp_path / "out", model="mini")


def test_settings_of_a_job(fake_ray: None, tmp_path: Path) -> None:
    dataset = FakeDataset(8)

    found = helper.label(dataset, LABELS, tmp_path / "out", model="mini", num_cpus=2)

    assert (found.rows, found.errors, found.out) == (8, {"io": 8}, str(tmp_path / "out"))
    assert dataset.calls["compute"] == {"min_size": 1, "max_size": 3, "initial_size": 3}
    assert dataset.calls["num_cpus"] == 2
    assert dataset.calls["batch_size"] == 64
    assert dataset.calls["min_rows_per_file"] == 32_768
    assert dataset.calls["execution_no_progress_timeout_s"] == 300
    assert dataset.calls["target_max_block_size"] == 8 << 20
    assert dataset.calls["fn_constructor_args"][0]._threads == 2
    assert dataset.context.execution_no_progress_timeout_s == 1800  # of the user's own jobs


def test_spare_nodes_are_not_filled(fake_ray: None) -> None:
    dataset = FakeDataset(8)

    labeled = helper.label(dataset, LABELS, model="mini", spare_nodes=1)

    assert labeled is dataset
    assert dataset.calls["compute"]["max_size"] == 3  # of 8 CPUs
    assert dataset.context.execution_no_progress_timeout_s == 300


def test_checkpoint_without_a_folder_is_an_error(fake_ray: None, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected out= with checkpoint="):
        helper.label(FakeDataset(8), LABELS, model="mini", checkpoint=tmp_path)


# From here on with Ray.


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    photos = [path.read_bytes() for path in sorted(PHOTOS.glob("*.jpg"))]
    for number in range(FILES):
        content = b"broken" if number % 10 == 0 else photos[number % len(photos)]
        (folder / f"{number:04}.jpg").write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Three nodes of two CPUs, as Ray counts them, on this machine."""
    ray = pytest.importorskip("ray", reason="requires the extra zeroshot-clip[ray]")
    pytest.importorskip("ray.data", reason="requires the extra zeroshot-clip[ray]")
    from ray.cluster_utils import Cluster

    size = {"num_cpus": 2, "object_store_memory": 100 << 20}
    head = size | {"include_dashboard": False, "_system_config": SYSTEM}
    found = Cluster(initialize_head=True, head_node_args=head)
    try:
        found.nodes = [found.add_node(**size) for _ in range(2)]
        ray.init(address=found.address, log_to_driver=False)
        ray.data.DataContext.get_current().enable_progress_bars = False
        yield found
    finally:
        ray.shutdown()
        found.shutdown()


def read(folder: Path, blocks: int = 40) -> Any:
    import ray

    return ray.data.read_binary_files(str(folder), include_paths=True, override_num_blocks=blocks)


def check(out: Path, files: Path) -> None:
    """Assert that each file has one row, which is an error if the file is broken."""
    table = parquet.read_table(out, columns=["path", "label", "error_kind"])
    rows = {Path(row["path"]).name: row for row in table.to_pylist()}
    assert len(table) == FILES == len(rows)
    assert sorted(rows) == sorted(path.name for path in files.iterdir())
    for name, row in rows.items():
        broken = int(name[:4]) % 10 == 0
        assert row["error_kind"] == ("not_image" if broken else None)
        assert (row["label"] is None) == broken


def find_workers() -> list[Any]:
    from ray._private.state import state

    found = state.actor_table(None).values()
    return [
        each for each in found if each["State"] == "ALIVE" and "_Worker" in each["ActorClassName"]
    ]


def wait_for(what: Callable[[], Any], seconds: float = 30) -> Any:
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


@pytest.mark.filterwarnings("default")
def test_each_row_is_there_once_after_a_killed_worker_and_a_removed_node(
    cluster: Any, files: Path, tmp_path: Path
) -> None:
    harmed, done = [], threading.Event()

    def harm() -> None:
        workers = wait_for(lambda: len(find_workers()) >= 2 and find_workers())
        time.sleep(1)
        os.kill(workers[0]["Pid"], signal.SIGKILL)
        time.sleep(1)
        busy = {each["Address"]["NodeID"] for each in find_workers()}
        node = next(each for each in cluster.nodes if each.node_id in busy)
        cluster.remove_node(node, allow_graceful=False)
        harmed.append("late" if done.is_set() else "in time")

    thread = threading.Thread(target=harm, daemon=True)
    thread.start()
    found = helper.label(
        read(files), LABELS, tmp_path / "out", model="mini", spare_nodes=1, timeout=60
    )
    done.set()
    thread.join()

    assert harmed == ["in time"]
    assert found.rows == FILES
    assert found.errors == {"not_image": FILES // 10}
    check(tmp_path / "out", files)


@pytest.mark.filterwarnings("default")
def test_decoded_images_and_missing_columns_are_errors(cluster: Any, tmp_path: Path) -> None:
    import ray

    pixels = ray.data.read_images(str(PHOTOS), include_paths=True)
    files = read(PHOTOS, 1)

    with pytest.raises(InputError, match=r"decoded pixels.*in place of read_images"):
        helper.label(pixels, LABELS, tmp_path / "out", model="mini", column="image")
    with pytest.raises(InputError, match="no column 'image' among 'bytes', 'path'"):
        helper.label(files, LABELS, tmp_path / "out", model="mini", column="image")
    with pytest.raises(InputError, match=r"id_column .* got 'source'"):
        helper.label(
            files,
            LABELS,
            tmp_path / "out",
            model="mini",
            checkpoint=tmp_path,
            id_column="source",
            num_cpus=0.5,
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("default")
def test_labeler_reads_batches_of_hugging_face_tables_and_archives(
    cluster: Any, tmp_path: Path
) -> None:
    import ray

    paths = sorted(PHOTOS.glob("*.jpg"))
    structs = [{"bytes": path.read_bytes(), "path": path.name} for path in paths]
    parquet.write_table(pa.table({"image": structs, "id": range(8)}), tmp_path / "a.parquet")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for path in paths:
            archive.add(path, path.name)
    tables = ray.data.read_parquet(str(tmp_path / "a.parquet"))
    samples = ray.data.read_webdataset(str(tmp_path / "a.tar"), decoder=None)
    labeler = Labeler(LABELS, model="mini", column=["image", "png", "jpg"])

    named = labeler(tables.take_batch(8, batch_format="pyarrow")).to_pylist()
    keyed = labeler(samples.take_batch(8, batch_format="pyarrow")).to_pylist()

    assert {row["source"]: row["id"] for row in named} == {
        path.name: number for number, path in enumerate(paths)
    }
    assert {row["source"]: row["hash"] for row in keyed} == {
        f"{tmp_path / 'a.tar'}#{row['source']}": row["hash"] for row in named
    }


DRIVER = """
import sys, ray
from pathlib import Path
from zeroshot.integrations.ray import label
address, files, out, checkpoint = sys.argv[1:]
ray.init(address=address, log_to_driver=False)
images = ray.data.read_binary_files(files, include_paths=True, override_num_blocks=40)
print(label(images, ["cat", "dog", "boat"], out, model="mini", checkpoint=checkpoint,
    rows_per_file=8, timeout=60, num_cpus=0.5))
"""


@pytest.mark.filterwarnings("default")
def test_killed_driver_continues_from_its_checkpoint(
    cluster: Any, files: Path, tmp_path: Path
) -> None:
    out, checkpoint = tmp_path / "out", tmp_path / "checkpoint"
    code = [sys.executable, "-c", DRIVER, cluster.address, str(files), str(out), str(checkpoint)]
    driver = subprocess.Popen(code, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: len(list(out.glob("*.parquet"))) >= 3, 60)
    finally:
        driver.kill()
        driver.wait()
    before = {path.name for path in checkpoint.rglob("*.parquet")}
    assert before
    subprocess.run(code, check=True, capture_output=True, timeout=90)

    check(out, files)
