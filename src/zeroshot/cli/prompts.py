"""`zeroshot prompts`: list the prompt sets and label sets of the package."""

from __future__ import annotations

import click

from zeroshot import prompts as prompt_sets
from zeroshot.cli.completion import complete_prompts
from zeroshot.cli.counts import counted
from zeroshot.errors import PromptError


@click.command("prompts", short_help="List the prompt sets, or print one of them.")
@click.argument("name", required=False, shell_complete=complete_prompts)
@click.option(
    "--labels", is_flag=True, help="Print the labels of the set instead of its templates."
)
def command(name: str | None, labels: bool) -> None:
    """List the prompt sets, or print the templates or labels of one set."""
    if name is None:
        for each in prompt_sets.available():
            try:
                labels_counted = counted(len(prompt_sets.labels(each)), "label")
            except PromptError:
                labels_counted = "templates only"
            number, noun = counted(len(prompt_sets.get(each)), "template").split()
            click.echo(f"{each:<16} {number:>3} {noun:<9}  {labels_counted}")
    elif labels:
        for names in prompt_sets.labels(name).values():
            click.echo(" | ".join(names))
    else:
        try:
            templates = prompt_sets.get(name).templates
        except PromptError as error:
            if prompt_sets.is_file(name):
                raise PromptError(f"{error}; use --labels to print a label file") from error
            raise
        for template in templates:
            click.echo(template)
