"""`zeroshot relabel`: apply new labels to stored embeddings."""

from __future__ import annotations

from pathlib import Path

import click

from zeroshot.cli import sources
from zeroshot.cli.counts import counted
from zeroshot.cli.failures import SOME_FAILED
from zeroshot.cli.heads import head_options, reject_with_head
from zeroshot.cli.messages import escaped, is_quiet
from zeroshot.cli.option_names import named_options
from zeroshot.cli.options import ModelChoice, load_for_table, table_model_options


@click.command("relabel")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "-o",
    "--out",
    "--output",
    "out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder of the new table.",
)
@head_options(
    "The new labels, as for `zeroshot label`.", "the templates of the label set, or photo."
)
@click.option("-t", "--top", default=5, show_default=True, help="Number of labels per image.")
@click.option(
    "--scores",
    type=click.Choice(["top", "all"]),
    default="top",
    show_default=True,
    help="all stores the probability of every label.",
)
@click.option("--none", "none_of_these", is_flag=True, help="An image can be none of the labels.")
@click.option("--embeddings", is_flag=True, help="Copy the embeddings to the new table.")
@click.option("--allow-gaps", is_flag=True, help="Accept a table with missing parts.")
@table_model_options
@named_options()
def command(
    folder: Path,
    out: Path,
    labels: tuple[str, ...],
    allow_equal: bool,
    head: str | None,
    prompts: str | None,
    top: int,
    scores: str,
    none_of_these: bool,
    embeddings: bool,
    allow_gaps: bool,
    choice: ModelChoice,
) -> None:
    """Apply new labels to a table, without its images.

    FOLDER was written by `zeroshot label --embeddings`. The model of the table embeds the labels;
    it is loaded by the name in the table unless --model is given.
    """
    if not labels and head is None:
        raise click.UsageError("expected either --labels or --head; try --labels 'dog,cat'")
    reject_with_head(head, {"--labels": labels, "--prompts": prompts, "--none": none_of_these})

    from zeroshot.bulk.relabeling import relabel

    if prompts is None:
        prompts = (labels and sources.label_set(labels)) or "photo"
    summary = relabel(
        folder,
        out,
        sources.labels(labels) if labels else None,
        head=head,
        prompts=prompts,
        model=load_for_table(choice, folder) if head is None else None,
        top=top,
        scores=scores,  # type: ignore[arg-type]
        none_of_these=none_of_these,
        allow_equal=allow_equal,
        embeddings=embeddings,
        allow_gaps=allow_gaps,
        progress=False if is_quiet() else None,
    )
    if not is_quiet():
        done = f" in {summary.seconds:.1f} s" if summary.computed else ", already complete"
        click.echo(escaped(f"{out}: {counted(summary.rows, 'row')}{done}"), err=True)
    if summary.errors:
        raise SystemExit(SOME_FAILED)
