"""Adding, changing, switching and removing one schedule; a part of the operator's door.

Each verb reads a schedule, computes its next slot from the server's time, and stores it if it still
has the revision that was read.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from qdeck.admin import (
    AuditRow,
    Conflict,
    Denied,
    Outcome,
    ScheduleSpec,
)
from qdeck.desk import Desk
from qdeck.errors import QdeckError, RevisionConflict
from qdeck.ledger import Entry as Act
from qdeck.options import check_name
from qdeck.patching import fit
from qdeck.plan import Plan, decode_plan, make_plan
from qdeck.reader import text
from qdeck.record import decode_map, to_ms
from qdeck.schedule import (
    Note,
    Past,
    Stored,
    next_after,
    rfc3339,
    store,
)
from qdeck.timetable import Entry, Timetable, required

__all__ = ["Outrun", "ScheduleVerbs", "fit_to_fire", "moment", "named", "plan_of"]


class Outrun(Conflict, RevisionConflict):
    """Somebody else's change of the schedule came first."""


class ScheduleVerbs(Desk):
    """What changes one schedule; one part of `Operator`."""

    @property
    def _timetable(self) -> Timetable:
        return Timetable(self.reader)

    # Changing

    async def add_schedule(self, spec: ScheduleSpec, *, dry_run: bool = False) -> Outcome:
        """Create a schedule, enabled; refused where the name is taken, or a part is not usable."""
        self._write("add schedule")
        return await self._add_plan(await self._placed(spec), dry_run=dry_run)

    async def _add_plan(
        self, spec: ScheduleSpec, *, enabled: bool = True, until: int = 0, dry_run: bool = False
    ) -> Outcome:
        name, keys, plan = named(spec.name), self._keys(spec.queue), plan_of(spec)
        known = await self._check_plan(plan)
        taken = await self._timetable.entry(name)
        if taken is not None:
            raise Outrun(
                f"there is a schedule {name!r} in queue {taken.queue} already; nothing was changed",
                (await self._timetable.rows([taken]))[0],
            )
        due = next_after(plan, await self._timetable.now())
        said = f"{name} to {keys.queue}: next {rfc3339(due) if due else 'never'}"
        if not known:
            said += f"; no worker has published task {plan.task} yet"
        if dry_run:
            return Outcome(f"would add {said}", 1)
        note = Note(self._actor, "add schedule", f"{plan.expression} {plan.zone}")
        shared = self._deck.shared
        replies = await self.reader.read(
            [
                ("SADD", shared.queues, keys.queue),
                ("HSETNX", shared.schedules, name, keys.queue),
                ("HGET", shared.schedules, name),
            ]
        )
        self.reader.refuse(replies)
        if text(replies[2]) != keys.queue:
            # A name without a schedule is left of one that was removed half-way.
            await self.reader.one("HSET", shared.schedules, name, keys.queue)
        command = store(
            keys,
            name,
            None,
            plan.text(),
            enabled=enabled,
            until=until,
            next_slot=due if enabled else 0,
            note=note,
        )
        if await self.reader.run(command) < 0:
            now = await self._timetable.within(name, keys.queue)
            mine = now is not None and now.stored.editor == self._actor
            if now is None or not mine or now.stored.spec != plan.text():
                raise Outrun(f"somebody else added schedule {name!r} first; nothing was changed")
        return await self._on_record(Outcome(f"added {said}", 1), keys.queue, name)

    async def edit_schedule(
        self, spec: ScheduleSpec, revision: int, *, dry_run: bool = False
    ) -> Outcome:
        """Replace what is said about a schedule, if it still has this revision; raises Conflict."""
        self._write("edit schedule")
        plan = plan_of(spec)
        await self._check_plan(plan)
        entry = required(await self._timetable.entry(named(spec.name)), spec.name)
        if spec.queue not in ("", entry.queue):
            raise Denied(
                f"schedule {spec.name} is in queue {entry.queue}; move it to {spec.queue} first"
            )
        await self._same_revision(entry, revision)
        return await self._save_plan(entry, plan, "edit schedule", "changed", dry_run)

    async def adopt_schedule(self, name: str, *, dry_run: bool = False) -> Outcome:
        """Replace what is stored by what the code declares."""
        self._write("adopt schedule")
        entry = required(await self._timetable.entry(named(name)), name)
        if not entry.stored.declared:
            raise Denied(f"no code declares schedule {name!r}; edit it instead")
        if entry.drifted is None:
            return Outcome(f"{name} is as the code declares it already")
        try:
            plan = decode_plan(entry.stored.declared)
        except QdeckError as error:
            raise Denied(str(error)) from error
        return await self._save_plan(
            entry, plan, "adopt schedule", "adopted the declaration of", dry_run
        )

    async def _save_plan(
        self, entry: Entry, plan: Plan, verb: str, done: str, dry_run: bool
    ) -> Outcome:
        """Store another plan; the next slot stays where the times are the same."""
        stored, old = entry.stored, entry.plan
        same = old is not None and (old.expression, old.zone) == (plan.expression, plan.zone)
        due = stored.next
        if not (same and stored.enabled):
            due = next_after(plan, max(await self._timetable.now(), stored.last))
        said = f"{entry.name}: next {rfc3339(due) if due and stored.enabled else 'none'}"
        if dry_run:
            return Outcome(f"would have {done} {said}", 1)
        await self._put_plan(
            entry,
            plan.text(),
            Note(self._actor, verb, f"{plan.expression} {plan.zone}"),
            enabled=bool(stored.enabled),
            until=stored.until,
            next_slot=None if same else due if stored.enabled else 0,
        )
        return await self._on_record(Outcome(f"{done} {said}", 1), entry.queue, entry.name)

    async def enable_schedule(self, name: str, *, dry_run: bool = False) -> Outcome:
        """Let it fire again, from the next slot after now."""
        self._write("enable schedule")
        entry = required(await self._timetable.entry(named(name)), name)
        if entry.stored.enabled:
            return Outcome(f"{name} was enabled already")
        if entry.plan is None:
            raise Denied(f"schedule {name} cannot fire: {entry.fault}")
        due = next_after(entry.plan, max(await self._timetable.now(), entry.stored.last))
        said = f"{name}: next {rfc3339(due) if due else 'never'}"
        if dry_run:
            return Outcome(f"would enable {said}", 1)
        note = Note(self._actor, "enable schedule", "enabled")
        await self._put_plan(entry, entry.stored.spec, note, next_slot=due)
        return await self._on_record(Outcome(f"enabled {said}", 1), entry.queue, name)

    async def disable_schedule(
        self, name: str, until: datetime | None = None, *, dry_run: bool = False
    ) -> Outcome:
        """Stop it; with `until` (aware) it comes back by itself, from the first slot after that."""
        self._write("disable schedule")
        entry = required(await self._timetable.entry(named(name)), name)
        wake = 0 if until is None else moment("until", until)
        if until is not None and wake <= await self._timetable.now():
            raise Denied(f"until {until.isoformat()} has passed; give a time to come")
        if not entry.stored.enabled and wake == entry.stored.until:
            return Outcome(f"{name} was disabled already")
        said = f"{name} until {rfc3339(wake)}" if wake else name
        if dry_run:
            return Outcome(f"would disable {said}", 1)
        note = Note(self._actor, "disable schedule", f"until {rfc3339(wake)}" if wake else "off")
        await self._put_plan(entry, entry.stored.spec, note, enabled=False, until=wake)
        return await self._on_record(Outcome(f"disabled {said}", 1), entry.queue, name)

    async def remove_schedule(self, name: str, *, dry_run: bool = False) -> Outcome:
        """Remove it with its history; its jobs stay."""
        self._write("remove schedule")
        entry = required(await self._timetable.entry(named(name)), name)
        if dry_run:
            return Outcome(f"would remove {name}", 1)
        await self._put_plan(entry, "", Note(self._actor, "remove schedule", "removed"))
        await self.reader.one("HDEL", self._deck.shared.schedules, name)
        return await self._on_record(Outcome(f"removed {name}", 1), entry.queue, name)

    async def _undo_schedule(self, row: AuditRow, act: Act, dry_run: bool) -> Outcome:
        """Put a schedule back as an act found it, unless somebody changed it since."""
        name, spec = str(act.undo.get("name")), str(act.undo.get("spec") or "")
        entry = await self._timetable.within(name, row.queue)
        revision = 0 if entry is None else entry.stored.revision
        if str(revision) != str(act.undo.get("revision")):
            raise Denied(f"something changed schedule {name} since; nothing was changed")
        done = (
            "put back as it was" if spec and entry else "added again" if spec else "removed again"
        )
        if dry_run:
            return Outcome(f"{name} would be {done}", 1)
        note = Note(self._actor, "undo", f"{row.verb}: {done}", of=act.id)
        keys, shared, due = self._keys(row.queue), self._deck.shared, 0
        enabled, until = act.undo.get("enabled") == 1, int(act.undo.get("until") or 0)
        last = 0 if entry is None else entry.stored.last
        if spec and enabled:
            due = next_after(decode_plan(spec), max(await self._timetable.now(), last))
        if entry is not None:
            await self._put_plan(entry, spec, note, enabled=enabled, until=until, next_slot=due)
        else:
            declared = str(act.undo.get("declared") or "")
            command = store(
                keys, name, None, spec, declared=declared, enabled=enabled, until=until,
                next_slot=due, past=_past_of(act), note=note,
            )  # fmt: skip
            if await self.reader.run(command) < 0:
                raise Denied(f"somebody added schedule {name} since; nothing was changed")
        words = ("HSET", shared.schedules, name, row.queue) if spec else (
            "HDEL", shared.schedules, name)  # fmt: skip
        await self.reader.one(*words)
        return Outcome(f"schedule {name} is {done}", 1)

    # How

    async def _same_revision(self, entry: Entry, revision: int) -> None:
        if entry.stored.revision != revision:
            row = (await self._timetable.rows([entry]))[0]
            raise Outrun(
                f"schedule {entry.name} has revision {row.revision}, not {revision}: "
                f"{row.edited_by or 'somebody'} changed it; nothing was changed",
                row,
            )

    async def _put_plan(
        self,
        entry: Entry,
        spec: str,
        note: Note | None,
        *,
        enabled: bool = True,
        until: int = 0,
        next_slot: int | None = 0,
    ) -> int:
        """Store a schedule over what was read, and return its revision (0: removed).

        Raises Conflict where somebody changed it since.
        """
        seen = entry.stored.revision
        while True:
            command = store(
                self._keys(entry.queue),
                entry.name,
                seen,
                spec,
                declared=entry.stored.declared,
                enabled=enabled,
                until=until,
                next_slot=next_slot,
                note=note,
            )
            revision: int = await self.reader.run(command)
            if revision >= 0:
                return revision
            now = await self._timetable.within(entry.name, entry.queue)
            if revision == -2 and now is not None:
                # A slot fired between the look and the change: the next one is after it.
                next_slot = next_after(decode_plan(spec), now.stored.last)
                continue
            if now is None and not spec:
                return 0
            mine = (seen + 1, spec, note.actor if note else "", int(enabled), until)
            if now is not None and _mark(now.stored) == mine:
                # The reply to this very change was lost, and it was sent again.
                return now.stored.revision
            now = required(now, entry.name)
            row = (await self._timetable.rows([now]))[0]
            who = row.edited_by or "somebody else"
            raise Outrun(f"{who} changed schedule {entry.name} meanwhile; nothing was changed", row)

    async def _placed(self, spec: ScheduleSpec) -> ScheduleSpec:
        """Return a schedule with its queue: as its task's code or workers say where it has none."""
        if spec.queue:
            return spec
        known = self._deck.registry.find(spec.task)
        if known is not None:
            queue = known.queue
        else:
            facts = await self.reader.one("HGET", self._deck.shared.tasks, spec.task)
            queue = decode_map(facts).get("queue")
        return replace(spec, queue=queue or self._deck.settings.default)

    async def _task_facts(self, plan: Plan) -> Any:
        spec = self._deck.registry.find(plan.task)
        if spec is not None:
            return spec
        return decode_map(await self.reader.one("HGET", self._deck.shared.tasks, plan.task))

    async def _check_plan(self, plan: Plan) -> bool:
        """Check the payload by what is known of the task; False where nothing is."""
        known = self._deck.registry.find(plan.task)
        facts = known.describe() if known is not None else await self._task_facts(plan)
        try:
            fit(plan.task, msgspec.json.encode(plan.payload).decode(), facts)
        except QdeckError as error:
            raise Denied(str(error)) from error
        return bool(facts)


