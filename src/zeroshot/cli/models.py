"""`zeroshot models`: list the checkpoints of the catalog."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from typing import Any

import click

from zeroshot import catalog
from zeroshot.catalog import Entry
from zeroshot.cli.completion import complete_models
from zeroshot.errors import ModelNotFound, shortened

HEADER = ("name", "size", "px", "top-1", "speed", "license", "text")
RIGHT = (1, 2, 3)  # columns of numbers
UNITS = {"kB": 1e-3, "MB": 1.0, "GB": 1e3}  # megabytes
SHORT_LICENSES = {"CC-BY-NC-4.0": "CC-BY-NC"}
SHORT_LANGUAGES = {"English": "en", "Chinese": "zh"}  # others: several languages
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
    "siglip2-base",
    "siglip2-so400m",
    "PE-Core-S",
    "PE-Core-B",
    "PE-Core-L",
    "PE-Core-G",
    "metaclip2",
    "MobileCLIP2-S2",
)


class Size(click.ParamType[float]):
    """A size such as 500MB, in megabytes."""

    name = "size"

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return a size in megabytes."""
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(kB|MB|GB)", value.strip(), re.IGNORECASE)
        if found is None:
            self.fail(
                f"expected a number with kB, MB or GB, such as 500MB or 1.5GB, got "
                f"{shortened(repr(value))}",
                param,
                ctx,
            )
        return (
            float(found[1]) * {unit.lower(): size for unit, size in UNITS.items()}[found[2].lower()]
        )


@click.command("models", short_help="List recommended or all models, or describe one.")
@click.argument("name", required=False, shell_complete=complete_models)
@click.option("-a", "--all", "everything", is_flag=True, help="All models of the catalog.")
@click.option("--family", type=click.Choice(catalog.FAMILIES), help="Only models of this family.")
@click.option("--max-params", type=float, metavar="M", help="At most this many million parameters.")
@click.option(
    "--max-size",
    type=Size(),
    metavar="SIZE",
    help="At most this download, such as 500MB or 2GB.",
)
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
@click.option(
    "--multilingual", is_flag=True, help="Only models for texts in other languages than English."
)
@click.option(
    "--license",
    "usage",
    type=click.Choice(["any", "commercial", "research"]),
    help="Only models whose license permits commercial use, or only those for research or "
    "non-commercial use.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list with all fields.")
def command(
    name: str | None,
    everything: bool,
    family: str | None,
    max_params: float | None,
    max_size: float | None,
    min_accuracy: float | None,
    search: str | None,
    multilingual: bool,
    usage: str | None,
    as_json: bool,
) -> None:
    """List recommended models, the whole catalog, or all fields of one model.

    Without a filter only recommended models are listed; --all lists all of them. "size" is that of
    the download, estimated at 4 bytes per parameter where it is not known, or "cached". "px" is the
    side of the input images. "top-1" is the published zero-shot accuracy on ImageNet in percent.
    "speed" is a class by cost per image: "fastest" is the class of ViT-B/32; a GPU is recommended
    for "slow" and "slowest". The licenses Apple and CC-BY-NC do not permit commercial use. "text"
    is the language of labels: "en" English, "zh" Chinese, "many" several.
    """
    chosen = [_find(name)] if name else list(catalog.entries().values())
    filters = (family, max_params, max_size, min_accuracy, search, usage)
    filtered = as_json or multilingual or any(value is not None for value in filters)
    short = not (name or everything or filtered)
    if short:
        chosen = [replace(catalog.find(name), name=name) for name in RECOMMENDED]
    chosen = [
        entry
        for entry in chosen
        if (family is None or entry.family == family)
        and (max_params is None or (entry.parameters or 0.0) <= max_params)
        and (max_size is None or _is_at_most(entry.megabytes, max_size))
        and (min_accuracy is None or (entry.accuracy or 0.0) >= min_accuracy)
        and (search is None or _normalize(search) in _search_text(entry))
        and (not multilingual or entry.multilingual)
        and (usage in (None, "any") or entry.usage == usage)
    ]
    if as_json:
        click.echo(json.dumps([_fields(entry) for entry in chosen], indent=2))
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
            click.echo(f"no model matches; {_advice(search)}", err=True)


def _is_at_most(megabytes: float | None, limit: float) -> bool:
    """Return whether a size is known and within a limit."""
    return megabytes is not None and megabytes <= limit


def _advice(search: str | None) -> str:
    """Say what to do if no model matches."""
    if search and (kind := catalog.unsupported(search)):
        return f"{kind} is not supported; try {catalog.alternative(search)!r}"
    return "remove a filter"


def _fields(entry: Entry) -> dict[str, Any]:
    """Return all fields of a model, and those that follow from them."""
    derived = ("speed", "megabytes", "multilingual", "usage", "restriction", "extra")
    return asdict(entry) | {name: getattr(entry, name) for name in derived}


def _find(name: str) -> Entry:
    """Return the entry of a name; point to the list if no entry is similar."""
    try:
        return catalog.find(name)
    except ModelNotFound as error:
        said = (catalog.unsupported, catalog.in_other_format, catalog.family_of)
        if any(each(name) for each in (*said, catalog.architecture, catalog.nearest)):
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
    notes += [f"{entry.name}: the default" for entry in chosen if entry.name == catalog.DEFAULT]
    more = (
        "run `zeroshot models NAME` for all fields of one model, such as its repository"
        if chosen
        else ""
    )
    return "\n".join([*lines, *(["", *notes] if notes else []), *([more] if more else [])])


def _row(entry: Entry) -> tuple[str, ...]:
    return (
        entry.name,
        "package" if entry.path else "cached" if _is_cached(entry) else _download_size(entry),
        str(entry.image_size),
        "-" if entry.accuracy is None else f"{entry.accuracy:.1f}%",
        entry.speed or "-",
        SHORT_LICENSES.get(entry.license, entry.license) or "not stated",
        SHORT_LANGUAGES.get(entry.languages, "many"),
    )


def _download_size(entry: Entry) -> str:
    """Return about how much is downloaded."""
    megabytes = entry.megabytes
    if megabytes is None:
        return "?"
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"


def _is_cached(entry: Entry) -> bool:
    """Return whether loading the name needs no download; a mirror is another repository."""
    from zeroshot.hub.inspection import cached_checkpoints

    return any(
        (found.repository == entry.repository and found.commits and not found.broken)
        or found.is_archive
        for found in cached_checkpoints(entry)
    )


UNLESS_SOURCED = ("activation", "preprocess")


def _facts(entry: Entry) -> str:
    facts: dict[str, Any] = {}
    for key, value in asdict(entry).items():
        if value in ("", None, (), {}):
            continue
        facts[key] = value
        if key == "license" and entry.restriction:
            facts[key] = f"{value}, permits {entry.restriction}"
        if key in UNLESS_SOURCED and entry.repository and not getattr(entry, f"{key}_source"):
            facts[key] = f"{_text(value)}, unless its config says otherwise"
        if key == "tokenizer":
            facts[key] = f"{value}, requires pip install 'zeroshot-clip[{entry.extra}]'"
    facts |= {"speed": entry.speed} if entry.speed else {}
    facts |= {"download": _download_size(entry)} if entry.megabytes else {}
    width = max(map(len, facts))
    return "\n".join(f"{key:<{width}}  {_text(value)}" for key, value in facts.items())


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(each)}" for key, each in value.items())
    return str(value)
