"""What a user installs: wheel, sdist, a wheel from the sdist, and the editable checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

import zeroshot
from zeroshot import resources

ROOT = Path(__file__).parents[1]
SHIPPED = (
    "src",
    "prompts",
    "weights",
    "tests",
    "docs",
    "examples",
    "scripts",
    "benchmarks",
    "Makefile",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "NOTICE",
    ".gitignore",
)
READ_A_TEMPLATE = """
import sys
import zeroshot, zeroshot.resources
print(zeroshot.__file__)
print(zeroshot.prompts.get("imagenet").templates[0])
print(zeroshot.ClipTokenizer().encode("a cat"))
print(len(zeroshot.available_models()))
print(zeroshot.sample_image())
assert "senses" in [problem.kind for problem in zeroshot.lint(["crane", "wren"])]
assert "torch" not in sys.modules
"""


def build(kind: str, source: Path, out: Path) -> Path:
    """Build with hatchling as installed here, nothing fetched."""
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "-o", str(out), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.iterdir()
    return built


@dataclass(frozen=True)
class Built:
    checkout: Path
    wheel: Path
    sdist: Path
    wheel_of_sdist: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("packages")
    # from a copy: others may be writing in the checkout, and a build leaves nothing there
    source = folder / "checkout"
    source.mkdir()
    for name in SHIPPED:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(
                path, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.part")
            )
        else:
            shutil.copy(path, source / name)
    for cache in ("tests/__pycache__", "tests/.hypothesis", "docs/.mypy_cache"):
        (source / cache).mkdir()
        (source / cache / "file.pyc").touch()
    sdist = build("sdist", source, folder / "sdist")
    with tarfile.open(sdist) as tar:
        tar.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    return Built(
        source,
        build("wheel", source, folder / "wheel"),
        sdist,
        build("wheel", unpacked, folder / "wheel_of_sdist"),
    )


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_contains_code_and_data(built: Built) -> None:
    found = contents(built.wheel)
    assert "zeroshot_clip/__init__.py" in found
    for path in (built.checkout / "src").rglob("*"):
        if path.is_file():
            assert found[str(path.relative_to(built.checkout / "src"))] == path.read_bytes()
    for kind in ("prompts", "weights"):
        for path in (built.checkout / kind).glob("*.toml"):
            assert found[f"zeroshot/_data/{kind}/{path.name}"] == path.read_bytes()
    photos = [name for name in found if name.startswith("zeroshot/_data/photos/")]
    assert photos == ["zeroshot/_data/photos/cat.jpg"]
    assert found[photos[0]] == (ROOT / "examples" / "photos" / "cat.jpg").read_bytes()
    assert b"cat.jpg | Stefan van der Walt" in (ROOT / "NOTICE").read_bytes()
    assert "zeroshot/py.typed" in found
    assert "zeroshot/merges.txt.gz" in found
    mini = built.checkout / "weights" / "mini.safetensors"
    assert not mini.exists() or "zeroshot/_data/weights/mini.safetensors" in found


def test_new_toml_file_ships_without_configuration_and_other_files_do_not(
    built: Built, tmp_path: Path
) -> None:
    source = tmp_path / "checkout"
    shutil.copytree(built.checkout, source, copy_function=os.link)  # links: the weights are large
    (source / "weights" / "new.toml").write_text("# a new family\n")
    (source / "weights" / "download.pt").write_bytes(b"not ours")

    before, after = contents(built.wheel), contents(build("wheel", source, tmp_path / "wheel"))

    assert after.keys() - before.keys() == {"zeroshot/_data/weights/new.toml"}
    assert before.keys() <= after.keys()


def test_the_wheel_contains_licenses_and_no_other_files(built: Built) -> None:
    names = contents(built.wheel).keys()
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert any(name.endswith("licenses/NOTICE") for name in names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"zeroshot", "zeroshot_clip"}
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


def test_the_wheel_installs_the_command(built: Built) -> None:
    found = contents(built.wheel)
    (entry_points,) = (name for name in found if name.endswith("entry_points.txt"))
    assert b"zeroshot = zeroshot_clip:run" in found[entry_points]
    (metadata,) = (name for name in found if name.endswith("/METADATA"))
    text = found[metadata].decode()
    assert "Name: zeroshot-clip\n" in text
    assert f"Version: {zeroshot.__version__}\n" in text
    assert "Requires-Python: >=3.11\n" in text


def test_the_wheel_stays_small(built: Built) -> None:
    assert built.wheel.stat().st_size < 25_000_000


def test_a_wheel_from_the_sdist_is_the_same(built: Built) -> None:
    assert contents(built.wheel_of_sdist) == contents(built.wheel)
    assert built.wheel_of_sdist.read_bytes() == built.wheel.read_bytes()  # reproducible, too


def test_sdist_contains_what_the_tests_need_and_no_caches(built: Built) -> None:
    with tarfile.open(built.sdist) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}

    for name in ("Makefile", "scripts/environment.py", "tests/conftest.py", "docs/conf.py"):
        assert name in names
    for folder in ("benchmarks", "examples"):
        assert any(name.startswith(f"{folder}/") for name in names)
    assert not [name for name in names if name.endswith(".pyc")]


def test_editable_install_reads_the_data_of_the_checkout(built: Built, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"from hatchling.build import build_editable; build_editable({str(tmp_path)!r})",
        ],
        cwd=built.checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.iterdir()
    found = contents(wheel)

    (paths,) = (name for name in found if name.endswith(".pth"))
    assert found[paths].decode().split() == [str(built.checkout / "src")]
    assert not [name for name in found if name.startswith("zeroshot/")]


def test_an_installed_wheel_finds_its_data(built: Built, tmp_path: Path) -> None:
    installer = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet"]
    target = tmp_path / "site"
    subprocess.run(
        [*installer, "--no-compile", "--target", str(target), str(built.wheel)],
        check=True,
        capture_output=True,
    )
    done = subprocess.run(
        # ahead of the editable install; -P: nor may the working folder answer
        [
            sys.executable,
            "-P",
            "-c",
            f"import sys; sys.path.insert(0, {str(target)!r})\n{READ_A_TEMPLATE}",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    file, template, ids, count, sample = done.stdout.splitlines()
    assert file == str(target / "zeroshot" / "__init__.py")
    assert template == zeroshot.prompts.get("imagenet").templates[0]
    assert ids == "[320, 2368]"
    assert int(count) == len(zeroshot.available_models())
    assert sample == str(target / "zeroshot" / "_data" / "photos" / "cat.jpg")
    assert Path(sample).is_file()
    assert (target / "bin" / "zeroshot").exists()


@pytest.mark.parametrize("kind", ["prompts", "weights", "photos"])
def test_a_checkout_reads_its_own_folders(kind: str) -> None:
    expected = ROOT / ("examples/photos" if kind == "photos" else kind)
    assert resources.folder(kind) == expected  # type: ignore[arg-type]


def test_data_of_a_wheel_is_in_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "PACKAGE", tmp_path / "site-packages" / "zeroshot")
    resources.folder.cache_clear()
    try:
        found = resources.folder("prompts")
        assert found == tmp_path / "site-packages" / "zeroshot" / "_data" / "prompts"
    finally:
        resources.folder.cache_clear()
