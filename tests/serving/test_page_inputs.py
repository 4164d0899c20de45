"""Images reach the page in every way, and every control works by keyboard and in dark mode."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")
pytest.importorskip("uvicorn", reason="the serve extra is not installed")
pytest.importorskip("multipart", reason="the serve extra is not installed")
pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import Page, expect

from tests.serving.page_server import (
    BOATS,
    CAT,
    CHROMIUM,
    Stub,
    names,
)

GIVE = """([kind, name, encoded]) => {
  const bytes = Uint8Array.from(atob(encoded), (c) => c.charCodeAt(0));
  const data = new DataTransfer();
  if (encoded) data.items.add(new File([bytes], name, { type: "image/jpeg" }));
  const event = kind === "paste"
    ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true })
    : new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
  document.body.dispatchEvent(event);
}"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


def give(page: Page, kind: str, name: str = "a.jpg", path: str = CAT) -> None:
    encoded = base64.b64encode(Path(path).read_bytes()).decode() if path else ""
    page.evaluate(GIVE, [kind, name, encoded])


def test_several_images_have_an_answer_each_and_can_be_removed(page: Page, stub: Stub) -> None:
    page.goto("/")
    page.set_input_files("#files", [CAT, BOATS])
    expect(page.locator(".bars")).to_have_count(2)
    expect(page.locator("#results h3")).to_have_text(["cat.jpg", "boats.jpg"])

    page.get_by_role("button", name="Remove cat.jpg").click()
    expect(page.locator("#results h3")).to_have_text(["boats.jpg"])
    page.get_by_role("button", name="Remove all images").click()
    expect(page.locator("#results li")).to_have_count(0)

    assert sorted(asked["size"] for asked in stub.asked) == sorted(
        Path(path).stat().st_size for path in (CAT, BOATS)
    )


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_image_is_pasted_or_dropped(page: Page, kind: str) -> None:
    page.goto("/")
    give(page, kind, "from elsewhere.jpg")

    expect(names(page)).to_have_count(5)
    expect(page.locator("#results h3")).to_have_text("from elsewhere.jpg")


@pytest.mark.parametrize(("kind", "words"), [("paste", "no image"), ("drop", "Drop image files")])
def test_paste_and_drop_without_an_image_say_so(page: Page, kind: str, words: str) -> None:
    page.goto("/")
    expect(page.locator("#model")).to_contain_text("stub")  # its answers clear the errors
    give(page, kind, path="")

    expect(page.get_by_role("alert")).to_contain_text(words)


def test_camera_takes_a_picture_and_is_turned_off(page: Page, stub: Stub) -> None:
    page.goto("/")
    page.get_by_role("button", name="Use camera").click()
    expect(page.get_by_role("button", name="Take picture")).to_be_focused()
    page.keyboard.press("Enter")

    expect(names(page)).to_have_count(5)
    page.keyboard.press("Escape")
    expect(page.locator("#video")).to_be_hidden()
    expect(page.get_by_role("button", name="Use camera")).to_be_focused()
    assert stub.asked[0]["name"] == "camera.jpg"
    assert stub.asked[0]["size"] > 1000


def test_keyboard_alone_reaches_every_control(page: Page) -> None:
    page.on("filechooser", lambda _: None)  # choosers are caught before the first key
    page.goto("/")
    expect(page.locator("#head-part")).to_be_visible()
    page.set_input_files("#files", CAT)
    expect(names(page)).to_have_count(5)
    page.locator("body").focus()

    reached = []
    for _ in range(6):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "document.activeElement.id || document.activeElement.getAttribute('aria-label')"
            )
        )

    assert reached == ["head", "labels", "files", "camera", "clear", "Remove cat.jpg"]
    page.get_by_label("Choose images").focus()
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(BOATS)
    expect(page.locator("#results h3")).to_have_text(["cat.jpg", "boats.jpg"])
    page.get_by_role("button", name="Remove cat.jpg").focus()
    page.keyboard.press("Space")
    expect(page.locator("#results h3")).to_have_text(["boats.jpg"])
    expect(page.get_by_label("Choose images")).to_be_focused()


def test_every_control_has_a_name_for_screen_readers(page: Page) -> None:
    page.goto("/")
    page.set_input_files("#files", CAT)
    expect(names(page)).to_have_count(5)
    tree = page.locator("body").aria_snapshot()

    for line in (
        'textbox "Your labels, one per line"',
        'combobox "Classifier"',
        'button "Choose images"',
        'button "Use camera"',
        'list "Answers"',
    ):
        assert line in tree, tree
    assert page.locator("#error").get_attribute("role") == "alert"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colors_follow_the_system_and_are_readable(page: Page, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    page.goto("/")

    back, text = (
        page.evaluate(f"getComputedStyle(document.body).{name}")
        for name in ("backgroundColor", "color")
    )
    light, dark = brightness(back), brightness(text)
    if scheme == "dark":
        light, dark = dark, light
    assert (light + 0.05) / (dark + 0.05) >= 7  # WCAG AAA


def brightness(color: str) -> float:
    """Return the relative luminance of `rgb(r, g, b)`."""
    values = [int(word) / 255 for word in color[4:-1].split(",")]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_file_that_is_no_image_shows_the_error_and_others_their_bars(page: Page) -> None:
    page.goto("/")
    garbage = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"not an image"}
    page.set_input_files("#files", garbage)
    expect(page.locator(".bad")).to_have_text("The image cannot be decoded.")

    page.set_input_files("#files", CAT)
    expect(names(page)).to_have_count(5)
    expect(page.locator(".bad")).to_have_count(1)
