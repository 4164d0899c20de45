"""`zeroshot doctor`: whether this installation is sound, and what to do where it is not."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from zeroshot.diagnostics.doctor import Check

MARKS = {"ok": "ok", "note": "--", "bad": "!!"}
UNSOUND = 1  # exit code


@click.command("doctor")
@click.option("--verify", is_flag=True, help="Hash cached files again, against what was published.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object, for bug reports.")
def command(verify: bool, as_json: bool) -> None:
    """Examine this installation; exit with 1 when something is wrong.

    Tells versions, what the machine can do, the download cache and the checkpoints in it, and runs
    tokenizer, resize and towers on stored inputs to say which stage is off. Nothing is downloaded.
    Marks: ok is right, -- is worth knowing, !! is wrong; what to do stands below.
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
        click.echo(f"\n{len(wrong)} of {len(checks)} checks failed")
    else:
        click.echo(f"\nall {len(checks)} checks passed")
    if wrong:
        raise SystemExit(UNSOUND)


def _line(check: Check) -> str:
    line = f"  {MARKS[check.status]}  {check.name}: {check.detail}"
    return f"{line}\n      {check.advice}" if check.advice else line
