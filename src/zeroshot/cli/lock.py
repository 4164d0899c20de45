"""`zeroshot lock`: pin the files of models to commits and hashes."""

from __future__ import annotations

from pathlib import Path

import click

from zeroshot.cli.completion import complete_models
from zeroshot.cli.counts import counted
from zeroshot.errors import InputError
from zeroshot.files import format_bytes


@click.command("lock", short_help="Write a lock file with commits and hashes of models.")
@click.argument(
    "names", nargs=-1, required=True, metavar="NAMES...", shell_complete=complete_models
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default="zeroshot.lock",
    show_default=True,
    help="The file to write. Only an existing lock file is replaced.",
)
@click.option(
    "--revision",
    help="A branch, tag or commit, for a single name; by default the latest commit.",
)
@click.option("--offline", is_flag=True, help="Use only cached files, without network access.")
def command(names: tuple[str, ...], output: Path, revision: str | None, offline: bool) -> None:
    """Download models and write a lock file with their commits and hashes.

    zeroshot.load(NAME, lock="zeroshot.lock") then loads exactly these files, or fails.
    """
    from zeroshot import hub
    from zeroshot.checkpoint.reader import check_configs

    if revision and len(names) > 1:
        raise click.UsageError(
            f"--revision requires a single name, got {len(names)}; lock them one by one"
        )
    if output.exists():
        try:
            hub.read_lock(output)
        except InputError as error:
            raise click.UsageError(
                f"{output} exists and is not a lock file; use another file name for --output"
            ) from error
    pins = [
        hub.pin(name, revision=revision, offline=offline, judge=check_configs)
        for name in dict.fromkeys(names)
    ]
    hub.write_lock(output, pins)
    for pinned in pins:
        size = format_bytes(sum(file.size for file in pinned.files))
        click.echo(
            f"{pinned.name}  {pinned.repository or 'in the package'}"
            f"{'@' + pinned.commit[:12] if pinned.commit else ''}  "
            f"{counted(len(pinned.files), 'file')}, {size}"
        )
    click.echo(f"wrote {output}", err=True)
