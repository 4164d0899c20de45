"""The doctor finds what is wrong, says which stage it is, and leaves everything as it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from huggingface_hub import constants
from PIL import Image

import zeroshot
from zeroshot import catalog, engine, loading
from zeroshot.cli.doctor import command
from zeroshot.diagnostics import doctor, selfcheck
from zeroshot.diagnostics.doctor import Check
from zeroshot.hub import archives
from zeroshot.hub.inspection import cached_checkpoints
from zeroshot.images import preprocess as pixels
from zeroshot.tokenizers import clip as tokenizer

CPU = torch.device("cpu")
NOISE = [-0.46879708766937256, -0.392880916595459, 0.8597967624664307]  # of the name "x"
PICTURE = "d3a99b1829d09d9f"  # sha256 of its bytes begins with it
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def findings(dtype: torch.dtype = torch.float32) -> dict[str, str]:
    """Problems by stage, "" where it is right."""
    return {finding.stage: finding.problem for finding in selfcheck.stages(CPU, dtype)}


def wrong(found: dict[str, str]) -> list[str]:
    """The stages that are off, each kind once."""
    return sorted({stage.partition(" (")[0] for stage, problem in found.items() if problem})


# ---- stages


def test_every_stage_of_a_sound_installation_is_right() -> None:
    found = findings()

    assert len(found) == 9
    assert wrong(found) == []


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_towers_run_in_float32_and_in_the_precision_of_production(dtype: torch.dtype) -> None:
    found = findings(dtype)

    assert len(found) == 15
    assert wrong(found) == []


def test_the_measured_error_leaves_room_to_the_limit() -> None:
    tower = selfcheck.NETWORKS["ViT, QuickGELU"]
    expected = torch.tensor(selfcheck.reference()["towers"]["ViT, QuickGELU"]["image"])

    found = selfcheck._plain(tower, "image")

    assert selfcheck._distance(found, expected) < selfcheck.TOLERANCE["float32"] / 10


def test_the_wrong_activation_is_far_beyond_the_limit() -> None:
    config = selfcheck.NETWORKS["ViT, QuickGELU"]
    other = replace(config, vision=replace(config.vision, activation="gelu"))
    expected = torch.tensor(selfcheck.reference()["towers"]["ViT, QuickGELU"]["image"])

    found = selfcheck._plain(other, "image")

    assert selfcheck._distance(found, expected) > 20 * selfcheck.TOLERANCE["float32"]


def test_weights_come_from_whole_numbers_and_are_the_same_everywhere() -> None:
    assert selfcheck.noise("x", 3).tolist() == pytest.approx(NOISE, abs=0)
    assert hashlib.sha256(selfcheck.sample_image().tobytes()).hexdigest().startswith(PICTURE)


def keep_case(text: str) -> str:
    return " ".join(text.split())


def merge_nothing(self: tokenizer.ClipTokenizer, symbols: list[str]) -> list[int]:
    return [1 for _ in symbols]


TOKENIZER_FAULTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "case is kept": lambda patch: patch.setattr(tokenizer, "clean", keep_case),
    "nothing is merged": lambda patch: patch.setattr(
        tokenizer.ClipTokenizer, "_merge", merge_nothing
    ),
}


@pytest.mark.parametrize("fault", TOKENIZER_FAULTS)
def test_a_sabotaged_tokenizer_is_found_and_nothing_else(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    TOKENIZER_FAULTS[fault](monkeypatch)

    found = findings()

    assert wrong(found) == ["tokenizer"]
    assert "as from OpenAI's tokenizer, got" in found["tokenizer"]


RESIZE_FAULTS = {
    "nearest neighbour": Image.Resampling.NEAREST,
    "the other filter": Image.Resampling.LANCZOS,
    "no antialias to speak of": Image.Resampling.HAMMING,
}


@pytest.mark.parametrize("fault", RESIZE_FAULTS)
def test_a_sabotaged_resize_is_found_and_nothing_else(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("bicubic", "bilinear"):
        monkeypatch.setitem(pixels.RESAMPLING, name, RESIZE_FAULTS[fault])

    found = findings()

    assert wrong(found) == ["resize"]
    assert len([problem for problem in found.values() if problem]) == 2
    assert "gray levels" in next(filter(None, found.values()))


def test_a_crop_that_is_one_pixel_off_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    crop = Image.Image.crop

    def shifted(self: Image.Image, box: Any = None) -> Image.Image:
        left, top, right, bottom = box
        return crop(self, (left + 1, top, right + 1, bottom))

    monkeypatch.setattr(Image.Image, "crop", shifted)

    assert wrong(findings()) == ["resize"]


@pytest.mark.parametrize(("way", "tower"), [("encode_pixels", "image"), ("encode_ids", "text")])
@pytest.mark.parametrize(
    "spoil",
    [lambda e: e.flip(0), lambda e: e + 1e-3, lambda e: e * float("nan")],
    ids=["order lost", "a little off", "not a number"],
)
def test_an_engine_gone_wrong_is_found_and_told_from_the_network(
    way: str, tower: str, spoil: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = getattr(engine.Engine, way)
    monkeypatch.setattr(engine.Engine, way, lambda *a, **options: spoil(run(*a, **options)))

    found = findings()

    assert wrong(found) == [f"{tower} tower"]
    problems = list(filter(None, found.values()))
    assert len(problems) == len(selfcheck.NETWORKS)
    assert all("so the engine on cpu is wrong" in problem for problem in problems)


def test_a_network_gone_wrong_is_told_from_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    build = selfcheck.network

    def spoilt(config: Any) -> Any:
        made = build(config)
        made.text.ln_final.weight *= 1.5
        return made

    monkeypatch.setattr(selfcheck, "network", spoilt)

    found = findings()

    assert wrong(found) == ["text tower"]
    assert all("the plain network is wrong too" in p for p in found.values() if p)


def test_a_stage_that_raises_is_told_and_the_others_still_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(engine.Engine, "encode_ids", fail)

    found = findings()

    assert wrong(found) == ["text tower"]
    assert "RuntimeError: no such kernel" in next(filter(None, found.values()))


# ---- the embedded model


def loaded_with(shift: float) -> SimpleNamespace:
    """Make a model whose engine is `shift` off from its network."""
    image, text = torch.tensor([[0.6, 0.8]]), torch.tensor([[1.0, 0.0]])
    return SimpleNamespace(
        device=CPU,
        network=SimpleNamespace(visual=lambda pixels: image, text=lambda ids: text),
        tokenizer=SimpleNamespace(rows=lambda texts: [[1, 2]]),
        prepare=lambda picture: torch.zeros(3, 8, 8).numpy(),
        encode_image=lambda picture: image[0] + shift,
        encode_text=lambda sentence: text[0],
    )


@pytest.mark.parametrize(("shift", "status"), [(0.0, "ok"), (1e-6, "ok"), (1e-2, "bad")])
def test_the_embedded_model_is_held_to_its_plain_network(
    shift: float, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "load", lambda *arguments, **options: loaded_with(shift))

    assert doctor.check_embedded_model().status == status


def test_an_embedded_model_that_does_not_load_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise zeroshot.errors.UnsafeWeightsError("cut short")

    monkeypatch.setattr(loading, "load", fail)

    check = doctor.check_embedded_model()

    assert check.status == "bad"
    assert "UnsafeWeightsError: cut short" in check.detail


@pytest.mark.parametrize(
    ("content", "status"), [(b"whole", "ok"), (b"whol3", "bad"), (None, "bad")]
)
def test_the_embedded_models_bytes_are_compared_with_the_catalog(
    content: bytes | None, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = replace(catalog.find("mini"), sha256=hashlib.sha256(b"whole").hexdigest())
    monkeypatch.setattr(catalog, "folder", lambda kind: tmp_path / "data" / kind)
    assert entry.path is not None
    entry.path.parent.mkdir(parents=True)
    if content is not None:
        entry.path.write_bytes(content)

    assert doctor.check_embedded(entry).status == status


# ---- the cache


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache."""
    folder = tmp_path / "hub"
    folder.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


