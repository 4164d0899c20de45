"""Print pip constraints that hold every declared dependency at its minimum version.

    python scripts/lowest.py > lowest.txt

Reads [project] dependencies and the optional extras of pyproject.toml, except `dev`: its tools run
on developers' machines only. Needs the standard library alone, since it runs before anything is
installed. Exits with an error for a dependency without a minimum.
"""

from __future__ import annotations

import argparse
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
TOOLS = "dev"
# name, extras in brackets, version specifiers, environment marker (PEP 508)
REQUIREMENT = re.compile(r"([\w.-]+)\s*(?:\[[^]]*\])?\s*([^;]*)(?:;.*)?", re.ASCII)


def minimum(requirement: str) -> tuple[str, str]:
    """Split a requirement into its name and its minimum version; ValueError if it has none."""
    found = REQUIREMENT.fullmatch(requirement.strip())
    if found is None:
        raise ValueError(f"expected a requirement such as 'name>=1.0', got {requirement!r}")
    name, specifiers = found.groups()
    bounds = [part.strip() for part in specifiers.split(",")]
    lowest = [bound[2:].strip() for bound in bounds if bound.startswith((">=", "==", "~="))]
    if len(lowest) != 1:
        raise ValueError(f"expected one minimum version such as 'name>=1.0', got {requirement!r}")
    return name, lowest[0]


def constraints(project: dict[str, Any]) -> list[str]:
    """Return `name==minimum` lines for the [project] table, sorted.

    Raises ValueError where two extras declare different minimums of one package.
    """
    extras: dict[str, list[str]] = project.get("optional-dependencies", {})
    groups: Iterable[list[str]] = [
        project["dependencies"],
        *(group for name, group in extras.items() if name != TOOLS),
    ]
    lowest: dict[str, str] = {}
    for name, version in (minimum(line) for group in groups for line in group):
        if lowest.setdefault(name, version) != version:
            raise ValueError(f"{name} has two minimums: {lowest[name]} and {version}")
    return sorted(f"{name}=={version}" for name, version in lowest.items())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pyproject", nargs="?", type=Path, default=PROJECT)
    path = parser.parse_args().pyproject
    try:
        lines = constraints(tomllib.loads(path.read_text("utf-8"))["project"])
    except ValueError as error:
        raise SystemExit(f"{path}: {error}") from error
    print("\n".join(lines))


if __name__ == "__main__":
    main()
