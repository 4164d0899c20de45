"""Which requests a repository is sent, what is verified, and what the cache looks like after."""

from __future__ import annotations

import builtins
import errno
import io
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants, file_download, scan_cache_dir

from tests.hub.mini_hub import CONFIG, NAME, NEW_WEIGHTS, REPOSITORY, WEIGHTS, MiniHub
from zeroshot import catalog, errors, files, hub
from zeroshot.hub import checksums
from zeroshot.hub import snapshots as repository
from zeroshot.hub.location import token

SETTING = "open_clip_config.json"
BOTH = (SETTING, NAME)


def asked(mini: MiniHub) -> list[tuple[str, str]]:
    """The requests so far, less the client's own curiosity, and forget them."""
    found = [(r.method, r.path) for r in mini.log if not r.path.startswith("/api/")]
    mini.log.clear()
    return found


# ---- what is asked


def test_a_cold_start_fetches_each_file_once(tiny_hub: MiniHub) -> None:
    found = hub.fetch(REPOSITORY, BOTH)

    requests = asked(tiny_hub)
    assert found.weights.read_bytes() == WEIGHTS
    assert sum(method == "GET" for method, _ in requests) == 2
    assert len(requests) <= 7


def test_a_branch_that_is_cached_costs_one_question(tiny_hub: MiniHub) -> None:
    for names in ((), BOTH):
        hub.fetch(REPOSITORY, names)
        asked(tiny_hub)

        hub.fetch(REPOSITORY, names)

        requests = asked(tiny_hub)
        assert [method for method, _ in requests] == ["HEAD"]


@pytest.mark.parametrize("files", [(), BOTH], ids=["of unknown layout", "catalogued"])
def test_a_commit_that_is_cached_costs_no_request(
    tiny_hub: MiniHub, files: tuple[str, ...]
) -> None:
    commit = hub.fetch(REPOSITORY, files).commit
    asked(tiny_hub)

    found = hub.fetch(REPOSITORY, files, revision=commit)

    assert asked(tiny_hub) == []
    assert tiny_hub.log == []
    assert found.weights.read_bytes() == WEIGHTS


