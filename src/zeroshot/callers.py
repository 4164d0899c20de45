"""Compute the stack level that makes a warning point at the caller's own line.

`classify`, `Model.classifier` and `Classifier` issue the same warning at different call depths, and
Python 3.11 cannot skip the frames of a package (3.12 can: `skip_file_prefixes`). This module makes
the warning show the right line; it does not affect speed. It can be deleted when Python 3.11 is no
longer supported.
"""

from __future__ import annotations

import sys


def stack_level() -> int:
    """Count the frames from the calling function to the first outside this package."""
    count, frame = 1, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("zeroshot."):
        count, frame = count + 1, frame.f_back
    return count
