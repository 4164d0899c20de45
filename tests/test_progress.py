"""A bar appears for slow work on a terminal or in a notebook, with rate and time left."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from functools import partialmethod
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import zeroshot
from zeroshot import progress
from zeroshot.errors import InputError
from zeroshot.progress import Bar, length, track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal() -> Iterator[Callable[[], Terminal]]:
    """Return a function that replaces standard error; pytest resets it before the test runs."""
    patch = pytest.MonkeyPatch()

    def replace() -> Terminal:
        stream = Terminal()
        patch.setattr(sys, "stderr", stream)
        return stream

    yield replace
    patch.undo()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make all work count as slow."""
    monkeypatch.setattr(progress, "DELAY", -1)


def work(show: Any = None, total: int | None = 20) -> None:
    with Bar("images", total, show) as bar:
        for _ in range(20):
            bar.add(1)


@pytest.mark.usefixtures("slow")
def test_a_bar_with_rate_and_time_left_is_shown_on_a_terminal(
    terminal: Callable[[], Terminal],
) -> None:
    stream = terminal()

    work()

    assert "20/20" in stream.getvalue()
    assert " images/s" in stream.getvalue()
    assert "<00:00" in stream.getvalue()


@pytest.mark.usefixtures("slow")
def test_without_a_total_the_bar_shows_count_and_rate(terminal: Callable[[], Terminal]) -> None:
    stream = terminal()

    work(total=None)

    assert "20 images [" in stream.getvalue()


def test_fast_work_shows_no_bar(terminal: Callable[[], Terminal]) -> None:
    stream = terminal()

    work()

    assert stream.getvalue() == ""


def test_progress_true_shows_a_bar_for_fast_work_and_in_files(
    capsys: pytest.CaptureFixture[str],
) -> None:
    work(show=True)

    assert "20/20" in capsys.readouterr().err


@pytest.mark.usefixtures("slow")
def test_progress_false_shows_no_bar(terminal: Callable[[], Terminal]) -> None:
    stream = terminal()

    work(show=False)

    assert stream.getvalue() == ""


@pytest.mark.usefixtures("slow")
def test_no_bar_is_written_to_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    work()

    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("slow")
def test_work_in_one_step_shows_no_bar(terminal: Callable[[], Terminal]) -> None:
    stream = terminal()

    with Bar("images", 20) as bar:
        bar.add(20)

    assert stream.getvalue() == ""


@pytest.mark.usefixtures("slow")
def test_a_notebook_shows_a_bar_without_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = SimpleNamespace(kernel="running")
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))

    work()

    assert "20/20" in capsys.readouterr().err


def test_a_program_without_standard_error_has_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)

    assert not progress.is_interactive()


def test_another_value_is_rejected() -> None:
    with pytest.raises(InputError, match="progress='yes' must be True or False, or None"):
        Bar("images", show="yes")  # type: ignore[arg-type]


