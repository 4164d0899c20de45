"""Format objects as small HTML tables, which notebooks show instead of the repr."""

from __future__ import annotations

import html
from collections.abc import Mapping

TEXT = "text-align:left"


def card(title: str, facts: Mapping[str, object]) -> str:
    """Return an HTML table with a title and one row for each fact; all text is escaped."""
    rows = "".join(
        f"<tr><td style='{TEXT}'>{html.escape(name)}</td>"
        f"<td style='{TEXT}'>{html.escape(str(value))}</td></tr>"
        for name, value in facts.items()
    )
    return f"<table><caption><b>{html.escape(title)}</b></caption>{rows}</table>"


def bar(label: str, probability: float) -> str:
    """Return an HTML table row with a label, its probability and a bar."""
    return (
        f"<tr><td style='{TEXT}'>{html.escape(label)}</td>"
        f"<td>{probability:.1%}</td><td style='{TEXT}'><div style='background:#4c78a8;"
        f"height:0.8em;width:{probability * 12:.2f}em'></div></td></tr>"
    )
