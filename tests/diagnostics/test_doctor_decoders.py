"""The doctor names the decoders of JPEG files."""

from __future__ import annotations

import sys

import pytest
import torch

from tests.engine.cuda.nvimgcodec import FakeLibrary
from zeroshot.diagnostics import doctor
from zeroshot.diagnostics.doctor import Check
from zeroshot.images import jpeg
from zeroshot.images.jpeg import Decoder, find_decoder


def test_the_decoder_of_jpeg_files_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.check_jpeg_decoder() == Check(
        "machine", "jpeg decoder", "ok", str(find_decoder())
    )
    missing = Decoder(None, "13.0", "because simplejpeg is not installed", is_installed=False)
    monkeypatch.setattr(jpeg, "find_decoder", lambda: missing)
    assert doctor.check_jpeg_decoder().status == "ok"


@pytest.mark.parametrize(
    ("library", "status", "detail"),
    [
        (FakeLibrary(), "ok", "nvImageCodec 0.9.0"),
        (None, "ok", "CPU, because nvImageCodec is not installed; pip install"),
        (FakeLibrary(offset=20), "note", "CPU, because pixels of nvImageCodec differ by 20"),
    ],
    ids=["used", "not installed", "different"],
)
def test_the_decoder_of_a_gpu_is_shown(
    library: FakeLibrary | None, status: str, detail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nvidia.nvimgcodec", library)

    found = doctor.check_gpu_decoder(torch.device("cpu"))

    assert (found.name, found.status) == ("decode='fast'", status)
    assert found.detail.startswith(detail)


def test_a_decoder_that_differs_from_pillow_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    differing = Decoder(None, "13.0", "because the pixels of simplejpeg 1.9.9 differ")
    monkeypatch.setattr(jpeg, "find_decoder", lambda: differing)

    found = doctor.check_jpeg_decoder()

    assert found.status == "note"
    assert found.detail == "Pillow 13.0, because the pixels of simplejpeg 1.9.9 differ"
