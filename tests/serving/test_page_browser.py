"""The page shows answers in a real browser: labels, heads, errors, keys and the demo."""

from __future__ import annotations

import time

import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")
pytest.importorskip("uvicorn", reason="the serve extra is not installed")
pytest.importorskip("multipart", reason="the serve extra is not installed")
pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import Browser, Page, expect

from tests.serving.page_server import CAT, CHROMIUM, Stub, create_app, names, running

FIRST_BARS = 1.5  # seconds after opening the page
SLOW = "slow label"
EVIL = '<img src=x onerror="document.title=1">'

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


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
    page.fill("#labels", f"fox\n{SLOW}")
    page.set_input_files("#files", CAT)
    page.wait_for_timeout(100)

    page.fill("#labels", "fox\nquick")
    expect(names(page)).to_have_text(["quick", "fox"])
    page.wait_for_timeout(450)

    expect(names(page)).to_have_text(["quick", "fox"])
    assert [asked["labels"] for asked in stub.asked] == [["fox", SLOW], ["fox", "quick"]]


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


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (413, "too large for this server. limit 20 MB"),
        (503, "Try again later: limit"),
        (504, "too long"),
        (500, "l"),
    ],
)
def test_error_of_the_server_is_explained(page: Page, stub: Stub, status: int, words: str) -> None:
    stub.status = status
    page.goto("/")
    page.set_input_files("#files", CAT)

    expect(page.locator(".bad")).to_contain_text(words)
    assert len(stub.asked) == (4 if status == 503 else 1)


def test_server_that_is_gone_is_reported(page: Page) -> None:
    page.goto("/")
    expect(page.locator("#model")).to_contain_text("stub")
    page.context.set_offline(True)
    page.set_input_files("#files", CAT)

    expect(page.locator(".bad")).to_contain_text("The server does not answer")


def test_labels_are_required(page: Page) -> None:
    page.goto("/")
    page.fill("#labels", " \n")
    page.set_input_files("#files", CAT)

    expect(page.get_by_role("alert")).to_have_text("Enter at least two labels.")
    page.fill("#labels", "cat\n")  # alone it would always have 100 %
    expect(page.get_by_role("alert")).to_have_text("Enter at least two labels.")


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


def test_page_recovers_when_the_server_returns(page: Page, stub: Stub) -> None:
    page.route("**/v1/heads", lambda route: route.abort())
    page.goto("/")
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer")
    page.unroute("**/v1/heads")
    page.set_input_files("#files", CAT)

    expect(names(page)).to_have_count(5)
    expect(page.get_by_role("alert")).to_be_empty()
    assert len(stub.asked) == 1
