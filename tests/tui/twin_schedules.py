"""The part of the in-memory stand-in that keeps schedules, incomplete on purpose: it computes no
slots, keeps no history of its own, and cannot backfill, move, import or export.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from qdeck.admin import (
    Ahead,
    Backfill,
    Conflict,
    Denied,
    Imported,
    Outcome,
    Permission,
    Preview,
    ScheduleAction,
    ScheduleRow,
    ScheduleRuns,
    ScheduleSpec,
)

__all__ = ["TwinSchedules"]


@dataclass(kw_only=True)
class TwinSchedules:
    """Mixed into the stand-in; `plans` are its schedules by name, `previews` what texts mean."""

    plans: dict[str, ScheduleRow] = field(default_factory=dict)
    previews: dict[str, Preview] = field(default_factory=dict)

    async def _call(self, name: str) -> None:
        raise NotImplementedError

    async def _write(self, name: str) -> None:
        raise NotImplementedError

    def plan(self, row: ScheduleRow) -> ScheduleRow:
        """Keep a schedule."""
        self.plans[row.name] = row
        return row

    async def schedules(self) -> tuple[ScheduleRow, ...]:
        """Return what was put in, by name."""
        await self._call("schedules")
        return tuple(self.plans[name] for name in sorted(self.plans))

    async def schedule(self, name: str) -> ScheduleRow | None:
        """Return one schedule."""
        await self._call("schedule")
        return self.plans.get(name)

    async def preview(
        self, text: str, zone: str = "UTC", name: str = "", count: int = 5
    ) -> Preview:
        """Return what was put in for a text; every other one is refused."""
        await self._call("preview")
        unknown = Preview(False, text, zone, "expressions are unknown here")
        return self.previews.get(text, unknown)

    async def schedule_runs(self, name: str) -> ScheduleRuns | None:
        """Refuse: no run is timed here."""
        await self._call("schedule_runs")
        raise Denied("run times are unknown here")

    async def schedules_ahead(self, start: datetime | None = None, hours: int = 24) -> Ahead:
        """Refuse: no slot is computed here."""
        await self._call("schedules_ahead")
        raise Denied("coming runs are unknown here")

    def schedule_actions(self, row: ScheduleRow) -> Mapping[ScheduleAction, Permission]:
        """Return what may be done: this stand-in can change, stop and remove."""
        read_only = self.__dict__.get("read_only", False)
        yes = Permission(not read_only, "the server is read-only" if read_only else "")
        no = Permission(False, "unknown here")
        return {
            "edit": yes,
            "disable" if row.enabled else "enable": yes,
            "remove": yes,
            "trigger": no,
            "backfill": no,
            "move": no,
        }

    def _known(self, name: str) -> ScheduleRow:
        row = self.plans.get(name)
        if row is None:
            raise Denied(f"there is no schedule {name!r} here; nothing was changed")
        return row

    def _put(self, row: ScheduleRow, said: str, dry_run: bool) -> Outcome:
        if dry_run:
            return Outcome(f"would have {said} {row.name}", 1)
        self.plans[row.name] = replace(row, revision=(row.revision or 0) + 1)
        return Outcome(f"{said} {row.name}", 1)

    async def add_schedule(self, spec: ScheduleSpec, *, dry_run: bool = False) -> Outcome:
        """Keep a new schedule."""
        await self._write("add_schedule")
        if spec.name in self.plans:
            raise Denied(f"there is a schedule {spec.name!r} already; nothing was changed")
        return self._put(_row(spec), "added", dry_run)

    async def edit_schedule(
        self, spec: ScheduleSpec, revision: int, *, dry_run: bool = False
    ) -> Outcome:
        """Replace a schedule that still has its revision."""
        await self._write("edit_schedule")
        row = self._known(spec.name)
        if row.revision != revision:
            raise Conflict(f"schedule {spec.name!r} was changed by somebody else", row)
        return self._put(replace(_row(spec), revision=revision), "changed", dry_run)

    async def enable_schedule(self, name: str, *, dry_run: bool = False) -> Outcome:
        """Mark it enabled."""
        await self._write("enable_schedule")
        row = replace(self._known(name), enabled=True, disabled_until=None)
        return self._put(row, "enabled", dry_run)

    async def disable_schedule(
        self, name: str, until: datetime | None = None, *, dry_run: bool = False
    ) -> Outcome:
        """Mark it disabled."""
        await self._write("disable_schedule")
        row = replace(self._known(name), enabled=False, disabled_until=until, next_slot=None)
        return self._put(row, "disabled", dry_run)

    async def remove_schedule(self, name: str, *, dry_run: bool = False) -> Outcome:
        """Forget it."""
        await self._write("remove_schedule")
        self._known(name)
        if not dry_run:
            del self.plans[name]
        return Outcome(f"{'would have ' if dry_run else ''}removed {name}", 1)

    async def trigger_schedule(self, name: str, *, dry_run: bool = False) -> Outcome:
        """Refuse."""
        raise Denied("trigger is unknown here")

    async def backfill_schedule(
        self, name: str, start: datetime, end: datetime, *, dry_run: bool = False
    ) -> Backfill:
        """Refuse."""
        raise Denied("backfill is unknown here")

    async def adopt_schedule(self, name: str, *, dry_run: bool = False) -> Outcome:
        """Refuse."""
        raise Denied("adopt is unknown here")

    async def move_schedule(self, name: str, queue: str, *, dry_run: bool = False) -> Outcome:
        """Refuse."""
        raise Denied("moving a schedule is unknown here")

    async def export_schedules(self) -> str:
        """Refuse."""
        raise Denied("export is unknown here")

    async def import_schedules(self, text: str, *, dry_run: bool = False) -> Imported:
        """Refuse."""
        raise Denied("import is unknown here")


def _row(spec: ScheduleSpec) -> ScheduleRow:
    return ScheduleRow(
        spec.name,
        spec.expression,
        spec.task,
        spec.zone,
        spec.queue or "default",
        spec.payload,
        spec.options,
        spec.misfire,
        spec.overlap,
        spec.jitter,
        spec.catch_up,
        revision=0,
    )
