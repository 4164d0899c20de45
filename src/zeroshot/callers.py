"""Point a warning at the caller's own line, however many of our functions lie between.

`classify`, `Model.classifier` and `Classifier` warn of the same thing at different depths, and
Python 3.11 cannot skip the frames of a package by itself (3.12 can: `skip_file_prefixes`). It buys
the right line in the warning, not speed. It can be deleted when 3.11 is no longer supported.
"""

from __future__ import annotations

import sys


def stack_level() -> int:
    """Count the frames from the calling function to the first one outside of this package."""
    count, frame = 1, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("zeroshot."):
        count, frame = count + 1, frame.f_back
    return count
