"""Two threads never decode one image object at once."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
from PIL import Image

from tests.support import photograph, pixels_of


def test_a_lazy_image_shared_by_threads_decodes_correctly(tmp_path: Path) -> None:
    big = photograph(900, 700)
    path = tmp_path / "big.png"
    Image.fromarray(big).save(path)
    wrong: list[object] = []
    for _ in range(4):
        with Image.open(path) as image:

            def work(image: Image.Image = image) -> None:
                try:
                    if not np.array_equal(pixels_of(image), big):
                        wrong.append("other pixels")
                except Exception as error:
                    wrong.append(error)

            threads = [threading.Thread(target=work) for _ in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert wrong == []
