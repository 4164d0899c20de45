"""`zeroshot completion`: print the completion script of a shell, and complete names."""

from __future__ import annotations

import glob
import os
from typing import get_args

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    ShellComplete,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from zeroshot import catalog, prompts
from zeroshot.errors import ImageProblem, PromptError

VARIABLE = "_ZEROSHOT_COMPLETE"  # click's variable for a program named zeroshot
SHELLS = ("bash", "zsh", "fish")
# click's script passes the words of bash, which splits them at characters such as ":", "=" and "@".
# This one passes the line, and returns what follows the last of those characters.
BASH_SCRIPT = r"""
%(complete_func)s() {
    local line="${COMP_LINE:0:COMP_POINT}" type value
    local word="${line##*[[:space:]]}"
    local typed="${word%%"$2"}"
    [[ $typed == -*=* ]] && typed="${typed#*=}"
    COMPREPLY=()

    while IFS=, read -r type value; do
        if [[ $type == dir ]]; then
            compopt -o dirnames
        elif [[ $type == file ]]; then
            compopt -o default
        elif [[ $type == plain ]]; then
            [[ $value == */ ]] && compopt -o nospace
            printf -v value %%q "${value:${#typed}}"
            COMPREPLY+=("$value")
        fi
    done < <(COMP_WORDS="$line" %(complete_var)s=bash_complete "$1")
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""


@add_completion_class
class _Bash(BashComplete):
    """Completes the last word of a line for BASH_SCRIPT."""

    source_template = BASH_SCRIPT

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ["COMP_WORDS"]
        words = split_arg_string(line)[1:]
        return (words, "") if line[-1:].isspace() or not words else (words[:-1], words[-1])


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    It completes commands, options, files, and the names of models, prompt sets and label sets. To
    install it for bash or zsh, add one of these lines to ~/.bashrc or ~/.zshrc. For fish, write the
    output to ~/.config/fish/completions/zeroshot.fish.

    \b
        eval "$(zeroshot completion bash)"
        eval "$(zeroshot completion zsh)"
    """  # noqa: D301 (click keeps the line breaks after this control character)
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
    """Complete names of label sets, or else files; both may start with @."""
    sets = [name for name in prompts.available() if _has_labels(name)]
    if not incomplete.startswith("@"):
        return _complete(sets, incomplete)
    # shells find no file that starts with @, so the files are listed here
    start = incomplete[1:]
    found = [name for name in sets if name.startswith(start)] + _files(start)
    return [CompletionItem(f"@{name}") for name in found]


def complete_kinds(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the last kind of error of a list with commas."""
    before, comma, last = incomplete.rpartition(",")
    kinds = sorted({*get_args(ImageProblem), "io", "oom", "internal"})
    return [CompletionItem(f"{before}{comma}{kind}") for kind in kinds if kind.startswith(last)]


def complete_files(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete files."""
    return [CompletionItem(incomplete, type="file")]


def _files(start: str) -> list[str]:
    """Return the paths that begin with `start`, folders with a slash."""
    pattern = glob.escape(os.path.expanduser(start)) + "*"
    return [path + "/" * os.path.isdir(path) for path in sorted(glob.glob(pattern))]


def _has_labels(name: str) -> bool:
    try:
        return bool(prompts.labels(name))
    except PromptError:
        return False


def _complete(names: list[str], incomplete: str) -> list[CompletionItem]:
    start = incomplete.lower()
    found = [CompletionItem(name) for name in names if name.lower().startswith(start)]
    return found or [CompletionItem(incomplete, type="file")]
