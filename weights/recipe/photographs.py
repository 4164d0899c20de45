"""The development photographs: 176 images from Debian's gcompris-qt-data, for evaluation only.

They have a copyleft license. They are not used for training and must not be committed. The labels
are read from a JSON file: {"root": ..., "photos": {path: label}}.
"""

import io
import json
import struct
import subprocess
import zlib
from pathlib import Path

from PIL import Image

PACKAGE = "gcompris-qt-data"
COMPRESSED, FOLDER = 1, 2  # node flags in a Qt resource file
ZSTD = 4


def read(work: Path, truth: Path) -> tuple[list[Image.Image], list[str]]:
    """Return images and labels, in the order of the label file."""
    described = json.loads(truth.read_text())
    archives: dict[str, dict[str, bytes]] = {}
    images, labels = [], []
    folder = _unpacked(work)
    for path, label in described["photos"].items():
        activity = path.split("/")[0]
        if activity not in archives:
            archives[activity] = resources((folder / f"{activity}.rcc").read_bytes())
        data = archives[activity][described["root"].split(": ")[-1] + path]
        images.append(_on_white(Image.open(io.BytesIO(data))))
        labels.append(label)
    return images, labels


def resources(data: bytes) -> dict[str, bytes]:
    """Read a Qt resource file (`qres`, big-endian): a tree of names and a data block."""
    magic, version, tree, contents, names = struct.unpack_from(">4sIIII", data)
    assert magic == b"qres", magic
    size = 14 if version < 2 else 22  # newer versions append the modification time
    found: dict[str, bytes] = {}

    def name(offset: int) -> str:
        (length,) = struct.unpack_from(">H", data, names + offset)
        start = names + offset + 6  # after the length and a hash
        return data[start : start + 2 * length].decode("utf-16-be")

    def walk(node: int, prefix: str) -> None:
        at = tree + node * size
        offset, flags = struct.unpack_from(">IH", data, at)
        path = prefix + name(offset) if node else ""
        if flags & FOLDER:
            count, first = struct.unpack_from(">II", data, at + 6)
            for child in range(first, first + count):
                walk(child, f"{path}/" if path else "")
            return
        (start,) = struct.unpack_from(">I", data, at + 10)
        (length,) = struct.unpack_from(">I", data, contents + start)
        raw = data[contents + start + 4 : contents + start + 4 + length]
        assert not flags & ZSTD, f"unsupported compression (zstd): {path}"
        found[path] = zlib.decompress(raw[4:]) if flags & COMPRESSED else raw

    walk(0, "")
    return found


def _unpacked(work: Path) -> Path:
    """Download the Debian package once and return the folder of its resource files."""
    folder = work / PACKAGE
    rcc = folder / "root/usr/share/gcompris-qt/rcc"
    if not rcc.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", PACKAGE], cwd=folder, check=True)
        (archive,) = folder.glob("*.deb")
        subprocess.run(["dpkg-deb", "-x", archive.name, "root"], cwd=folder, check=True)
    return rcc


def _on_white(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
