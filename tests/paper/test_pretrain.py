"""Pre-training learns from a few images, resumes exactly, and writes an ordinary checkpoint."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import zeroshot
from examples.paper import pairs, pretrain, retrieval, training_state
from examples.paper.pretrain import Crops, Run, Settings
from zeroshot.checkpoint.layouts import native
from zeroshot.errors import InputError
from zeroshot.images.preprocess import Preprocess

COLORS = {
    "red": (220, 30, 30),
    "green": (30, 160, 50),
    "blue": (40, 60, 220),
    "black": (20, 20, 20),
    "white": (240, 240, 240),
    "yellow": (240, 220, 30),
    "cyan": (20, 210, 220),
    "magenta": (220, 30, 210),
}
TINY = Settings(
    epochs=16,
    batch_size=16,
    rate=3e-3,
    image_size=16,
    patch_size=8,
    width=32,
    layers=1,
    text_layers=1,
    embed_dim=32,
)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small matrices are faster without waiting for other threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def write_images(folder: Path, each: int, seed: int) -> Path:
    """Write noisy images of eight colors, with captions in .txt files."""
    folder.mkdir()
    random = np.random.default_rng(seed)
    for n in range(each):
        for name, color in COLORS.items():
            noisy = np.clip(color + random.normal(0, 15, (18, 20, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(folder / f"{name}{n}.png")
            (folder / f"{name}{n}.txt").write_text(f"A plain {name} card.")
    return folder


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("data") / "train", each=8, seed=0)


@pytest.fixture(scope="module")
def trained(train: Path) -> tuple[Run, Path]:
    out = train.parent / "colors.safetensors"
    return pretrain.pretrain(train, out, TINY, report=lambda line: None), out


def test_a_few_steps_on_64_images_retrieve_far_above_chance(
    trained: tuple[Run, Path], tmp_path: Path
) -> None:
    run, out = trained
    test = write_images(tmp_path / "test", each=4, seed=1)

    result = retrieval.measure(zeroshot.load(str(out)), pairs.read(test))

    assert run.progress.steps == 16 * 4
    assert result.captions == 8
    assert result.image_to_text[0].chance == 1 / 8
    assert result.image_to_text[0].right >= 0.75 * result.images


def test_the_checkpoint_gives_the_embeddings_of_the_trained_network(
    trained: tuple[Run, Path], train: Path
) -> None:
    run, out = trained
    model = zeroshot.load(str(out), dtype="float32")
    everything = pairs.read(train).captions
    captions = sorted(set(everything))
    images = sorted(map(str, train.glob("*0.png")))
    ids, which = run.captions.batch([everything.index(caption) for caption in captions])
    pixels = torch.from_numpy(np.stack([model.prepare(image) for image in images]))
    with torch.no_grad():
        texts = run.network.text(ids)[which]
        embedded = run.network.visual(pixels)

    for got, expected in (
        (model.encode_text(captions), texts),
        (model.encode_image(images), embedded),
    ):
        expected = torch.nn.functional.normalize(expected, dim=1)
        torch.testing.assert_close(got.clone(), expected, atol=1e-4, rtol=0)
    assert model.logit_scale == pytest.approx(run.network.logit_scale.exp().item())
    assert model.tokenizer.vocab_size == 49_408
    assert model.encode_text("words that never occurred").isfinite().all()


def test_a_resumed_run_has_the_weights_of_an_uninterrupted_one(
    trained: tuple[Run, Path], train: Path, tmp_path: Path
) -> None:
    out = tmp_path / "colors.safetensors"

    def stop(line: str) -> None:
        if line.startswith("epoch 3:"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain.pretrain(train, out, TINY, report=stop)
    state = training_state.path_of(out)
    assert state.is_file()
    assert not out.exists()
    lines: list[str] = []
    pretrain.pretrain(train, out, TINY, resume=True, report=lines.append)

    assert lines[0] == "resumed after epoch 3"
    assert out.read_bytes() == trained[1].read_bytes()
    assert not state.exists()


def test_files_of_others_are_not_overwritten(train: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.safetensors"
    state = training_state.path_of(out)

    out.write_bytes(b"mine")
    with pytest.raises(InputError, match="exists; use another name"):
        pretrain.pretrain(train, out, TINY)
    assert out.read_bytes() == b"mine"
    out.unlink()
    state.write_bytes(b"mine too")
    with pytest.raises(InputError, match="written by another program"):
        pretrain.pretrain(train, out, TINY)
    with pytest.raises(InputError, match="expected the state of an interrupted run, got another"):
        pretrain.pretrain(train, out, TINY, resume=True)
    assert state.read_bytes() == b"mine too"


def test_a_finished_checkpoint_is_not_overwritten(trained: tuple[Run, Path], train: Path) -> None:
    assert native.is_native(trained[1])
    for resume in (False, True):
        with pytest.raises(InputError, match="exists; use another name"):
            pretrain.pretrain(train, trained[1], TINY, resume=resume)


def test_a_run_is_not_resumed_with_other_settings_or_pairs(train: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"

    def stop(line: str) -> None:
        if line.startswith("epoch 1:"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain.pretrain(train, out, TINY, report=stop)
    with pytest.raises(InputError, match="written by an interrupted run; pass --resume"):
        pretrain.pretrain(train, out, TINY)
    with pytest.raises(InputError, match=r"had rate 0\.003, now 0\.001; resume with the same"):
        pretrain.pretrain(train, out, replace(TINY, rate=1e-3), resume=True)
    other = write_images(tmp_path / "other", each=2, seed=1)
    with pytest.raises(InputError, match="had captions "):
        pretrain.pretrain(other, out, TINY, resume=True)


def test_a_run_is_not_resumed_with_other_images_of_the_same_captions(tmp_path: Path) -> None:
    folder, out = write_images(tmp_path / "images", each=2, seed=0), tmp_path / "m.safetensors"

    def stop(line: str) -> None:
        if line.startswith("epoch 1:"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain.pretrain(folder, out, replace(TINY, epochs=2), report=stop)
    moved = folder.rename(tmp_path / "moved")
    other = write_images(tmp_path / "images", each=2, seed=1)

    with pytest.raises(InputError, match="had images "):
        pretrain.pretrain(other, out, replace(TINY, epochs=2), resume=True)
    lines: list[str] = []
    pretrain.pretrain(moved, out, replace(TINY, epochs=2), resume=True, report=lines.append)
    assert lines[0] == "resumed after epoch 1"


def test_resume_requires_an_interrupted_run(train: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="got no file; omit --resume"):
        pretrain.pretrain(train, tmp_path / "m.safetensors", TINY, resume=True)


def test_loss_is_reported_beside_that_of_chance(train: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    settings = replace(TINY, epochs=1, rate=1e-9)

    pretrain.pretrain(train, tmp_path / "m.safetensors", settings, report=lines.append)

    assert re.match(r"epoch 1: loss 2\.\d+ \(chance 2\.773\), .* 4 steps, ", lines[1])  # ln(16)
    assert lines[-1].startswith("Nothing or almost nothing was learned yet: the loss of the last")
    assert "Train longer" in lines[-1]


def test_a_run_that_learned_does_not_say_otherwise(train: Path, tmp_path: Path) -> None:
    lines: list[str] = []

    pretrain.pretrain(train, tmp_path / "m.safetensors", TINY, report=lines.append)

    assert not [line for line in lines if "was learned" in line]


def test_damaged_images_are_counted_and_reported(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "images", each=2, seed=0)
    (folder / "red0.png").write_bytes(b"no image")
    (folder / "blue1.png").write_bytes((folder / "blue1.png").read_bytes()[:150])
    lines: list[str] = []

    settings = replace(TINY, epochs=2)
    run = pretrain.pretrain(folder, tmp_path / "m.safetensors", settings, report=lines.append)

    assert {Path(name).name for name in run.crops.skipped} == {"red0.png", "blue1.png"}
    assert any("2 steps" in line and "skipped 2: 1 unreadable: not_image" in line for line in lines)


def test_only_damaged_images_are_an_error(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "images", each=1, seed=0)
    for path in folder.glob("*.png"):
        path.write_bytes(b"no image")

    with pytest.raises(InputError, match="no batch has two readable images; skipped 8"):
        pretrain.pretrain(folder, tmp_path / "m.safetensors", TINY, report=lambda line: None)


def test_a_tar_file_trains_for_a_length_of_time(train: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        for path in sorted(train.glob("*[01].*")):
            info = tarfile.TarInfo(path.name)
            info.size = path.stat().st_size
            tar.addfile(info, io.BytesIO(path.read_bytes()))
    settings = replace(TINY, epochs=None, minutes=0.01)

    run = pretrain.pretrain(
        tmp_path / "0.tar", tmp_path / "m.safetensors", settings, report=lambda line: None
    )

    assert run.progress.steps > 0
    assert 0.6 <= run.seconds < 10


def test_crops_are_random_parts_of_the_resized_image(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.arange(0, 240, 4, dtype=np.uint8)[None, :, None], (32, 60, 3))
    Image.fromarray(np.ascontiguousarray(ramp)).save(tmp_path / "wide.png")
    (tmp_path / "wide.txt").write_text("a ramp")
    crops = Crops(pairs.read(tmp_path), Preprocess(16))
    chosen = np.zeros(20, dtype=np.int64)

    pixels, kept = crops.batch(chosen, (0, 0, 0))
    again, _ = crops.batch(chosen, (0, 0, 0))

    assert pixels.shape == (20, 3, 16, 16)
    assert kept == [0] * 20
    assert torch.equal(pixels, again)
    assert len({values.item() for values in pixels[:, 0, 0, 0]}) > 5


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seed_out_of_range_is_an_error(seed: int) -> None:
    with pytest.raises(InputError, match=f"seed={seed} must be an integer of at"):
        replace(TINY, seed=seed)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--minutes", "1", "--epochs", "2"], "got 2 epochs and 1.0 minutes; give one"),
        (["--epochs", "0"], "expected a length of training above 0"),
        (["--batch-size", "1"], "expected a batch of 2 pairs or more"),
        (["--width", "0"], "expected vision width"),
        (["--epochs", "1"], "expected a file that ends in .safetensors"),
    ],
)
def test_unusable_options_are_reported(train: Path, options: list[str], expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        pretrain.main([str(train), "out.bin", *options])


def test_every_setting_is_an_option_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        pretrain.main(["--help"])

    printed = " ".join(capsys.readouterr().out.split())
    for name in {each.name for each in fields(Settings)} - {"epochs", "minutes"}:
        assert re.search(rf"--{name.replace('_', '-')} [A-Z_]+ [^(]+ \(default: ", printed)
    assert "--rate RATE peak learning rate (default: 0.001)" in printed
