"""With files of the unrelated package `zeroshot`, commands say how to repair the installation."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import zeroshot
import zeroshot_clip

SOURCE = Path(zeroshot.__file__).parents[1]
REPAIR = "  pip install --force-reinstall --no-deps zeroshot-clip"
# What the other package puts into the folder; its modules import packages that are not installed.
IMPORTED = "raise SystemExit('a module of the other package was imported')\n"
OTHER = ("downloader.py", "feature_extractor.py", "preprocessing.py", "utils.py")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Both packages in one folder: ours was installed last."""
    folder = tmp_path / "site"
    for name in ("zeroshot", "zeroshot_clip"):
        shutil.copytree(SOURCE / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for kind in ("prompts", "weights"):
        data = folder / "zeroshot" / "_data" / kind
        data.parent.mkdir(exist_ok=True)
        data.symlink_to(SOURCE.parent / kind)
    for name in OTHER:
        (folder / "zeroshot" / name).write_text(IMPORTED)
    facts = folder / "zeroshot-0.1.11.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: zeroshot\nVersion: 0.1.11\n")
    return folder


def run(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.path.insert(0, {str(site)!r}); import zeroshot_clip as z; z.run()"
    return subprocess.run(
        [sys.executable, "-P", "-c", code, *words],
        cwd=site.parent,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_first_lines_are_those_of_the_files() -> None:
    assert zeroshot_clip.foreign_files() == []


def test_commands_work_beside_other_files_and_doctor_reports_them(site: Path) -> None:
    assert run(site, "--version").stdout.startswith("zeroshot, version")
    assert run(site, "models").returncode == 0

    done = run(site, "doctor")

    assert done.returncode == 1, done.stderr
    assert REPAIR.strip() in done.stdout
    assert "pip uninstall zeroshot" in done.stdout
    assert "other package was imported" not in done.stdout + done.stderr


@pytest.mark.parametrize("names", [("__init__.py", "classifier.py"), ("classifier.py",)])
@pytest.mark.parametrize("command", ["doctor", "models", "--version"])
def test_replaced_files_are_reported_and_not_imported(
    names: tuple[str, ...], command: str, site: Path
) -> None:
    for name in names:
        (site / "zeroshot" / name).write_text(IMPORTED)

    done = run(site, command)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == REPAIR
    assert "pip uninstall zeroshot  # 0.1.11, unrelated" in done.stderr
    assert str(site / "zeroshot" / names[0]) in done.stderr
    assert len(done.stderr) < 600


def test_files_deleted_by_uninstalling_the_other_package_are_reported(site: Path) -> None:
    shutil.rmtree(site / "zeroshot-0.1.11.dist-info")
    for name in ("__init__.py", "classifier.py", *OTHER):
        (site / "zeroshot" / name).unlink()

    done = run(site, "doctor")

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == REPAIR
    assert "pip uninstall" not in done.stderr
