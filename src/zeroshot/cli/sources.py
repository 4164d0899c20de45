"""Parse the images, sentences and labels of a command line."""

from __future__ import annotations

import csv
import glob
import io
import json
import os
import re
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from typing import TYPE_CHECKING, BinaryIO

import click

from zeroshot import label_files, prompts
from zeroshot.cli.messages import note
from zeroshot.errors import ImageError, InputError, shortened
from zeroshot.labeling.sources import Skipped, expand, read_image, read_list, read_start, walk
from zeroshot.progress import is_interactive
from zeroshot.prompts import Labels

if TYPE_CHECKING:
    from zeroshot.images import Sample
    from zeroshot.predictions import Failure

STDIN = "<stdin>"  # name of an image on standard input
WRAPPED = 80  # bytes of a line of base64; programs wrap it at 64 or 76 characters


def images(
    arguments: Sequence[str],
    skipped: Skipped | None = None,
    *,
    null: bool = False,
    listed: bool = False,
) -> Iterable[str | Sample]:
    """Return image paths, URLs and images in pipes; - reads an image or paths from standard input.

    Files in folders that are not images are added to `skipped`. With `null`, standard input
    contains paths separated by NUL. With `listed`, the result is a list on a terminal or in a
    notebook: its length gives the time left. Standard input is never listed, because it may not
    end. Raises ImageError for an image in a pipe that is too large.
    """
    found = _images(arguments, skipped, null)
    return list(found) if listed and is_interactive() and "-" not in arguments else found


def _images(
    arguments: Sequence[str], skipped: Skipped | None, null: bool
) -> Iterator[str | Sample]:
    for argument in arguments:
        if argument == "-":
            yield from _read_stdin_images(skipped, null=null)
        elif _is_pipe(argument):
            with open(argument, "rb") as file:
                yield read_image(file, argument)
        else:
            yield from expand(argument, skipped)


def _read_stdin_images(skipped: Skipped | None, *, null: bool) -> Iterator[str | Sample]:
    """Yield the image on standard input, or the images of the paths there."""
    from zeroshot.images.formats import is_file_content
    from zeroshot.images.inputs import is_base64_image

    file = _stdin("image paths, one per line")
    start = b"" if null else read_start(file)
    if not null and not start.endswith(b"\n") and not is_file_content(start):
        start += file.readline()
    # base64 is wrapped into short lines; a long line is one image of a list
    line = start.partition(b"\n")[0]
    is_base64 = len(line) <= WRAPPED and is_base64_image(line)
    if is_base64 or is_file_content(start):
        yield read_image(file, STDIN, start)
        return
    paths = read_list(file, start=start, null=null, encoding=sys.stdin.encoding or "utf-8")
    yield from walk(paths, skipped)


def check_images(arguments: Sequence[str]) -> None:
    """Reject lists of image paths, such as list.txt or @list.txt, if there is nothing else."""
    paths = [argument.removeprefix("@") for argument in arguments]
    if all(map(_is_text_file, paths)):
        raise click.UsageError(
            f"expected images, got the text file {shortened(arguments[0])!r}; if it lists image "
            f"paths, pass - and redirect the file: - < {shortened(paths[0])}"
        )


def _is_text_file(path: str) -> bool:
    """Return whether a path is an existing .txt or .lst file, and not an image."""
    from zeroshot.images.formats import HEAD, is_image_head

    if not path.lower().endswith((".txt", ".lst")) or not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as file:
            return not is_image_head(file.read(HEAD))
    except OSError:
        return False


def missing(arguments: Sequence[str]) -> list[Failure]:
    """Return a failure for each image if none of them exists, else [].

    This needs no model, so a misspelled path is reported before a model is downloaded. URLs,
    patterns and - are not checked.
    """
    if any(map(_may_exist, arguments)):
        return []
    from zeroshot.images import open_image
    from zeroshot.predictions import Failure

    failures = []
    for argument in arguments:
        try:
            open_image(argument)
        except ImageError as error:
            failures.append(Failure(argument, error))
    return failures


