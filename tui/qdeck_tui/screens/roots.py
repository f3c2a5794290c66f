"""Makes the root of each view, importing its module on the first visit."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import cast

from qdeck_tui.screens.base import View

__all__ = ["make"]

PLACES = {
    "queues": ("queues", "QueuesView"),
    "running": ("running", "RunningView"),
    "later": ("later", "LaterView"),
    "cron": ("cron", "CronView"),
    "dead": ("dead", "DeadView"),
    "workers": ("workers", "WorkersView"),
    "ops": ("ops", "OpsView"),
    "redis": ("redis", "RedisView"),
}


def make(name: str) -> View:
    """Return a new root view."""
    module, kind = PLACES[name]
    found = getattr(import_module(f"qdeck_tui.screens.{module}"), kind)
    return cast("Callable[[], View]", found)()
