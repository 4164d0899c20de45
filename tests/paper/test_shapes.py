"""Captioned shapes are deterministic, and their parts differ."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from examples.paper import pairs, shapes
from zeroshot.errors import InputError
from zeroshot.images import open_image


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes") / "out"
    written = shapes.write(folder, count=48, captions=24, side=32, seed=5)
    assert written == {"train": 48, "test": 24, "unseen": 12}
    return folder


def hashes(folder: Path) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*"))]


def test_the_same_seed_gives_the_same_files(folder: Path, tmp_path: Path) -> None:
    shapes.write(tmp_path / "again", count=48, captions=24, side=32, seed=5)
    shapes.write(tmp_path / "other", count=48, captions=24, side=32, seed=6)

    assert hashes(tmp_path / "again" / "train") == hashes(folder / "train")
    assert not set(hashes(tmp_path / "other" / "train")) & set(hashes(folder / "train"))


def test_train_and_test_have_the_same_captions_and_different_images(folder: Path) -> None:
    train, test, unseen = (pairs.read(folder / part) for part in ("train", "test", "unseen"))

    assert len(set(train.captions)) == 24
    assert set(train.captions) == set(test.captions)
    assert not set(unseen.captions) & set(train.captions)
    assert not set(hashes(folder / "train")) & set(hashes(folder / "test"))
    assert open_image(train.images[0]).size == (32, 32)


def test_no_two_scenes_have_the_same_caption() -> None:
    captions = [scene.caption for scene in shapes.scenes()]

    assert len(set(captions)) == len(captions)
    assert "a small red circle above a large blue square" in captions
    assert "a large green star at the top" in captions


def test_existing_files_are_not_overwritten(folder: Path) -> None:
    with pytest.raises(InputError, match="expected a new or empty folder"):
        shapes.main([str(folder), "--count", "48"])


def test_command_prints_the_number_of_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shapes.main([str(tmp_path / "out"), "--count", "9", "--captions", "8", "--side", "16"])

    assert f"{tmp_path / 'out' / 'train'}: 9 images" in capsys.readouterr().out


@pytest.mark.parametrize("options", [{"captions": 0}, {"count": 10}, {"captions": 10**6}])
def test_impossible_numbers_are_rejected(tmp_path: Path, options: dict[str, int]) -> None:
    with pytest.raises(InputError, match="expected 4 to 300 captions"):
        shapes.write(tmp_path / "out", **options)


def test_negative_seed_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="seed=-1 must be an integer of at least 0"):
        shapes.write(tmp_path / "out", seed=-1)
