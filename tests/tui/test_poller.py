"""The one reader of the console, by itself."""

from __future__ import annotations

import asyncio

import pytest
from tests.tui.pty import PATIENCE
from tests.tui.stock import filled
from tests.tui.twin import Twin

from qdeck.admin import Admin
from qdeck_tui.poller import Poller


@pytest.mark.parametrize("ticks", range(6))
async def test_an_end_that_comes_with_a_wake_up_is_not_forgotten(ticks: int) -> None:
    async def door() -> Admin:
        return twin

    twin: Twin = filled()
    read = asyncio.Event()
    poller = Poller(door, lambda _: read.set(), 3600.0)
    poller.begin()
    poller.want(1, lambda: {"snapshot": lambda admin: admin.snapshot()})
    await read.wait()
    await asyncio.sleep(0.01)
    poller.now()
    for _ in range(ticks):
        await asyncio.sleep(0)
    ended, late = await asyncio.wait({asyncio.create_task(poller.close())}, timeout=PATIENCE)
    assert ended
    assert not late
