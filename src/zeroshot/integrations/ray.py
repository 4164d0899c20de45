"""Label a Ray Dataset on a cluster, with settings under which it cannot hang or lose rows.

Ray is imported when it is used. It waits forever if the actors that label leave no CPU to the tasks
that read and write files, so their number is limited.
"""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zeroshot import catalog, prompts
from zeroshot.arguments import count, integer
from zeroshot.bulk.rows import Row
from zeroshot.errors import InputError, MissingPackage, SaveError, short_errors, shortened, some
from zeroshot.integrations.batches import check_columns
from zeroshot.integrations.labeler import TOP, Labeler

if TYPE_CHECKING:
    import pyarrow as pa
    from ray.data import Dataset

    from zeroshot.head import Head

TIMEOUT = 300.0  # seconds without progress after which Ray ends the job with an error
ROWS_PER_FILE = 32_768
ROWS_PER_CHECKPOINT = 4096  # what a killed job computes again, per file that is being written
CPU_BATCH, GPU_BATCH = 64, 1024  # images
# A worker reports progress after a block. Blocks of 128 MiB, Ray's default, are 3,000 photographs
# of 42 kB: several minutes of work for a large model on a core.
CPU_BLOCK = 8 << 20  # bytes
COLUMNS = [each.name for each in fields(Row) if each.name != "kept"]
RESERVED, RESERVED_WITH_CHECKPOINT = 1, 3  # CPUs for reading, and for writing and filtering


@dataclass(frozen=True)
class Written:
    """What `label` wrote.

    Args:
        rows: Number of rows, equal to the number of images.
        errors: Number of rows with an error, by kind.
        seconds: Duration, including the start of the workers.
        out: The folder.
    """

    rows: int
    errors: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    out: str = ""


@dataclass(frozen=True)
class Node:
    """The resources of a node."""

    cpus: float
    gpus: float


class _Worker:
    """The actor: a Labeler that was checked in the driver. Ray requires a class."""

    def __init__(self, labeler: Labeler) -> None:
        self._labeler = labeler

    def __call__(self, batch: pa.Table) -> pa.Table:
        return self._labeler(batch)


