"""Apply new labels to a table of labeled images: `relabel()`.

It reads the stored embeddings, so no image is opened or encoded again.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from zeroshot import prompts as prompt_sets
from zeroshot.arguments import count, file_path, flag, instance, one_of
from zeroshot.bulk.counting import count_parts
from zeroshot.bulk.fingerprint import describe_head, describe_part
from zeroshot.bulk.folder import (
    END,
    INPUTS,
    OURS,
    RUN,
    SUCCESS,
    check_name,
    commit,
    commit_first,
    remove_strays,
    write_json,
)
from zeroshot.bulk.options import check_labels
from zeroshot.bulk.output import Output, Part
from zeroshot.bulk.rankings import Ranker, to_arrow
from zeroshot.bulk.rows import FORMAT
from zeroshot.bulk.stored import (
    check_gaps,
    embeddings_of,
    load_model,
    open_embedded,
    read_part,
    write_part,
)
from zeroshot.bulk.summary import Summary
from zeroshot.classifier import TOP
from zeroshot.engine.cpu import workers
from zeroshot.errors import HeadMismatch, InputError, short_errors, shortened, some
from zeroshot.head import Head
from zeroshot.lookahead import run_ahead
from zeroshot.model import Model
from zeroshot.progress import Bar, track
from zeroshot.prompts import Labels, Prompts

Scores = Literal["top", "all"]

RANKED = ("label", "probability", "labels", "probabilities")  # columns that are replaced


@short_errors
def relabel(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    labels: Labels | Head | None = None,
    *,
    head: Head | str | os.PathLike[str] | None = None,
    prompts: Prompts = prompt_sets.DEFAULT,
    model: str | os.PathLike[str] | Model | None = None,
    top: int = TOP,
    scores: Scores = "top",
    none_of_these: bool = False,
    allow_equal: bool = False,
    embeddings: bool = False,
    allow_gaps: bool = False,
    progress: bool | None = None,
) -> Summary:
    """Apply new labels to a table without encoding its images again.

    The new folder has the same rows in the same order, also those of images with an error. An
    interrupted call is continued by the same call.

    Args:
        folder: Folder of `zeroshot.label(..., embeddings=True)`.
        out: Folder to write, new or from an interrupted call.
        labels: New labels, as for `zeroshot.classify`, or a Head; or give `head`.
        head: A head of the same model, or its file. Calibration and background words apply.
        prompts: Prompt set of the labels. Ignored with `head`.
        model: The model of the table, which embeds the labels. None loads it by the name that the
            table has. Ignored with `head`.
        top: Number of labels in the columns `labels` and `probabilities`.
        scores: "all" adds the column `scores` with the probability of every label.
        none_of_these: Add background words, so that an image can be none of the labels.
        allow_equal: Accept labels with the same tokens, such as "Cat" and "cat".
        embeddings: Copy the embeddings, so that the new folder can be relabeled too.
        allow_gaps: Accept a table with missing parts. The new one lacks them too.
        progress: Show a progress bar. None shows one on a terminal if the work takes longer than
            two seconds.

    Returns:
        The `Summary` of the new folder. `seconds` is the time of this call.

    Raises:
        InputError: The table has no embeddings, or parts are missing; `out` contains something
            else; or an argument is invalid.
        LabelError, PromptError: The labels or prompts are invalid.
        HeadMismatch: The head or model is not that of the table.
        MissingPackage: pyarrow is not installed.
        SaveError: A file cannot be written.

    Example:
        >>> pets = {"labels": ["cat", "dog"], "model": "mini", "embeddings": True}
        >>> zeroshot.label(["cat.jpg"], "pets", **pets).rows
        1
        >>> zeroshot.bulk.relabel("pets", "ages", ["kitten", "old cat"]).rows
        1
    """
    began = time.monotonic()
    top = count("top", top, 1, "; try top=5")
    one_of("scores", scores, get_args(Scores))
    copies = flag("embeddings", embeddings)
    source = open_embedded(folder)
    check_gaps(source, flag("allow_gaps", allow_gaps))
    target = _check_target(folder, out)
    if (labels is None) == (head is None):
        raise InputError("expected either labels or head, got both or none of them")
    if isinstance(labels, Head):
        labels, head = None, labels
    if head is not None:
        found = _read_head(head, source.run["identity"])
    else:
        assert labels is not None
        options = {"none_of_these": none_of_these, "allow_equal": allow_equal}
        found = _build_head(source.run, labels, prompts, model, progress, **options)
    if scores == "all":
        check_labels(len(found))
    ranker = Ranker(found, top, with_scores=scores == "all")
    run = _describe(source.run, found, top, scores, copies)
    _start(target, run, source.folder)
    writer = _Writer(ranker, run, source.columns.dim or found.weight.shape[1], target)
    computed = writer.write_all(source, progress)
    return _finish(target, began, computed, source)


def _check_target(folder: str | os.PathLike[str], out: str | os.PathLike[str]) -> Path:
    target = file_path(out)
    if target.resolve().is_relative_to(Path(folder).resolve()):
        raise InputError(
            f"out={shortened(str(out), 200)!r} is the folder of the table or inside it, where "
            "other programs would read both tables as one; choose a new folder"
        )
    check_name(target)
    if target.exists() and not target.is_dir():
        raise InputError(f"out={shortened(str(out), 200)!r} is a file; choose a new folder")
    if target.is_dir() and not (target / RUN).exists():
        names = [each.name for each in target.iterdir() if not each.name.startswith(".")]
        # lists of inputs that a killed call copied before it wrote `_run.json`
        listed = (f"{INPUTS}-", f"{END}-")
        others = [n for n in names if not (OURS.fullmatch(n) and n.startswith(listed))]
        if others:
            raise InputError(
                f"out={shortened(str(out), 200)!r} contains other files, such as "
                f"{shortened(min(others))!r}; choose a new folder"
            )
    return target


def _read_head(head: Head | str | os.PathLike[str], identity: str) -> Head:
    source = "this head"
    if isinstance(head, str | os.PathLike):
        source = os.fspath(head)
        head = Head.load(head)
    instance("head", head, Head, "pass a head, as model.head(labels) returns it, or its file")
    if head.model != identity:
        raise HeadMismatch(
            f"{shortened(source, 200)}: expected a head of the model of the table, "
            f"{identity!r}, got one of {head.model!r}; build the head with the model of the table"
        )
    return head


def _build_head(
    run: Mapping[str, Any],
    labels: Labels,
    prompts: Prompts,
    model: str | os.PathLike[str] | Model | None,
    progress: bool | None,
    **options: Any,
) -> Head:
    """Embed the labels with the model of the table, in the precision it was used in."""
    prompt_sets.named(labels), prompt_sets.get(prompts)  # checked before a model is loaded
    loaded = load_model(run, model)
    return loaded.head(labels, prompts, progress=progress, **options)


def _describe(
    run: Mapping[str, Any], head: Head, top: int, scores: str, copies: bool
) -> dict[str, Any]:
    """Return the content of `_run.json` of the new folder."""
    changed = {
        "labels": {
            label: list(names) for label, names in zip(head.labels, head.names, strict=True)
        },
        "prompts": head.prompts,
        "templates": list(head.templates),
        "top": top,
        "scores": scores,
        "embeddings": copies,
    }
    marks = {**describe_head(head), "answers": None}
    options = {name: changed[name] for name in ("top", "scores", "embeddings")}
    if not copies:
        changed["relabeled"] = True  # for the advice of messages
    made = {**run, **changed, "fingerprint": {**run["fingerprint"], **marks, **options}}
    plain: dict[str, Any] = json.loads(json.dumps(made))  # as it is read from the file
    return plain


def _start(target: Path, run: Mapping[str, Any], source: Path) -> None:
    """Write `_run.json` and the lists of inputs, or check those of an interrupted call."""
    target.mkdir(parents=True, exist_ok=True)
    if (target / RUN).exists():
        before = Output.open(target).run["fingerprint"]
        differing = [
            name for name, value in run["fingerprint"].items() if before.get(name) != value
        ]
        if differing:
            raise InputError(
                f"{shortened(str(target), 200)}: contains a table with other "
                f"{some(differing, 4)}; choose a new folder, or delete this one"
            )
    remove_strays(target)  # of calls that were killed
    for listed in (*source.glob(f"{INPUTS}*"), *source.glob(f"{END}*")):
        commit(target / listed.name, partial(shutil.copyfile, listed))
    commit_first(target / RUN, write_json(run))


def _finish(target: Path, began: float, computed: int, source: Output) -> Summary:
    """Write `_SUCCESS.json` if no part is missing."""
    counts = count_parts(Output.open(target), {})
    seconds = time.monotonic() - began
    facts: dict[str, Any] = {
        "rows": counts.rows,
        "errors": counts.sorted_errors(),
        "duplicates": counts.duplicates,
        "seconds": round(seconds, 3),
        "images_per_second": round(computed / seconds, 1),
        "skipped": (source.success or {}).get("skipped", {}),
    }
    if source.is_complete:
        commit(target / SUCCESS, write_json(facts))
    return Summary(**facts, out=target, computed=computed, is_complete=source.is_complete)


@dataclass(frozen=True)
class _Writer:
    """Writes the parts of the new folder, each in one thread."""

    ranker: Ranker
    run: Mapping[str, Any]
    dim: int
    target: Path

    def write_all(self, source: Output, progress: bool | None) -> int:
        """Write all parts that the new folder does not have yet; return their rows."""
        parts = [part for part in source.parts() if not self._is_written(part)]
        pool = workers.get_pool()
        size = 1 if pool is None else workers.count()
        done = run_ahead(self.write, parts, workers=0, limit=2 * size, pool=pool)
        return sum(track(done, Bar("row", None, progress), count=int))

    def _is_written(self, part: Part) -> bool:
        """Return whether the new part exists and the old one did not change after it."""
        try:
            written = (self.target / part.path.name).stat().st_mtime_ns
        except FileNotFoundError:
            return False
        return written >= part.path.stat().st_mtime_ns

    def write(self, part: Part) -> int:
        """Write one part, and return its number of rows."""
        table = read_part(part.path)
        made = self._relabel(table, part)
        commit(self.target / part.path.name, partial(write_part, made))
        return int(table.num_rows)

    def _relabel(self, table: Any, part: Part) -> Any:
        """Return the table of a part with other labels."""
        import pyarrow as pa

        ranked = self._columns(table, part)
        dropped = {"scores"} if self.run["embeddings"] else {"scores", "embedding"}
        made: list[tuple[Any, Any]] = []  # field and column
        for field in table.schema:
            if field.name not in dropped:
                made.append((field, ranked.get(field.name, table.column(field.name))))
            if field.name == "error" and "scores" in ranked:  # `scores` follows `error`
                made.append((pa.field("scores", ranked["scores"].type), ranked["scores"]))
        metadata = self._metadata(table.schema.metadata or {}, part)
        schema = pa.schema([field for field, _ in made], metadata=metadata)
        return pa.Table.from_arrays([column for _, column in made], schema=schema)

    def _columns(self, table: Any, part: Part) -> dict[str, Any]:
        """Return the new columns: label, probability, labels, probabilities and scores."""
        import pyarrow as pa

        rows = embeddings_of(table, self.dim, part.path)
        fine = table.column("error_kind").is_null().to_numpy()
        found = self.ranker.rank(rows)
        made = to_arrow(found, fine, pa.array(self.ranker.labels, pa.string()))
        return {
            name: column.cast(table.schema.field(name).type) if name in RANKED else column
            for name, column in made.items()
        }

    def _metadata(self, metadata: Mapping[bytes, bytes], part: Part) -> dict[bytes, bytes]:
        last = json.loads(metadata.get(FORMAT.encode(), b"{}")).get("last", False)
        facts = describe_part(self.run, part.source, part.chunk, last)
        text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
        return {**metadata, FORMAT.encode(): text.encode()}
