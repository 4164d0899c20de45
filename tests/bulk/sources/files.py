"""Make archives, tables and videos with the same pictures."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from tests.support import encoded, photograph
from zeroshot.bulk.items import Item, Source


def pictures(count: int = 5) -> dict[str, bytes]:
    """Different pictures by file name, some in folders."""
    kinds = ("JPEG", "PNG", "WEBP")
    return {
        f"{n % 2}/{n:03d}.{kinds[n % 3].lower()}": encoded(
            Image.fromarray(photograph(30 + n, 40 - n, n)), kinds[n % 3]
        )
        for n in range(count)
    }


def write_folder(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_tar(path: Path, files: Mapping[str, bytes], mode: str = "w", **options: Any) -> Path:
    with tarfile.open(path, mode, **options) as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def write_zip(path: Path, files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_parquet(path: Path, columns: Mapping[str, Iterable[Any]], **options: Any) -> Path:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(
        pa.table({name: list(each) for name, each in columns.items()}), path, **options
    )
    return path


def write_video(path: Path, frames: int = 50, rate: int = 10, codec: str = "mpeg4") -> Path:
    """Write a video whose frames have different brightness."""
    import av
    import numpy as np

    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(frames):
            pixels = np.full((48, 64, 3), number * 255 // frames, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def contents(items: Iterable[Item]) -> list[tuple[str, Any]]:
    """Names and bytes, or the kind of the error."""
    found: list[tuple[str, Any]] = []
    for item in items:
        try:
            content: Any = item.read()
            content = content if isinstance(content, bytes) else ("pixels", content.tobytes())
        except Exception as error:
            content = f"{type(error).__name__} {getattr(error, 'kind', '')}"
        found.append((item.name, content))
    return found


def error_of(source: Source, place: int = -1) -> Exception:
    """The error of an item, the last by default."""
    item = list(source.items())[place]
    try:
        item.read()
    except Exception as error:
        return error
    raise AssertionError(f"{item.name} has no error")
