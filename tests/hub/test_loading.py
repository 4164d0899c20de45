"""From a name to embeddings through a hub: those of the reference packages, or an error."""

from __future__ import annotations

import io
import json
import lzma
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import zeroshot
from tests.checkpoint.layouts import test_perception_encoder as perception_encoder
from tests.hub.mini_hub import NAME, MiniHub
from tests.hub.support import expect_sizes
from tests.parity import pictures
from zeroshot import catalog, errors, hub
from zeroshot.files import sha256
from zeroshot.weight_files import NESTED

FIXTURES = Path(__file__).parents[1] / "fixtures"
TOLERANCE = 1e-5  # of an embedding's length, in float32
LAYOUTS = (
    "open_clip-gelu",
    "open_clip-custom-text",
    "open_clip-squash",
    "hf-quick-gelu",
    "hf-gelu",
    "hf-siglip",
    "hf-metaclip",
)
SMALL = (".json",)


class Golden:
    """The files of a tiny checkpoint, and the embeddings that its own package gives."""

    def __init__(self, name: str, folder: Path) -> None:
        content = lzma.decompress((FIXTURES / f"{name}.tar.xz").read_bytes())
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            tar.extractall(folder, filter="data")
        with np.load(folder / "answers.npz") as answers:
            self.texts: NDArray[Any] = answers["text_unit"]
            self.images: NDArray[Any] = answers["image_unit"]
        entry = folder / (folder / "entry.txt").read_text().strip()
        paths = entry.iterdir() if entry.is_dir() else [entry]
        self.files = {path.name: path.read_bytes() for path in paths}

    def put_on(self, mini: MiniHub, repository: str) -> str:
        small = {n: c for n, c in self.files.items() if n.endswith(SMALL)}
        return mini.add(
            repository, small, lfs={n: c for n, c in self.files.items() if n not in small}
        )

    def error_of(self, model: zeroshot.Model) -> float:
        """Return the largest distance to the embeddings of the reference package."""
        photographs = pictures.some_photographs()
        chosen = [photographs[i] for i in pictures.COMPARED]
        pairs = (
            (model.encode_text(list(pictures.SOME_SENTENCES), truncate=True), self.texts),
            (model.encode_image(chosen), self.images[pictures.COMPARED]),
        )
        return max(
            float((found - torch.from_numpy(expected)).norm(dim=-1).max())
            for found, expected in pairs
        )


def load(name: str, **options: Any) -> zeroshot.Model:
    return zeroshot.load(name, device="cpu", dtype="float32", **options)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_repository_of_each_layout_gives_the_reference_embeddings(
    mini: MiniHub, tmp_path: Path, layout: str
) -> None:
    golden = Golden(layout, tmp_path / layout)
    commit = golden.put_on(mini, "owner/tiny")

    model = load("owner/tiny")

    assert model.name == "owner/tiny"
    assert golden.error_of(model) < TOLERANCE
    mini.log.clear()
    assert load("owner/tiny", revision=commit).identity == model.identity
    assert load("owner/tiny", offline=True).identity == model.identity
    assert mini.log == []


@pytest.mark.parametrize("others", [{}, {"config.json": b"{}"}], ids=["alone", "root config"])
def test_repository_of_sentence_transformers_gives_the_reference_embeddings(
    mini: MiniHub, tmp_path: Path, others: dict[str, bytes]
) -> None:
    golden = Golden("hf-gelu", tmp_path / "golden")
    golden.files = {f"{NESTED}{name}": content for name, content in golden.files.items()} | others
    commit = golden.put_on(mini, "owner/sentences")

    model = load("owner/sentences")

    assert golden.error_of(model) < TOLERANCE
    assert len(mini.requests("GET", "/lfs/")) == 1
    mini.log.clear()
    assert load("owner/sentences", revision=commit).identity == model.identity
    assert load("owner/sentences", offline=True).identity == model.identity
    assert mini.log == []
    assert load("owner/sentences").identity == model.identity
    assert [request.method for request in mini.log] == ["HEAD"]


