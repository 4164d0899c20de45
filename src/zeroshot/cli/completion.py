"""`zeroshot completion`: print the completion script of a shell, and complete names."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class

from zeroshot import catalog, prompts
from zeroshot.errors import PromptError

VARIABLE = "_ZEROSHOT_COMPLETE"  # click's variable for a program named zeroshot
SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    r"""Print the completion script of a shell.

    It completes commands, options, and the names of models, prompt sets and label sets. To install
    it for bash or zsh, add one of these lines to ~/.bashrc or ~/.zshrc. For fish, write the output
    to ~/.config/fish/completions/zeroshot.fish.

    \b
        eval "$(zeroshot completion bash)"
        eval "$(zeroshot completion zsh)"
    """
    kind = get_completion_class(shell)
    assert kind is not None  # click has all of SHELLS
    root = context.find_root()
    # not BashComplete.source, which runs bash to check its version
    click.echo(ShellComplete.source(kind(root.command, {}, "zeroshot", VARIABLE)))


def complete_models(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete names of the catalog, or else files."""
    return _complete(catalog.available_models(), incomplete)


def complete_prompts(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete names of prompt sets, or else files."""
    return _complete(prompts.available(), incomplete)


def complete_labels(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete names of label sets, or else files."""
    return _complete([name for name in prompts.available() if _has_labels(name)], incomplete)


def _has_labels(name: str) -> bool:
    try:
        return bool(prompts.labels(name))
    except PromptError:
        return False


def _complete(names: list[str], incomplete: str) -> list[CompletionItem]:
    start = incomplete.lower()
    found = [CompletionItem(name) for name in names if name.lower().startswith(start)]
    return found or [CompletionItem(incomplete, type="file")]
