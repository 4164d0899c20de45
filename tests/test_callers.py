"""A warning points at the line of the caller, not at a line of the package."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from zeroshot.callers import stack_level

SOURCE = """
import warnings
def warn():
    warnings.warn("message", stacklevel=stack_level())
def outer():
    warn()
def outermost():
    outer()
"""


def module(name: str) -> dict[str, Any]:
    """Make a module of this name whose functions warn at several depths."""
    made = ModuleType(name)
    made.__dict__["stack_level"] = stack_level
    exec(compile(SOURCE, f"{name}.py", "exec"), made.__dict__)
    return made.__dict__


def warned_at(call: Callable[[], None]) -> str:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    (warning,) = caught
    return warning.filename


@pytest.mark.parametrize("function", ["warn", "outer", "outermost"])
def test_a_warning_points_outside_of_the_package_at_every_depth(function: str) -> None:
    assert warned_at(module("zeroshot.inside")[function]) == __file__


def test_a_warning_stops_at_the_first_frame_outside_of_the_package() -> None:
    outside = module("application")
    outside["warn"] = module("zeroshot.inside")["outer"]

    assert warned_at(outside["outermost"]) == "application.py"


def test_packages_with_a_similar_name_are_outside() -> None:
    outside = module("zeroshot_app")
    outside["warn"] = module("zeroshot.inside")["warn"]

    assert warned_at(outside["outer"]) == "zeroshot_app.py"


def test_the_level_of_a_call_outside_of_the_package_is_1() -> None:
    assert stack_level() == 1