def put(hub: Path, repository: str, files: dict[str, bytes]) -> dict[str, Path]:
    """Lay files into the cache as huggingface_hub does; return the blobs."""
    folder = hub / f"models--{repository.replace('/', '--')}"
    snapshot, blobs = folder / "snapshots" / COMMIT, folder / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    made = {}
    for name, content in files.items():
        if name.endswith(".json"):
            digest = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        else:
            digest = hashlib.sha256(content).hexdigest()
        made[name] = blobs / digest
        made[name].write_bytes(content)
        (snapshot / name).symlink_to(f"../../blobs/{digest}")
    return made


FILES = {"open_clip_config.json": b"{}", "open_clip_model.safetensors": b"w" * 2_000_000}
VIT_B_32 = "timm/vit_base_patch32_clip_224.openai"


def cached(**options: Any) -> Check:
    """The one checkpoint in the cache."""
    checks = list(doctor.check_checkpoints(**options))
    (check,) = (check for check in checks if check.name not in ("mini", "cached"))
    return check


def test_an_empty_cache_is_no_fault(hub: Path) -> None:
    checks = {check.name: check for check in doctor.check_checkpoints()}

    assert checks["cached"] == Check("checkpoints", "cached", "ok", "no model of the catalog yet")


def test_a_cached_checkpoint_is_told_with_size_and_commit(hub: Path) -> None:
    put(hub, VIT_B_32, FILES)

    assert cached() == Check("checkpoints", "ViT-B/32", "ok", "2 MB, commit 0123456")