@short_errors
def label(
    dataset: Dataset,
    labels: prompts.Labels | Head | None = None,
    out: str | os.PathLike[str] | None = None,
    *,
    head: Head | bytes | str | os.PathLike[str] | None = None,
    prompts: prompts.Prompts = prompts.DEFAULT,
    model: str | os.PathLike[str] = catalog.DEFAULT,
    top: int = TOP,
    column: str | Sequence[str] = "bytes",
    name: str | None = None,
    embeddings: bool = False,
    scores: str = "top",
    options: Mapping[str, Any] | None = None,
    actors: int | tuple[int, int] | None = None,
    num_cpus: float | None = None,
    num_gpus: float = 0,
    spare_nodes: int = 0,
    batch_size: int | None = None,
    rows_per_file: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    id_column: str = "path",
    rows: int | None = None,
    timeout: float = TIMEOUT,
) -> Dataset | Written:
    """Label the images of a Ray Dataset.

    Read the images as files, not as pixels: with `ray.data.read_binary_files(...,
    include_paths=True)`, `ray.data.read_parquet` or `ray.data.read_webdataset(..., decoder=None)`.
    An image that cannot be read becomes a row with an error.

    Args:
        dataset: The images.
        labels: As in `Labeler`; so are `head`, `prompts`, `model`, `top`, `column`, `name`,
            `embeddings`, `scores` and `options`.
        out: A folder or URL for Parquet files. None returns the labeled Dataset, which is computed
            when it is used.
        head: See `Labeler`. With many labels, pass a head: otherwise each worker embeds the labels.
        prompts: See `Labeler`.
        model: See `Labeler`.
        top: See `Labeler`.
        column: See `Labeler`.
        name: See `Labeler`.
        embeddings: See `Labeler`.
        scores: See `Labeler`.
        options: See `Labeler`.
        actors: Number of workers, or the smallest and largest one for a cluster that grows. None
            uses the nodes that are there, less the CPUs that reading and writing take.
        num_cpus: CPUs of a worker; torch uses as many cores. None is 1, or with `num_gpus` an equal
            share of a node's CPUs, because decoding limits a GPU.
        num_gpus: GPUs of a worker, at most 1.
        spare_nodes: Number of nodes that may be lost and not replaced. Otherwise the workers of a
            lost node move to the CPUs that reading takes, and the job ends with an error after
            `timeout`. No effect if `actors` is given.
        batch_size: Images per call. None is 64, or 1024 on a GPU.
        rows_per_file: Rows in a file, at least. None is 32,768, or 4,096 with a checkpoint.
        checkpoint: A folder that all nodes reach, in which Ray stores the ids of finished rows.
            After a killed job, the same call computes the remaining rows. Delete it to start over.
        id_column: With `checkpoint`, a column that is different in each row.
        rows: Number of images, if you know it. None lets Ray count them, for which archives are
            read once more.
        timeout: Seconds without progress after which Ray ends the job; -1 waits forever.

    Returns:
        `Written`, or with out=None the labeled Dataset.

    Raises:
        InputError: An argument is invalid, the dataset has decoded pixels or no such column, the
            cluster is too small, or the folder contains other Parquet files.
        SaveError: There are not as many rows as images.
        MissingPackage: Ray 2.58 or newer is not installed.

    Example:
        >>> import ray  # doctest: +SKIP
        >>> from zeroshot.integrations.ray import label  # doctest: +SKIP
        >>> photos = ray.data.read_binary_files("s3://bucket/photos", include_paths=True)
        ... # doctest: +SKIP
        >>> label(photos, ["cat", "dog"], "s3://bucket/labels")  # doctest: +SKIP
    """
    ray = require_ray()
    folder = None if out is None else _Folder(out, resumes=checkpoint is not None)
    if checkpoint is not None and folder is None:
        raise InputError("expected out= with checkpoint=, got None; pass the folder to write to")
    gpus = _check_share("num_gpus", num_gpus, 0)
    if not ray.is_initialized():
        ray.init()
    nodes = get_nodes(ray.nodes())
    spare_nodes = count("spare_nodes", spare_nodes, 0)
    cpus = choose_cpus(nodes, gpus) if num_cpus is None else _check_share("num_cpus", num_cpus)
    reserved = RESERVED if checkpoint is None else RESERVED_WITH_CHECKPOINT
    left = sorted(nodes, key=lambda node: node.cpus)[: -spare_nodes or None]
    fewest, most = _check_actors(actors) or choose_actors(left, cpus, gpus, reserved)
    labeler = Labeler(
        labels,
        head=head,
        prompts=prompts,
        model=model,
        top=top,
        column=column,
        name=name,
        threads=max(1, int(cpus)),
        embeddings=embeddings,
        scores=scores,
        options=options,
    )
    _check_schema(dataset, labeler.columns, None if checkpoint is None else id_column)
    size = (GPU_BATCH if gpus else CPU_BATCH) if batch_size is None else batch_size
    labeled = dataset.map_batches(
        _Worker,
        fn_constructor_args=(labeler,),
        batch_size=count("batch_size", size, 1),
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(
            min_size=fewest, max_size=most, initial_size=most if actors is None else fewest
        ),
        num_cpus=cpus,
        num_gpus=gpus or None,
    )
    settings = _get_settings(timeout, None if gpus else CPU_BLOCK)
    if folder is None:
        _apply(labeled.context, settings)
        return labeled
    started = time.monotonic()
    expected = dataset.count() if rows is None else count("rows", rows, 0)
    if checkpoint is not None:
        settings["checkpoint_config"] = _configure(checkpoint, id_column)
    smallest = rows_per_file or (ROWS_PER_FILE if checkpoint is None else ROWS_PER_CHECKPOINT)
    with _applied(labeled.context, settings):
        folder.write(labeled, smallest)
    found, errors = folder.count()
    if found != expected:
        raise SaveError(
            f"{shortened(folder.path, 300)}: expected {expected} rows, one per image, got {found}; "
            "delete the folder and the checkpoint, and run the job again",
            source=folder.path,
        )
    return Written(found, errors, time.monotonic() - started, folder.path)


