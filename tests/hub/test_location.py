"""Names and revisions are checked before a request, and tokens are sent to their own host only."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.hub.mini_hub import REPOSITORY, MiniHub
from zeroshot import errors, hub
from zeroshot.hub import location
from zeroshot.hub.location import (
    cache_folder,
    find_token,
    is_offline,
    location_of,
    manual_copy_hint,
    token,
)


@pytest.mark.parametrize(
    "name",
    [
        "a/b/c",
        "owner/",
        "/x",
        "owner/na me",
        "owner/..",
        "owner/a--b",
        "o/x.git",
        "",
        "-/-",
        f"{'x' * 5000}/y",
    ],
)
def test_invalid_repository_name_makes_no_request(mini: MiniHub, name: str) -> None:
    with pytest.raises(errors.ModelNotFound, match="owner/name") as caught:
        hub.fetch(name)

    assert (mini.log, len(str(caught.value)) < 600) == ([], True)


@pytest.mark.parametrize("revision", ["", "../main", "/etc", "a b", "main/", "x" * 5000])
def test_invalid_revision_makes_no_request(mini: MiniHub, revision: str) -> None:
    with pytest.raises(errors.InputError, match="expected a branch") as caught:
        hub.fetch(REPOSITORY, revision=revision)

    assert (mini.log, len(str(caught.value)) < 600) == ([], True)


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
def test_token_depends_on_the_host(
    monkeypatch: pytest.MonkeyPatch, address: str, variable: str, sent: object
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    monkeypatch.setenv("HF_TOKEN", variable)

    assert token() is sent if sent is None or sent is False else token() == sent


def test_login_is_not_sent_to_a_mirror(tiny_hub: MiniHub, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hf_secret_of_the_login")

    hub.fetch(REPOSITORY)

    assert len(tiny_hub.log) >= 8
    assert {request.authorization for request in tiny_hub.log} == {""}


def test_hf_token_is_sent_to_the_mirror_and_to_no_other_host(
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


def test_location_names_repository_revision_and_folder(tmp_path: Path) -> None:
    found = location_of("owner/name", None, tmp_path, ("a.json",))

    assert str(found) == "owner/name@main"
    assert found.folder == tmp_path.resolve() / "models--owner--name"
    assert found.files == ("a.json",)
    assert not found.pinned


@pytest.mark.parametrize(
    ("revision", "pinned"),
    [("0" * 40, True), ("0" * 39, False), ("A" * 40, False), ("v1.0", False), ("a/b", False)],
)
def test_commit_of_40_hex_digits_is_pinned(tmp_path: Path, revision: str, pinned: bool) -> None:
    assert location_of("owner/name", revision, tmp_path, ()).pinned is pinned


def test_cache_folder_is_that_of_the_client_unless_given(
    mini: MiniHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    assert cache_folder(None) == (tmp_path / "cache").resolve()
    assert cache_folder(tmp_path / "other") == (tmp_path / "other").resolve()
    assert cache_folder("~/x") == (tmp_path / "home" / "x").resolve()


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (("a.json", "b.bin"), "a.json, b.bin"),
        ((), "the weights and the *.json, *.model and *.txt files"),
    ],
)
def test_manual_download_advice_names_files_and_address(
    mini: MiniHub, tmp_path: Path, wanted: tuple[str, ...], names: str
) -> None:
    advice = manual_copy_hint(location_of("owner/name", None, tmp_path, wanted))

    assert f"copy {names} from {mini.url}/owner/name " in advice
    assert "The model 'mini' needs no network" in advice


def test_offline_follows_the_client(mini: MiniHub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_offline()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert is_offline()


@pytest.mark.parametrize("variable", ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"])
@pytest.mark.parametrize(
    "bad", ["hf_secr\u00fct", "hf_sec\nret", "hf sec", "hf_\u2013sec", "hf_\u200bsec"]
)
def test_a_token_that_cannot_be_sent_is_named_and_not_shown(
    tiny_hub: MiniHub, monkeypatch: pytest.MonkeyPatch, variable: str, bad: str
) -> None:
    monkeypatch.setenv(variable, bad)

    with pytest.raises(
        errors.ModelAccessDenied, match=f"^{variable} is not a valid token"
    ) as caught:
        hub.fetch(REPOSITORY)

    assert "sec" not in str(caught.value)
    assert "HF_ENDPOINT" not in str(caught.value)
    assert tiny_hub.log == []


def test_spaces_around_a_token_are_removed(
    tiny_hub: MiniHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", " hf_good\n")
    tiny_hub.tokens = {"hf_good"}

    assert hub.fetch(REPOSITORY).weights.is_file()


@pytest.fixture
def own_hub(tiny_hub: MiniHub, monkeypatch: pytest.MonkeyPatch) -> MiniHub:
    """A hub that counts as huggingface.co, which gets the stored login."""
    monkeypatch.setattr(location, "_is_own_hub", lambda: True)
    return tiny_hub


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("hf_secr\u00fct".encode(), 8),
        (b"hf_sec\xff", 7),
        (b"hf_sec\nret", 7),
        (b"hf sec", 3),
        (b"hf_sec\0", 7),
        ("hf_sec".encode("utf-16"), 1),
    ],
)
def test_a_stored_login_that_cannot_be_sent_is_named_and_not_shown(
    own_hub: MiniHub, tmp_path: Path, content: bytes, place: int
) -> None:
    (tmp_path / "token").write_bytes(content)

    with pytest.raises(errors.ModelAccessDenied) as caught:
        hub.fetch(REPOSITORY)

    says = str(caught.value)
    assert says.startswith(f"the login stored in {tmp_path / 'token'} is not a valid token")
    assert f"another character at position {place} of" in says
    assert says.endswith(f"`hf auth login`, or remove {tmp_path / 'token'} for a public model")
    assert "sec" not in says
    assert own_hub.log == []


def test_a_stored_login_that_cannot_be_read_is_named(own_hub: MiniHub, tmp_path: Path) -> None:
    (tmp_path / "token").mkdir()

    with pytest.raises(errors.ModelAccessDenied, match=r"token: cannot read the stored login \("):
        hub.fetch(REPOSITORY)


@pytest.mark.parametrize("content", [b"", b" \n", None])
def test_an_empty_login_is_none(own_hub: MiniHub, tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)

    assert hub.fetch(REPOSITORY).weights.is_file()
    assert {request.authorization for request in own_hub.log} == {""}


def test_a_stored_login_is_sent_unless_a_variable_is_set(
    own_hub: MiniHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("hf_login\n")
    assert (find_token(), token()) == ("hf_login", None)
    own_hub.tokens = {"hf_login"}
    assert hub.fetch(REPOSITORY).weights.is_file()

    monkeypatch.setenv("HF_TOKEN", "hf_named")
    assert find_token() == "hf_named"
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    assert (find_token(), token()) == ("", None)
