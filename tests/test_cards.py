"""Cards are HTML tables with escaped text."""

from __future__ import annotations

from zeroshot.cards import bar, card

EVIL = "<script>alert(1)</script>"


def test_a_card_has_a_title_and_a_row_for_each_fact() -> None:
    shown = card("Model x", {"device": "cpu", "dimensions": 512})

    assert "<b>Model x</b>" in shown
    assert shown.count("<tr>") == 2
    assert "512" in shown


def test_text_of_cards_and_bars_is_escaped() -> None:
    shown = card(EVIL, {EVIL: EVIL}) + bar(EVIL, 0.5)

    assert "<script>" not in shown
    assert shown.count("&lt;script&gt;") == 4
    assert "50.0%" in shown
