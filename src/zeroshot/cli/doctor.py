"""`zeroshot doctor`: check this installation, and explain how to fix problems."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from zeroshot.cli.counts import counted

if TYPE_CHECKING:
    from zeroshot.diagnostics.doctor import Check

MARKS = {"ok": "ok", "note": "--", "bad": "!!"}
PROBLEM_FOUND = 1  # exit code


@click.command("doctor")
@click.option(
    "--verify",
    is_flag=True,
    help="Also compare the hashes of cached files with the published ones.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object, for bug reports.")
def command(verify: bool, as_json: bool) -> None:
    """Check this installation; exit with 1 if there is a problem.

    Reports versions, hardware, the download cache and the cached checkpoints. Runs tokenizer,
    resize, image encoder and text encoder on stored inputs and compares the outputs with the
    reference. Says whether decoding or the image tower limits this machine. Nothing is
    downloaded. Marks: ok is correct, -- is a note, !! is a problem, with advice on the next line.
    """
    from zeroshot.diagnostics.doctor import examine

    checks = []
    group = ""
    for check in examine(verify=verify):
        checks.append(check)
        if not as_json:
            if check.group != group:
                group = check.group
                click.echo(group)
            click.echo(_line(check))
    wrong = [check for check in checks if check.status == "bad"]
    if as_json:
        report = {"ok": not wrong, "checks": [asdict(check) for check in checks]}
        click.echo(json.dumps(report, indent=2))
    elif wrong:
        click.echo(f"\n{len(wrong)} of {counted(len(checks), 'check')} failed")
    else:
        click.echo(f"\nall {len(checks)} checks passed")
    if wrong:
        raise SystemExit(PROBLEM_FOUND)


def _line(check: Check) -> str:
    line = f"  {MARKS[check.status]}  {check.name}: {check.detail}"
    return f"{line}\n      {check.advice}" if check.advice else line
