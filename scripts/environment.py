"""Set up a Python environment for this checkout, and run the example or the checks in it.

    python -m scripts.environment try      install the package, classify the example photographs
    python -m scripts.environment dev      install the package and the development tools
    python -m scripts.environment lint     check format, lint rules, types and import layers
    python -m scripts.environment test     run all checks; arguments after it go to pytest
    python -m scripts.environment test-gpu run the tests on a CUDA GPU; arguments likewise

It needs the standard library only and runs on Linux, macOS and Windows; the targets of the Makefile
call it. Environment variables: VENV is the folder of the environment (.venv), TORCH what pip
installs as PyTorch. By default that is the CPU build if there is no NVIDIA GPU.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST = (3, 11)
# PyTorch's own index is used for torch alone, so that pip asks it once if it is unreachable, with
# one retry instead of five. The next pip command installs what torch requires.
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
PATIENCE = ["--retries", "1", "--timeout", "10"]
CPU_TORCH = [
    *PATIENCE,
    "--no-deps",
    "--extra-index-url",
    CPU_INDEX,
    "-c",
    "scripts/cpu.txt",
    "torch",
]
# Two processes take two thirds of the time on two cores; tests of one file share fixtures. Files
# run in their order, because the last of them are short.
PARALLEL = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
LINT = (
    "ruff format --check .",
    "ruff check .",
    "mypy",
    # Modules in benchmarks/ share names with those of tests/parity/, so they need their own run.
    "mypy --no-explicit-package-bases benchmarks",
    "lint-imports",
)


def main(arguments: list[str]) -> None:
    """Run one command of the module's docstring."""
    command, rest = (arguments or [""])[0], arguments[1:]
    if command in ("-h", "--help"):
        print(__doc__)
        return
    if command not in ("try", "dev", "lint", "test", "test-gpu"):
        raise SystemExit(f"unknown command {command!r}\n\n{__doc__}" if command else __doc__)
    if rest and not command.startswith("test"):
        raise SystemExit(f"{command} takes no arguments, got {' '.join(rest)!r}\n\n{__doc__}")
    if sys.version_info < OLDEST:
        found = "{}.{}".format(*sys.version_info[:2])
        raise SystemExit(
            f"Python 3.11 or newer is required, got {found}; try: python3.12 -m "
            f"scripts.environment {command}, or make PYTHON=python3.12 {command}"
        )
    venv = ROOT / Path(os.environ.get("VENV") or ".venv").expanduser()
    binaries = venv / ("Scripts" if os.name == "nt" else "bin")
    install(venv, binaries, develop=command != "try")
    if command == "try":
        run(binaries, "python", "examples/photographs.py")
    elif command == "dev":
        activate = binaries / "activate"
        print(f"To use this environment, run: {'' if os.name == 'nt' else '. '}{shown(activate)}")
    elif command == "test-gpu":
        run(binaries, "python", "-m", "pytest", *rest, ZEROSHOT_TEST_DEVICE="cuda")
    else:
        for line in LINT:
            run(binaries, *line.split())
        if command == "test":
            run(binaries, "python", "-m", "pytest", *PARALLEL, *rest)


def install(venv: Path, binaries: Path, *, develop: bool) -> None:
    """Create the environment and install the package, unless it is up to date.

    A file in the environment marks each completed step, as make would: the package is installed
    again after a change of pyproject.toml.
    """
    torch, installed, developed = (venv / name for name in (".torch", ".installed", ".developed"))
    if not torch.exists():
        call(sys.executable, "-m", "venv", str(venv))
        pip(binaries, "--upgrade", "pip")
        print("installing PyTorch", flush=True)
        pip(binaries, *choose_torch())
        torch.touch()
    done, package = (developed, ".[dev]") if develop else (installed, ".")
    if not done.exists() or done.stat().st_mtime < (ROOT / "pyproject.toml").stat().st_mtime:
        pip(binaries, "--editable", package)
        installed.touch()
        done.touch()


def choose_torch() -> list[str]:
    """Return the arguments of pip that install PyTorch."""
    given = os.environ.get("TORCH")
    if given:
        return shlex.split(given, posix=os.name != "nt")
    return ["torch"] if shutil.which("nvidia-smi") else CPU_TORCH


def pip(binaries: Path, *arguments: str) -> None:
    """Install packages into the environment."""
    run(binaries, "python", "-m", "pip", "install", "--quiet", *arguments)


def run(binaries: Path, program: str, *arguments: str, **variables: str) -> None:
    """Run a program of the environment in the root of the checkout."""
    path = os.pathsep.join([str(binaries), os.environ.get("PATH", "")])
    call(str(binaries / program), *arguments, PATH=path, **variables)


def call(*command: str, **variables: str) -> None:
    """Run a command; exit with its code if it fails."""
    try:
        code = subprocess.run(command, cwd=ROOT, env={**os.environ, **variables}).returncode
    except OSError as error:  # the Python of the environment was removed or replaced
        raise SystemExit(
            f"cannot run {command[0]} ({error.strerror}); delete the environment's folder and try "
            "again"
        ) from error
    if code:
        print(f"failed: {' '.join(command)}", file=sys.stderr)
        raise SystemExit(code)


def shown(path: Path) -> Path:
    """Return a path relative to the checkout where possible."""
    return path.relative_to(ROOT) if ROOT in path.parents else path


if __name__ == "__main__":
    main(sys.argv[1:])
