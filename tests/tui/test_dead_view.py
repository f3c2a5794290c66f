"""The groups of dead jobs: their columns, what stands above them, and how narrow they can be."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.tui.stage import Desk, running
from tests.tui.stock import filled
from tests.tui.twin import START

COLUMNS = ["COUNT", "NEW/H", "TASK", "ERROR", "QUEUE", "LAST", "SINCE"]


async def columns(desk: Desk) -> list[str]:
    """Go to the dead jobs and return the titles of the columns that fit."""
    await desk.press("6")
    await desk.until("▸─ 30 DEAD in 4 groups")
    (head,) = [line for line in desk.lines() if "COUNT" in line]
    return head.split()


async def test_groups_say_since_when_they_die_and_how_long_they_are_kept() -> None:
    twin = filled(dead=30)
    twin.kept_s = 2_592_000.0
    old = twin.of("dead")[0]
    twin.records[old.ref.id] = replace(old, finished_at=START - timedelta(days=19))
    async with running(twin) as desk:
        assert await columns(desk) == COLUMNS
        text = await desk.until("kept 30 d")
        assert "30 DEAD in 4 groups  newest 1s ago  kept 30 d" in text
        rows = [line for line in text.splitlines() if " new ? " in line or "KeyError:" in line]
        assert any("KeyError: 'currency'" in row and row.endswith("Nov 02") for row in rows)
        assert any("ConnectTimeout" in row and row.endswith(" 03:11") for row in rows)


async def test_how_long_dead_jobs_are_kept_is_left_out_where_nobody_knows() -> None:
    async with running(filled(dead=30)) as desk:
        await desk.press("6")
        await desk.until("30 DEAD in 4 groups  newest 1s ago")
        assert "kept" not in desk.text()


@pytest.mark.parametrize(
    ("cells", "left"), [(80, COLUMNS), (74, COLUMNS[:-1]), (60, [*COLUMNS[:4], "LAST"])]
)
async def test_columns_go_in_a_fixed_order_where_it_is_narrow(cells: int, left: list[str]) -> None:
    async with running(filled(dead=30), size=(cells, 24)) as desk:
        assert await columns(desk) == left
