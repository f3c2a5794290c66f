"""The list of workers: its columns, and which of them a narrow screen leaves out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from tests.tui.stage import running
from tests.tui.stock import filled
from tests.tui.twin import START

from qdeck.admin import Attempt, JobDetail, JobRef, WorkerRow

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
        assert rows["host-c:4411"][3:6] == ["LOST", "6m", "3"]
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


async def test_the_jobs_of_a_lost_worker_say_how_far_they_were_and_what_became_of_each() -> None:
    twin = filled()
    (run, *_), (back, new, *_) = twin.of("running"), twin.of("pending")
    done, dead = twin.of("completed")[0], twin.of("dead")[0]
    old = START - timedelta(minutes=41)
    lost = Attempt(1, old, START - timedelta(minutes=5), "w9", "lost", "worker w9 vanished")
    other = replace(run, ref=JobRef("01other0", "emails"), worker="host-a:11", started_at=old)
    twin.add(replace(run, worker="w9", created_at=old, progress=62.0))
    twin.add(replace(back, created_at=old, progress=30.0))
    twin.add(other)
    expired = START - timedelta(minutes=5)
    twin.details = {
        run.ref.id: JobDetail(run, lease_ends_at=expired),
        back.ref.id: JobDetail(back, attempts=(lost,)),
    }
    jobs = (run, back, new, done, other)
    refs = (*(job.ref for job in jobs), JobRef("01gone00", "emails"), dead.ref)
    twin.crew = {"w9": WorkerRow("w9", "host-c", 4411, "lost", ("emails",), 5, 7, holds=refs)}
    async with running(twin, size=(120, 40)) as desk:
        await desk.press("7")
        text = await desk.until("host-c:4411 held 7 jobs when it was lost")
        text = await desk.until("lease expired 5m ago")
        assert "WORKERS 1 (1 lost)" in text
        assert "r gives back 1 job " in text
        rows = {line.split()[0]: " ".join(line.split()[2:]) for line in text.splitlines()
                if len(line.split()) > 3}  # fmt: skip
        assert rows[run.ref.id[-8:]] == "41m 62% ██████▒▒▒▒ lease expired 5m ago"
        assert rows[back.ref.id[-8:]] == "41m - returned to queue 5m ago"
        assert rows[new.ref.id[-8:]].endswith(" - returned to queue")
        assert rows[done.ref.id[-8:]].endswith(" - completed 3m ago")
        assert rows["01other0"].endswith("runs again for 41m at host-a:11")
        await desk.press("enter")
        text = await desk.until("its record is gone")
        assert " ago: " in next(line for line in text.splitlines() if " dead " in line)
        # It says how a lease stands that is not over yet.
        twin.details[run.ref.id] = JobDetail(run, lease_ends_at=START + timedelta(seconds=30))
        await desk.until("lease lives for ")
