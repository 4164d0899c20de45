"""A faulty hub on loopback, and a client with short timeouts that talks only to it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants, file_download

from tests.hub.mini_hub import CONFIG, NAME, REPOSITORY, WEIGHTS, MiniHub
from zeroshot.hub import archives, client


@pytest.fixture(scope="session")
def running_hub() -> Iterator[MiniHub]:
    """One server for all tests, since a client session starts slowly."""
    with MiniHub() as hub:
        yield hub
    close = getattr(huggingface_hub, "close_session", None)
    if close is not None:
        close()


@pytest.fixture
def mini(running_hub: MiniHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MiniHub:
    """An empty hub, configured as the endpoint of the client, with a cache and no login."""
    hub = running_hub
    hub.reset()
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    shorten_waits(monkeypatch)
    return hub


def shorten_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten every wait and timeout."""
    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: sleep(min(seconds, 0.005)))
    monkeypatch.setattr(client, "PAUSE", 0.001)
    monkeypatch.setattr(archives, "TIMEOUT", 0.4)
    monkeypatch.setattr(archives, "CHUNK", 1 << 14)
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 1.0)
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1 << 14)
    monkeypatch.setattr(file_download, "_ETAG_RETRY_TIMEOUT", 0.4)


@pytest.fixture
def tiny_hub(mini: MiniHub) -> MiniHub:
    """A hub with one repository in open_clip's layout, with random weights."""
    mini.add(REPOSITORY, {"open_clip_config.json": CONFIG}, lfs={NAME: WEIGHTS})
    return mini


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"