def require_ray() -> Any:
    """Return the ray module. Raises MissingPackage if it is missing or too old."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingPackage(
            f"this function requires Ray Data, which is not installed ({shortened(str(error), 200)}"
            "); run: pip install 'zeroshot-clip[ray]'"
        ) from error
    if not hasattr(ray.data.DataContext, "execution_no_progress_timeout_s"):
        raise MissingPackage(
            f"expected Ray 2.58 or newer, which ends a job that makes no progress, got "
            f"{ray.__version__}; run: pip install 'zeroshot-clip[ray]'"
        )
    return ray


def get_nodes(nodes: Sequence[Mapping[str, Any]]) -> list[Node]:
    """Return the resources of the living nodes among those that `ray.nodes()` lists."""
    found = [each.get("Resources", {}) for each in nodes if each.get("Alive")]
    return [Node(float(each.get("CPU", 0)), float(each.get("GPU", 0))) for each in found]


def choose_cpus(nodes: Sequence[Node], gpus: float) -> float:
    """Return the CPUs of a worker: 1, or an equal share of the smallest node's for a GPU."""
    if not gpus:
        return 1.0
    shares = [(node.cpus - 1) * gpus / node.gpus for node in nodes if node.gpus >= gpus]
    return float(max(1, math.floor(min(shares, default=1))))


def choose_actors(
    nodes: Sequence[Node], cpus: float, gpus: float, reserved: int
) -> tuple[int, int]:
    """Return the smallest and largest number of workers that leaves `reserved` whole CPUs free.

    Wherever Ray puts the workers, the free CPUs can be used by tasks of one CPU. Raises InputError
    if the nodes are too small for one worker.
    """
    room = [_count_workers(node, cpus, gpus) for node in nodes]
    free = sum(math.floor(node.cpus - most * cpus) for node, most in zip(nodes, room, strict=True))
    missing = max(0, reserved - free)
    # A worker less frees a whole CPU, or a part of one, which must come together on one node.
    parts = max(1, math.ceil(1 / cpus))
    less = (parts - 1) * len(nodes) + (missing - 1) * parts + 1 if missing else 0
    most = sum(room) - less
    if most < 1:
        listed = ", ".join(f"{node.cpus:g} CPUs and {node.gpus:g} GPUs" for node in nodes[:5])
        raise InputError(
            f"expected nodes with room for a worker of {cpus:g} CPUs and {gpus:g} GPUs and with "
            f"{reserved} more CPUs for reading and writing, got {len(nodes)} nodes ({listed}); "
            "Ray would wait forever. Add a node, or use zeroshot.label on one machine"
        )
    return 1, most


def _count_workers(node: Node, cpus: float, gpus: float) -> int:
    """Return how many workers fit on a node."""
    most = math.floor(node.cpus / cpus + 1e-9)
    return min(most, math.floor(node.gpus / gpus + 1e-9)) if gpus else most


def _check_share(name: str, value: object, least: float = 1e-3) -> float:
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if least <= number < math.inf:
        return float(number)
    raise InputError(
        f"expected {name} to be a number of at least {least:g}, got {shortened(repr(value))}; "
        "omit it for the default"
    )


def _check_actors(actors: object) -> tuple[int, int] | None:
    if actors is None:
        return None
    pair = actors if isinstance(actors, tuple) else (actors, actors)
    numbers = [integer(each) for each in pair]
    if len(numbers) != 2 or None in numbers or not 1 <= (numbers[0] or 0) <= (numbers[1] or 0):
        raise InputError(
            f"expected actors to be a positive number, or (smallest, largest), got "
            f"{shortened(repr(actors))}; omit it to use the nodes that are there"
        )
    return numbers[0] or 1, numbers[1] or 1


