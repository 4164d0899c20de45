"""Write the options of a command where an error names arguments of Python."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import click

from zeroshot.errors import ZeroshotError, fitted

VALUE = r"'[^']*'|\"[^\"]*\"|\[[^\]]*\]|[\w.%/-]*\w%?|"
FUNCTION = re.compile(r"`?\bzeroshot\.(label|relabel|merge|find)\b(?!\()`?")


@contextmanager
def named_options() -> Iterator[None]:
    """Let the errors of this block name options, such as `--force` for `force=True`."""
    try:
        yield
    except ZeroshotError as error:
        if error.args == (str(error),):  # errors with a file have other arguments
            error.args = (fitted(with_options(str(error))),)
            if isinstance(error, ImportError):  # which prints its `msg`
                error.msg = error.args[0]
        raise


def with_options(message: str) -> str:
    """Replace arguments of Python by options of the current command, or of `zeroshot label`.

    Example: `max_errors=5` becomes `--max-errors 5`.
    """
    names = _option_names()
    words = "|".join(sorted(names, key=len, reverse=True))
    message = FUNCTION.sub(r"`zeroshot \1`", message)
    message = re.sub(
        rf"(?<![\w./-])({words})=({VALUE})", lambda found: _option(names, *found.groups()), message
    )
    # The start of a message, up to the first colon, may be a path with the name of an argument.
    plain = "|".join(name for name in names if "_" in name)
    pattern = rf"^(?:{words})(?=: )|(?<![\w./'-])({plain})(?![\w./'=-])"
    return re.sub(pattern, lambda found: names[found[1]] if found[1] else found[0], message)


def _option_names() -> Mapping[str, str]:
    """Return the options by the name of their argument; the name of an argument in capitals."""
    context = click.get_current_context()
    group = context.find_root().command
    label = group.commands.get("label") if isinstance(group, click.Group) else None
    found: dict[str, str] = {}
    for command in (label, context.command):
        for each in () if command is None else command.params:
            if isinstance(each, click.Option):
                found[str(each.name)] = next(o for o in each.opts if o.startswith("--"))
            else:
                found[str(each.name)] = str(each.name).upper()
    found["format"] = found.pop("form", "--format")
    return found


def _option(names: Mapping[str, str], name: str, value: str) -> str:
    """Return an option with a value that was written as in Python."""
    if value in ("True", ""):
        return names[name]
    if value.startswith("["):
        value = ",".join(re.findall(r"['\"]([^'\"]*)['\"]", value))
    return f"{names[name]} {shlex.quote(value.strip(chr(39) + chr(34)))}"
