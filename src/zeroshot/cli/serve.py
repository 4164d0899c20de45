"""`zeroshot serve`: classification over HTTP, and as a page."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from zeroshot import prompts
from zeroshot.cli import sources
from zeroshot.cli.heads import choose_model
from zeroshot.cli.options import ModelChoice, model_options
from zeroshot.errors import shortened

KEY_VARIABLE = "ZEROSHOT_API_KEY"
BYTES = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3}


class Size(click.ParamType[int]):
    """A number of bytes such as 20M."""

    name = "size"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return a number of bytes."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d{1,12})\s?([KMG]?)B?", value.strip(), re.IGNORECASE)
        if found is None:
            self.fail(f"expected bytes such as 500K or 20M, got {shortened(repr(value))}")
        return int(found[1]) * BYTES[found[2].upper()]


@click.command("serve")
@click.option(
    "--head",
    "heads",
    multiple=True,
    metavar="NAME=FILE|LABELS",
    help="A head that requests can name: a saved head, or labels such as pets='dog,cat', a label "
    "set or a file. Can be repeated.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, help="Port to listen on; 0 for any.")
@click.option(
    "--api-key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"File with the key that requests must send; by default the variable {KEY_VARIABLE}.",
)
@click.option("--insecure", is_flag=True, help="Accept requests from other machines without a key.")
@click.option(
    "--max-queue",
    default=256,
    show_default=True,
    help="Maximum requests in progress, and images in the queue.",
)
@click.option(
    "--max-batch",
    default=32,
    show_default=True,
    help="Maximum images taken from the queue at once.",
)
@click.option(
    "--deadline",
    default=10.0,
    show_default=True,
    help="Seconds to receive a request, then to answer it.",
)
@click.option(
    "--drain", default=20.0, show_default=True, help="Seconds to finish requests after SIGTERM."
)
@click.option(
    "--max-body",
    type=Size(),
    default="20M",
    show_default=True,
    help="Maximum bytes of a request.",
)
@click.option("--max-images", default=64, show_default=True, help="Maximum images of a request.")
@click.option("--max-labels", default=1000, show_default=True, help="Maximum labels of a request.")
@click.option("--no-labels", is_flag=True, help="Accept named heads only, no labels.")
@click.option("--no-page", is_flag=True, help="Disable the page for people.")
@click.option(
    "--allow-urls", is_flag=True, help="Download images whose http(s) URL a request contains."
)
@click.option(
    "--url-host", "url_hosts", multiple=True, help="Allow URLs of this host only. Can be repeated."
)
@model_options
def command(
    heads: tuple[str, ...],
    api_key_file: Path | None,
    no_labels: bool,
    no_page: bool,
    choice: ModelChoice,
    **options: Any,
) -> None:
    """Serve classification over HTTP, for programs and as a page.

    POST an image to /v1/classify?labels=dog,cat; open the address in a browser for the page. The
    log is one JSON object per line on standard error. SIGTERM finishes the requests in progress.
    """
    from zeroshot.serving.server import check_packages, run
    from zeroshot.serving.settings import Settings

    check_packages()
    key = _read_key(api_key_file)
    named: dict[str, Any] = {}
    for text in heads:
        name, source = _parse_head(text)
        if name in named:
            raise click.UsageError(f"expected different --head names, got {shortened(name)} twice")
        named[name], choice = _open_head(name, source, choice)
    settings = Settings(
        model=choice.model,
        heads=named,
        api_key=key,
        allow_labels=not no_labels,
        page=not no_page,
        max_pixels=choice.max_pixels or Settings.max_pixels,
        **options,
    )
    raise SystemExit(run(settings, replace(choice, max_pixels=settings.max_pixels).load))


def _read_key(path: Path | None) -> str | None:
    """Return the key of a file or of the environment. It is no option: `ps` shows those."""
    if path is None:
        return os.environ.get(KEY_VARIABLE, "").strip() or None
    try:
        key = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"cannot read --api-key-file {path}: {error}") from error
    if not key:
        raise click.UsageError(f"expected a key in --api-key-file {path}, got an empty file")
    return key


def _parse_head(text: str) -> tuple[str, str]:
    name, equals, source = text.partition("=")
    if not (name and equals and source.strip()):
        raise click.UsageError(
            f"expected --head NAME=FILE or NAME=LABELS, got {shortened(repr(text))}; try "
            "--head pets='dog,cat'"
        )
    return name, source


def _open_head(name: str, source: str, choice: ModelChoice) -> tuple[Any, ModelChoice]:
    """Return a saved head or the labels of a head, and the choice of its model."""
    from zeroshot.serving.settings import NamedLabels

    if source.lower().endswith(".safetensors"):
        if not prompts.is_file(source):
            raise click.UsageError(f"--head {name}: no such head file: {shortened(source)}")
        from zeroshot.head import Head

        head = Head.load(source)
        before = choice
        choice = choose_model(head, source, choice)
        return head, replace(choice, is_default=before.is_default and choice == before)
    if source == "-":
        raise click.UsageError(f"expected labels or a file for --head {name}, got -; use a file")
    label_set = sources.label_set((source,))
    found = sources.labels((source,), f"--head {name}=")
    return NamedLabels(found, label_set or "photo"), choice
