"""Schedules for the in-memory twin, and a twin that knows what expressions mean."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tests.tui.stock import filled
from tests.tui.twin import START, Twin

from qdeck.admin import (
    Ahead,
    JobRef,
    Outcome,
    Permission,
    Preview,
    ScheduleAction,
    ScheduleRow,
    ScheduleRuns,
    ScheduleSpec,
    SlotRow,
    SlotRun,
)
from qdeck.ahead import Coming, look_ahead
from qdeck.cron import Cron
from qdeck.cronpreview import preview

__all__ = ["PlanTwin", "planned"]


@dataclass
class PlanTwin(Twin):
    """A twin whose schedules can be looked at and run; a `rival` saves first, once."""

    rival: ScheduleRow | None = None

    async def preview(
        self, text: str, zone: str = "UTC", name: str = "", count: int = 5
    ) -> Preview:
        """Return what the engine makes of it, as of the twin's clock."""
        await self._call("preview")
        others = [
            (row.name, Cron.parse(row.expression), row.zone)
            for row in self.plans.values()
            if row.name != name
        ]
        return preview(text, zone, others, self.now, count)

    async def schedules_ahead(self, start: datetime | None = None, hours: int = 24) -> Ahead:
        """Return what the engine makes of the enabled schedules, as of the twin's clock."""
        await self._call("schedules_ahead")
        coming = [
            Coming(row.name, Cron.parse(row.expression), row.zone)
            for row in self.plans.values()
            if row.enabled
        ]
        return await look_ahead(coming, start or self.now, self.now, hours)

    async def schedule_runs(self, name: str) -> ScheduleRuns | None:
        """Return that its runs took a second, the next two, and so on; those that failed say so."""
        await self._call("schedule_runs")
        slots = [slot for slot in self.plans[name].history if slot.job is not None]
        runs = tuple(
            SlotRun(slot.job, float(took), "KeyError: 'x'" if slot.outcome == "dead" else "")
            for took, slot in enumerate(slots, 1)
            if slot.job is not None
        )
        return ScheduleRuns(name, runs, len(runs) / 2, float(len(runs)))

    def schedule_actions(self, row: ScheduleRow) -> dict[ScheduleAction, Permission]:
        """Return the twin's own, and that it can run one."""
        known = dict(super().schedule_actions(row))
        return known | {"trigger": known["edit"]}

    async def trigger_schedule(self, name: str, *, dry_run: bool = False) -> Outcome:
        """Count it."""
        await self._write("trigger_schedule")
        return Outcome(f"ran {name}", 1)

    async def edit_schedule(
        self, spec: ScheduleSpec, revision: int, *, dry_run: bool = False
    ) -> Outcome:
        """Let the rival save first."""
        if self.rival is not None and not dry_run:
            self.plans[spec.name], self.rival = self.rival, None
        return await super().edit_schedule(spec, revision, dry_run=dry_run)

    async def move_schedule(self, name: str, queue: str, *, dry_run: bool = False) -> Outcome:
        """Put it into another queue."""
        await self._write("move_schedule")
        if not dry_run:
            self.plans[name] = replace(self.plans[name], queue=queue)
        return Outcome(f"moved {name} to {queue}", 1)


def slot(minutes: int, outcome: str) -> SlotRow:
    """Return a slot so long ago."""
    at = START - timedelta(minutes=minutes)
    return SlotRow(at, JobRef(f"01JCRON{minutes:04d}", "reports"), outcome, 0.2)  # type: ignore[arg-type]


def planned(failing: set[str] | None = None) -> PlanTwin:
    """Return a filled twin with schedules: one late, one off, one drifted, one that fails."""
    stock = filled()
    twin = PlanTwin(failing=failing or set())
    twin.records, twin.logs, twin.crew = stock.records, stock.logs, stock.crew

    def plan(name: str, expression: str, soon: int | None, **more: object) -> None:
        at: datetime | None = None if soon is None else START + timedelta(minutes=soon)
        row = ScheduleRow(name, expression, f"{name}.task", next_slot=at, revision=3)
        twin.plan(replace(row, **more))  # type: ignore[arg-type]

    done = tuple(slot(60 * each, "completed") for each in range(1, 9))
    plan("hourly_rollup", "0 * * * *", 48, queue="reports", history=done, last_outcome="completed")
    plan("backup_db", "30 3 * * *", -4, late_s=240.0, last_outcome="completed")
    plan("nightly_report", "0 2 * * 1-5", 60 * 20, zone="Europe/Berlin", task="report.nightly",
         queue="reports", payload={"scope": "all"}, last_outcome="dead",
         last_job=twin.of("dead")[0].ref, history=(slot(30, "dead"), *done))  # fmt: skip
    plan("cleanup_tmp", "*/30 * * * *", 10, last_outcome="completed")
    plan("old_sync", "0 4 * * *", None, enabled=False)
    plan("weekly_digest", "0 8 * * 1", 60 * 29, declared=True, drifted="0 9 * * 1")
    return twin
