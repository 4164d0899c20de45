"""The doctor reports faults of the installation and changes nothing."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from huggingface_hub import constants

import zeroshot
from tests.support import HUB_COMMIT, fill_hub_cache
from zeroshot import catalog, engine, loading
from zeroshot.diagnostics import doctor, feeding
from zeroshot.diagnostics.doctor import Check
from zeroshot.diagnostics.feeding import Feeding
from zeroshot.hub import archives
from zeroshot.hub.inspection import cached_checkpoints
from zeroshot.images.jpeg import Decoder

CPU = torch.device("cpu")


def loaded_with(shift: float) -> SimpleNamespace:
    """Make a model whose engine differs from its network by `shift`."""
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
def test_the_embedded_model_is_compared_with_its_plain_network(
    shift: float, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "load", lambda *arguments, **options: loaded_with(shift))

    assert doctor.check_embedded_model().status == status


def test_an_embedded_model_that_does_not_load_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise zeroshot.errors.UnsafeWeightsError("cut short")

    monkeypatch.setattr(loading, "load", fail)

    check = doctor.check_embedded_model()

    assert check.status == "bad"
    assert "UnsafeWeightsError: cut short" in check.detail


@pytest.mark.parametrize(
    ("content", "status"), [(b"whole", "ok"), (b"whol3", "bad"), (None, "bad")]
)
def test_the_embedded_model_file_is_compared_with_the_catalog_hash(
    content: bytes | None, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = replace(catalog.find("mini"), sha256=hashlib.sha256(b"whole").hexdigest())
    monkeypatch.setattr(catalog, "folder", lambda kind: tmp_path / "data" / kind)
    assert entry.path is not None
    entry.path.parent.mkdir(parents=True)
    if content is not None:
        entry.path.write_bytes(content)

    assert doctor.check_embedded(entry).status == status


def test_missing_optional_package_is_a_note_with_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert doctor.check_tokenizers().status == "ok"

    def fail(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", fail)
    check = doctor.check_tokenizers()

    assert check.status == "note"
    assert "pip install 'zeroshot-clip[tokenizers]'" in check.advice


FILES = {"open_clip_config.json": b"{}", "open_clip_model.safetensors": b"w" * 2_000_000}
VIT_B_32 = "timm/vit_base_patch32_clip_224.openai"


def cached(**options: Any) -> Check:
    """The one checkpoint in the cache."""
    checks = list(doctor.check_checkpoints(**options))
    (check,) = (check for check in checks if check.name not in ("mini", "cached"))
    return check


def test_an_empty_cache_is_ok(hub_cache: Path) -> None:
    checks = {check.name: check for check in doctor.check_checkpoints()}

    assert checks["cached"] == Check("checkpoints", "cached", "ok", "no model of the catalog yet")


def test_a_cached_checkpoint_is_listed_with_size_and_commit(hub_cache: Path) -> None:
    fill_hub_cache(hub_cache, VIT_B_32, FILES)

    assert cached() == Check("checkpoints", "ViT-B/32", "ok", "2 MB, commit 0123456")


def test_a_checkpoint_of_a_mirror_is_listed_with_its_repository(hub_cache: Path) -> None:
    fill_hub_cache(hub_cache, "openai/clip-vit-base-patch32", {"model.safetensors": b"w"})

    assert cached().name == "ViT-B/32 (openai/clip-vit-base-patch32)"


def test_verify_hashes_weights_and_configuration(hub_cache: Path) -> None:
    fill_hub_cache(hub_cache, VIT_B_32, FILES)

    assert cached(verify=True).detail == "2 MB, commit 0123456, 2 files verified"


@pytest.mark.parametrize("name", FILES)
def test_verify_detects_one_flipped_byte(name: str, hub_cache: Path) -> None:
    blob = fill_hub_cache(hub_cache, VIT_B_32, FILES)[name]
    blob.write_bytes(b"x" + blob.read_bytes()[1:])

    check = cached(verify=True)

    assert cached().status == "ok"  # not detected without verify
    assert check.status == "bad"
    assert f"{name}: checksum mismatch" in check.detail
    assert check.advice.startswith("remove ")


def test_verify_compares_weights_with_the_catalog_hash(
    hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_hub_cache(hub_cache, VIT_B_32, FILES)
    entry = replace(catalog.find("ViT-B/32"), sha256="0" * 64)

    (found,) = cached_checkpoints(entry, verify=True)
    check = doctor.check_cached(found, verify=True)

    assert check.status == "bad"
    assert f"checksum mismatch: expected {'0' * 64}" in check.detail


def test_files_without_a_published_hash_are_counted(hub_cache: Path) -> None:
    folder = hub_cache / "models--timm--vit_base_patch32_clip_224.openai"
    snapshot = folder / "snapshots" / HUB_COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "open_clip_model.safetensors").write_bytes(b"w")  # a cache without symlinks

    assert "0 files verified, 1 without a published hash" in cached(verify=True).detail


def test_a_broken_symlink_is_detected(hub_cache: Path) -> None:
    fill_hub_cache(hub_cache, VIT_B_32, FILES)["open_clip_model.safetensors"].unlink()

    check = cached()

    assert check.status == "bad"
    assert "open_clip_model.safetensors is a broken symlink" in check.detail


def test_an_unfinished_download_is_noted(hub_cache: Path) -> None:
    blob = fill_hub_cache(hub_cache, VIT_B_32, FILES)["open_clip_config.json"]
    blob.with_name("abc.incomplete").write_bytes(b"")

    check = cached()

    assert check.status == "note"
    assert "1 unfinished downloads" in check.detail
    assert "hf cache prune" in check.advice


def test_a_configuration_without_weights_is_noted(hub_cache: Path) -> None:
    fill_hub_cache(hub_cache, VIT_B_32, {"open_clip_config.json": b"{}"})

    assert cached().status == "note"
    assert cached().detail.startswith("no weights yet")


@pytest.mark.parametrize(("content", "status"), [(b"archive", "ok"), (b"archivE", "bad")])
def test_a_publisher_archive_is_compared_with_its_hash(
    content: bytes, status: str, hub_cache: Path
) -> None:
    entry = replace(catalog.find("ViT-B/32"), url_sha256=hashlib.sha256(b"archive").hexdigest())
    path = archives.archive_path(entry.url, entry.url_sha256)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)

    (plain,), (verified,) = cached_checkpoints(entry), cached_checkpoints(entry, verify=True)
    assert doctor.check_archive(plain, verify=False).status == "ok"
    assert doctor.check_archive(verified, verify=True).status == status


def test_nothing_in_the_cache_is_changed(hub_cache: Path) -> None:
    fill_hub_cache(hub_cache, VIT_B_32, FILES)["open_clip_model.safetensors"].write_bytes(
        b"damaged"
    )
    before = sorted((p, p.lstat().st_mtime_ns, p.lstat().st_size) for p in hub_cache.rglob("*"))

    list(doctor.check_checkpoints(verify=True))

    assert (
        sorted((p, p.lstat().st_mtime_ns, p.lstat().st_size) for p in hub_cache.rglob("*"))
        == before
    )


def hub_checks() -> dict[str, Check]:
    return {check.name: check for check in doctor.check_cache()}


def test_a_full_disk_is_noted(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=50_000_000))

    check = hub_checks()["cache"]

    assert check.status == "note"
    assert check.detail == f"{hub_cache}, 50 MB free"


def test_a_cache_that_cannot_be_written_is_noted(
    hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)

    assert "not writable" in hub_checks()["cache"].detail
    assert "HF_HOME" in hub_checks()["cache"].advice


def test_a_cache_that_does_not_exist_yet_reports_free_space_of_its_parent(
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


@pytest.fixture
def login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the stored login, which does not exist yet; no variable is set."""
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "ENDPOINT", "https://huggingface.co")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "token"


