"""`zeroshot encode` writes the library's embeddings and the name of each row."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import zeroshot
from tests.support import encoded, photograph
from zeroshot.cli import failures


def test_encode_writes_the_embeddings_of_images(
    run: Any, photos: list[Path], tiny: zeroshot.Model, tmp_path: Path
) -> None:
    result = run("encode", photos[0].parent, "-o", tmp_path / "e.npy")
    assert result.exit_code == 0
    found = np.load(tmp_path / "e.npy")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, tiny.encode_image(photos).cpu().numpy(), atol=1e-5)
    assert (tmp_path / "e.npy.txt").read_text().splitlines() == [str(p) for p in photos]
    assert {p.name for p in tmp_path.iterdir()} >= {"e.npy", "e.npy.txt", "photos"}
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_encode_skips_unreadable_images(run: Any, photos: list[Path], tmp_path: Path) -> None:
    result = run("encode", photos[0], "none.jpg", photos[1], "-o", tmp_path / "e.npy")
    assert result.exit_code == 3
    assert np.load(tmp_path / "e.npy").shape == (2, 16)
    assert "1 of 3 images could not be read" in result.stderr


def test_encode_of_only_unreadable_images_writes_nothing(run: Any, tmp_path: Path) -> None:
    (tmp_path / "e.npy").write_bytes(b"of yesterday")

    result = run("encode", tmp_path / "none.png", "-o", tmp_path / "e.npy", "--force")

    assert result.exit_code == failures.SOME_FAILED
    assert (tmp_path / "e.npy").read_bytes() == b"of yesterday"
    assert "was not written" in result.stderr


def test_encode_overwrites_files_only_with_force(
    run: Any, photos: list[Path], tmp_path: Path
) -> None:
    out, names = tmp_path / "e.npy", tmp_path / "e.npy.txt"

    names.write_text("mine")
    assert run("encode", photos[0], "-o", out).exit_code == 2
    assert (names.read_text(), out.exists()) == ("mine", False)

    names.rename(out)
    refused = run("encode", photos[0], "-o", out)
    assert refused.exit_code == 2
    assert "e.npy exists; use --force to replace it" in refused.stderr
    assert (out.read_text(), names.exists()) == ("mine", False)

    assert run("encode", photos[0], "-o", out, "--force").exit_code == 0
    assert np.load(out).shape == (1, 16)


def test_an_input_list_named_like_the_output_is_not_overwritten(
    run: Any, photos: list[Path], tmp_path: Path
) -> None:
    listed = tmp_path / "photos.txt"
    listed.write_text(f"{photos[0]}\n")

    result = run("encode", "-", "-o", tmp_path / "photos.npy", stdin=listed.read_text())

    assert result.exit_code == 0
    assert listed.read_text() == f"{photos[0]}\n"


def test_an_image_is_read_from_standard_input(
    run: Any, photos: list[Path], tiny: zeroshot.Model, tmp_path: Path
) -> None:
    result = run("encode", "-", "-o", tmp_path / "e.npy", stdin=photos[0].read_bytes())

    assert result.exit_code == 0
    expected = tiny.encode_image(photos[:1]).cpu().numpy()
    np.testing.assert_allclose(np.load(tmp_path / "e.npy"), expected, atol=1e-5)
    assert (tmp_path / "e.npy.txt").read_text() == "<stdin>\n"


def test_sentences_are_read_from_standard_input(run: Any, tmp_path: Path) -> None:
    result = run("encode", "--text", "-", "-o", tmp_path / "e.npy", stdin="a cat\n\na dog\n")

    assert result.exit_code == 0
    assert np.load(tmp_path / "e.npy").shape[0] == 2
    assert (tmp_path / "e.npy.txt").read_text() == "a cat\na dog\n"
    assert run("encode", "--text", "-", "-o", tmp_path / "e.npy", stdin="").exit_code == 2


def test_encode_embeds_sentences(run: Any, tiny: zeroshot.Model, tmp_path: Path) -> None:
    result = run("encode", "--text", "a cat", "ein Hund", "-o", tmp_path / "e.npy")
    assert result.exit_code == 0
    wanted = tiny.encode_text(["a cat", "ein Hund"]).cpu()
    torch.testing.assert_close(torch.from_numpy(np.load(tmp_path / "e.npy")), wanted)
    assert (tmp_path / "e.npy.txt").read_text("utf-8") == "a cat\nein Hund\n"


def test_encode_preserves_file_names_that_are_not_utf8(run: Any, tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.png"
    with open(raw, "wb") as file:
        file.write(encoded(Image.fromarray(photograph()), "PNG"))
    assert run("encode", os.fsdecode(raw), "-o", tmp_path / "e.npy").exit_code == 0
    assert (tmp_path / "e.npy.txt").read_bytes() == raw + b"\n"


def test_a_sentence_over_the_token_limit_exits_with_2(run: Any, tmp_path: Path) -> None:
    result = run("encode", "--text", "cat " * 100, "-o", tmp_path / "e.npy")
    assert result.exit_code == 2
    assert "102 tokens" in result.stderr
    assert not (tmp_path / "e.npy").exists()


def test_truncate_shortens_a_long_sentence(run: Any, tmp_path: Path) -> None:
    sentence, out = "cat " * 200, tmp_path / "text.npy"

    refused = run("encode", sentence, "--text", "--out", out)
    done = run("encode", sentence, "--text", "--truncate", "--out", out)

    assert (refused.exit_code, done.exit_code) == (2, 0)
    assert "--truncate" in refused.stderr
    assert len(refused.stderr) < 400
