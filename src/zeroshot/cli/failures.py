"""Report zeroshot errors as one line on stderr and an exit code."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from zeroshot import errors
from zeroshot.cli.messages import escaped

SOME_FAILED = 3  # some images could not be read
NO_MODEL = 4
CANNOT_WRITE = 74  # EX_IOERR of sysexits.h
OUTPUT_FAILED = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG)
USAGE_LIMIT = 500  # characters; click adds the name of the option
INTERRUPTED = 130  # 128 + SIGINT, as in shells


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Convert exceptions of zeroshot and click to a short message and an exit code."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:  # its message is the help text
        raise
    except click.ClickException as error:
        error.message = escaped(errors.fitted(error.message, USAGE_LIMIT))  # type: ignore[misc]
        raise
    except errors.InputError as error:
        raise click.UsageError(escaped(str(error))) from error
    except (
        errors.ModelNotFound,
        errors.WeightsError,
        errors.DownloadError,
        errors.HeadMismatch,
        errors.HeadNotFound,
    ) as error:
        fail(str(error), NO_MODEL)
    except errors.SaveError as error:
        fail(str(error), CANNOT_WRITE)
    except errors.ImageError as error:
        fail(str(error), SOME_FAILED)
    except errors.ZeroshotError as error:
        fail(str(error), 1)
    except KeyboardInterrupt:
        fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader, such as `head` or `less`, closed the pipe: exit without a message.
        _discard_output()
        raise SystemExit(0) from None
    except OSError as error:
        if error.filename is None and error.errno not in OUTPUT_FAILED:
            raise
        if error.filename is None:
            _discard_output()
        fail(f"{error.filename or 'standard output'}: {error.strerror}", CANNOT_WRITE)


def in_options(message: str, command: click.Command) -> str:
    """Return the message of a Python function in words of its command: `top=0` as `--top 0`."""
    words: dict[str, str] = {}
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            words[str(parameter.name)] = str(parameter.name).upper()
        for option in (o for o in parameter.opts if o.startswith("--")):
            words.setdefault(str(parameter.name), option)
            words.setdefault(option[2:].replace("-", "_"), option)
    names = "|".join(sorted(words, key=len, reverse=True))

    def replace(found: re.Match[str]) -> str:
        value = found["value"] or ""
        if value.startswith("["):
            value = ",".join(re.findall(r"'([^']*)'", value))
        return f"{words[found['name']]} {value}".rstrip()

    start = r"(?<![\w/.='\"-])"
    given = rf"{start}(?P<name>{names})=(?:True\b|(?P<value>'[^']*'|\[[^]]*\]|[^\s;,)]+))"
    message = re.sub(given, replace, message)
    # a name alone, where it cannot be another word or a path at the start of the message
    alone = rf"^(?:{names})(?=: )|(?<=expected )({names})(?= as )|\b(\w+_\w+)\b(?!\.)"
    return re.sub(alone, lambda found: words.get(found[1] or found[2], found[0]), message)


def _discard_output() -> None:
    """Redirect standard output to the null device, so that a later flush succeeds."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fail(message: str, code: int) -> None:
    """Print an error message and exit with this code."""
    click.echo(escaped(f"Error: {errors.fitted(message)}"), err=True)
    raise SystemExit(code)
