"""`zeroshot bench`: benchmark a model against plain PyTorch, and say what limits the machine."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from zeroshot.cli.completion import complete_models

if TYPE_CHECKING:
    from zeroshot.diagnostics.bench import Finding, Report
    from zeroshot.diagnostics.feeding import Feeding

HEADER = ("work", "precision", "plain", "fast", "speedup", "of GEMM", "agreement")


@click.command("bench")
@click.option(
    "-m",
    "--model",
    shell_complete=complete_models,
    help="Name, Hub repository or path of a model; by default ViT-B/32 with random weights.",
)
@click.option("--device", help="cpu, cuda or mps; by default the best one available.")
@click.option(
    "--dtype",
    help="float32, bfloat16, float16, or tf32 on CUDA; by default the fastest one for the device.",
)
@click.option("--quick", is_flag=True, help="One round on a few inputs, to check that it runs.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def command(
    model: str | None, device: str | None, dtype: str | None, quick: bool, as_json: bool
) -> None:
    """Benchmark the optimized engine against plain PyTorch.

    Both run the same weights in alternation in one process. "speedup" is the median over the
    rounds. "of GEMM" is the throughput as a share of a matrix multiplication that is timed between
    the runs. "agreement" is the lowest cosine similarity between the embeddings of both. The
    last lines compare how fast files are decoded and prepared with how fast the image tower embeds
    them, and name the slower one. The benchmark takes about a minute.
    """
    import zeroshot
    from zeroshot.diagnostics.bench import measure, random_model
    from zeroshot.diagnostics.feeding import SECONDS, measure_feeding

    if model is None:
        chosen = random_model(device=device, dtype=dtype)
    else:
        chosen = zeroshot.load(model, device=device, dtype=dtype)
    report = measure(chosen, rounds=1, batch=2, labels=2) if quick else measure(chosen)
    feeding = measure_feeding(chosen, seconds=0.01 if quick else SECONDS)
    if as_json:
        files = asdict(feeding) | {"limit": feeding.limit}
        document = {"model": repr(chosen)} | asdict(report) | {"feeding": files}
        click.echo(json.dumps(document, indent=2))
        return
    click.echo(repr(chosen))
    for fact, value in report.machine.items():
        click.echo(f"{fact}: {value}")
    for name, speed in report.gemms.items():
        digits = 1 if speed >= 1 else 4  # a small product on a busy machine
        click.echo(f"matrix multiplication in {name}: {speed:,.{digits}f} GFLOP/s")
    click.echo()
    click.echo(_table(report))
    click.echo()
    click.echo(_lines(feeding))


def _lines(feeding: Feeding) -> str:
    """Format how fast files are prepared and embedded."""
    from zeroshot.diagnostics.feeding import format_rate

    return "\n".join(
        (
            f"backend: {feeding.backend} on {feeding.device}, {feeding.threads} CPU cores",
            f"files to embeddings: {format_rate(feeding.together)} images/s, {feeding.file}",
            feeding.verdict,
        )
    )


def _table(report: Report) -> str:
    rows = [HEADER, *map(_row, report.findings)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _row(finding: Finding) -> tuple[str, ...]:
    return (
        finding.work,
        finding.dtype,
        f"{finding.plain * 1000:,.1f} ms",
        f"{finding.fast * 1000:,.1f} ms",
        f"{finding.ratio:.2f}x",
        "-" if finding.share is None else f"{finding.share:.0%}",
        f"{finding.agreement:.5f}",
    )
