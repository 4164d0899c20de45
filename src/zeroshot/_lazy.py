"""Import the public names of the package on first use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

PACKAGE = __name__.rpartition(".")[0]


def loader(names: dict[str, Any], modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a module's `__getattr__`.

    Args:
        names: The globals of the module, where imported names are kept.
        modules: Module of each public name; "" for a name that is a module itself.
    """

    def get(name: str) -> Any:
        module = modules.get(name)
        if module is None:
            from zeroshot.migration import PACKAGE as ELSEWHERE
            from zeroshot.migration import attribute_advice

            advice = attribute_advice(ELSEWHERE, name)
            raise AttributeError(f"module {PACKAGE!r} has no attribute {name!r}{advice}")
        if not module:
            return import_module(f"{PACKAGE}.{name}")
        from zeroshot.collector import paused_for_import

        with paused_for_import():
            value = getattr(import_module(f"{PACKAGE}.{module}"), name)
        names[name] = value
        return value

    return get
