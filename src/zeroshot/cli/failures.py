"""The package's errors as one line on stderr and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from zeroshot import errors

SOME_FAILED = 3  # some images could not be read
NO_MODEL = 4
CANNOT_WRITE = 74  # EX_IOERR of sysexits.h
INTERRUPTED = 130  # 128 + SIGINT, as shells count


@contextmanager
def reported() -> Iterator[None]:
    """End the process with a message and the right code when zeroshot raises."""
    try:
        yield
    except errors.InputError as error:
        raise click.UsageError(str(error)) from error
    except (
        errors.ModelNotFound,
        errors.WeightsError,
        errors.DownloadError,
        errors.HeadMismatch,
    ) as error:
        fail(str(error), NO_MODEL)
    except errors.ImageError as error:
        fail(str(error), SOME_FAILED)
    except errors.ZeroshotError as error:
        fail(str(error), 1)
    except KeyboardInterrupt:
        fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader (head, less) has gone: stop quietly, and let nothing flush into the pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except OSError as error:
        if error.filename is None:
            raise
        fail(f"{error.filename}: {error.strerror}", CANNOT_WRITE)


def fail(message: str, code: int) -> None:
    """Say what went wrong and end with this code."""
    click.echo(f"Error: {message}", err=True)
    raise SystemExit(code)