def test_a_mirrors_checkpoint_is_told_with_its_repository(hub: Path) -> None:
    put(hub, "openai/clip-vit-base-patch32", {"model.safetensors": b"w"})

    assert cached().name == "ViT-B/32 (openai/clip-vit-base-patch32)"


def test_verify_hashes_weights_and_configuration(hub: Path) -> None:
    put(hub, VIT_B_32, FILES)

    assert cached(verify=True).detail == "2 MB, commit 0123456, 2 files verified"


@pytest.mark.parametrize("name", FILES)
def test_verify_finds_one_flipped_byte(name: str, hub: Path) -> None:
    blob = put(hub, VIT_B_32, FILES)[name]
    blob.write_bytes(b"x" + blob.read_bytes()[1:])

    check = cached(verify=True)

    assert cached().status == "ok"  # not seen without
    assert check.status == "bad"
    assert f"{name}: checksum mismatch" in check.detail
    assert check.advice.startswith("remove ")


def test_verify_holds_weights_to_the_catalogs_hash(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(hub, VIT_B_32, FILES)
    entry = replace(catalog.find("ViT-B/32"), sha256="0" * 64)

    (found,) = cached_checkpoints(entry, verify=True)
    check = doctor.check_cached(found, verify=True)

    assert check.status == "bad"
    assert f"checksum mismatch: expected {'0' * 64}" in check.detail


def test_files_without_a_published_hash_are_counted_as_such(hub: Path) -> None:
    folder = hub / "models--timm--vit_base_patch32_clip_224.openai"
    snapshot = folder / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "open_clip_model.safetensors").write_bytes(b"w")  # a cache without links

    assert "0 files verified, 1 without a published hash" in cached(verify=True).detail


def test_a_link_that_leads_nowhere_is_found(hub: Path) -> None:
    put(hub, VIT_B_32, FILES)["open_clip_model.safetensors"].unlink()

    check = cached()

    assert check.status == "bad"
    assert "open_clip_model.safetensors is a broken symlink" in check.detail


def test_an_unfinished_download_is_noted(hub: Path) -> None:
    blob = put(hub, VIT_B_32, FILES)["open_clip_config.json"]
    blob.with_name("abc.incomplete").write_bytes(b"")

    check = cached()

    assert check.status == "note"
    assert "1 unfinished downloads" in check.detail
    assert "hf cache prune" in check.advice


def test_a_configuration_without_weights_is_noted(hub: Path) -> None:
    put(hub, VIT_B_32, {"open_clip_config.json": b"{}"})

    assert cached().status == "note"
    assert cached().detail.startswith("no weights yet")


@pytest.mark.parametrize(("content", "status"), [(b"archive", "ok"), (b"archivE", "bad")])
def test_a_publishers_archive_is_held_to_its_hash(content: bytes, status: str, hub: Path) -> None:
    entry = replace(catalog.find("ViT-B/32"), url_sha256=hashlib.sha256(b"archive").hexdigest())
    path = archives.archive_path(entry.url, entry.url_sha256)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)

    (plain,), (verified,) = cached_checkpoints(entry), cached_checkpoints(entry, verify=True)
    assert doctor.check_archive(plain, verify=False).status == "ok"
    assert doctor.check_archive(verified, verify=True).status == status