def test_time_before_the_bar_appears_counts_for_the_rate(
    terminal: Callable[[], Terminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = terminal()
    clock = iter([0.0, 100.0, 100.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))

    with Bar("images", 400) as bar:
        bar.add(200)

    assert "2.00 images/s" in stream.getvalue()
    assert "[01:40<01:40" in stream.getvalue()


class Unsized:
    def __len__(self) -> int:
        raise RuntimeError("an iterable data set has no length")


def test_the_length_is_known_or_none() -> None:
    assert length(["a", "b"]) == 2
    assert length(iter(["a", "b"])) == 2
    assert length(np.zeros((3, 4))) == 3
    assert length(name for name in "ab") is None
    assert length(Unsized()) is None


def test_items_are_counted_after_they_were_used(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Bar("letters", 5, show=True)

    assert list(track(["abc", "de"], bar)) == ["abc", "de"]

    assert "5/5" in capsys.readouterr().err


def test_a_consumer_that_stops_early_closes_the_bar(capsys: pytest.CaptureFixture[str]) -> None:
    items = track(["abc", "de", "f"], Bar("letters", 6, show=True))
    assert [next(items), next(items)] == ["abc", "de"]

    items.close()  # type: ignore[attr-defined]

    assert capsys.readouterr().err.endswith("\n")


# public functions


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{n}.png" for n in range(20)]
    for path in paths:
        Image.new("RGB", (8, 8), "red").save(path)
    return paths


@pytest.mark.parametrize(
    "call",
    [
        lambda model, images, show: zeroshot.classify(
            images, ["a", "b"], model=model, progress=show
        ),
        lambda model, images, show: model.classifier(["a", "b"])(images, progress=show),
        lambda model, images, show: model.classifier(["a", "b"]).predict(images, progress=show),
        lambda model, images, show: model.classifier(["a", "b"]).predict_proba(
            images, progress=show
        ),
        lambda model, images, show: model.classifier(["a", "b"]).score(
            images, ["a"] * 20, progress=show
        ),
        lambda model, images, show: list(
            model.classifier(["a", "b"]).stream(images, progress=show)
        ),
        lambda model, images, show: model.encode_image(images, progress=show),
    ],
)
def test_public_functions_show_the_progress_of_images(
    call: Any, tiny: zeroshot.Model, images: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    call(tiny, images, None)
    assert capsys.readouterr().err == ""

    call(tiny, images, True)

    assert "20/20" in capsys.readouterr().err


@pytest.mark.usefixtures("slow")
def test_a_stream_has_no_bar_of_its_own_between_the_lines_of_a_loop(
    tiny: zeroshot.Model, images: list[Path], terminal: Callable[[], Terminal]
) -> None:
    classifier = tiny.classifier(["a", "b"])
    stream = terminal()

    list(classifier.stream(images))
    assert stream.getvalue() == ""
    classifier(images)

    assert "20/20" in stream.getvalue()


def test_heads_and_texts_show_their_progress(
    tiny: zeroshot.Model, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = [f"{number}" for number in range(3000)]

    tiny.head(labels, ["a {}", "{}"], progress=True)
    assert "6000/6000" in capsys.readouterr().err
    tiny.encode_text([*labels, *labels], progress=True)
    assert "3000/3000" in capsys.readouterr().err  # equal texts are embedded once
    tiny.encode_text(labels)
    assert capsys.readouterr().err == ""


def test_many_texts_have_the_embeddings_of_few(tiny: zeroshot.Model) -> None:
    texts = [f"{number}" for number in range(5000)]

    found = tiny.encode_text(texts)

    np.testing.assert_allclose(found[-7:], tiny.encode_text(texts[-7:]), atol=1e-5)


def test_tqdm_disable_hides_a_bar_that_was_requested(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tqdm.auto import tqdm

    monkeypatch.setattr(tqdm, "__init__", partialmethod(tqdm.__init__, disable=True))

    work(show=True)

    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("show", [None, True])
@pytest.mark.parametrize("stream", ["closed", "none"])
def test_work_needs_no_standard_error(
    stream: str, show: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = (tmp_path / "log").open("w")
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed if stream == "closed" else None)

    work(show)


def test_a_module_that_only_has_the_name_of_ipython_is_no_notebook(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))

    assert not progress._is_in_notebook()


@pytest.mark.parametrize("show", [np.array([True, False]), "yes"], ids=["array", "text"])
def test_progress_of_another_type_is_rejected(show: Any) -> None:
    with pytest.raises(InputError, match="must be True or False, or None"):
        work(show)


def test_the_bar_of_a_single_image_counts_one_image(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    model = zeroshot.load("mini")
    monkeypatch.setattr(model._engine.backend, "busy_until", float("inf"))
    Image.new("RGB", (64, 64)).save(tmp_path / "photo.png")

    model.encode_image(str(tmp_path / "photo.png"), progress=True)

    assert "1/1 " in capsys.readouterr().err
