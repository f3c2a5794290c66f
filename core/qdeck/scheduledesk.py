"""The part of the operator's door that concerns schedules. Mixed into `Operator`.

Owns what concerns several slots or several schedules: rows, previews, jobs besides the plan,
moving, import and export. What changes one schedule is inherited.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import msgspec

from qdeck.admin import (
    SCHEDULE_ACTIONS,
    Ahead,
    AuditRow,
    Backfill,
    Denied,
    Imported,
    JobRef,
    Outcome,
    Permission,
    Preview,
    ScheduleAction,
    ScheduleRow,
    ScheduleRuns,
)
from qdeck.ahead import Coming, look_ahead
from qdeck.cron import Cron
from qdeck.cronpreview import preview
from qdeck.job import new_id
from qdeck.ledger import Entry as Act
from qdeck.reader import at_ms
from qdeck.rights import READ_ONLY
from qdeck.schedule import (
    STEP,
    Note,
    Past,
    Step,
    at,
    job_of_slot,
    read_tick,
    slots_between,
    store,
    tick,
)
from qdeck.scheduletoml import read_plans, write_plans
from qdeck.scheduleverbs import Outrun, ScheduleVerbs, fit_to_fire, moment, named, plan_of
from qdeck.slotruns import read_runs
from qdeck.timetable import Entry, required

__all__ = ["ScheduleDesk"]

#: Words of slots whose jobs have ended.
_ENDED: Final = ("completed", "dead", "cancelled", "gone")
#: How often a verb is tried where others change the same schedule.
_TRIES: Final = 5
#: Slots that one backfill makes jobs for at most, and those of them that are named.
_BACKFILL: Final = 10_000
_NAMED: Final = 1000
#: Seconds for which a preview compares with the schedules that it read.
_OTHERS_FOR: Final = 3.0


class ScheduleDesk(ScheduleVerbs):
    """The door to schedules."""

    _others_at: float = float("-inf")
    _others_read: Sequence[Entry] = ()

    # Looking

    async def schedules(self) -> tuple[ScheduleRow, ...]:
        """Return all schedules by name, each with its history."""
        return await self._timetable.rows(await self._timetable.entries())

    async def schedule(self, name: str) -> ScheduleRow | None:
        """Return one schedule; None when there is none of this name."""
        entry = await self._timetable.entry(named(name))
        return None if entry is None else (await self._timetable.rows([entry]))[0]

    async def preview(
        self, text: str, zone: str = "UTC", name: str = "", count: int = 5
    ) -> Preview:
        """Return what an expression or plain words would do, beside the other enabled schedules."""
        # Asked at each key that is pressed: what the others say is read every few seconds.
        if time.monotonic() - self._others_at > _OTHERS_FOR:
            self._others_read = await self._timetable.entries()
            self._others_at = time.monotonic()
        others: list[tuple[str, Cron, str]] = [
            (entry.name, entry.plan.cron, entry.plan.zone)
            for entry in self._others_read
            if entry.plan is not None and entry.stored.enabled and entry.name != name
        ]
        now = at(await self._timetable.now())
        # A rare expression is looked for through years: whoever types meanwhile does not wait.
        return await asyncio.to_thread(preview, text, zone, others, now, count)

    async def schedule_runs(self, name: str) -> ScheduleRuns | None:
        """Return what the jobs of its last slots took; None when there is none of this name."""
        row = await self.schedule(name)
        return None if row is None else await read_runs(self.reader, row)

    async def schedules_ahead(self, start: datetime | None = None, hours: int = 24) -> Ahead:
        """Return what the enabled schedules start from now on, by the hours after `start` (aware;
        None: the full hour that runs now); up to 48 hours.
        """
        now = at(await self._timetable.now())
        begin = now.replace(minute=0, second=0, microsecond=0) if start is None else start
        if begin.tzinfo is None:
            raise Denied(f"start {begin.isoformat()} has no time zone; give an aware time")
        coming = [
            Coming(
                entry.name,
                entry.plan.cron,
                entry.plan.zone,
                None if entry.stored.enabled else at(entry.stored.until),
            )
            for entry in await self._timetable.entries()
            if entry.plan is not None and (entry.stored.enabled or entry.stored.until)
        ]
        return await look_ahead(coming, begin, now, max(1, min(hours, 48)))

    def schedule_actions(self, row: ScheduleRow) -> Mapping[ScheduleAction, Permission]:
        """Return what makes sense to do to a schedule, each allowed or denied with its reason."""
        found = {}
        for action in SCHEDULE_ACTIONS:
            why = READ_ONLY if self._read_only else ""
            if action in ("enable", "disable") and (action == "enable") == row.enabled:
                continue
            if action == "adopt" and row.drifted is None:
                continue
            if row.fault and action not in ("edit", "remove", "disable", "adopt"):
                why = why or f"it cannot fire: {row.fault}"
            found[action] = Permission(not why, why)
        return found

    # Besides the plan

    async def trigger_schedule(self, name: str, *, dry_run: bool = False) -> Outcome:
        """Enqueue its job now, once; its slots stay as they are."""
        self._write("trigger schedule")
        entry = required(await self._timetable.entry(named(name)), name)
        plan = fit_to_fire(entry)
        if dry_run:
            return Outcome(f"would enqueue a job of {name} ({plan.task})", 1)
        body = job_of_slot(
            name,
            plan,
            0,
            self._deck.settings,
            await self._task_facts(plan),
            triggered_by=self._actor,
        )[1]
        job_id = new_id()
        words = await self._fire_plan(entry, [(0, job_id, body)], "trigger schedule")
        if words == ["u"]:
            return Outcome(f"{name}: another job holds its unique key; nothing was enqueued")
        made = (JobRef(job_id, entry.queue),)
        outcome = Outcome(f"enqueued job {job_id} of {name}", 1, refs=made)
        return await self._on_record(outcome, entry.queue, job_id)

    async def backfill_schedule(
        self, name: str, start: datetime, end: datetime, *, dry_run: bool = False
    ) -> Backfill:
        """Enqueue a job for each slot from `start` up to but not including `end`, both in the past.

        A slot whose job exists already gets no second one. At most 10,000 slots at a time.
        """
        self._write("backfill schedule")
        entry = required(await self._timetable.entry(named(name)), name)
        plan = fit_to_fire(entry)
        first, last = moment("start", start), moment("end", end)
        if last > await self._timetable.now():
            raise Denied(f"end {end.isoformat()} is to come; only past slots can be run once more")
        if first >= last:
            raise Denied(f"start {start.isoformat()} is not before end {end.isoformat()}")
        slots = slots_between(plan, first, last, _BACKFILL + 1)
        if len(slots) > _BACKFILL:
            raise Denied(
                f"{name} has more than {_BACKFILL:,} slots in that range; give a shorter one"
            )
        known = await self._task_facts(plan)
        jobs = [
            (slot, *job_of_slot(name, plan, slot, self._deck.settings, known, backfill=True))
            for slot in slots
        ]
        result = Backfill(name, len(slots), slots=tuple(at(slot) for slot in slots[:_NAMED]))
        if dry_run:
            keys = self._keys(entry.queue)
            there = await self.reader.read([("EXISTS", keys.job(job[1])) for job in jobs])
            self.reader.refuse(there)
            return replace(result, existing=sum(there), dry_run=True)
        made, kept = 0, new_id()
        for place in range(0, len(jobs), STEP):
            part = jobs[place : place + STEP]
            ends = place + STEP >= len(jobs)
            verb = "backfill schedule" if ends else ""
            words = await self._fire_plan(entry, part, verb, kept)
            made += sum(word in ("p", "s") for word in words)
        return replace(result, created=made, existing=len(jobs) - made)

    async def move_schedule(self, name: str, queue: str, *, dry_run: bool = False) -> Outcome:
        """Move it to another queue; no slot fires twice.

        It is disabled, made disabled in the other queue with its last slot, removed here, and
        enabled there; what stops half-way leaves it disabled, and moving it again carries on.
        """
        self._write("move schedule")
        return await self._move_plan(
            required(await self._timetable.entry(named(name)), name), queue, dry_run
        )

    async def _undo_schedule_move(self, row: AuditRow, act: Act, dry_run: bool) -> Outcome:
        name = str(act.undo.get("name"))
        entry = await self._timetable.within(name, row.queue)
        if entry is None or str(entry.stored.revision) != str(act.undo.get("revision")):
            raise Denied(f"something changed schedule {name} since; nothing was changed")
        return await self._move_plan(entry, str(act.undo.get("queue")), dry_run, act.id)

    async def _move_plan(self, entry: Entry, queue: str, dry_run: bool, of: str = "") -> Outcome:
        there, name = self._keys(queue), entry.name
        if queue == entry.queue:
            return Outcome(f"{name} is in queue {queue} already")
        if dry_run:
            return Outcome(f"would move {name} from queue {entry.queue} to {queue}", 1)
        stored, shared = entry.stored, self._deck.shared
        spec, declared = stored.spec, stored.declared
        left = await self._timetable.within(name, queue)
        revision = await self._put_plan(entry, spec, None, enabled=False)
        here = replace(entry, stored=msgspec.structs.replace(stored, revision=revision))
        seen = None if left is None else left.stored.revision
        past = stored.last, await self._past(entry)
        terms: dict[str, Any] = {"declared": declared, "past": past}
        new = await self.reader.run(store(there, name, seen, spec, enabled=False, **terms))
        if new < 0:
            raise Outrun(f"somebody else moves schedule {name} too; it is disabled")
        replies = await self.reader.read(
            [("SADD", shared.queues, queue), ("HSET", shared.schedules, name, queue)]
        )
        self.reader.refuse(replies)
        # What takes a move back stands beside the record of that.
        back = Note(self._actor, "move schedule", f"back to {queue}", of=of) if of else None
        await self._put_plan(here, "", back)
        moved = Note(self._actor, "move schedule", f"from {entry.queue} to {queue}")
        command = store(
            there,
            name,
            new,
            spec,
            declared=declared,
            enabled=bool(stored.enabled),
            until=stored.until,
            next_slot=stored.next if stored.enabled else 0,
            note=None if of else moved,
        )
        if await self.reader.run(command) < 0:
            raise Outrun(f"somebody else changed schedule {name} meanwhile; it is disabled")
        outcome = Outcome(f"moved {name} from queue {entry.queue} to {queue}", 1)
        return await self._on_record(outcome, queue, "" if of else name)

    async def _past(self, entry: Entry) -> list[Past]:
        """Return the history of a schedule for another queue, where its jobs cannot be asked."""
        (row,) = await self._timetable.rows([entry])
        known = {at_slot.slot: at_slot.outcome for at_slot in row.history}
        return [
            past
            if known.get(at(past.slot)) not in _ENDED
            else msgspec.structs.replace(past, id="", word=known[at(past.slot)])
            for past in entry.stored.history
        ]

    # As text

    async def export_schedules(self) -> str:
        """Return all schedules as TOML."""
        rows = await self.schedules()
        for row in rows:
            if row.fault:
                raise Denied(f"schedule {row.name} cannot be exported: {row.fault}")
        return write_plans(rows)

    async def import_schedules(self, text: str, *, dry_run: bool = False) -> Imported:
        """Add and change schedules so that they are as the TOML says; others stay.

        All are checked before the first is changed.
        """
        self._write("import schedules")
        wanted = [replace(each, spec=await self._placed(each.spec)) for each in read_plans(text)]
        for each in wanted:
            named(each.spec.name)
            self._keys(each.spec.queue)
            await self._check_plan(plan_of(each.spec))
        added, changed, unchanged = [], [], []
        for each in wanted:
            name, plan = each.spec.name, plan_of(each.spec)
            until = 0 if each.until is None else moment("disabled_until", each.until)
            entry = await self._timetable.entry(name)
            if entry is None:
                added.append(name)
                if not dry_run:
                    await self._add_plan(each.spec, enabled=each.enabled, until=until)
                continue
            stored = entry.stored
            same = stored.spec == plan.text() and entry.queue == each.spec.queue
            switched = (bool(stored.enabled), stored.until) != (each.enabled, until)
            if same and not switched:
                unchanged.append(name)
                continue
            changed.append(name)
            if dry_run:
                continue
            if entry.queue != each.spec.queue:
                await self.move_schedule(name, each.spec.queue)
                entry = required(await self._timetable.entry(name), name)
            if entry.stored.spec != plan.text():
                await self._save_plan(entry, plan, "import schedule", "changed", False)
            if switched and each.enabled:
                await self.enable_schedule(name)
            elif switched:
                await self.disable_schedule(name, at_ms(until))
        return Imported(tuple(added), tuple(changed), tuple(unchanged), dry_run)

    # How

    async def _fire_plan(
        self, entry: Entry, jobs: list[tuple[int, str, bytes]], verb: str, made: str = ""
    ) -> list[str]:
        """Make jobs besides the plan; return a letter for each (see tick.lua).

        Ids of several calls are kept under the name `made`; the last one names the verb.
        """
        for _ in range(_TRIES):
            command = tick(
                self._keys(entry.queue),
                entry.name,
                entry.stored.revision,
                None,
                Step((), 0),
                jobs,
                max_size=self._deck.settings.max_size,
                note=Note(self._actor, verb, "") if verb else None,
                made=made,
            )
            told = read_tick(await self.reader.run(command))
            if told.word == "fired":
                return list(told.slots)
            entry = required(await self._timetable.entry(entry.name), entry.name)
        raise Outrun(f"schedule {entry.name} keeps changing; nothing was enqueued")
