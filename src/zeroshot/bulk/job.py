"""Label a collection of images into a folder of part files; a stopped run continues."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from zeroshot import catalog
from zeroshot import prompts as prompt_sets
from zeroshot.arguments import count, file_path, flag, instance, one_of
from zeroshot.bulk.frozen import is_searched
from zeroshot.bulk.labeling import RowOptions
from zeroshot.bulk.options import JobOptions, check_labels, choose_format, parse_most, parse_names
from zeroshot.bulk.retrying import parse_kinds
from zeroshot.bulk.running import Job, check_folder, describe
from zeroshot.bulk.shards import parse_shard
from zeroshot.bulk.sources import open_sources
from zeroshot.bulk.summary import Summary
from zeroshot.classifier import TOP, Classifier
from zeroshot.embedding import check_batch_size, check_workers
from zeroshot.errors import InputError, short_errors
from zeroshot.head import Head
from zeroshot.loading import load
from zeroshot.model import Model
from zeroshot.prompts import Labels, Prompts

NAMES = ("labels", "head", "classifier")


@short_errors
def label(
    inputs: Any,
    out: str | os.PathLike[str],
    *,
    labels: Labels | Head | None = None,
    head: str | os.PathLike[str] | Head | None = None,
    prompts: Prompts | None = None,
    model: str | os.PathLike[str] | Model = catalog.DEFAULT,
    classifier: Classifier | None = None,
    top: int = TOP,
    format: str | None = None,  # noqa: A002
    embeddings: bool = False,
    scores: str = "top",
    column: str | None = None,
    keep: str | Iterable[str] = (),
    fps: float | None = None,
    every: int | None = None,
    part_rows: int | None = None,
    shard: str | None = None,
    retry_errors: bool | str | Iterable[str] = False,
    max_errors: int | str | None = None,
    dedupe: bool = False,
    limit: int | None = None,
    dry_run: bool = False,
    force: bool = False,
    allow_equal: bool = False,
    batch_size: int | None = None,
    workers: int | None = None,
    progress: bool | None = None,
) -> Summary:
    """Label a collection of images; every image becomes one row of a table.

    The table is a folder of part files. Call it again with the same arguments to continue a run
    that was stopped or killed: finished parts are kept, and the table is the same to the byte. An
    image that cannot be read is a row with an error.

    Args:
        inputs: A path, URL or pattern, "-" for paths from standard input, or a list of these: image
            files, folders, tables, Parquet files, archives and videos; or an iterable of paths,
            bytes, images or mappings.
        out: Folder of the table. It is created; an existing one must be empty or of the same run.
        labels: The labels, as for `classify`, or a Head.
        head: A saved head, in place of `labels`.
        prompts: Prompts, as for `classify`. None uses the default.
        model: Name, Hub repository or path, as for `load`, or a Model.
        classifier: A Classifier, in place of `labels`, `prompts` and `model`.
        top: Number of labels in each ranking.
        format: "parquet", "csv" or "jsonl". None is "parquet" if pyarrow is installed, else
            "jsonl".
        embeddings: Store the embeddings as float16, so that `relabel` can apply other labels.
            Requires pyarrow, unless `format` is "jsonl", which `relabel` cannot read. Not for
            "csv".
        scores: "top", or "all" to store the probability of every label. Not for "csv".
        column: Column of a table with the images or their paths. None finds it.
        keep: Names of columns of a table that are copied.
        fps: Frames per second of a video.
        every: Take every N-th frame of a video.
        part_rows: Rows per part. None is 4,096 on a CPU and 32,768 on an accelerator.
        shard: "I/N" computes the I-th of N shares of the parts, so N processes can write to one
            folder; "auto" reads the variables of Slurm.
        retry_errors: Kinds of errors whose rows are computed again; True is "timeout", "io",
            "permission" and "not_found".
        max_errors: Stop at more than this number of errors in this run, or at this share, as "5%".
        dedupe: Compute images with equal bytes once, and set `duplicate_of`.
        limit: Label only the first images.
        dry_run: Only describe the inputs, in `Summary.plan`; nothing is written.
        force: Delete the table in `out` that an earlier run wrote, and start over.
        allow_equal: Accept labels with the same tokens.
        batch_size: Number of images per batch. None selects a size for the device.
        workers: Number of threads that only decode. None selects the fastest arrangement.
        progress: Show a progress bar. None shows one on a terminal after two seconds.

    Returns:
        A Summary. Its `errors` contain those of earlier runs.

    Raises:
        InputError: An argument is invalid, `out` contains something else or another run, or another
            process writes the same parts.
        SaveError: The disk is full, or `out` cannot be written. Finished parts are kept.
        MissingPackage: A format or an input requires a package that is not installed.
        LabelError, PromptError, ModelNotFound, DownloadError, WeightsError: As for `classify`.
        KeyboardInterrupt: SIGINT or SIGTERM arrived; finished parts are kept. The second signal
            ends the process.

    Example:
        >>> found = zeroshot.label(["cat.jpg"], "pets", labels=["cat", "dog"], model="mini")
        >>> found.rows, dict(found.errors)
        (1, {})
    """
    embeddings = flag("embeddings", embeddings)
    options = JobOptions(
        out=file_path(out),
        form=choose_format(format, embeddings=embeddings, scores=scores),
        rows=RowOptions(
            top=count("top", top, 1, "; try top=5"),
            embeddings=embeddings,
            scores=one_of("scores", scores, ("top", "all")) == "all",
            batch_size=check_batch_size(batch_size),
            workers=check_workers(workers),
        ),
        shard=parse_shard(shard),
        part_rows=None if part_rows is None else count("part_rows", part_rows, 1, most=1 << 24),
        keep=parse_names("keep", keep),
        read={"column": column, "fps": fps, "every": every},
        retry=parse_kinds(retry_errors),
        most_errors=parse_most(max_errors),
        dedupe=flag("dedupe", dedupe),
        limit=None if limit is None else count("limit", limit, 1),
        dry_run=flag("dry_run", dry_run),
        force=flag("force", force),
        progress=progress,
    )
    if options.limit is not None and options.shard.count > 1:
        raise InputError(
            f"expected either limit or shard, got limit={limit} and shard={options.shard}; omit one"
        )
    build = _choose_classifier(labels, head, prompts, model, classifier, allow_equal, progress)
    check_folder(options.out, force=options.force)
    sources = open_sources(inputs, keep=options.keep, **options.read)
    if options.dry_run:
        return describe(sources, options)
    chosen = build()
    if options.rows.scores:
        check_labels(len(chosen.head))
    return Job(chosen, sources, options, is_searched=is_searched(inputs)).run()


def _choose_classifier(
    labels: Labels | Head | None,
    head: str | os.PathLike[str] | Head | None,
    prompts: Prompts | None,
    model: str | os.PathLike[str] | Model,
    classifier: Classifier | None,
    allow_equal: bool,
    progress: bool | None,
) -> Callable[[], Classifier]:
    """Check what labels the images; return a function that loads the model."""
    given = [
        name
        for name, value in zip(NAMES, (labels, head, classifier), strict=True)
        if value is not None
    ]
    if len(given) != 1:
        raise InputError(
            f"expected one of labels, head and classifier, got {' and '.join(given) or 'none'}; "
            "for example labels=['cat', 'dog']"
        )
    if classifier is not None:
        instance("classifier", classifier, Classifier, "use model.classifier(labels) to make one")
        chosen = classifier
        return lambda: chosen
    if head is not None:
        labels = head if isinstance(head, Head) else Head.load(head)
    assert labels is not None
    if isinstance(labels, Head):
        if prompts is not None:
            raise InputError("expected no prompts with a head, which contains them; omit prompts")
        built = labels
        return lambda: _load(model).classifier(built)
    named = prompt_sets.named(labels)
    prompt_set = prompt_sets.get(prompt_sets.DEFAULT if prompts is None else prompts)
    equal = flag("allow_equal", allow_equal)
    return lambda: _load(model).classifier(named, prompt_set, allow_equal=equal, progress=progress)


def _load(model: str | os.PathLike[str] | Model) -> Model:
    return model if isinstance(model, Model) else load(model)
