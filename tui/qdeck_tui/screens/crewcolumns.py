"""The columns of the list of workers, and the words that they put in their cells."""

from __future__ import annotations

from collections.abc import Callable

from qdeck.admin import WorkerRow
from qdeck_tui.desk import Console
from qdeck_tui.format import age, clock, count, memory, percent, rate
from qdeck_tui.screens.columns import seconds_since
from qdeck_tui.widgets.table import Cell, Column

__all__ = ["worker_columns"]

#: Seconds for which a beat is not worth a figure that ticks.
FRESH = 15
SIGNS = {
    "running": ("● running", "good"),
    "quiet": ("= quiet", "warn"),
    "stopping": ("▾ stopping", "warn"),
    "stuck": ("! stuck", "bad"),
    "lost": ("✗ LOST", "bad"),
}
#: What nothing is to be said of once a worker is lost.
NONE = ("-", "dim")


def worker_columns(
    console: Callable[[], Console], pace: Callable[[WorkerRow], float | None] = lambda w: None
) -> list[Column[WorkerRow]]:
    """Return the columns of workers; `pace` tells the jobs a minute of one."""

    def per_minute(worker: WorkerRow) -> Cell:
        found = pace(worker)
        return NONE if worker.state == "lost" else (rate(found), "dim" if found == 0 else "")

    return [
        Column("NAME", 18, _name, flex=True, keep=10, sort=lambda w: w.host, falling=False),
        Column("STATE", 10, _state, keep=9, sort=lambda w: w.state, falling=False),
        Column("BUSY", 6, _busy, True, keep=8, sort=lambda w: _number(w.running)),
        Column("QUEUES", 9, lambda w: ",".join(w.queues), flex=True, keep=7),
        Column("UP", 4, lambda w: age(seconds_since(w.started_at, console().now)), True, keep=2),
        Column("CPU", 4, _cpu, True, keep=4, sort=lambda w: _number(w.cpu_share)),
        Column("RSS", 5, _memory, True, keep=3, sort=lambda w: _number(w.memory_bytes)),
        Column("BEAT", 4, _beat, True, keep=6, sort=lambda w: _number(w.beat_age_s)),
        Column("/MIN", 5, per_minute, True, keep=5, sort=lambda w: _number(pace(w))),
        Column("DONE", 7, lambda w: count(w.done), True, keep=1, sort=lambda w: _number(w.done)),
        Column("SINCE", 5, lambda w: clock(w.started_at, console().zone), keep=0),
    ]  # fmt: skip


def _number(value: float | None) -> float:
    return -1.0 if value is None else value


def _name(worker: WorkerRow) -> Cell:
    where = f"{worker.host}:{'?' if worker.pid is None else worker.pid}"
    return f"{where} local" if worker.local else where


def _state(worker: WorkerRow) -> Cell:
    text, style = SIGNS.get(worker.state, (worker.state, "warn"))
    if worker.state == "lost":
        text = f"{text} {age(worker.beat_age_s)}"
    return (text, style)


def _busy(worker: WorkerRow) -> Cell:
    if worker.state == "lost":
        return count(worker.running)
    return f"{count(worker.running)}/{count(worker.concurrency)}"


def _cpu(worker: WorkerRow) -> Cell:
    return NONE if worker.state == "lost" else percent(worker.cpu_share)


def _memory(worker: WorkerRow) -> Cell:
    return NONE if worker.state == "lost" else memory(worker.memory_bytes)


def _beat(worker: WorkerRow) -> Cell:
    since = worker.beat_age_s
    return "ok" if since is not None and since < FRESH else age(since)
