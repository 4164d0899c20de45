"""`zeroshot lock`: write down which files a name stands for, so that they never change."""

from __future__ import annotations

from pathlib import Path

import click

from zeroshot.errors import InputError


@click.command("lock")
@click.argument("names", nargs=-1, required=True, metavar="NAMES...")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("zeroshot.lock"),
    show_default=True,
    help="The file to write; replaces a lock file only.",
)
@click.option(
    "--revision",
    help="A branch, tag or commit to lock, for a single name; the latest by default.",
)
@click.option("--offline", is_flag=True, help="Use cached files only, never the network.")
def command(names: tuple[str, ...], output: Path, revision: str | None, offline: bool) -> None:
    """Fetch models and write commit, size and sha256 of their files.

    zeroshot.load(NAME, lock="zeroshot.lock") then loads exactly these, or fails.
    """
    from zeroshot import hub

    if revision and len(names) > 1:
        raise click.UsageError("--revision goes with a single name, as commits belong to one")
    if output.exists():
        try:
            hub.read_lock(output)
        except InputError as error:
            raise click.UsageError(
                f"{output} exists and is not a lock file; give --output another name"
            ) from error
    pins = [hub.pin(name, revision=revision, offline=offline) for name in dict.fromkeys(names)]
    hub.write_lock(output, pins)
    for pinned in pins:
        size = sum(file.size for file in pinned.files) / 1e6
        click.echo(
            f"{pinned.name}  {pinned.repository or 'in the package'}"
            f"{'@' + pinned.commit[:12] if pinned.commit else ''}  "
            f"{len(pinned.files)} files, {size:.1f} MB"
        )
    click.echo(f"written to {output}", err=True)
