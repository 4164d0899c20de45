"""The page works in a real browser: every way to give an image, keys, errors and the keyboard."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")
pytest.importorskip("uvicorn", reason="the serve extra is not installed")
pytest.importorskip("multipart", reason="the serve extra is not installed")
pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tests.serving.page_server import Stub, create_app, running

CHROMIUM = Path("/usr/bin/chromium")
PHOTOS = Path(__file__).parents[2] / "examples" / "photos"
CAT, BOATS = str(PHOTOS / "cat.jpg"), str(PHOTOS / "boats.jpg")
FIRST_BARS = 1.5  # seconds after opening the page
SLOW = "slow label"
EVIL = '<img src=x onerror="document.title=1">'
FAKE_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
GIVE = """([kind, name, encoded]) => {
  const bytes = Uint8Array.from(atob(encoded), (c) => c.charCodeAt(0));
  const data = new DataTransfer();
  if (encoded) data.items.add(new File([bytes], name, { type: "image/jpeg" }));
  const event = kind === "paste"
    ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true })
    : new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
  document.body.dispatchEvent(event);
}"""

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}")


@pytest.fixture(scope="module")
def stub() -> Stub:
    return Stub()


@pytest.fixture(scope="module")
def address(stub: Stub) -> Iterator[str]:
    with running(create_app(stub)) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", *FAKE_CAMERA]
        )
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser, stub: Stub, address: str) -> Iterator[Page]:
    """A new tab without the page; a script error or a blocked request fails the test."""
    stub.reset()
    context = browser.new_context(base_url=address)
    context.set_default_timeout(5_000)
    tab = context.new_page()
    wrong: list[str] = []
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on(
        "console",
        lambda line: wrong.append(line.text) if "Security Policy" in line.text else None,
    )
    yield tab
    context.close()
    assert wrong == []


def names(page: Page) -> Locator:
    return page.locator(".bars .name")


def give(page: Page, kind: str, name: str = "a.jpg", path: str = CAT) -> None:
    encoded = base64.b64encode(Path(path).read_bytes()).decode() if path else ""
    page.evaluate(GIVE, [kind, name, encoded])


def test_first_bars_appear_fast_and_nothing_comes_from_other_hosts(
    page: Page, address: str
) -> None:
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    started = time.perf_counter()

    page.goto("/")
    page.set_input_files("#files", CAT)
    expect(names(page).first).to_have_text("flower")
    seconds = time.perf_counter() - started

    assert seconds < FIRST_BARS
    own = [url for url in requests if url.startswith((f"{address}/", "blob:", "data:"))]
    assert requests == own
    assert len([url for url in requests if url.startswith(address)]) == 6
    expect(page.locator("#model")).to_have_text("Model: stub, 8 dimensions")
    expect(page.get_by_role("status")).to_have_text("cat.jpg: flower, 50.0%.")


def test_labels_are_shown_as_text_in_any_language(page: Page, stub: Stub) -> None:
    page.goto("/")
    page.fill("#labels", f"Eichhörnchen im Wald\n{EVIL}")
    page.set_input_files("#files", CAT)

    expect(names(page)).to_have_text([EVIL, "Eichhörnchen im Wald"])

    assert page.locator("#results img").count() == 1
    assert page.title() == "zeroshot"
    assert stub.asked[0]["labels"] == ["Eichhörnchen im Wald", EVIL]


def test_edited_labels_are_sent_once_after_a_pause(page: Page, stub: Stub) -> None:
    page.goto("/")
    page.set_input_files("#files", CAT)
    expect(names(page)).to_have_count(5)
    stub.asked.clear()

    page.fill("#labels", "")
    page.locator("#labels").press_sequentially("owl, fox", delay=10)

    expect(names(page)).to_have_text(["fox", "owl"])
    assert [asked["labels"] for asked in stub.asked] == [["owl", "fox"]]


def test_late_answer_of_earlier_labels_is_dropped(page: Page, stub: Stub) -> None:
    stub.slow = {SLOW: 0.4}
    page.goto("/")
    page.fill("#labels", SLOW)
    page.set_input_files("#files", CAT)
    page.wait_for_timeout(100)

    page.fill("#labels", "quick")
    expect(names(page)).to_have_text(["quick"])
    page.wait_for_timeout(450)

    expect(names(page)).to_have_text(["quick"])
    assert [asked["labels"] for asked in stub.asked] == [[SLOW], ["quick"]]


def test_named_head_answers_with_its_labels_and_none_of_these(page: Page, stub: Stub) -> None:
    page.goto("/")
    page.set_input_files("#files", CAT)
    page.get_by_label("Classifier").select_option("flowers")

    expect(names(page)).to_have_text(["Gänseblümchen", "Rose", "none of these"])

    expect(page.locator(".note")).to_have_text("Probabilities are calibrated.")
    expect(page.locator("#head-labels")).to_have_text("Rose, Gänseblümchen")
    expect(page.get_by_label("Your labels, one per line")).to_be_hidden()
    expect(page.get_by_role("status")).to_have_text("cat.jpg: none of these, 70.0%.")
    assert stub.asked[-1]["head"] == "flowers"


def test_server_without_free_labels_offers_named_heads_only(browser: Browser, stub: Stub) -> None:
    stub.reset()
    with running(create_app(stub, own_labels=False)) as address:
        page = browser.new_page(base_url=address)
        page.goto("/")
        page.set_input_files("#files", CAT)

        expect(names(page).first).to_have_text("Gänseblümchen")
        expect(page.locator("#labels")).to_be_hidden()
        expect(page.locator("#head option")).to_have_text(["flowers"])
        page.context.close()


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


@pytest.mark.parametrize(
    ("status", "words"),
    [(413, "too large for this server. limit 20 MB"), (503, "Not now: limit"), (504, "too long"), (500, "l")],
)
def test_error_of_the_server_is_explained(page: Page, stub: Stub, status: int, words: str) -> None:
    stub.status = status
    page.goto("/")
    page.set_input_files("#files", CAT)

    expect(page.locator(".bad")).to_contain_text(words)
    assert len(stub.asked) == (4 if status == 503 else 1)


def test_server_that_is_gone_is_reported(page: Page) -> None:
    page.goto("/")
    page.context.set_offline(True)
    page.set_input_files("#files", CAT)

    expect(page.locator(".bad")).to_contain_text("The server does not answer")


def test_labels_are_required(page: Page) -> None:
    page.goto("/")
    page.fill("#labels", " \n")
    page.set_input_files("#files", CAT)

    expect(page.get_by_role("alert")).to_have_text("Enter at least one label.")


def test_key_is_asked_for_and_kept_in_the_tab_only(page: Page, stub: Stub) -> None:
    stub.key = "secret"
    page.goto("/")
    field = page.get_by_label("This server requires a key")
    expect(field).to_be_focused()
    field.fill("wrong")
    field.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Enter a valid key")
    field.fill("secret")
    field.press("Enter")

    expect(page.locator("#model")).to_have_text("Model: stub, 8 dimensions")
    expect(field).to_be_hidden()
    page.reload()
    page.set_input_files("#files", CAT)
    expect(names(page)).to_have_count(5)
    expect(field).to_be_hidden()
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]


def test_demo_has_canned_answers_and_asks_nothing(page: Page, stub: Stub) -> None:
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto("/?demo")

    expect(page.locator(".bars")).to_have_count(2)
    expect(page.locator(".note").first).to_have_text("Probabilities are calibrated.")
    assert stub.asked == []
    assert [url for url in requests if "/v1/" in url] == []
