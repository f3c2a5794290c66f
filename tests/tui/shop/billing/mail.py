"""Invoices as mails."""

from __future__ import annotations

from typing import Any

from tests.tui.shop.billing import money


def render(message: dict[str, Any]) -> str:
    """Return the text of an invoice."""
    head = f"Invoice {message['invoice']} for {message['to']}"
    return f"{head}\n\nPlease pay {money.fmt(message)}.\n"