def test_nothing_in_the_cache_is_changed(hub: Path) -> None:
    put(hub, VIT_B_32, FILES)["open_clip_model.safetensors"].write_bytes(b"damaged")
    before = sorted((p, p.lstat().st_mtime_ns, p.lstat().st_size) for p in hub.rglob("*"))

    list(doctor.check_checkpoints(verify=True))

    assert sorted((p, p.lstat().st_mtime_ns, p.lstat().st_size) for p in hub.rglob("*")) == before


# ---- hub


def hub_checks() -> dict[str, Check]:
    return {check.name: check for check in doctor.check_cache()}


def test_a_full_disk_is_noted(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=50_000_000))

    check = hub_checks()["cache"]

    assert check.status == "note"
    assert check.detail == f"{hub}, 50 MB free"


def test_a_cache_that_cannot_be_written_is_noted(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)

    assert "not writable" in hub_checks()["cache"].detail
    assert "HF_HOME" in hub_checks()["cache"].advice


def test_a_cache_that_does_not_exist_yet_has_the_room_of_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "not" / "yet"))

    assert str(tmp_path / "not" / "yet") in hub_checks()["cache"].detail


def test_mirror_and_offline_mode_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "https://mirror.example")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    checks = hub_checks()

    assert (checks["endpoint"].status, checks["endpoint"].detail) == (
        "note",
        "https://mirror.example",
    )
    assert checks["offline"].status == "note"
    assert checks["offline"].advice == "unset HF_HUB_OFFLINE to allow downloads"


# ---- versions and machine


def test_the_other_package_of_this_name_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    known = doctor.metadata.version
    monkeypatch.setattr(
        doctor.metadata, "version", lambda name: "0.1.4" if name == "zeroshot" else known(name)
    )

    (check,) = (check for check in doctor.check_versions() if check.status == "bad")

    assert check.name == "package 'zeroshot'"
    assert "pip uninstall zeroshot" in check.advice


@pytest.mark.parametrize(
    ("version", "status"), [("11.3.0", "note"), ("12.2.9", "note"), ("12.3", "ok"), ("13.0", "ok")]
)
def test_an_old_pillow_is_noted(version: str, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = doctor.metadata.version
    monkeypatch.setattr(
        doctor.metadata, "version", lambda name: version if name == "pillow" else known(name)
    )

    assert {c.name: c.status for c in doctor.check_versions() if c.name == "pillow"} == {
        "pillow": status
    }


def test_more_threads_than_cores_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 999)

    check = {check.name: check for check in doctor.check_machine()}["threads"]

    assert check.status == "note"
    assert check.advice.startswith("set OMP_NUM_THREADS=")


def test_device_and_precision_are_those_that_load_chooses() -> None:
    check = {check.name: check for check in doctor.check_machine()}["load() chooses"]
    device = engine.choose_device(None)
    dtype = str(engine.choose_dtype(None, device)).removeprefix("torch.")

    assert check.detail == f"{device}, {dtype}"


# ---- the command


@pytest.fixture
def quick(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the embedded model out, which is tried on its own."""
    monkeypatch.setattr(
        doctor, "check_embedded_model", lambda: Check("stages", "embedded model", "ok", "")
    )


@pytest.mark.usefixtures("quick")
def test_a_sound_installation_ends_with_0_and_a_tampered_one_with_1(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = CliRunner().invoke(command, [])
    put(hub, VIT_B_32, FILES)["open_clip_model.safetensors"].write_bytes(b"damaged")
    damaged = CliRunner().invoke(command, ["--verify"])

    assert sound.exit_code == 0, sound.output
    assert "!!" not in sound.output
    assert damaged.exit_code == 1
    assert "  !!  ViT-B/32: " in damaged.output
    assert "1 of " in damaged.output.splitlines()[-1]


@pytest.mark.usefixtures("quick")
def test_a_sabotaged_stage_is_named_in_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer, "clean", keep_case)

    result = CliRunner().invoke(command, ["--json"])
    report = json.loads(result.stdout)

    assert result.exit_code == 1
    assert report["ok"] is False
    assert [check["name"] for check in report["checks"] if check["status"] == "bad"] == [
        "tokenizer"
    ]


@pytest.mark.usefixtures("quick")
def test_the_token_is_told_to_be_there_and_not_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_verysecret")

    text, document = (CliRunner().invoke(command, options).output for options in ([], ["--json"]))

    assert "token: found" in text
    assert "verysecret" not in text + document
