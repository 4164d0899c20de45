"""Import the public names of a package on first use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

PACKAGE = __name__.rpartition(".")[0]


def loader(
    names: dict[str, Any], modules: Mapping[str, str], package: str = PACKAGE
) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package.

    Args:
        names: The globals of the package, where imported names are kept.
        modules: Module of each public name; "" for a name that is a module itself.
        package: Name of the package.
    """

    def get(name: str) -> Any:
        module = modules.get(name)
        if module is None:
            from zeroshot.migration import PACKAGE as ELSEWHERE
            from zeroshot.migration import attribute_advice

            advice = attribute_advice(ELSEWHERE, name)
            raise AttributeError(f"module {package!r} has no attribute {name!r}{advice}")
        if not module:
            return import_module(f"{package}.{name}")
        from zeroshot.collector import paused_for_import

        with paused_for_import():
            value = getattr(import_module(f"{package}.{module}"), name)
        names[name] = value
        return value

    return get
