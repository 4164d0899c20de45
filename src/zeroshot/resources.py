"""Finds prompts/ and weights/, in an installed wheel or in a checkout.

Wheels carry both folders as `zeroshot/_data/<kind>`; an editable install does not, so there the
checkout's own top-level folders answer.
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
    """Return the folder of shipped data of this kind."""
    checkout = PACKAGE.parent.parent
    # The checkout wins where there is one: an editable install may leave a stale copy in _data.
    if PACKAGE.parent.name == "src" and (checkout / "pyproject.toml").is_file():
        return checkout / kind
    return PACKAGE / "_data" / kind


@cache
def warn_of_namesake() -> None:
    """Warn, once, when the other distribution that installs a folder `zeroshot` is present.

    PyPI's `zeroshot` (Moonshine Labs) writes its files over this package's, whose distribution is
    called `zeroshot-clip`.
    """
    try:
        version = metadata.version("zeroshot")
    except metadata.PackageNotFoundError:
        return
    warnings.warn(
        f"another package, zeroshot {version}, is installed into the same folder {PACKAGE}, and "
        "either may overwrite the other's files; run: pip uninstall zeroshot zeroshot-clip, then "
        "pip install zeroshot-clip",
        stacklevel=3,
    )
