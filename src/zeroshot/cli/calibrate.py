"""`zeroshot calibrate`: calibrate a saved head on images with known labels."""

from __future__ import annotations

from pathlib import Path

import click

from zeroshot.cli.heads import choose_model, write_head
from zeroshot.cli.messages import is_quiet
from zeroshot.cli.options import ModelChoice, model_options
from zeroshot.cli.outputs import check_output


@click.command("calibrate", short_help="Calibrate a head on images with known labels.")
@click.argument("source", type=click.Path())
@click.option(
    "--head",
    type=click.Path(),
    required=True,
    help="A head, as `zeroshot classify --save-head` writes it.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="Write the calibrated head to this file. Only an existing head is replaced.",
)
@model_options
def command(source: str, head: str, output: Path, choice: ModelChoice) -> None:
    """Make the scores of a head true for images like those of SOURCE.

    SOURCE is a folder with a folder per label, a table or shards, as for `zeroshot evaluate`: at
    least 20 images, better 100 or more, that were not used for anything else. A folder "none of
    these" has images of none of the labels. `zeroshot classify --head` then accepts
    --keep and --error. Answers do not change.
    """
    check_output("--output", output, [source])
    import zeroshot
    from zeroshot.evaluation.targets import named
    from zeroshot.labeling import truth

    found = truth.read(source)
    chosen = zeroshot.Head.load(head)
    right = named(found.truth, chosen)  # before the model is loaded
    classifier = choose_model(chosen, head, choice).load().classifier(chosen)
    progress = False if is_quiet() else None
    fitted = classifier.calibrate(found.images, right, progress=progress).head
    write_head(fitted, output, "--output")
    said = fitted.calibration or f"Calibrated on {len(right)} images; labels from 50% are answers."
    click.echo(f"{output}: {said}", err=True)