def _may_exist(argument: str) -> bool:
    """Return whether an argument is an existing file or folder, or no path."""
    from zeroshot.images.inputs import name_of_text

    if argument == "-" or "://" in argument or glob.has_magic(argument):
        return True
    return os.path.exists(argument) or name_of_text(argument) is not None


def _is_pipe(argument: str) -> bool:
    """Return whether an argument is a pipe, such as /dev/stdin or <(command) of a shell."""
    try:
        return stat.S_ISFIFO(os.stat(argument).st_mode)
    except (OSError, ValueError):
        return False


def sentences(arguments: Iterable[str]) -> Iterator[str]:
    """Yield sentences; the argument - reads them from standard input, one per line."""
    for argument in arguments:
        if argument == "-":
            lines = _read_stdin("sentences").replace("\r\n", "\n").split("\n")
            yield from (line for line in lines if line.strip())
        else:
            yield argument


def label_set(given: Sequence[str]) -> str | None:
    """Return the name of the packaged label set if it is the only value of --labels, or None."""
    name = given[0].removeprefix("@") if len(given) == 1 else ""
    return name if name in prompts.available() else None


def labels(given: Sequence[str], option: str = "--labels ") -> dict[str, list[str]]:
    """Read the values of --labels, or of another option, and join them.

    A value is "a,b,c" (quoted as in CSV), a JSON list, the name of a label set, a file, or - for
    standard input. A leading @ marks a set or a file. Raises UsageError for a single label.
    """
    pairs: list[tuple[str, Sequence[str]]] = []
    for text in given:
        if not text.strip():
            raise click.UsageError(f"expected labels, got {option}{text!r}; try 'dog,cat'")
        pairs += prompts.named(_read_value(text)).items()
    if len(pairs) == 1 and len(given) == 1 and pairs[0][0] == given[0].strip():
        more = ", or repeat the option" if option == "--labels " else ""
        raise _single_label(given[0].strip(), option, more)
    if len(pairs) == 1 and (given[0] == "-" or prompts.is_file(_path_of(given[0]))):
        _check_single(pairs[0][0], "standard input" if given[0] == "-" else given[0])
    prompts.named([label for label, _ in pairs])  # rejects a label given twice
    return {label: list(names) for label, names in pairs}


def unchecked_labels(text: str) -> Labels:
    """Read labels as `labels` reads a value, without rejecting any label.

    Raises UsageError for a single label.
    """
    found = _read_value(text, prompts.read_labels)
    if found == [text.strip()]:
        raise _single_label(text.strip())
    return found


def _single_label(name: str, option: str = "", more: str = "") -> click.UsageError:
    """Return the error for one label, which is probably a misspelled label set."""
    near = get_close_matches(name, prompts.available(), n=1)
    hint = f"did you mean the label set {near[0]!r}?" if near else "no such label set."
    return click.UsageError(
        f"expected several labels, got {option}{shortened(name)!r}; {hint} Separate labels by "
        f"commas{more}"
    )


def _check_single(label: str, where: str) -> None:
    """Reject a list in one line, which would be the only label of every image."""
    if re.search(r"[,;|\t]|^[\[{]", label):
        raise click.UsageError(
            f"expected several labels, got only {shortened(repr(label))} in {where}; write one "
            "label per line"
        )


def _path_of(text: str) -> str:
    """Return the path that a value of --labels may be."""
    return os.path.expanduser(text.removeprefix("@"))


