"""Find the data folders prompts/ and weights/ of a wheel or a checkout.

Wheels include both folders as `zeroshot/_data/<kind>`. An editable install does not, so the
top-level folders of the checkout are used there.
"""

from __future__ import annotations

import warnings
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Literal

PACKAGE = Path(__file__).parent


@cache
def folder(kind: Literal["prompts", "weights"]) -> Path:
    """Return the folder of packaged data: "prompts" or "weights"."""
    checkout = PACKAGE.parent.parent
    # A checkout takes precedence: an editable install may leave an outdated copy in _data.
    if PACKAGE.parent.name == "src" and (checkout / "pyproject.toml").is_file():
        return checkout / kind
    return PACKAGE / "_data" / kind


@cache
def warn_of_namesake() -> None:
    """Warn once if an unrelated package that installs the same module is present.

    The PyPI package `zeroshot` (Moonshine Labs) also installs a module `zeroshot` and overwrites
    files of this package, which is named `zeroshot-clip`.
    """
    try:
        version = metadata.version("zeroshot")
    except metadata.PackageNotFoundError:
        return
    warnings.warn(
        f"an unrelated package, zeroshot {version}, installs the same module in {PACKAGE}, and the "
        "two packages overwrite each other's files; to repair, run: pip uninstall zeroshot "
        "zeroshot-clip, then: pip install zeroshot-clip",
        stacklevel=3,
    )
