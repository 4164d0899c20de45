"""`zeroshot models`: list the checkpoints of the catalog."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import click

from zeroshot import catalog
from zeroshot.catalog import Entry
from zeroshot.cli.completion import complete_models
from zeroshot.errors import ModelNotFound

HEADER = ("name", "params", "size", "pixels", "ImageNet", "speed", "license", "where")
RIGHT = (1, 2, 3, 4)  # columns of numbers
BYTES = 4  # per parameter: published weights are float32
RECOMMENDED = (  # the models of docs/weights.md, "How to choose"
    "mini",
    "ViT-B/32",
    "ViT-B/16",
    "ViT-L/14@336px",
    "ViT-B/32:datacomp",
    "ViT-B-32-256:datacomp",
    "ViT-B/16:datacomp",
    "ViT-L/14:datacomp",
    "ViT-bigG-14:laion2b",
    "ViT-H-14-378:dfn",
    "TinyCLIP-40M/32",
    "TinyCLIP-8M/16",
)


REMOVE = "remove a filter"


@click.command("models", short_help="List recommended or all models, or describe one.")
@click.argument("name", required=False, shell_complete=complete_models)
@click.option("-a", "--all", "everything", is_flag=True, help="All models of the catalog.")
@click.option("--family", type=click.Choice(catalog.FAMILIES), help="Only models of this family.")
@click.option("--max-params", type=float, metavar="M", help="At most this many million parameters.")
@click.option(
    "--min-accuracy",
    type=float,
    metavar="%",
    help="At least this ImageNet top-1 accuracy, in percent.",
)
@click.option(
    "--search",
    metavar="TEXT",
    help="Only models with TEXT in the name, an alias or the repository.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list with all fields.")
def command(
    name: str | None,
    everything: bool,
    family: str | None,
    max_params: float | None,
    min_accuracy: float | None,
    search: str | None,
    as_json: bool,
) -> None:
    """List recommended models, the whole catalog, or all fields of one model.

    Without a filter only recommended models are listed; --all lists all of them. "params" is in
    millions, for image and text encoder together. "size" is that of the download, estimated at 4
    bytes per parameter. "ImageNet" is the published zero-shot top-1 accuracy in percent. "speed" is
    a class by cost per image: "fastest" is the class of ViT-B/32; a GPU is recommended for "slow"
    and "slowest". "where" is the owner of the repository on the Hugging Face Hub.
    """
    chosen = [_find(name)] if name else list(catalog.entries().values())
    filtered = as_json or any(f is not None for f in (family, max_params, min_accuracy, search))
    short = not (name or everything or filtered)
    if short:
        chosen = [replace(catalog.find(name), name=name) for name in RECOMMENDED]
    chosen = [
        entry
        for entry in chosen
        if (family is None or entry.family == family)
        and (max_params is None or (entry.parameters or 0.0) <= max_params)
        and (min_accuracy is None or (entry.accuracy or 0.0) >= min_accuracy)
        and (search is None or _normalize(search) in _search_text(entry))
    ]
    if as_json:
        click.echo(json.dumps([asdict(e) | {"speed": e.speed} for e in chosen], indent=2))
    elif name:
        for entry in chosen:
            click.echo(_facts(entry))
    else:
        click.echo(_table(chosen))
        if short:
            total = len(catalog.entries())
            click.echo(
                f"{len(chosen)} recommended models; `zeroshot models --all` lists all {total}"
            )
        if not chosen:
            like = catalog.repository_like(search or "")
            advice = f"load such a model by repository, as in {like!r}" if like else REMOVE
            click.echo(f"no model matches; {advice}", err=True)


def _find(name: str) -> Entry:
    """Return the entry of a name; point to the list if no entry is similar."""
    try:
        return catalog.find(name)
    except ModelNotFound as error:
        says_family = catalog.unsupported(name) or catalog.repository_like(name)
        if says_family or catalog.architecture(name) or catalog.nearest(name):
            raise
        raise ModelNotFound(
            f"{name!r} is not in the catalog; to list its names, run `zeroshot models`"
        ) from error


def _search_text(entry: Entry) -> str:
    repositories = (entry.repository, *entry.mirrors)
    names = (entry.name, entry.architecture, *entry.aliases, *repositories)
    return " ".join(map(_normalize, names))


def _normalize(text: str) -> str:
    """Keep the lowercase letters and digits, as in the comparison of names."""
    return "".join(letter for letter in text.lower() if letter.isalnum())


def _table(chosen: list[Entry]) -> str:
    rows = [HEADER, *map(_row, chosen)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
    lines = [
        "  ".join(
            cell.rjust(width) if i in RIGHT else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    notes = [f"{entry.name}: {entry.note}" for entry in chosen if entry.note]
    more = (
        "run `zeroshot models NAME` for all fields of one model, such as its repository"
        if chosen
        else ""
    )
    return "\n".join([*lines, *(["", *notes] if notes else []), *([more] if more else [])])


def _row(entry: Entry) -> tuple[str, ...]:
    owner = entry.repository.partition("/")[0]
    return (
        entry.name,
        "-" if entry.parameters is None else f"{entry.parameters:.0f} M",
        _download_size(entry),
        str(entry.image_size),
        "-" if entry.accuracy is None else f"{entry.accuracy:.1f}%",
        entry.speed or "-",
        entry.license or "not stated",
        ", ".join([owner or "package", *_marks(entry)]),
    )


def _download_size(entry: Entry) -> str:
    """Return about how much is downloaded."""
    if entry.path is not None:
        return "-"
    megabytes = (entry.parameters or 0.0) * BYTES
    if not megabytes:
        return "?"
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"


def _marks(entry: Entry) -> list[str]:
    from zeroshot.hub.inspection import cached_checkpoints

    cached = entry.repository and any(
        (found.commits and not found.broken) or found.is_archive
        for found in cached_checkpoints(entry)
    )
    default = entry.name == catalog.DEFAULT
    return [*(["default"] if default else []), *(["cached"] if cached else [])]


def _facts(entry: Entry) -> str:
    facts = {key: value for key, value in asdict(entry).items() if value not in ("", None, (), {})}
    facts |= {"speed": entry.speed} if entry.speed else {}
    width = max(map(len, facts))
    return "\n".join(f"{key:<{width}}  {_text(value)}" for key, value in facts.items())


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(each)}" for key, each in value.items())
    return str(value)
