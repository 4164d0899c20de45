"""`zeroshot find`: find images of a table by a text or an image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zeroshot.cli.counts import counted
from zeroshot.cli.messages import escaped, is_quiet, note
from zeroshot.cli.option_names import named_options
from zeroshot.cli.options import ModelChoice, load_for_table, table_model_options

if TYPE_CHECKING:
    from zeroshot.bulk.output import Output


@click.command("find")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.argument("text", required=False)
@click.option("--image", help="An image to compare with, in place of TEXT: a file or a URL.")
@click.option("-t", "--top", default=20, show_default=True, help="Number of images.")
@click.option(
    "--min-similarity", type=float, metavar="SIMILARITY", help="Leave out less similar images."
)
@click.option("--duplicates", is_flag=True, help="List byte-equal images more than once.")
@click.option(
    "--sheet",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write a contact sheet: an .html or .jpg file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@table_model_options
@named_options()
def command(
    folder: Path,
    text: str | None,
    image: str | None,
    top: int,
    min_similarity: float | None,
    duplicates: bool,
    sheet: Path | None,
    as_json: bool,
    choice: ModelChoice,
) -> None:
    """Find images of a table by a text or an image.

    Lists the images of the table in FOLDER that are most similar to TEXT or to --image.

    FOLDER was written by `zeroshot label --embeddings`. The model of the table is loaded by its
    name unless --model is given. Prints the similarity (cosine) and the image.
    """
    if (text is None) == (image is None):
        raise click.UsageError("expected either TEXT or --image, as in: find pets 'a sleeping cat'")

    from zeroshot.bulk.finding import find
    from zeroshot.bulk.output import Output

    found = find(
        folder,
        text,
        image=image,
        top=top,
        min_similarity=min_similarity,
        duplicates=duplicates,
        model=load_for_table(choice, folder),
        sheet=sheet,
        progress=False if is_quiet() else None,
    )
    for match in found:
        if as_json:
            click.echo(json.dumps({"similarity": match.similarity, "source": match.source}))
        else:
            click.echo(escaped(f"{match.similarity:.3f}  {match.source}"))
    if sheet is not None and not is_quiet():
        click.echo(escaped(f"{sheet}: {counted(len(found), 'image')}"), err=True)
    if not is_quiet():
        _report_gaps(Output.open(folder), is_empty=not found and min_similarity is None)


def _report_gaps(output: Output, *, is_empty: bool) -> None:
    """Print which rows were not searched because the table does not have them."""
    gaps = len(output.gaps())
    if gaps:
        note(
            f"{counted(gaps, 'part')} of the table missing, whose images were not searched; run "
            "the same `zeroshot label` command again to add the rest of the table"
        )
    if is_empty:
        note("the table has no images to search: it has no rows, or only rows with an error")
