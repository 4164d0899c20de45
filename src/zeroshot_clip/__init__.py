"""Start the command line only if the `zeroshot` module is the one of this package.

The unrelated PyPI package `zeroshot` writes into the same folder and replaces two files of this
package. This module has an import name of its own, so it can report that. It reads the two files
and imports neither.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "zeroshot"
# The files that both packages install, and how those of this package start.
SHARED = {
    "__init__.py": '"""Zero-shot image classification with CLIP.',
    "classifier.py": '"""Classify images with a Head.',
}


def foreign_files() -> list[Path]:
    """List the shared files that are missing or belong to the other package."""
    found = []
    for name, start in SHARED.items():
        path = PACKAGE / name
        try:
            own = path.read_text("utf-8").startswith(start)
        except (OSError, ValueError):
            own = False
        if not own:
            found.append(path)
    return found


def repair_message(files: list[Path]) -> str:
    """Describe the collision and how to repair it."""
    try:
        remove = f"pip uninstall zeroshot  # {metadata.version('zeroshot')}, unrelated\n  "
    except metadata.PackageNotFoundError:
        remove = ""
    return (
        f"{files[0]}: the file is missing or belongs to the unrelated PyPI package `zeroshot`; "
        f"expected the file of zeroshot-clip. To repair, run:\n  {remove}"
        "pip install --force-reinstall --no-deps zeroshot-clip"
    )


def run() -> None:
    """Run the command line as the main program of the process."""
    if files := foreign_files():
        raise SystemExit(f"Error: {repair_message(files)}")
    from zeroshot.cli import run as run_cli

    run_cli()
