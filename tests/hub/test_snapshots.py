"""Which requests a repository costs, and which of its files are downloaded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from huggingface_hub import constants, scan_cache_dir

from tests.hub.mini_hub import CONFIG, NAME, NEW_WEIGHTS, REPOSITORY, WEIGHTS, MiniHub
from tests.hub.support import BOTH, SETTING
from zeroshot import catalog, errors, hub
from zeroshot.hub import snapshots
from zeroshot.weight_files import NESTED


def asked(mini: MiniHub) -> list[tuple[str, str]]:
    """Return the requests so far, without those of the client itself, and clear the log."""
    found = [(r.method, r.path) for r in mini.log if not r.path.startswith("/api/")]
    mini.log.clear()
    return found


def test_cold_start_downloads_each_file_once(tiny_hub: MiniHub) -> None:
    found = hub.fetch(REPOSITORY, BOTH)

    requests = asked(tiny_hub)
    assert found.weights.read_bytes() == WEIGHTS
    assert sum(method == "GET" for method, _ in requests) == 2
    assert len(requests) <= 7


def test_cached_branch_costs_one_request(tiny_hub: MiniHub) -> None:
    for names in ((), BOTH):
        hub.fetch(REPOSITORY, names)
        asked(tiny_hub)

        hub.fetch(REPOSITORY, names)

        requests = asked(tiny_hub)
        assert [method for method, _ in requests] == ["HEAD"]


@pytest.mark.parametrize("files", [(), BOTH], ids=["of unknown layout", "cataloged"])
def test_cached_commit_costs_no_request(tiny_hub: MiniHub, files: tuple[str, ...]) -> None:
    commit = hub.fetch(REPOSITORY, files).commit
    asked(tiny_hub)

    found = hub.fetch(REPOSITORY, files, revision=commit)

    assert asked(tiny_hub) == []
    assert tiny_hub.log == []
    assert found.weights.read_bytes() == WEIGHTS


@pytest.mark.parametrize("how", ["argument", "variable"])
def test_offline_mode_makes_no_request(
    tiny_hub: MiniHub, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    hub.fetch(REPOSITORY)
    tiny_hub.log.clear()
    if how == "variable":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    offline = how == "argument"

    assert hub.fetch(REPOSITORY, offline=offline).weights.read_bytes() == WEIGHTS
    for repository_name, revision in (("owner/other", None), (REPOSITORY, "5" * 40)):
        with pytest.raises(errors.OfflineError, match=r"copy .* into a folder"):
            hub.fetch(repository_name, BOTH, revision=revision, offline=offline)

    assert tiny_hub.log == []


def test_only_required_files_are_downloaded(mini: MiniHub) -> None:
    others = {"README.md": b"x", "vocab.json": b"{}", "config.json": b"{}"}
    weights = {"pytorch_model.bin": b"p" * 999, "model.safetensors": WEIGHTS, "tf_model.h5": b"h"}
    mini.add(REPOSITORY, others, lfs=weights)

    found = hub.fetch(REPOSITORY)

    assert list(found.files) == ["config.json", "model.safetensors"]
    assert found.weights.name == "model.safetensors"
    assert len(mini.requests("GET", "/lfs/")) == 1


def test_first_known_name_is_chosen_and_safetensors_come_first(
    mini: MiniHub,
) -> None:
    for count, name in enumerate(reversed(snapshots.WEIGHTS)):
        if name.endswith(".json"):
            continue
        held = {n: bytes(9) for n in snapshots.WEIGHTS[-1 - count :] if not n.endswith(".json")}
        mini.add(f"owner/{count}", {}, lfs=held)
        assert hub.fetch(f"owner/{count}").weights.name == name


def test_all_shards_are_downloaded(mini: MiniHub) -> None:
    shards = {f"model-0000{n}-of-00003.safetensors": bytes([n]) * 1000 for n in (1, 2, 3)}
    index = json.dumps({"weight_map": {f"t{i}": name for i, name in enumerate(shards)}})
    mini.add(REPOSITORY, {"model.safetensors.index.json": index.encode()}, lfs=shards)

    found = hub.fetch(REPOSITORY)

    assert found.weights.name == "model.safetensors.index.json"
    assert {p.name: p.read_bytes() for p in found.weights.parent.glob("model-*")} == shards
    assert list(found.files)[-1] == found.weights.name


def test_shards_in_the_folder_of_sentence_transformers_are_downloaded(mini: MiniHub) -> None:
    shards = {f"{NESTED}model-{n}.safetensors": bytes([n]) * 1000 for n in (1, 2)}
    names = [name.removeprefix(NESTED) for name in shards]
    index = json.dumps({"weight_map": {name: name for name in names}}).encode()
    small = {f"{NESTED}config.json": b"{}", f"{NESTED}model.safetensors.index.json": index}
    mini.add(REPOSITORY, small, lfs=shards)

    found = hub.fetch(REPOSITORY)

    assert list(found.files) == [f"{NESTED}config.json", *shards, *list(small)[1:]]
    assert [found.files[name].read_bytes() for name in shards] == list(shards.values())


@pytest.mark.parametrize(("folder", "requests"), [("", 15), (NESTED, 23)])
def test_each_known_name_is_requested_at_most_twice(
    mini: MiniHub, folder: str, requests: int
) -> None:
    files = {f"{folder}config.json": b"{}", f"{folder}preprocessor_config.json": b"[]"}
    mini.add(REPOSITORY, files, lfs={f"{folder}model.safetensors": WEIGHTS})

    hub.fetch(REPOSITORY)

    found = asked(mini)
    assert len([path for method, path in found if method == "GET"]) == 3
    assert len(found) == requests


@pytest.mark.parametrize(
    "index",
    [
        b"",
        b"[]",
        b"{}",
        b'{"weight_map": {}}',
        b'{"weight_map": {"a": 1}}',
        b'{"weight_map": {"a": "../../../etc/passwd"}}',
        b'{"weight_map": {"a": "/etc/passwd"}}',
        b'{"weight_map": {"a": "..\\\\x"}}',
        b"[" * 100_000,
    ],
)
def test_malformed_shard_index_is_rejected(mini: MiniHub, index: bytes) -> None:
    mini.add(REPOSITORY, {"model.safetensors.index.json": index})

    with pytest.raises(errors.UnsafeWeightsError, match="index"):
        hub.fetch(REPOSITORY)


def test_missing_shard_is_named(mini: MiniHub) -> None:
    index = b'{"weight_map": {"a": "one.safetensors"}}'
    mini.add(REPOSITORY, {"model.safetensors.index.json": index})

    with pytest.raises(errors.ModelNotFound, match=r"has no file one\.safetensors"):
        hub.fetch(REPOSITORY)


def test_missing_revision_repository_or_file_is_named(tiny_hub: MiniHub) -> None:
    with pytest.raises(errors.ModelNotFound, match="has no revision 'v9'"):
        hub.fetch(REPOSITORY, revision="v9")
    with pytest.raises(errors.ModelNotFound, match="no repository 'owner/absent'"):
        hub.fetch("owner/absent")
    with pytest.raises(errors.ModelNotFound, match=r"has no file absent\.bin"):
        hub.fetch(REPOSITORY, ["absent.bin"])


def test_repository_without_weights_is_an_error(mini: MiniHub) -> None:
    mini.add(REPOSITORY, {"README.md": b"nothing"})

    with pytest.raises(errors.ModelNotFound, match=r"open_clip_model\.safetensors or "):
        hub.fetch(REPOSITORY)


def test_branch_or_tag_is_resolved(mini: MiniHub) -> None:
    mini.add(REPOSITORY, {SETTING: CONFIG}, lfs={NAME: WEIGHTS}, branch="v1")
    mini.add(REPOSITORY, {SETTING: CONFIG}, lfs={NAME: NEW_WEIGHTS})

    assert hub.fetch(REPOSITORY, revision="v1").weights.read_bytes() == WEIGHTS
    assert hub.fetch(REPOSITORY).weights.read_bytes() == NEW_WEIGHTS
    assert hub.fetch(REPOSITORY, revision="v1", offline=True).weights.read_bytes() == WEIGHTS


def test_renamed_file_of_a_cataloged_checkpoint_is_found_also_offline(
    mini: MiniHub,
) -> None:
    entry = catalog.find("ViT-B-32:laion400m_e32")
    mini.add(entry.repository, {SETTING: CONFIG}, lfs={"open_clip_pytorch_model.bin": WEIGHTS})

    path = hub.fetch_checkpoint(entry).weights
    assert path.name == "open_clip_pytorch_model.bin"
    mini.log.clear()

    assert hub.fetch_checkpoint(entry, offline=True).weights == path
    assert mini.log == []


def test_cache_is_valid_for_huggingface_hub(tiny_hub: MiniHub, cache: Path) -> None:
    hub.fetch(REPOSITORY, BOTH)

    report = scan_cache_dir(cache)

    assert [r.repo_id for r in report.repos] == [REPOSITORY]
    assert report.warnings == []
    (revision,) = next(iter(report.repos)).revisions
    assert revision.refs == {"main"}


def test_a_rejected_configuration_stops_before_the_weights(tiny_hub: MiniHub) -> None:
    seen: list[str] = []

    def judge(paths: Sequence[Path]) -> None:
        seen.extend(path.name for path in paths)
        raise errors.IncompatibleWeights("unsupported")

    with pytest.raises(errors.IncompatibleWeights, match="unsupported"):
        hub.fetch(REPOSITORY, judge=judge)

    assert seen == ["open_clip_config.json"]
    assert not [path for _, path in asked(tiny_hub) if path.endswith(NAME)]
