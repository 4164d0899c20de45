"""The table of layouts, and the names that all layouts share."""

from __future__ import annotations

from zeroshot.checkpoint.layouts import LAYOUTS


def test_each_layout_has_its_own_name() -> None:
    assert [layout.name for layout in LAYOUTS] == ["native", "openai", "open_clip", "transformers"]