@pytest.mark.parametrize(
    ("variable", "stored", "status", "detail"),
    [
        (None, None, "ok", "none; only gated models need one"),
        (None, "hf_secret\n", "ok", "found"),
        (" hf_secret\n", None, "ok", "found"),
        ("hf_secret", "hf_sécret", "ok", "found"),
        (" \n", None, "note", "none; HF_TOKEN is empty"),
        ("hf_sécret", "hf_secret", "bad", "HF_TOKEN is not a valid token: expected ASCII letters"),
        (None, "hf_s\nret", "bad", "the login stored in "),
    ],
)
def test_the_form_of_the_token_is_checked_and_the_token_not_shown(
    variable: str | None,
    stored: str | None,
    status: str,
    detail: str,
    login: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if variable is not None:
        monkeypatch.setenv("HF_TOKEN", variable)
    if stored is not None:
        login.write_text(stored, "utf-8")

    check = hub_checks()["token"]

    assert check.status == status
    assert check.detail.startswith(detail)
    assert bool(check.advice) == (status != "ok")
    assert "hf_s" not in check.detail + check.advice


def test_a_bad_login_is_no_problem_at_a_mirror(
    login: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    login.write_text("hf_s\nret")
    monkeypatch.setattr(constants, "ENDPOINT", "https://mirror.example")

    assert hub_checks()["token"].status == "ok"


def test_the_unrelated_package_named_zeroshot_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_an_old_pillow_version_is_noted(
    version: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def feed(monkeypatch: pytest.MonkeyPatch, **speeds: float) -> list[Check]:
    """Return the checks of the speed group for these speeds, without the extra."""
    found = Feeding("Pillow 13", "CpuBackend", "cpu", 2, "JPEG", together=1.0, **speeds)
    monkeypatch.setattr(loading, "load", lambda name: None)
    monkeypatch.setattr(feeding, "measure_feeding", lambda model, seconds: found)
    monkeypatch.setattr(feeding, "find_decoder", lambda: Decoder(None, "13", is_installed=False))
    return list(doctor.check_feeding())


def test_a_machine_that_decodes_too_slowly_gets_a_note_with_advice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = feed(monkeypatch, prepared=520.0, embedded=1900.0)[-1]

    assert (files.status, files.detail, files.advice) == (
        "note",
        "decoding limits this machine: 520 images/s prepared, 1,900 embedded",
        "pip install 'zeroshot-clip[fast]'",
    )


def test_a_machine_limited_by_its_tower_is_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    backend, files = feed(monkeypatch, prepared=520.0, embedded=40.0)

    assert {check.status for check in (backend, files)} == {"ok"}
    assert backend.detail == "CpuBackend on cpu, 2 CPU cores, with mini"
    assert files.detail.startswith("the image tower limits this machine")


def test_a_failure_while_speed_is_measured_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(model: object, seconds: float) -> None:
        raise ValueError("truncated")

    monkeypatch.setattr(feeding, "measure_feeding", fail)

    assert [(check.status, check.detail) for check in doctor.check_feeding()] == [
        ("bad", "raised ValueError: truncated")
    ]
