"""Hostile checkpoint files, each made by the few lines that say what is wrong with it.

A case writes one file into a folder. Pickles are put together by hand, opcode by opcode; the
canary is a file that exists only if something in here was executed.
"""

from __future__ import annotations

from tests.checkpoint.hostile.base import (
    GOOD,
    GOOD_FILES,
    PROTO,
    STOP,
    Case,
    archive,
    good_safetensors,
    good_zip,
    legacy,
    name,
    plain_zip,
    program,
    safetensors,
    tensor,
    text,
    together,
)
from tests.checkpoint.hostile.code import routes, running, setstate_archive
from tests.checkpoint.hostile.damaged import noise, truncated
from tests.checkpoint.hostile.headers import headers
from tests.checkpoint.hostile.pickles import lying, swelling
from tests.checkpoint.hostile.zips import zips

__all__ = [
    "GOOD",
    "GOOD_FILES",
    "PROTO",
    "STOP",
    "Case",
    "archive",
    "cases",
    "good_safetensors",
    "good_zip",
    "legacy",
    "name",
    "plain_zip",
    "program",
    "routes",
    "safetensors",
    "setstate_archive",
    "tensor",
    "text",
    "together",
]


def cases() -> list[Case]:
    """Return all of them; names are unique."""
    found = [
        *running(), *lying(), *swelling(), *zips(), *headers(), *truncated(), *noise()
    ]  # fmt: skip
    assert len({case.name for case in found}) == len(found)
    return found
