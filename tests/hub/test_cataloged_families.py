"""Catalog names of other families: the config decides, and tokenizer files belong to the model."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import zeroshot
from tests.checkpoint import (
    families,
    families_bert,
    families_clipa,
    families_metaclip,
    families_mobileclip,
)
from tests.checkpoint.layouts import test_perception_encoder as perception_encoder
from tests.hub.mini_hub import MiniHub
from tests.hub.support import expect_sizes
from zeroshot import catalog, errors, hub, loading
from zeroshot.catalog import Entry
from zeroshot.checkpoint.reader import check_configs
from zeroshot.spec import Spec

pytestmark = pytest.mark.usefixtures("tiny_towers", "tiny_berts")


@dataclass(frozen=True)
class Family:
    """A tiny checkpoint that stands for one of the catalog."""

    name: str  # in the catalog
    repository: str
    write: Callable[[Path], Path]
    spec: Spec
    tokenizer: str  # name of its file, or ""


FAMILIES = (
    Family(
        *("ViT-B-16-SigLIP:webli", "timm/ViT-B-16-SigLIP", families.write_open_clip),
        *(families.SIGLIP, "spiece.model"),
    ),
    Family(
        *("ViT-B-16-SigLIP2:webli", "google/siglip2-base-patch16-224"),
        *(families.write_transformers, families.SIGLIP, "spiece.model"),
    ),
    Family(
        *("ViT-H-14-worldwide:metaclip2_worldwide", "facebook/metaclip-2-worldwide-huge-quickgelu"),
        *(families_metaclip.write_transformers, families_metaclip.XLM_V),
        "sentencepiece.bpe.model",
    ),
    Family(
        *("ViT-L-14-CLIPA:datacomp1b", "UCSC-VLAA/ViT-L-14-CLIPA-datacomp1B"),
        *(families_clipa.write, families_clipa.CLIPA, "vocab.txt"),
    ),
    Family(
        *("xlm-roberta-base-ViT-B-32:laion5b_s13b_b90k",),
        *("laion/CLIP-ViT-B-32-xlm-roberta-base-laion5B-s13B-b90k", families_bert.write_open_clip),
        *(families_bert.LAION, "sentencepiece.bpe.model"),
    ),
    Family(
        *("Chinese-CLIP-ViT-B-16", "OFA-Sys/chinese-clip-vit-base-patch16"),
        *(families_bert.write_transformers, families_bert.CHINESE_CLIP, "vocab.txt"),
    ),
    Family(
        *("PE-Core-B-16:meta", "timm/PE-Core-B-16"),
        lambda folder: families.write_open_clip(folder, families.PE, "vit_pe_core_test_patch8"),
        *(families.PE, ""),
    ),
)
FASTVIT = "fastvit_test_small"
EACH = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.repository)


def put(mini: MiniHub, family: Family, folder: Path) -> dict[str, bytes]:
    """Write a checkpoint and put its files on the hub; return the large ones."""
    folder.mkdir()
    written = family.write(folder)
    files = {path.name: path.read_bytes() for path in written.iterdir()}
    small = {name: content for name, content in files.items() if "config" in name}
    large = {name: content for name, content in files.items() if name not in small}
    mini.add(family.repository, small, lfs=large)
    return large


def expect(monkeypatch: pytest.MonkeyPatch, spec: Spec) -> None:
    expect_sizes(
        monkeypatch,
        image_size=spec.preprocess.size,
        embed_dim=spec.network.embed_dim,
        context_length=spec.network.text.context_length,
    )


def load(name: str, **options: Any) -> zeroshot.Model:
    return zeroshot.load(name, device="cpu", dtype="float32", **options)


@EACH
def test_catalog_name_gives_the_embeddings_of_the_folder(
    mini: MiniHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: Family
) -> None:
    large = put(mini, family, tmp_path / "here")
    expect(monkeypatch, family.spec)
    here = zeroshot.load(tmp_path / "here", device="cpu", dtype="float32")

    model = load(family.repository)

    assert model.name == family.name
    assert model.identity == here.identity
    assert torch.equal(model.encode_text("a cat"), here.encode_text("a cat"))
    assert len(mini.requests("GET", "/lfs/")) == len(large) == 1 + bool(family.tokenizer)
    mini.log.clear()
    assert load(family.repository, offline=True).identity == here.identity
    assert mini.log == []


@EACH
def test_lock_of_a_catalog_name_contains_the_tokenizer_file(
    mini: MiniHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: Family
) -> None:
    put(mini, family, tmp_path / "here")
    expect(monkeypatch, family.spec)
    lock = tmp_path / "zeroshot.lock"
    pinned = hub.pin(family.repository, judge=check_configs)
    hub.write_lock(lock, [pinned])

    model = load(family.repository, lock=lock, cache_dir=tmp_path / "another")

    assert (pinned.name, pinned.repository) == (family.name, family.repository)
    names = [file.name for file in pinned.files]
    assert [name for name in names if "config" not in name][:-1] == (
        [family.tokenizer] if family.tokenizer else []
    )
    assert model.encode_text("a cat").shape == (family.spec.network.embed_dim,)
    assert load(family.name, lock=lock, offline=True).identity == model.identity


@EACH
def test_config_is_judged_before_the_weights_of_a_catalog_name(
    mini: MiniHub, family: Family
) -> None:
    configs = {
        "open_clip_config.json": {"model_cfg": {"embed_dim": 8, "multimodal_cfg": {"width": 8}}},
        "config.json": {"model_type": "blip", "text_config": {}},
    }
    small = {name: json.dumps(content).encode() for name, content in configs.items()}
    names = ("model.safetensors", "open_clip_model.safetensors", "tokenizer.json")
    mini.add(family.repository, small, lfs=dict.fromkeys(names, b"x" * 1_000_000))

    for call in (load, lambda name: hub.pin(name, judge=check_configs)):
        with pytest.raises(errors.IncompatibleWeights, match=r"config\.json: "):
            call(family.repository)
    assert mini.requests("GET", "/lfs/") == []


def test_missing_tokenizer_of_a_catalog_name_is_an_error_before_the_weights(
    mini: MiniHub, tmp_path: Path
) -> None:
    written = families.write_open_clip(tmp_path / "here")
    config = (written / "open_clip_config.json").read_bytes()
    mini.add(
        "timm/ViT-B-16-SigLIP",
        {"open_clip_config.json": config},
        lfs={"open_clip_model.safetensors": b"x" * 1_000_000},
    )

    with pytest.raises(errors.ModelNotFound, match=r"has no file spiece\.model or"):
        load("siglip")

    assert mini.requests("GET", "/lfs/") == []


def test_mirror_keeps_the_preprocessing_and_activation_of_its_config(
    mini: MiniHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    family = FAMILIES[1]
    put(mini, family, tmp_path / "here")
    written = tmp_path / "here" / "preprocessor_config.json"
    config = json.loads(written.read_text()) | {"resample": 2}
    written.write_text(json.dumps(config))
    put_again = {path.name: path.read_bytes() for path in (tmp_path / "here").iterdir()}
    mini.add(family.repository, put_again)
    expect(monkeypatch, family.spec)

    with caplog.at_level(logging.WARNING, "zeroshot"):
        spec = load(family.repository).spec

    assert spec.preprocess.interpolation == "bilinear"
    assert spec.network.text.activation == "gelu_tanh"
    assert "published" not in caplog.text


def test_metas_own_file_is_the_only_one_of_its_repository(
    mini: MiniHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = perception_encoder.write(tmp_path / "PE.pt")
    name = "facebook/PE-Core-B16-224"
    mini.add(name, {"config.yaml": b""}, lfs={"PE-Core-B16-224.pt": path.read_bytes()})
    expect(monkeypatch, perception_encoder.PE)

    model = load(name)

    assert model.name == "PE-Core-B-16:meta"
    assert model.identity == zeroshot.load(path, device="cpu", dtype="float32").identity
    assert [file.name for file in hub.pin(name).files] == ["PE-Core-B16-224.pt"]
    asked = {request.path.rpartition("/")[2] for request in mini.requests("HEAD")}
    assert asked == {"PE-Core-B16-224.pt"}


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("apple/MobileCLIP-S1", "mobileclip_s1.pt"),  # names of Apple's code
        ("apple/MobileCLIP2-S0", "mobileclip2_s0.pt"),  # those of open_clip
    ],
)
def test_apples_own_file_is_the_same_model_as_that_of_open_clip(
    mini: MiniHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, file: str
) -> None:
    folder = families_mobileclip.write_open_clip(tmp_path / "here", FASTVIT)
    config = json.loads((folder / "open_clip_config.json").read_text())
    networks = {catalog.find(name).architecture: config["model_cfg"]}
    monkeypatch.setattr(catalog, "_networks", lambda: networks)
    expect(monkeypatch, families_mobileclip.SPECS[FASTVIT])
    tensors = families_mobileclip.open_clip_tensors(FASTVIT)
    if file == "mobileclip_s1.pt":
        tensors = families_mobileclip.apple_names(tensors)
    path = families_mobileclip.write(tmp_path / file, FASTVIT, tensors)
    mini.add(name, {"config.json": b"{}"}, lfs={file: path.read_bytes()})

    model = load(name)

    here = load(folder)
    assert (model.identity, model.spec) == (here.identity, here.spec)
    assert [each.name for each in hub.pin(name).files] == [file]


def test_network_of_a_repository_without_a_config_is_that_of_the_catalog(
    mini: MiniHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = families.write_open_clip(tmp_path / "here")
    config = json.loads((written / "open_clip_config.json").read_text())
    here = zeroshot.load(written, device="cpu", dtype="float32")
    known = catalog.find("xlm-roberta-base-ViT-B-32")
    preprocess = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "resize_mode": "squash"}
    entry = replace(known, preprocess=preprocess)
    monkeypatch.setattr(catalog, "find", lambda _: entry)
    networks = {entry.architecture: config["model_cfg"]}
    monkeypatch.setattr(catalog, "_networks", lambda: networks)
    expect(monkeypatch, families.SIGLIP)
    (written / "open_clip_config.json").unlink()
    files = {path.name: path.read_bytes() for path in written.iterdir()}
    mini.add(entry.repository, {"README.md": b""}, lfs=files)

    model = load(entry.name)

    assert model.spec == here.spec
    assert torch.equal(model.encode_text("a cat"), here.encode_text("a cat"))
    assert sorted(file.name for file in hub.pin(entry.name).files) == sorted(files)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("metaclip2", "its license, CC-BY-NC-4.0, permits non-commercial use only"),
        ("MobileCLIP2-S0", "its license, Apple, permits research only"),
        ("siglip2", ""),
    ],
)
def test_loading_names_a_license_that_does_not_permit_commercial_use_once(
    name: str,
    says: str,
    tiny_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    entry = catalog.find(name)
    monkeypatch.setattr(hub, "fetch_entry", lambda *_, **__: tiny_path)
    monkeypatch.setattr(Entry, "published", property(lambda _: None))
    loading._note_license.cache_clear()

    with caplog.at_level(logging.WARNING, "zeroshot"):
        zeroshot.load(name, device="cpu")
        zeroshot.load(name, device="cpu")

    notes = [message for message in caplog.messages if "license" in message]
    assert notes == ([f"{entry.name}: {says}"] if says else [])


def test_offline_error_names_a_cached_mirror_of_the_checkpoint(
    mini: MiniHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = FAMILIES[1]
    put(mini, family, tmp_path / "here")
    expect(monkeypatch, family.spec)
    with pytest.raises(errors.OfflineError, match="load the model once online"):
        load("siglip2", offline=True)

    load(family.repository)

    with pytest.raises(errors.OfflineError, match=f"load '{family.repository}', which is cached"):
        load("siglip2", offline=True)