def _mark(row: Stored) -> tuple[int, str, str, int, int]:
    return row.revision, row.spec, row.editor, row.enabled, row.until


def named(name: str) -> str:
    try:
        return check_name("schedule", name)
    except QdeckError as error:
        raise Denied(str(error)) from error


def plan_of(spec: ScheduleSpec) -> Plan:
    try:
        return make_plan(
            spec.expression,
            spec.task,
            zone=spec.zone,
            payload=spec.payload,
            options=spec.options,
            misfire=spec.misfire,
            overlap=spec.overlap,
            jitter=spec.jitter,
            catch_up=spec.catch_up,
        )
    except QdeckError as error:
        raise Denied(f"schedule {spec.name}: {error}") from error


def fit_to_fire(entry: Entry) -> Plan:
    if entry.plan is None:
        raise Denied(f"schedule {entry.name} cannot fire: {entry.fault}")
    return entry.plan


def moment(what: str, value: datetime) -> int:
    if value.tzinfo is None:
        raise Denied(f"{what} {value.isoformat()} has no zone; write it with one, such as Z")
    return to_ms(value)


def _past_of(act: Act) -> tuple[int, list[Past]]:
    """Return the last slot and the history that the record of a removal holds."""
    try:
        return msgspec.convert(
            (act.undo.get("last", 0), act.undo.get("history") or []),
            tuple[int, list[Past]],
            strict=False,
        )
    except msgspec.ValidationError:
        return 0, []
