"""Write src/zeroshot/merges.txt.gz, CLIP's byte-pair merges, from the open_clip_torch package.

    pip download --no-deps open_clip_torch==3.3.0 && python scripts/make_vocabulary.py *.whl

The package contains OpenAI's `bpe_simple_vocab_16e6.txt.gz` (MIT). Its first line is a comment, and
CLIP uses only the first 48,894 merges. Only these are written.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import sys
import zipfile
from pathlib import Path

ORIGINAL_SHA256 = "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a"
MERGES = 49152 - 256 - 2  # vocabulary minus bytes, start and end, as in simple_tokenizer.py
TARGET = Path(__file__).parents[1] / "src" / "zeroshot" / "merges.txt.gz"


def main(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = archive.read("open_clip/bpe_simple_vocab_16e6.txt.gz")
    found = hashlib.sha256(packed).hexdigest()
    if found != ORIGINAL_SHA256:
        raise SystemExit(f"{wheel}: vocabulary has sha256 {found}, expected {ORIGINAL_SHA256}")
    merges = gzip.decompress(packed).decode("utf-8").split("\n")[1 : MERGES + 1]
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=9, mtime=0) as file:
        file.write("\n".join(merges).encode("utf-8"))
    TARGET.write_bytes(buffer.getvalue())
    print(f"{TARGET.name}: {len(merges)} merges, {len(buffer.getvalue())} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
