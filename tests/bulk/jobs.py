"""Run jobs with a stubbed encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bulk.support import make_classifier
from zeroshot.bulk.items import Source
from zeroshot.bulk.job import label
from zeroshot.bulk.labeling import RowOptions
from zeroshot.bulk.options import JobOptions
from zeroshot.bulk.running import Job
from zeroshot.bulk.shards import parse_shard
from zeroshot.bulk.summary import Summary
from zeroshot.classifier import Classifier


def run(
    inputs: Any,
    out: Path,
    *,
    sources: Sequence[Source] | None = None,
    classifier: Classifier | None = None,
    **options: Any,
) -> Summary:
    """Label inputs, or sources, by color."""
    chosen = classifier or make_classifier()
    if sources is not None:
        return Job(chosen, sources, make_options(out, **options), is_searched=False).run()
    names = [str(each) for each in inputs] if isinstance(inputs, list) else str(inputs)
    return label(names, out, classifier=chosen, progress=False, **options)


def make_options(
    out: Path, *, form: str = "parquet", shard: str | None = None, **options: Any
) -> JobOptions:
    """Return options of a job over sources."""
    facts: dict[str, Any] = {
        "part_rows": None,
        "keep": (),
        "read": {},
        "retry": (),
        "most_errors": None,
        "dedupe": False,
        "limit": None,
        "dry_run": False,
        "force": False,
        "progress": False,
        "rows": RowOptions(),
    }
    return JobOptions(out=out, form=form, shard=parse_shard(shard), **facts | options)
