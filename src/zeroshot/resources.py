"""Find the data folders prompts/, weights/ and examples/photos/ of a wheel or a checkout.

Wheels include them as `zeroshot/_data/<kind>`. An editable install does not, so the folders of the
checkout are used there.
"""

from __future__ import annotations

import warnings
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Literal

from zeroshot.callers import stack_level
from zeroshot.errors import ImageNotFound, short_errors

PACKAGE = Path(__file__).parent
IN_CHECKOUT = {"photos": "examples/photos"}  # folders with another name in a checkout
SAMPLE = "cat.jpg"  # the only photograph in the wheel


@cache
def folder(kind: Literal["prompts", "weights", "photos"]) -> Path:
    """Return the folder of packaged data: "prompts", "weights" or "photos"."""
    checkout = PACKAGE.parent.parent
    # A checkout takes precedence: an editable install may leave an outdated copy in _data.
    if PACKAGE.parent.name == "src" and (checkout / "pyproject.toml").is_file():
        return checkout / IN_CHECKOUT.get(kind, kind)
    return PACKAGE / "_data" / kind


@short_errors
def sample_image() -> Path:
    """Return the path of a sample photograph in the package: the face of a cat, 30 kB.

    The photograph is by Stefan van der Walt, CC0-1.0. Use it to try the package without an image
    of your own.

    Returns:
        Path of a JPEG file.

    Raises:
        ImageNotFound: The installation is incomplete.

    Example:
        >>> zeroshot.sample_image().name
        'cat.jpg'
    """
    path = folder("photos") / SAMPLE
    if not path.is_file():
        raise ImageNotFound(
            f"{path}: the sample photograph is missing, so the installation is incomplete; run: "
            "pip install --force-reinstall --no-deps zeroshot-clip",
            kind="not_found",
            source=str(path),
        )
    return path


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
        "two packages overwrite each other's files; to repair, run: pip uninstall zeroshot, then: "
        "pip install --force-reinstall --no-deps zeroshot-clip",
        stacklevel=stack_level(),
    )