def _check_schema(dataset: Dataset, columns: Sequence[str], id_column: str | None) -> None:
    """Raise InputError unless a dataset has files, and the column with the ids."""
    schema = dataset.schema()
    base = None if schema is None else schema.base_schema
    if base is None or not hasattr(base, "field"):  # no rows, or rows that are not in Arrow
        return
    check_columns(base, columns)
    if id_column is None:
        return
    if id_column not in base.names or id_column in COLUMNS:
        raise InputError(
            f"expected id_column to be one of the columns {some(base.names)} that the output does "
            f"not replace ({some(COLUMNS, 20)}), got {id_column!r}; read files with "
            "include_paths=True and pass id_column='path'"
        )


def _get_settings(timeout: float, block: int | None) -> dict[str, Any]:
    settings: dict[str, Any] = {"execution_no_progress_timeout_s": timeout}
    return settings if block is None else settings | {"target_max_block_size": block}


def _configure(checkpoint: str | os.PathLike[str], id_column: str) -> Any:
    from ray.data.checkpoint import CheckpointConfig

    path = _to_path(checkpoint)
    if "://" not in path:
        Path(path).mkdir(parents=True, exist_ok=True)
    return CheckpointConfig(
        id_column=id_column, checkpoint_path=path, delete_checkpoint_on_success=False
    )


def _apply(context: Any, settings: Mapping[str, Any]) -> None:
    for key, value in settings.items():
        setattr(context, key, value)


@contextmanager
def _applied(context: Any, settings: Mapping[str, Any]) -> Iterator[None]:
    """Change the settings of a dataset, which it shares with those it was made from."""
    before = {key: getattr(context, key) for key in settings}
    _apply(context, settings)
    try:
        yield
    finally:
        _apply(context, before)


def _to_path(path: str | os.PathLike[str]) -> str:
    """Return a URL, or an absolute path: workers have another working folder."""
    text = os.fspath(path)
    return text if "://" in text else os.path.abspath(text)


class _Folder:
    """A folder or URL with the Parquet files of a job."""

    def __init__(self, path: str | os.PathLike[str], *, resumes: bool) -> None:
        from pyarrow.fs import FileSystem

        self.path = _to_path(path)
        try:
            self._files, self._inner = FileSystem.from_uri(self.path)
        except (OSError, ValueError, TypeError) as error:
            raise InputError(
                f"expected a folder or URL to write to, got {shortened(repr(path), 200)} "
                f"({shortened(str(error), 200)})"
            ) from error
        found = self._list()
        if found and not resumes:
            raise InputError(
                f"{shortened(self.path, 300)}: expected a new or empty folder, got "
                f"{len(found)} Parquet files; pass another folder, or checkpoint= to continue a job"
            )

    def _list(self) -> list[str]:
        from pyarrow.fs import FileSelector

        selector = FileSelector(self._inner, allow_not_found=True, recursive=True)
        return [
            each.path
            for each in self._files.get_file_info(selector)
            if each.path.endswith(".parquet")
        ]

    def write(self, labeled: Dataset, rows_per_file: int) -> None:
        """Compute a dataset and write its rows."""
        from zeroshot.bulk.sinks.parquet import WRITING

        labeled.write_parquet(self.path, min_rows_per_file=rows_per_file, **WRITING)

    def count(self) -> tuple[int, dict[str, int]]:
        """Return the number of rows, and that of errors by kind."""
        from pyarrow.parquet import read_table

        rows, errors = 0, Counter[str]()
        for path in self._list():
            kinds = read_table(path, columns=["error_kind"], filesystem=self._files)["error_kind"]
            rows += len(kinds)
            counts = kinds.cast("string").drop_null().value_counts().to_pylist()
            errors.update({each["values"]: each["counts"] for each in counts})
        return rows, dict(sorted(errors.items()))