@pytest.mark.parametrize("how", ["argument", "variable"])
def test_offline_makes_no_request_ever(
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


def test_only_the_files_needed_are_fetched(mini: MiniHub) -> None:
    others = {"README.md": b"x", "vocab.json": b"{}", "config.json": b"{}"}
    weights = {"pytorch_model.bin": b"p" * 999, "model.safetensors": WEIGHTS, "tf_model.h5": b"h"}
    mini.add(REPOSITORY, others, lfs=weights)

    found = hub.fetch(REPOSITORY)

    assert list(found.files) == ["config.json", "model.safetensors"]
    assert found.weights.name == "model.safetensors"
    assert len(mini.requests("GET", "/lfs/")) == 1


def test_the_first_known_name_that_exists_is_taken_safetensors_before_pickles(
    mini: MiniHub,
) -> None:
    for count, name in enumerate(reversed(repository.WEIGHTS)):
        if name.endswith(".json"):
            continue
        held = {n: bytes(9) for n in repository.WEIGHTS[-1 - count :] if not n.endswith(".json")}
        mini.add(f"owner/{count}", {}, lfs=held)
        assert hub.fetch(f"owner/{count}").weights.name == name


def test_a_sharded_checkpoint_comes_whole(mini: MiniHub) -> None:
    shards = {f"model-0000{n}-of-00003.safetensors": bytes([n]) * 1000 for n in (1, 2, 3)}
    index = json.dumps({"weight_map": {f"t{i}": name for i, name in enumerate(shards)}})
    mini.add(REPOSITORY, {"model.safetensors.index.json": index.encode()}, lfs=shards)

    found = hub.fetch(REPOSITORY)

    assert found.weights.name == "model.safetensors.index.json"
    assert {p.name: p.read_bytes() for p in found.weights.parent.glob("model-*")} == shards
    assert list(found.files)[-1] == found.weights.name


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
def test_an_index_that_is_none_is_refused(mini: MiniHub, index: bytes) -> None:
    mini.add(REPOSITORY, {"model.safetensors.index.json": index})

    with pytest.raises(errors.UnsafeWeightsError, match="index"):
        hub.fetch(REPOSITORY)


def test_a_missing_shard_is_named(mini: MiniHub) -> None:
    index = b'{"weight_map": {"a": "one.safetensors"}}'
    mini.add(REPOSITORY, {"model.safetensors.index.json": index})

    with pytest.raises(errors.ModelNotFound, match=r"has no file one\.safetensors"):
        hub.fetch(REPOSITORY)


# ---- names


@pytest.mark.parametrize(
    "name", ["a/b/c", "owner/", "/x", "owner/na me", "owner/..", "owner/a--b", "o/x.git", "", "-/-"]
)
def test_what_cannot_be_a_repository_is_not_asked_for(mini: MiniHub, name: str) -> None:
    with pytest.raises(errors.ModelNotFound, match="owner/name"):
        hub.fetch(name)

    assert mini.log == []


@pytest.mark.parametrize("revision", ["", "../main", "/etc", "a b", "main/"])
def test_what_cannot_be_a_revision_is_not_asked_for(mini: MiniHub, revision: str) -> None:
    with pytest.raises(errors.InputError, match="expected a branch"):
        hub.fetch(REPOSITORY, revision=revision)

    assert mini.log == []


def test_a_revision_or_repository_that_is_not_there_is_named(tiny_hub: MiniHub) -> None:
    with pytest.raises(errors.ModelNotFound, match="has no revision 'v9'"):
        hub.fetch(REPOSITORY, revision="v9")
    with pytest.raises(errors.ModelNotFound, match="no repository 'owner/absent'"):
        hub.fetch("owner/absent")
    with pytest.raises(errors.ModelNotFound, match=r"has no file absent\.bin"):
        hub.fetch(REPOSITORY, ["absent.bin"])


def test_a_repository_without_weights_says_so(mini: MiniHub) -> None:
    mini.add(REPOSITORY, {"README.md": b"nothing"})

    with pytest.raises(errors.ModelNotFound, match=r"open_clip_model\.safetensors or "):
        hub.fetch(REPOSITORY)


def test_branches_and_tags_are_followed(mini: MiniHub) -> None:
    mini.add(REPOSITORY, {SETTING: CONFIG}, lfs={NAME: WEIGHTS}, branch="v1")
    mini.add(REPOSITORY, {SETTING: CONFIG}, lfs={NAME: NEW_WEIGHTS})

    assert hub.fetch(REPOSITORY, revision="v1").weights.read_bytes() == WEIGHTS
    assert hub.fetch(REPOSITORY).weights.read_bytes() == NEW_WEIGHTS
    assert hub.fetch(REPOSITORY, revision="v1", offline=True).weights.read_bytes() == WEIGHTS


# ---- content


def test_a_known_hash_that_the_hub_does_not_publish_stops_before_the_download(
    tiny_hub: MiniHub,
) -> None:
    with pytest.raises(errors.ChecksumError) as caught:
        hub.fetch(REPOSITORY, BOTH, sha256={NAME: "7" * 64})

    assert caught.value.expected == "7" * 64
    assert caught.value.expected in str(caught.value)
    assert caught.value.found in str(caught.value)
    assert tiny_hub.requests("GET", "/lfs/") == []


def test_a_cached_file_that_is_not_the_known_one_is_refused_and_left_to_others(
    tiny_hub: MiniHub,
) -> None:
    path = hub.fetch(REPOSITORY, BOTH).weights

    with pytest.raises(errors.ChecksumError, match="run `zeroshot lock` again"):
        hub.fetch(REPOSITORY, BOTH, sha256={NAME: "7" * 64})

    assert path.read_bytes() == WEIGHTS


def spoil(path: Path) -> None:
    """Invert a bit, as a bad disk would; time and size stay, as they would not."""
    real = path.resolve()
    content = bytearray(real.read_bytes())
    content[len(content) // 2] ^= 1
    real.write_bytes(content)


def test_a_file_that_rotted_in_the_cache_is_fetched_anew(
    tiny_hub: MiniHub, caplog: pytest.LogCaptureFixture
) -> None:
    found = hub.fetch(REPOSITORY, BOTH)
    for name in BOTH:
        spoil(found.files[name])

    again = hub.fetch(REPOSITORY, BOTH, revision=found.commit)

    assert (again.files[SETTING].read_bytes(), again.weights.read_bytes()) == (CONFIG, WEIGHTS)
    assert sum("downloading it again" in record.message for record in caplog.records) == 2


def test_a_file_that_rotted_and_cannot_be_fetched_is_removed(tiny_hub: MiniHub) -> None:
    path = hub.fetch(REPOSITORY, BOTH).weights
    blob = path.resolve()
    spoil(path)

    with pytest.raises(errors.ChecksumError, match="was removed from the cache"):
        hub.fetch(REPOSITORY, BOTH, offline=True)

    assert not path.exists()
    assert not blob.exists()


def test_a_warm_start_reads_no_weights_and_a_changed_file_is_read_again(
    tiny_hub: MiniHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = hub.fetch(REPOSITORY, BOTH).weights
    hashed: list[Path] = []
    sha256 = files.sha256
    monkeypatch.setattr(files, "sha256", lambda p: hashed.append(p) or sha256(p))

    hub.fetch(REPOSITORY, BOTH)
    assert hashed == []

    os.utime(path.resolve())
    hub.fetch(REPOSITORY, BOTH)
    assert hashed == [path]

    hub.fetch(REPOSITORY, BOTH)
    assert hashed == [path]


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"size": 1}', b"\xff"])
def test_a_stamp_that_is_none_is_as_good_as_none(
    tiny_hub: MiniHub, cache: Path, content: bytes
) -> None:
    hub.fetch(REPOSITORY, BOTH)
    (stamp,) = cache.glob("*/.zeroshot/*")
    stamp.write_bytes(content)

    assert hub.fetch(REPOSITORY, BOTH).weights.read_bytes() == WEIGHTS
    assert json.loads(stamp.read_text())["sha256"]


def test_without_links_in_the_cache_all_is_verified_too(
    tiny_hub: MiniHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_download, "are_symlinks_supported", lambda *_: False)
    tiny_hub.fault("GET", NAME, flip=1000, times=1)

    path = hub.fetch(REPOSITORY, BOTH).weights
    assert not path.is_symlink()
    assert path.read_bytes() == WEIGHTS

    spoil(path)
    with pytest.raises(errors.ChecksumError):
        hub.fetch(REPOSITORY, BOTH, offline=True)


def test_an_unpublished_hash_is_warned_of(
    tiny_hub: MiniHub, caplog: pytest.LogCaptureFixture
) -> None:
    tiny_hub.fault("HEAD", NAME, headers={"X-Linked-Etag": '"abc"'})

    hub.fetch(REPOSITORY, BOTH)

    assert "cannot be verified" in caplog.text


# ---- the cache


def test_the_cache_is_one_that_the_client_understands(tiny_hub: MiniHub, cache: Path) -> None:
    hub.fetch(REPOSITORY, BOTH)

    report = scan_cache_dir(cache)

    assert [r.repo_id for r in report.repos] == [REPOSITORY]
    assert report.warnings == []
    (revision,) = next(iter(report.repos)).revisions
    assert revision.refs == {"main"}


def test_too_small_a_disk_is_noticed_before_the_download(
    tiny_hub: MiniHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 299_999))

    with pytest.raises(errors.CacheError) as caught:
        hub.fetch(REPOSITORY, BOTH)

    for word in (str(cache), "0.30 MB", "HF_HOME", "cache_dir"):
        assert word in str(caught.value)
    assert tiny_hub.requests("GET", NAME) == []


def test_a_disk_that_fills_up_midway_is_named(
    tiny_hub: MiniHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(file_download, "http_get", full)
        with pytest.raises(errors.CacheError, match=r"the disk is full .* HF_HOME"):
            hub.fetch(REPOSITORY, BOTH)

    assert hub.fetch(REPOSITORY, BOTH).weights.read_bytes() == WEIGHTS


def make_read_only(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let every write below a folder fail as on a read-only disk, root's too."""

    def guarded(function: Callable[..., Any], writes: Callable[..., bool]) -> Callable[..., Any]:
        def call(path: Any, *rest: Any, **options: Any) -> Any:
            inside = not isinstance(path, int) and str(path).startswith(str(folder))
            if inside and writes(*rest, **options):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
            return function(path, *rest, **options)

        return call

    def opens(mode: str = "r", *_: Any, **__: Any) -> bool:
        return bool(set(mode) & set("wax+"))

    def flagged(flags: int, *_: Any, **__: Any) -> bool:
        return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))

    patch.setattr(builtins, "open", guarded(open, opens))
    patch.setattr(io, "open", guarded(io.open, opens))
    patch.setattr(os, "open", guarded(os.open, flagged))
    for name in ("mkdir", "replace", "rename", "unlink", "remove", "symlink", "utime", "chmod"):
        patch.setattr(os, name, guarded(getattr(os, name), lambda *_, **__: True))


def test_a_read_only_cache_serves_what_it_holds_and_names_what_it_cannot(
    tiny_hub: MiniHub, cache: Path
) -> None:
    files = {SETTING: CONFIG, "README.md": b"not yet fetched"}
    tiny_hub.add(REPOSITORY, files, lfs={NAME: WEIGHTS})
    hub.fetch(REPOSITORY, BOTH)
    (stamp,) = cache.glob("*/.zeroshot/*")
    stamp.unlink()  # as where another library filled the cache

    with pytest.MonkeyPatch.context() as patch:
        make_read_only(patch, cache)
        for offline in (False, True):
            found = hub.fetch(REPOSITORY, BOTH, offline=offline)
            assert found.weights.read_bytes() == WEIGHTS
        with pytest.raises(errors.CacheError) as caught:
            hub.fetch(REPOSITORY, ["README.md"])

    assert not stamp.exists()
    for word in (str(cache), "cannot write to the cache", "HF_HOME", "cache_dir"):
        assert word in str(caught.value)


def test_a_cache_where_no_folder_can_be_says_so(tiny_hub: MiniHub, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(errors.CacheError, match="HF_HOME"):
        hub.fetch(REPOSITORY, BOTH, cache_dir=tmp_path / "file" / "cache")


def environment(mini: MiniHub, cache: Path | None) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return kept | {
        "HF_ENDPOINT": mini.url,
        "HF_HOME": str(cache or "/nonexistent"),
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(Path(hub.__file__).parents[2]),
    }


def test_a_cached_file_that_may_not_be_read_is_the_caches_fault(
    tiny_hub: MiniHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.fetch(REPOSITORY, BOTH)

    def forbidden(path: Path, *_: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(checksums, "find_mismatch", forbidden)

    with pytest.raises(errors.CacheError, match=r"cannot read this file .* HF_HOME"):
        hub.fetch(REPOSITORY, BOTH)


def test_a_catalogued_file_that_bears_another_name_today_is_found_also_offline(
    mini: MiniHub,
) -> None:
    entry = catalog.find("ViT-B-32:laion400m_e32")
    mini.add(entry.repository, {SETTING: CONFIG}, lfs={"open_clip_pytorch_model.bin": WEIGHTS})

    path = hub.fetch_checkpoint(entry).weights
    assert path.name == "open_clip_pytorch_model.bin"
    mini.log.clear()

    assert hub.fetch_checkpoint(entry, offline=True).weights == path
    assert mini.log == []


def test_orphans_older_than_a_day_are_removed(tiny_hub: MiniHub, cache: Path) -> None:
    blobs = cache / "models--owner--tiny" / "blobs"
    blobs.mkdir(parents=True)
    other = cache / "models--owner--other" / "blobs" / "x.incomplete"
    other.parent.mkdir(parents=True)
    old, young = blobs / "1.aa.incomplete", blobs / "2.bb.incomplete"
    for path, age in ((old, 25), (young, 23), (other, 25)):
        path.write_bytes(b"x")
        os.utime(path, (time.time() - age * 3600,) * 2)

    hub.fetch(REPOSITORY, BOTH)

    assert [path.exists() for path in (old, young, other)] == [False, True, True]


# ---- several at once, and killed


def test_eight_threads_download_once(tiny_hub: MiniHub) -> None:
    tiny_hub.fault("GET", NAME, slow=0.05)
    contents: list[bytes] = []
    start = threading.Barrier(8)

    def work() -> None:
        start.wait()
        contents.append(hub.fetch(REPOSITORY, BOTH).weights.read_bytes())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert contents == [WEIGHTS] * 8
    assert len(tiny_hub.requests("GET", NAME)) == 1


FETCH = f"""
import hashlib
from zeroshot import hub
print(hashlib.sha256(hub.fetch({REPOSITORY!r}, {BOTH!r}).weights.read_bytes()).hexdigest())
"""


def test_four_processes_download_once(tiny_hub: MiniHub, tmp_path: Path) -> None:
    tiny_hub.fault("GET", NAME, slow=0.1)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FETCH],
            env=environment(tiny_hub, tmp_path / "home"),
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]

    answers = {process.communicate(timeout=60)[0].strip() for process in processes}

    (stored,) = {
        s.etag for t in tiny_hub.repositories[REPOSITORY].values() for s in t.values() if s.lfs
    }
    assert answers == {stored}
    assert len(tiny_hub.requests("GET", NAME)) == 1


@pytest.mark.parametrize("after", [1, 100_000, 299_000])
def test_a_killed_download_is_made_good_by_the_next(
    mini: MiniHub, tmp_path: Path, after: int
) -> None:
    big = random.Random(after).randbytes(300_000)
    mini.add(REPOSITORY, {SETTING: CONFIG}, lfs={NAME: big})
    stuck = mini.fault("GET", NAME, cut=after, stall=20)
    process = subprocess.Popen(
        [sys.executable, "-c", FETCH],
        env=environment(mini, tmp_path / "home"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not mini.requests("GET", "/lfs/"):
        assert process.poll() is None
        time.sleep(0.01)
    threading.Event().wait(0.3)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    stuck.times = 0

    found = hub.fetch(REPOSITORY, BOTH, cache_dir=tmp_path / "home" / "hub")

    assert found.weights.read_bytes() == big


# ---- who asks


@pytest.mark.parametrize(
    ("address", "variable", "sent"),
    [
        ("https://huggingface.co", "", None),
        ("https://huggingface.co", "hf_x", None),
        ("https://hub-ci.huggingface.co", "", None),
        ("http://huggingface.co", "", False),
        ("https://huggingface.co.example.org", "", False),
        ("https://huggingface.co@example.org", "", False),
        ("https://nothuggingface.co", "", False),
        ("https://mirror.example.org", "", False),
        ("https://mirror.example.org", " hf_x\n", "hf_x"),
    ],
)
def test_whom_we_identify_ourselves_to(
    monkeypatch: pytest.MonkeyPatch, address: str, variable: str, sent: object
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    monkeypatch.setenv("HF_TOKEN", variable)

    assert token() is sent if sent is None or sent is False else token() == sent


def test_a_login_is_not_sent_to_a_mirror(tiny_hub: MiniHub, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hf_secret_of_the_login")

    hub.fetch(REPOSITORY)

    assert len(tiny_hub.log) >= 8
    assert {request.authorization for request in tiny_hub.log} == {""}


def test_a_token_that_was_named_with_the_mirror_is_sent_there_and_nowhere_else(
    tiny_hub: MiniHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("hf_secret_of_the_login")
    monkeypatch.setenv("HF_TOKEN", "hf_named")
    tiny_hub.tokens = {"hf_named"}
    tiny_hub.gated.add(REPOSITORY)

    hub.fetch(REPOSITORY)

    elsewhere = [r for r in tiny_hub.log if r.host == "localhost"]
    asked_here = [r for r in tiny_hub.log if r.host != "localhost" and "/resolve/" in r.path]
    assert {r.authorization for r in asked_here} == {"Bearer hf_named"}
    assert [r.authorization for r in elsewhere] == [""]


def test_a_token_that_is_refused_is_not_shown(
    tiny_hub: MiniHub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong_and_secret")
    tiny_hub.tokens = {"hf_right"}

    with pytest.raises(errors.ModelAccessDenied, match="HF_TOKEN") as caught:
        hub.fetch(REPOSITORY)

    assert "hf_wrong_and_secret" not in str(caught.value)
    assert "hf_wrong_and_secret" not in caplog.text


def test_a_gated_repository_at_a_mirror_explains_why_the_login_did_not_help(
    tiny_hub: MiniHub,
) -> None:
    tiny_hub.gated.add(REPOSITORY)

    with pytest.raises(errors.ModelAccessDenied, match="is not sent to"):
        hub.fetch(REPOSITORY)
