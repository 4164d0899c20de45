"""Label batches of images inside the workers of a data engine, such as Ray Data or Daft."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zeroshot
from zeroshot import catalog, prompts
from zeroshot.arguments import count, flag, one_of
from zeroshot.bulk.items import Item
from zeroshot.errors import (
    HeadMismatch,
    InputError,
    image_error,
    short_errors_in,
    shortened,
)
from zeroshot.integrations.batches import Batch, read_batch, require_pyarrow, write_batch
from zeroshot.lookahead import SMALL_BATCH

if TYPE_CHECKING:
    import pyarrow as pa

    from zeroshot.bulk.labeling import RowOptions
    from zeroshot.bulk.rows import Row
    from zeroshot.classifier import Classifier
    from zeroshot.head import Head

TOP = 5  # labels in a row


@short_errors_in
class Labeler:
    """Labels batches of images: a callable that a data engine sends to its workers.

    It can be pickled, and loads the model when it is called first, so each worker has its own. An
    image that cannot be read becomes a row with an error; no image raises. The same version of
    zeroshot must be installed on every node.

    Args:
        labels: A sequence of labels, or a mapping from each label to its names in the prompts. Each
            worker embeds them.
        head: The labels as a Head, the path of a head file, or its bytes, in place of `labels`. The
            file travels to the workers, which then need no text tower and no tokenizer.
        prompts: As in `zeroshot.classify`; of no effect on a head.
        model: A name, Hub repository or path as for `zeroshot.load`. Each node must have it, or be
            able to download it.
        top: Number of labels in a row.
        column: The column with the images: the bytes of files, paths, URLs, or structs with the
            fields `bytes` and `path`, as in Hugging Face data sets. For several columns, the first
            value that is not null counts.
        name: The column with the names of the images. None takes the path of the struct, the
            columns `path` and `__key__`, or another usual name; without one, an image is named by
            its hash.
        threads: Number of cores that a worker uses. None uses all cores of the machine, which is
            right for one worker on it. It sets the number of torch's threads of the process.
        embeddings: Add the column `embedding`.
        scores: "all" adds the column `scores`, the probability of each label.
        options: Further arguments of `zeroshot.load`, such as {"device": "cuda"}.

    Raises:
        InputError, LabelError, PromptError: An argument is invalid.
        HeadNotFound, HeadMismatch: The head file does not exist or is not a head.

    Example:
        >>> import pyarrow as pa
        >>> from pathlib import Path
        >>> from zeroshot.integrations import Labeler
        >>> labeler = Labeler(["cat", "dog"], model="mini")
        >>> table = labeler(pa.table({"bytes": [Path("cat.jpg").read_bytes(), b"broken"]}))
        >>> table["label"].to_pylist(), table["error_kind"].to_pylist()
        (['cat', None], [None, 'not_image'])
    """

    def __init__(
        self,
        labels: prompts.Labels | Head | None = None,
        *,
        head: Head | bytes | str | os.PathLike[str] | None = None,
        prompts: prompts.Prompts = prompts.DEFAULT,
        model: str | os.PathLike[str] = catalog.DEFAULT,
        top: int = TOP,
        column: str | Sequence[str] = "bytes",
        name: str | None = None,
        threads: int | None = None,
        embeddings: bool = False,
        scores: str = "top",
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._labels, self._head = _check_labels(labels, head)
        self._prompts = zeroshot.prompts.get(prompts)
        self._model = _check_model(model)
        self._top = count("top", top, 1, "; try top=5")
        self.columns = _check_columns(column)
        self._name = name
        self._threads = None if threads is None else count("threads", threads, 1)
        self._embeddings = flag("embeddings", embeddings)
        self._scores = one_of("scores", scores, ("top", "all"))
        self._options = dict(options or {})
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._classifier: Classifier | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._device = ""  # of the loaded model
        self._dim: int | None = None

    def __getstate__(self) -> dict[str, Any]:
        kept = {key: value for key, value in vars(self).items() if key not in _NOT_PICKLED}
        return kept | {"version": zeroshot.__version__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        version = state.pop("version")
        if version != zeroshot.__version__:
            raise InputError(
                f"a Labeler of zeroshot {version} came to a worker with {zeroshot.__version__}; "
                "install the same version on every node"
            )
        vars(self).update(state)
        self._reset()

    def __repr__(self) -> str:
        what = "a head" if self._labels is None else f"{len(self._labels)} labels"
        return f"<Labeler of {what} on {self._model!r}>"

    def __call__(self, batch: Mapping[str, Any] | pa.Table) -> pa.Table:
        """Label a batch.

        Args:
            batch: An Arrow table or record batch, or a mapping from the name of each column to its
                values.

        Returns:
            An Arrow table with one row per image, in order: the columns that `zeroshot.label`
            writes, then the columns of the batch other than the image. `row` is null unless the
            batch has such a column. A column whose name is taken gets the prefix `in_`.

        Raises:
            InputError: The batch has no such column, or contains decoded pixels.
            MissingPackage: pyarrow is not installed.
            ModelNotFound, DownloadError, WeightsError: The model cannot be loaded.

        Example:
            >>> from zeroshot.integrations import Labeler
            >>> labeler = Labeler(["cat", "dog"], model="mini")
            >>> labeler({"bytes": [b"broken"], "id": [7]})["id"].to_pylist()
            [7]
        """
        require_pyarrow()
        read = read_batch(batch, self.columns, self._name)
        with self._lock:
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, "zeroshot-labeler", initializer=self._set_up)
            # A thread of its own: with threads=1, torch uses one core in it, not in the caller's.
            rows = self._thread.submit(self._label, read).result()
        return self._to_table(rows, read)

    def _set_up(self) -> None:
        """Limit torch to `threads` cores."""
        if self._threads is None:
            return
        import torch

        from zeroshot.engine.cpu.workers import become_worker

        torch.set_num_threads(self._threads)
        if self._threads == 1:
            become_worker()

    def _label(self, batch: Batch) -> list[Row]:
        from zeroshot.bulk.labeling import label_items

        if self._classifier is None:
            self._classifier = self._load()
        items = [
            (place, Item(name, partial(_read, value)))
            for place, (name, value) in enumerate(zip(batch.names, batch.images, strict=True))
        ]
        return list(label_items(self._classifier, items, self._options_of_rows()))

    def _options_of_rows(self) -> RowOptions:
        from zeroshot.bulk.labeling import RowOptions

        workers, batch_size = None, None
        if self._threads == 1:
            # Decode where the images are embedded, or on one thread for a GPU. On a CPU with the
            # batches of `zeroshot.label`: 32 images at once take 1.5 times as long with `mini`.
            workers = 0 if self._device == "cpu" else 1
            batch_size = SMALL_BATCH if self._device == "cpu" else None
        return RowOptions(
            self._top,
            self._embeddings,
            self._scores == "all",
            batch_size=batch_size,
            workers=workers,
        )

    def _load(self) -> Classifier:
        """Load the model and build or read the head."""
        from zeroshot.head import Head
        from zeroshot.loading import load

        model = load(self._model, **self._options)
        self._device = model.device.type
        self._dim = model.embed_dim if self._embeddings else None
        if self._head is None:
            assert self._labels is not None
            return model.classifier(self._labels, self._prompts, progress=False)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "head.safetensors"
            path.write_bytes(self._head)
            return model.classifier(Head.load(path))

    def _to_table(self, rows: list[Row], batch: Batch) -> pa.Table:
        from zeroshot.bulk.rows import Columns

        assert self._classifier is not None
        labels = tuple(self._classifier.head.labels)
        columns = Columns(labels, self._top, self._dim, self._scores == "all")
        return write_batch(rows, columns, batch)


_NOT_PICKLED = ("_lock", "_classifier", "_thread")


def _read(value: bytes | str | None) -> bytes | str:
    """Return the bytes of an image, or text that contains them."""
    if value is None:
        raise image_error("bad_type", None, "expected the bytes of an image, got null")
    if isinstance(value, bytes):
        return value
    from zeroshot.images.download import download_image
    from zeroshot.images.inputs import is_base64_image, is_data_uri

    if value.startswith(("http://", "https://")):
        return download_image(value)
    if is_data_uri(value) or is_base64_image(value):
        return value
    return Path(value).read_bytes()


def _check_labels(labels: Any, head: Any) -> tuple[dict[str, list[str]] | None, bytes | None]:
    """Return checked labels, or the bytes of a head file."""
    if (labels is None) == (head is None):
        raise InputError(
            f"expected labels or a head, got {'neither' if labels is None else 'both'}; pass "
            "Labeler(['cat', 'dog']) or Labeler(head='pets.safetensors')"
        )
    if head is None and not hasattr(labels, "logit_scale"):
        return prompts.named(labels), None
    return None, read_head(labels if head is None else head)


def read_head(head: Any) -> bytes:
    """Return the bytes of a head file, of a Head, a path or the bytes themselves.

    Raises HeadNotFound and HeadMismatch.
    """
    from zeroshot.head import Head

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "head.safetensors"
        if isinstance(head, Head):
            head.save(path)
            return path.read_bytes()
        if isinstance(head, bytes):
            path.write_bytes(head)
            try:
                Head.load(path)
            except HeadMismatch as error:
                raise HeadMismatch(
                    f"expected the bytes of a head file, got {len(head)} other bytes; pass a Head, "
                    "or the path of a file that head.save(path) wrote"
                ) from error
            return head
    Head.load(head)
    return Path(head).read_bytes()


def _check_model(model: Any) -> str:
    if isinstance(model, str | os.PathLike):
        return os.fspath(model)
    raise InputError(
        f"expected the name or path of a model, got {shortened(repr(model))}; each worker loads "
        "its own, so pass model='ViT-B/32' or the path of its file"
    )


def _check_columns(column: Any) -> tuple[str, ...]:
    columns = (column,) if isinstance(column, str) else tuple(column)
    if columns and all(isinstance(each, str) for each in columns):
        return columns
    raise InputError(
        f"expected column to be the name of a column, or several names, got "
        f"{shortened(repr(column))}; try column='bytes'"
    )
