"""A saved head is calibrated on labeled images, and classify then promises what it answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import zeroshot
from tests.support import json_lines

pytestmark = pytest.mark.filterwarnings("ignore:.*calibration images are few")


@pytest.fixture
def labeled(tmp_path: Path) -> Path:
    """A folder with 60 images of two labels."""
    for number in range(60):
        path = tmp_path / "labeled" / ("cat" if number % 2 else "dog") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (4 * number, 255 - 4 * number, 9)).save(path)
    return tmp_path / "labeled"


@pytest.fixture
def head(tiny: zeroshot.Model, tmp_path: Path) -> Path:
    path = tmp_path / "head.safetensors"
    tiny.head(["cat", "dog"]).save(path)
    return path


def test_a_head_is_calibrated_and_used(
    run: Any, labeled: Path, head: Path, tiny_path: Path, tmp_path: Path
) -> None:
    out = tmp_path / "careful.safetensors"

    result = run("calibrate", labeled, "--head", head, "-o", out, "--model", tiny_path)

    assert result.exit_code == 0, result.output
    assert "Calibrated on 60 images" in result.stderr
    calibration = zeroshot.Head.load(out).calibration
    assert calibration is not None
    assert len(calibration.truth) == 60
    image = next(labeled.rglob("*.png"))
    found = run("classify", image, "--head", out, "--keep", "0.9", "--json")
    assert found.exit_code == 0
    assert (
        "At most 10 of 100 images that do show one of your labels are turned away" in found.stderr
    )
    never = run("classify", image, "--head", out, "--below", "0.99999", "--json")
    assert json_lines(never)[0]["label"] is None


def test_a_promise_needs_a_calibrated_head(run: Any, labeled: Path, head: Path) -> None:
    image = next(labeled.rglob("*.png"))
    result = run("classify", image, "--head", head, "--error", "0.1")
    assert result.exit_code == 2
    assert "requires a calibrated classifier" in result.stderr
    assert "line `zeroshot calibrate SOURCE --head HEAD --output HEAD`)" in " ".join(
        result.stderr.split()
    )


def test_only_a_head_is_replaced(
    run: Any, labeled: Path, head: Path, tiny_path: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.safetensors"
    mine.write_text("notes")
    result = run("calibrate", labeled, "--head", head, "-o", mine, "--model", tiny_path)
    assert result.exit_code == 2
    assert "exists and is not a head; use another file name for --output" in result.stderr
    assert mine.read_text() == "notes"


def test_too_few_images_are_an_error(
    run: Any, labeled: Path, head: Path, tiny_path: Path, tmp_path: Path
) -> None:
    for path in sorted(labeled.rglob("*.png"))[:45]:
        path.unlink()
    out = tmp_path / "out.safetensors"
    result = run("calibrate", labeled, "--head", head, "-o", out, "--model", tiny_path)
    assert result.exit_code == 2
    assert "expected at least 20 calibration images, got 15" in result.stderr
    assert not out.exists()


def test_none_lets_an_image_be_none_of_the_labels(run: Any, labeled: Path, tmp_path: Path) -> None:
    out = tmp_path / "none.safetensors"
    image = next(labeled.rglob("*.png"))
    result = run("classify", image, "-l", "cat,dog", "--none", "--save-head", out, "--json")
    assert result.exit_code == 0
    assert "none" in json_lines(result)[0]
    assert zeroshot.Head.load(out).classes == ("cat", "dog", "none of these")
    refused = run("classify", image, "--head", out, "--none")
    assert refused.exit_code == 2
    assert "expected --none with --labels" in refused.stderr


def test_sets_contain_the_labels_that_the_library_finds(
    run: Any, labeled: Path, head: Path, tiny: zeroshot.Model, tiny_path: Path, tmp_path: Path
) -> None:
    out = tmp_path / "careful.safetensors"
    run("calibrate", labeled, "--head", head, "-o", out, "--model", tiny_path)
    images = sorted(labeled.rglob("*.png"))[:5]
    sets = tiny.classifier(zeroshot.Head.load(out)).predict_set(images, coverage=0.8)

    found = run("classify", *images, "missing.png", "--head", out, "--set", "0.8", "--json")

    assert found.exit_code == 3
    assert "80 of 100 such sets contain the right label" in found.stderr
    lines = json_lines(found)
    assert [line["labels"] for line in lines[:5]] == [list(each.labels) for each in sets]
    assert "error" in lines[5]
    printed = run("classify", images[0], "--head", out, "--set", "0.8")
    assert printed.stdout.strip() == str(sets[0])
    rows = run("classify", images[0], "--head", out, "--set", "0.8", "--csv").stdout.splitlines()
    assert rows[0] == "source,rank,label,probability,error"
    assert len(rows) == 1 + len(sets[0])


def test_sets_need_a_calibrated_head(run: Any, labeled: Path, head: Path) -> None:
    image = next(labeled.rglob("*.png"))

    assert "requires a calibrated" in run("classify", image, "--head", head, "--set", "0.9").stderr
    refused = run("classify", image, "--labels", "cat,dog", "--set", "0.9")
    assert refused.exit_code == 2
    assert "expected a calibrated --head with --set" in refused.stderr


def test_folders_are_labels_as_evaluate_reads_them(
    run: Any, labeled: Path, tiny: zeroshot.Model, tiny_path: Path, tmp_path: Path
) -> None:
    head, out = tmp_path / "h.safetensors", tmp_path / "out.safetensors"
    tiny.head(["Cat", "big dog"]).save(head)
    (labeled / "dog").rename(labeled / "big_dog")

    result = run("calibrate", labeled, "--head", head, "-o", out, "--model", tiny_path)

    assert result.exit_code == 0, result.stderr
