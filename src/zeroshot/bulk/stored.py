"""Read the embeddings that `zeroshot label --embeddings` stored."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zeroshot.bulk.output import Output
from zeroshot.bulk.sinks.parquet import WRITING, import_pyarrow
from zeroshot.errors import HeadMismatch, InputError, shortened

if TYPE_CHECKING:  # `status` and `merge` need no torch, whose import takes a second
    from torch import Tensor

    from zeroshot.model import Model

TINY = 1e-12  # length below which a row is zeros


def open_embedded(folder: str | os.PathLike[str]) -> Output:
    """Open a folder that has embeddings.

    Raises:
        InputError: It is no folder of `zeroshot label`, or was written without embeddings.
        MissingPackage: pyarrow is not installed.
    """
    output = Output.open(folder)
    name = shortened(os.fspath(folder), 200)
    if not output.run.get("embeddings") and output.run.get("relabeled"):
        raise InputError(
            f"{name}: expected a table with embeddings, got a relabeled one without; use the table "
            "that was relabeled, or relabel that again with embeddings=True into a new folder"
        )
    if not output.run.get("embeddings"):
        raise InputError(
            f"{name}: expected a table with embeddings, got one without; label the images "
            "again with embeddings=True into a new folder"
        )
    if output.run["format"] != "parquet":
        raise InputError(
            f"{name}: expected Parquet parts, got {output.run['format']}; label the images "
            "again with format='parquet' and embeddings=True into a new folder"
        )
    import_pyarrow()
    return output


def check_gaps(output: Output, allowed: bool) -> None:
    """Raise InputError if parts of a table are missing, unless that is allowed."""
    gaps = output.gaps()
    if gaps and not allowed:
        parts = "1 part" if len(gaps) == 1 else f"{len(gaps):,} parts"
        raise InputError(
            f"{shortened(str(output.folder), 200)}: the table lacks {parts}, such as "
            f"{gaps[0].path.name}; run the same `zeroshot label` command again to add them, or "
            "pass allow_gaps=True"
        )


def load_model(run: Mapping[str, Any], model: str | os.PathLike[str] | Model | None) -> Model:
    """Return the model of a table, in the precision it was used in; None loads it by its name.

    Raises HeadMismatch for another model, and the errors of `zeroshot.load`.
    """
    from zeroshot.loading import load
    from zeroshot.model import Model

    if not isinstance(model, Model):
        model = load(run["model"] if model is None else model, dtype=run.get("dtype") or None)
    if model.identity != run["identity"]:
        raise HeadMismatch(
            f"expected the model of the table, {shortened(str(run['model']), 100)!r} with identity "
            f"{run['identity']!r}, got {shortened(model.name, 100)!r} with {model.identity!r}; "
            "pass model= with the model of the table, or label the images with the other model"
        )
    return model


def read_part(file: Path, columns: Sequence[str] | None = None) -> Any:
    """Read columns of a part as a pyarrow.Table; None reads all.

    Raises InputError for a file that is damaged or lacks a column, and MissingPackage.
    """
    parquet = import_pyarrow().parquet
    try:
        # ParquetFile, as read_table would look for partitions in the names of folders
        with file.open("rb") as stream, parquet.ParquetFile(stream) as opened:
            if missing := set(columns or ()) - set(opened.schema_arrow.names):
                raise InputError(
                    f"{shortened(str(file), 200)}: expected a column {min(missing)!r}, got "
                    f"{shortened(', '.join(opened.schema_arrow.names), 200)}; the file is no part "
                    "of this table; restore or delete it, and run `zeroshot label` again"
                )
            return opened.read(columns=columns, use_threads=False)
    except (OSError, ValueError) as error:  # pyarrow's errors are subclasses
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{shortened(str(file), 200)}: cannot read this part of the table "
            f"({shortened(str(error), 150)}); delete it, and run `zeroshot label` again to replace "
            "it"
        ) from error


def embeddings_of(table: Any, dim: int, file: Path) -> Tensor:
    """Return the column `embedding` of a table: float32 [n, dim], of unit length.

    Rows of images that failed are zeros. Raises InputError for another dimension.
    """
    import torch

    found = [field.type for field in table.schema if field.name == "embedding"]
    if [getattr(kind, "list_size", None) for kind in found] != [dim]:
        raise InputError(
            f"{shortened(str(file), 200)}: expected embeddings of {dim} dimensions, got "
            f"{found[0] if found else 'none'}; the file is no part of this table; delete it, and "
            "run `zeroshot label` again to replace it"
        )
    column = table.column("embedding").combine_chunks()
    values = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, dim)
    rows = torch.from_numpy(values.copy()).float()  # Arrow's memory is read-only
    rows /= rows.norm(dim=1, keepdim=True).clamp_min(TINY)
    return rows


def write_part(table: Any, file: Path) -> None:
    """Write a part as `zeroshot label` does: plain embeddings, dictionaries of labels only."""
    with file.open("wb") as stream:
        import_pyarrow().parquet.write_table(table, stream, **WRITING)
