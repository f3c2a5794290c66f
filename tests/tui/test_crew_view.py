"""The list of workers: its columns, and which of them a narrow screen leaves out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from tests.tui.stage import running
from tests.tui.stock import filled
from tests.tui.twin import START

from qdeck.admin import WorkerRow

ALL = ("NAME", "STATE", "BUSY", "QUEUES", "UP", "CPU", "RSS", "BEAT", "/MIN", "DONE", "SINCE")
#: The width from which a column is shown.
FROM = dict.fromkeys(ALL, 60) | {"CPU": 65, "RSS": 71, "UP": 76, "DONE": 84, "SINCE": 90}


def shown(head: list[str]) -> Callable[[str], bool]:
    """Return what tells whether exactly these columns are on a screen."""
    return lambda text: head in [line.split() for line in text.splitlines()]


def crew() -> dict[str, WorkerRow]:
    lost = WorkerRow("l", "host-c", 4411, "lost", ("emails", "reports"), 10, 3,
                     START - timedelta(days=2), 400.0, 400 << 20, 7, cpu_share=0.9)  # fmt: skip
    busy = WorkerRow("b", "host-a", 2210, "running", ("emails",), 10, 10,
                     START - timedelta(days=2), 1.0, 410 << 20, 88, cpu_share=1.71)  # fmt: skip
    idle = WorkerRow("i", "host-b", 3120, "quiet", ("emails", "billing"), 10, 0,
                     START - timedelta(hours=6), 1.0, 402 << 20, 91, cpu_share=0.0)  # fmt: skip
    new = WorkerRow("n", "host-d", 1177, "running", ("webhooks",), 10, 4, beat_age_s=2.0)
    return {row.id: row for row in (lost, busy, idle, new)}


async def test_the_list_of_workers_shows_the_share_of_a_processor_that_each_takes() -> None:
    twin = filled()
    twin.crew = crew()
    async with running(twin) as desk:
        await desk.press("7")
        text = await desk.until("host-d:1177")
        rows = {line[2:13]: line.split() for line in text.splitlines() if ":" in line[:10]}
        head = next(line.split() for line in text.splitlines() if " CPU " in line)
        assert head == list(ALL[:9])
        assert rows["host-a:2210"][5:] == ["2d", "171%", "410M", "ok", "?"]
        assert rows["host-b:3120"][5:] == ["6h", "0%", "402M", "ok", "?"]
        assert rows["host-c:4411"][-5:] == ["2d", "-", "-", "6m", "-"]
        assert rows["host-d:1177"][5:] == ["?", "?", "?", "ok", "?"]


async def test_columns_leave_a_narrow_screen_in_a_fixed_order() -> None:
    twin = filled()
    twin.crew = crew()
    async with running(twin) as desk:
        await desk.press("7")
        await desk.until("host-d:1177")
        for width in (90, 89, 83, 75, 70, 64, 60, 80):
            await desk.pilot.resize_terminal(width, 24)
            head = [name for name in ALL if width >= FROM[name]]
            await desk.until(shown(head))
