"""Amounts as text."""

from __future__ import annotations

from typing import Any


def fmt(message: dict[str, Any]) -> str:
    """Return an amount with its currency."""
    whole, cents = divmod(message["amount"], 100)
    return f"{whole}.{cents:02} {message['currency']}"