def _read_value(text: str, read: Callable[[str], Labels] = prompts.labels) -> Labels:
    """Return the labels of one --labels value; `read` reads a file or a set."""
    if text == "-":
        return _read_stdin_labels()
    marked, name, path = text.startswith("@"), text.removeprefix("@"), _path_of(text)
    if prompts.is_file(path):
        return read(path)
    if label_set([text]):
        return read(name)
    if "," not in name and (marked or _looks_like_a_file(name)):
        raise click.UsageError(_missing_message(path))
    if text.lstrip().startswith(("[", "{")):
        return _read_json(text)
    listed = _split(text)
    for part in listed if len(listed) > 1 else ():
        is_set = label_set([part]) is not None
        if is_set or part.startswith("@") or label_files.has_suffix(part):
            kind = "label set" if is_set else "file"
            raise click.UsageError(
                f"expected labels separated by commas, got the {kind} {shortened(part)!r} among "
                f"them; give it in an option of its own: --labels {shortened(part)}"
            )
    return listed


def _read_stdin_labels() -> list[str]:
    """Return the labels on standard input, one per line."""
    text = _read_stdin("labels")
    with suppress(ValueError, RecursionError):
        if isinstance(json.loads(text), list | Mapping):
            raise click.UsageError(
                "expected one label per line on standard input, got JSON; save it to a .json file, "
                "and give that to --labels"
            )
    listed = label_files.parse_lines(text)
    if not listed:
        raise click.UsageError("no labels found on standard input; expected one per line")
    return listed


def _split(text: str) -> list[str]:
    """Split text at commas and line breaks, as in CSV: double quotes enclose a comma."""
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise click.UsageError(
            f"cannot split --labels {shortened(text)!r} ({error}); put a label with a comma in "
            "double quotes, or use a label file with one label per line"
        ) from error
    return [part.strip() for row in rows for part in row if part.strip()]


def _read_json(text: str) -> Labels:
    """Return the labels of a JSON list, or of an object from labels to names."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(
            f"{shortened(text)!r} starts like JSON and is malformed ({error}); expected "
            """'["cat", "dog"]' or 'cat,dog'"""
        ) from error
    if not isinstance(content, list | Mapping):
        raise click.UsageError(f"expected a JSON list of labels, got {shortened(text)!r}")
    return content


def _looks_like_a_file(name: str) -> bool:
    """Return whether text that is not a file was meant as one."""
    if "," in name or "\n" in name:
        return False
    folder = os.path.dirname(name)
    return (
        label_files.has_suffix(name)
        or name.startswith(("/", "./", "../", "~"))
        or (bool(folder) and os.path.isdir(folder))
    )


def _missing_message(path: str) -> str:
    """Describe a label file that does not exist, with similar names in its folder."""
    if os.path.isdir(path):
        return f"expected a label file, got the folder {shortened(path, 200)}; give a file in it"
    folder = os.path.dirname(path)
    try:
        names = os.listdir(folder or ".")
    except (OSError, ValueError):
        return (
            f"no such label file: {shortened(path, 200)}; the folder "
            f"{shortened(folder, 200)} does not exist or cannot be read"
        )
    sets = [] if folder else prompts.available()
    near = get_close_matches(os.path.basename(path), [*names, *sets], n=3)
    hint = (
        f"did you mean {' or '.join(os.path.join(folder, each) for each in near)}?"
        if near
        else f"check the path; the folder is {shortened(os.path.abspath(folder), 200)}"
    )
    return f"no such label file: {shortened(path, 200)}; {hint}"


def _stdin(what: str) -> BinaryIO:
    """Return standard input; on a terminal, print what is read from it."""
    if sys.stdin is None:  # the process was started without one
        raise InputError("expected data on standard input for -, which is closed; pass a file")
    if sys.stdin.isatty():
        note(f"reading {what}, from the terminal; end with Ctrl-D")
    return sys.stdin.buffer


def _read_stdin(what: str) -> str:
    """Read all text of standard input."""
    try:
        return label_files.decode(_stdin(f"{what}, one per line").read())
    except UnicodeDecodeError as error:
        raise InputError(
            f"expected {what} on standard input, one per line, in UTF-8, got other bytes "
            f"({error.reason}); convert them to UTF-8"
        ) from error
