"""The tasks of a shop: invoices, hooks, reports, thumbnails; some fail, some wait for long."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.tui.shop.billing import mail

from qdeck import Context, Deck

__all__ = ["TASKS", "with_tasks"]

log = logging.getLogger("shop")
#: Seconds that a mail takes; large, and nothing drains.
PACE: Final = float(os.environ.get("SHOP_PACE", "1"))


async def send_invoice(invoice: int, to: str, amount: int, currency: str | None = None) -> str:
    log.info("start send_invoice invoice=%d", invoice)
    message: dict[str, Any] = {"invoice": invoice, "to": to, "amount": amount}
    if currency is None:
        log.warning("amount without currency")
    else:
        message["currency"] = currency
    text = mail.render(message)
    await asyncio.sleep(PACE)
    return text


async def send_welcome(user: int) -> None:
    await asyncio.sleep(PACE / 5)
    log.info("welcome, user %d", user)


async def send_digest(day: str) -> str:
    await asyncio.sleep(PACE)
    return day


class Gone(Exception):
    """The other side wants no more calls."""


class ConnectTimeout(Exception):
    """The other side did not answer."""


async def post_hook(hook: int, event: str) -> str:
    if event == "closed":
        raise Gone("HTTP 410 Gone")
    if event == "late":
        raise ConnectTimeout(f"no answer from hook {hook} within 10 s")
    return event


async def make_thumb(image: str, width: int) -> str:
    if image.endswith(".broken"):
        raise OSError("truncated")
    return f"{image}-{width}"


async def render_pdf(report: int, pages: int) -> int:
    if pages > 100_000:
        raise MemoryError
    return report


async def build_report(ctx: Context, name: str, rows: int, pause: float = 0.0) -> int:
    """Log a line for each row, and say how far it is; told to stop, tidy up as long as a file of
    its name says.
    """
    try:
        for row in range(rows):
            if row % 10 == 7:
                ctx.log.warning("row %d has no currency, taking EUR", row)
            else:
                ctx.log.info("row %d of %d of %s", row, rows, name)
            ctx.progress(100 * row / rows, f"row {row}")
            await asyncio.sleep(pause)
    except asyncio.CancelledError:
        ctx.log.warning("tidying up %s", name)
        for _ in range(1200):
            if not tidying(name):
                break
            await asyncio.sleep(0.05)
        raise
    return rows


def tidying(name: str) -> bool:
    """Return whether a report that is told to stop is to go on with that."""
    return Path(f"{name}.tidying").exists()


async def import_csv(ctx: Context, file: str, seconds: float) -> str:
    ctx.progress(18, "reading")
    await asyncio.sleep(seconds)
    return file


async def export_csv(ctx: Context, file: str, seconds: float) -> str:
    print(f"exporting {file} in run {ctx.attempt}")  # noqa: T201 (as programs do)
    await asyncio.sleep(seconds if ctx.attempt == 1 else 0.5)
    return file


async def charge_card(order: int, cents: int) -> int:
    await asyncio.sleep(0.01)
    return cents


async def index_page(page: int) -> None:
    return None


async def nightly(scope: str) -> str:
    return scope


#: Function, queue and other terms of each task.
TASKS: Final[tuple[tuple[Callable[..., Any], dict[str, Any]], ...]] = (
    (send_invoice, {"queue": "emails", "max_retries": 0, "timeout": 7200}),
    (send_welcome, {"queue": "emails", "timeout": 7200}),
    (send_digest, {"queue": "emails", "timeout": 7200}),
    (post_hook, {"queue": "webhooks", "max_retries": 0, "backoff": [3600]}),
    (make_thumb, {"queue": "thumbnails", "max_retries": 0}),
    (render_pdf, {"queue": "reports", "max_retries": 0}),
    (build_report, {"queue": "reports", "timeout": 7200}),
    (import_csv, {"queue": "reports", "timeout": 7200}),
    (export_csv, {"queue": "exports", "timeout": 7200}),
    (charge_card, {"queue": "billing"}),
    (index_page, {"queue": "search"}),
    (nightly, {"name": "report.nightly", "queue": "reports"}),
)


def with_tasks(deck: Deck) -> Deck:
    """Return the deck with the tasks of the shop."""
    for function, terms in TASKS:
        deck.task(**terms)(function)
    return deck
