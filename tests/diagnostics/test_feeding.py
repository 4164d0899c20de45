"""The report of feeding names what limits a machine, in one line with both speeds."""

from __future__ import annotations

import dataclasses

import pytest

from zeroshot import Model
from zeroshot.diagnostics import feeding
from zeroshot.diagnostics.feeding import Feeding, measure_feeding
from zeroshot.images.jpeg import Decoder

FOUND = Feeding("Pillow 13.0.0", "CpuBackend", "cpu", 2, "JPEG", 520.4, 1900.0, 500.0)


def use_decoder(
    monkeypatch: pytest.MonkeyPatch, library: object | None, *, installed: bool = True
) -> None:
    monkeypatch.setattr(feeding, "find_decoder", lambda: Decoder(library, "1.9.0", "", installed))


def test_slow_decoding_without_the_extra_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    use_decoder(monkeypatch, None, installed=False)

    assert FOUND.verdict == (
        "decoding limits this machine: 520 images/s prepared, 1,900 embedded; "
        "pip install 'zeroshot-clip[fast]'"
    )


def test_slow_decoding_with_the_extra_advises_other_means(monkeypatch: pytest.MonkeyPatch) -> None:
    use_decoder(monkeypatch, object())

    assert FOUND.advice == "use decode='fast' for large files, or a machine with more CPU cores"


def test_float32_is_not_advised_to_install_a_decoder_it_does_not_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_decoder(monkeypatch, None, installed=False)
    exact = dataclasses.replace(FOUND, reference=True)

    assert exact.advice == "use decode='fast' for large files, or a machine with more CPU cores"


def test_two_libraries_that_differ_are_to_be_updated(monkeypatch: pytest.MonkeyPatch) -> None:
    use_decoder(monkeypatch, None)

    assert FOUND.advice.startswith("update Pillow and simplejpeg: pip install")


def test_a_slow_tower_is_the_limit_without_advice() -> None:
    slow = dataclasses.replace(FOUND, embedded=7.25)

    assert slow.verdict == (
        "the image tower limits this machine: 520 images/s prepared, 7.2 embedded"
    )


@pytest.mark.parametrize("embedded", [500.0, 520.4, 560.0])
def test_speeds_within_a_tenth_are_called_equal(embedded: float) -> None:
    equal = dataclasses.replace(FOUND, embedded=embedded)

    assert equal.limit == "neither"
    assert equal.verdict.startswith("decoding and the image tower are equally fast: 520 images/s")


def test_every_part_is_measured_through_the_backend(tiny: Model) -> None:
    found = measure_feeding(tiny, seconds=0.01)

    assert min(found.prepared, found.embedded, found.together) > 0
    assert found.backend == type(tiny._engine.backend).__name__
    assert found.device == str(tiny.device)
    assert found.reference
    assert found.decoder.startswith("Pillow ")  # the model is float32
    assert not measure_feeding(tiny.to(dtype="bfloat16"), seconds=0.01).reference
    assert found.file.startswith("JPEG of 500 x 375 pixels, ")


def test_the_photograph_that_was_written_is_removed(
    tiny: Model, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(feeding.tempfile, "tempdir", str(folder))

    measure_feeding(tiny, seconds=0.01)

    assert list(folder.iterdir()) == []