def test_repository_of_sentence_transformers_can_be_locked(mini: MiniHub, tmp_path: Path) -> None:
    golden = Golden("hf-gelu", tmp_path / "golden")
    golden.files = {f"{NESTED}{name}": content for name, content in golden.files.items()}
    golden.put_on(mini, "owner/sentences")
    lock = tmp_path / "zeroshot.lock"

    hub.write_lock(lock, [hub.pin("owner/sentences")])

    assert golden.error_of(load("owner/sentences", lock=lock)) < TOLERANCE


@pytest.fixture
def golden(tmp_path: Path) -> Golden:
    return Golden("open_clip-gelu", tmp_path / "golden")


def test_cataloged_name_gives_the_embeddings_of_its_repository(
    mini: MiniHub, golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden.put_on(mini, catalog.find("ViT-B/32").repository)
    expect_sizes(monkeypatch, image_size=40, embed_dim=40, context_length=32, activation="gelu")

    for name in ("ViT-B/32", "vit-b-32"):
        model = load(name)
        assert model.name == "ViT-B/32"
        assert golden.error_of(model) < TOLERANCE


def test_openai_archive_is_loaded_if_no_hub_answers(
    mini: MiniHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = Golden("openai-vit", tmp_path / "archive")
    (content,) = golden.files.values()
    path = tmp_path / "ViT-B-32.pt"
    path.write_bytes(content)
    mini.plain["/ViT-B-32.pt"] = content
    mini.fault("HEAD", "", status=503)
    entry = replace(
        catalog.find("ViT-B/32"), url=f"{mini.url}/ViT-B-32.pt", url_sha256=sha256(path)
    )
    monkeypatch.setattr(catalog, "find", lambda _: entry)
    expect_sizes(monkeypatch, image_size=32, embed_dim=48)

    assert golden.error_of(load("ViT-B/32")) < TOLERANCE


def test_another_checkpoint_under_a_cataloged_name_is_rejected(
    mini: MiniHub, golden: Golden
) -> None:
    golden.put_on(mini, catalog.find("ViT-B/32").repository)

    with pytest.raises(errors.IncompatibleWeights, match="not the checkpoint of that name"):
        load("ViT-B/32")


def test_lock_is_respected(mini: MiniHub, golden: Golden, tmp_path: Path) -> None:
    golden.put_on(mini, "owner/tiny")
    lock = tmp_path / "zeroshot.lock"
    hub.write_lock(lock, [hub.pin("owner/tiny")])
    identity = load("owner/tiny").identity
    other = Golden("open_clip-squash", tmp_path / "other")
    other.put_on(mini, "owner/tiny")
    assert load("owner/tiny").identity != identity

    assert load("owner/tiny", lock=lock).identity == identity
    with pytest.raises(errors.ModelNotFound, match="'mini' is not in the lock file"):
        load("mini", lock=lock)


def test_file_with_a_flipped_bit_is_never_loaded(mini: MiniHub, golden: Golden) -> None:
    """Each of 16 places of the weights and the configuration, with a hub that always flips it."""
    rejected = 0
    for name in ("open_clip_config.json", NAME):
        size = len(golden.files[name])
        for place in range(8):
            repository = f"owner/{name.split('.')[0]}-{place}"
            golden.put_on(mini, repository)
            mini.faults.clear()
            mini.fault("GET", name, flip=size * place // 8)
            with pytest.raises(errors.ChecksumError):
                load(repository)
            rejected += 1
    print(f"\n{rejected} of 16 flipped files rejected")
    assert rejected == 16


def test_unknown_name_error_mentions_hub_and_catalog(mini: MiniHub) -> None:
    with pytest.raises(errors.ModelNotFound) as caught:
        load("laion/CLIP-ViT-B-32-laion2B-s34B-b80K")

    assert "no repository 'laion/CLIP-ViT-B-32-laion2B-s34B-b80K'" in str(caught.value)
    assert "did you mean" in str(caught.value)


def test_misspelled_catalog_name_makes_no_request(mini: MiniHub) -> None:
    with pytest.raises(errors.ModelNotFound, match="did you mean 'ViT-B/32'"):
        load("ViT-B/33")

    assert mini.log == []


UNSUPPORTED = {
    "siglip 2 of an unknown kind": {"config.json": {"model_type": "siglip2", "use_rope": True}},
    "blip": {"config.json": {"model_type": "blip", "text_config": {}}},
    "clip with another vocabulary": {
        "config.json": {"model_type": "clip", "text_config": {"vocab_size": 64001}}
    },
    "timm": {"config.json": {"architecture": "vit_base_patch16_224", "num_classes": 1000}},
    "tower of timm in open_clip": {
        "open_clip_config.json": {
            "model_cfg": {"embed_dim": 768, "vision_cfg": {"timm_model_name": "vit_base"}}
        },
        "config.json": {"model_type": "siglip3"},
    },
}


@pytest.mark.parametrize("folder", ["", NESTED])
@pytest.mark.parametrize("kind", UNSUPPORTED)
def test_an_unsupported_model_is_rejected_before_its_weights_are_requested(
    mini: MiniHub, kind: str, folder: str
) -> None:
    contents = UNSUPPORTED[kind].items()
    small = {f"{folder}{name}": json.dumps(content).encode() for name, content in contents}
    large = {f"{folder}{name}": b"x" * 3_000_000 for name in ("model.safetensors", NAME)}
    mini.add("owner/other", small, lfs=large)

    with pytest.raises(errors.IncompatibleWeights, match=r"config\.json: ") as caught:
        zeroshot.load("owner/other")

    paths = [r.path for r in mini.log if r.method == "GET"]
    fetched = [path.partition("/resolve/")[2].partition("/")[2] for path in paths]
    assert set(fetched) <= small.keys()
    assert sum(len(small[name]) for name in fetched) < 1000  # bytes
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "config", [b"{}", b'{"model_type": null}', b'{"note": "counts downloads"}']
)
def test_a_config_that_names_no_model_does_not_stop_a_checkpoint_that_needs_none(
    mini: MiniHub, config: bytes
) -> None:
    path = catalog.find("mini").path
    assert path is not None
    mini.add("owner/own", {"config.json": config}, lfs={"model.safetensors": path.read_bytes()})

    assert zeroshot.load("owner/own", device="cpu").identity == zeroshot.load("mini").identity


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("visheratin/nllb-clip-base-siglip", "unsupported architecture, NLLB"),
        ("ViTamin-L/datacomp1b", "unsupported architecture, ViTamin"),
        ("apple/MobileCLIP-S0", "MobileCLIP-S0 in Apple's own format"),
    ],
)
def test_a_known_name_that_cannot_be_loaded_costs_no_request(
    mini: MiniHub, name: str, what: str
) -> None:
    with pytest.raises(errors.ModelNotFound, match=what):
        zeroshot.load(name)

    assert mini.log == []


@pytest.mark.usefixtures("tiny_towers")
def test_weights_with_the_name_of_their_repository_are_found(mini: MiniHub, tmp_path: Path) -> None:
    path = perception_encoder.write(tmp_path / "own.pt")
    commit = mini.add(
        "facebook/PE-Core-Test8-32",
        {"config.yaml": b""},
        lfs={"PE-Core-Test8-32.pt": path.read_bytes()},
    )

    model = zeroshot.load("facebook/PE-Core-Test8-32", device="cpu")
    pinned = hub.pin("facebook/PE-Core-Test8-32")

    assert model.identity == zeroshot.load(path, device="cpu").identity
    assert (pinned.commit, [file.name for file in pinned.files]) == (
        commit,
        ["PE-Core-Test8-32.pt"],
    )
