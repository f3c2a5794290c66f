"""The part of the operator's door that keeps record: pauses and limits, the audit, undo, clearing
with a copy, payloads of single jobs, and new jobs.

Mixed into `Operator`. An act says how it is taken back in its audit entry: `undo` finds the method
`_undo_<do>` of the door by that.
"""

from __future__ import annotations

from typing import Final

from qdeck import ledger
from qdeck import queue as verbs
from qdeck.admin import (
    AuditRow,
    Cleared,
    Denied,
    Outcome,
    StateName,
    Window,
)
from qdeck.desk import Desk
from qdeck.facts import memory_full
from qdeck.job import new_id
from qdeck.journal import name_of
from qdeck.ledger import Act, Entry
from qdeck.listing import SETS, sources_of
from qdeck.reader import count, text
from qdeck.rights import READ_ONLY

__all__ = ["RecordDesk"]

#: Acts among which the newest of one actor is looked for.
_RECENT: Final = 1000
#: Writes that are tried for whether they can still be taken back.
_TRIED: Final = 20
#: Why verbs have no way back at all.
_ONE_WAY: Final = {
    "recover": "the jobs may have been started again by another worker; cancel those that wait",
    "stop": "a worker that is told to stop exits; start another one",
    "stack": "it asked a question and changed nothing",
    "undo": "what was taken back is done again by the verb itself",
    "enqueue": "it made several jobs at once; cancel or delete them",
    "restore": "which jobs came back was not kept, since they were too many or the memory full; "
    "clear the queue again",
}
_SINCE: Final = "something changed it since; nothing was changed"


class RecordDesk(Desk):
    """The verbs on record; one part of `Operator`."""

    # What was done, and taking it back

    async def audit(
        self, window: Window | None = None, queue: str | None = None
    ) -> tuple[AuditRow, ...]:
        """Return a window of the writes on record, newest first, over all queues and workers."""
        names = await self._names(queue)
        return await self._journal.rows(names, window or Window(), workers=queue is None)

    async def last_undoable(self, actor: str | None = None) -> AuditRow | None:
        """Return the newest write of one actor that can be taken back, no undo among them.

        What something has changed since is passed over.
        """
        wanted = actor or self._actor
        rows = await self.audit(Window(0, _RECENT))
        for row in [r for r in rows if r.actor == wanted and r.undoable and not r.of][:_TRIED]:
            try:
                await self._undo(row.id, True, True)
            except Denied as denied:
                if not str(denied).endswith(READ_ONLY):
                    continue
            return row
        return None

    async def undo(
        self, entry: str = "", *, others: bool = False, dry_run: bool = False
    ) -> Outcome:
        """Take a write back, the newest own one where none is named; raises Denied where that
        cannot be, and says why.
        """
        self._write("undo")
        if not entry:
            last = await self.last_undoable()
            if last is None:
                raise Denied(f"{self._actor} did nothing that can be taken back; see the audit")
            entry = last.id
        return await self._undo(entry, others, dry_run)

    async def _undo(self, entry: str, others: bool, dry_run: bool) -> Outcome:
        row, found = await self._journal.find(entry)
        what = f"{row.verb} of {row.target} by {row.actor}"
        if row.undone_by:
            raise Denied(f"{what} was taken back by {row.undone_by} already")
        if row.actor != self._actor and not others:
            raise Denied(f"{what} is the act of somebody else; say so to take it back all the same")
        way = getattr(self, f"_undo_{found.undo.get('do')}", None)
        if way is None or found.until is None:
            raise Denied(f"{what} cannot be taken back: {_no_way(row)}")
        if row.undo_until is None:
            raise Denied(f"the time to take {what} back is over; nothing was changed")
        outcome: Outcome = await way(row, found, dry_run)
        return outcome

    # Pauses and limits

    async def pause(self, queue: str, task: str | None = None, *, dry_run: bool = False) -> Outcome:
        """Stop giving out jobs of a queue, or of one task in it; running jobs go on."""
        return await self._pause(queue, task, True, dry_run)

    async def resume(
        self, queue: str, task: str | None = None, *, dry_run: bool = False
    ) -> Outcome:
        """Take a pause back."""
        return await self._pause(queue, task, False, dry_run)

    async def _pause(
        self, queue: str, task: str | None, on: bool, dry_run: bool, of: str = "", mark: str = ""
    ) -> Outcome:
        self._write("pause" if on else "resume")
        keys = await self._known(queue, task)
        name = f"{task} in {queue}" if task else queue
        done, was = ("paused", "paused") if on else ("resumed", "not paused")
        if dry_run:
            return Outcome(f"would {'pause' if on else 'resume'} {name}", 1)
        target = f"task {task} in {queue}" if task else f"queue {queue}"
        command = verbs.pause(keys, on, self._actor, task or "", target, of, mark)
        changed, entry = ledger.read_act(await self.reader.run(command))
        if changed < 0:
            raise Denied(f"{name} stays {was}: {_SINCE}")
        said = f"{done} {name}" if changed else f"{name} was {was} already"
        named = name_of(entry, queue) if entry else ""
        return await self._on_record(Outcome(said, changed, entry=named))

    async def _undo_pause(self, row: AuditRow, entry: Entry, dry_run: bool) -> Outcome:
        undo = entry.undo
        task, on = str(undo.get("task") or "") or None, undo.get("on") == 1
        mark = str(undo.get("mark"))
        return await self._pause(row.queue, task, on, dry_run, entry.id, mark)

    async def set_limits(
        self, queue: str, limit: int | None, rate: float | None, *, dry_run: bool = False
    ) -> Outcome:
        """Set how many jobs of a queue run at once and start a second; None is no limit."""
        self._write("limits")
        if limit is not None and not 0 < limit <= 1_000_000:
            raise Denied(f"limit {limit} is not usable; give 1 to 1,000,000, or none")
        if rate is not None and not 0.001 <= rate <= 1_000_000:
            raise Denied(f"rate {rate:g} is not usable; give 0.001 to 1,000,000 a second, or none")
        return await self._limits(queue, limit, rate, dry_run)

    async def _limits(
        self,
        queue: str,
        limit: int | None,
        rate: float | None,
        dry_run: bool,
        of: str = "",
        mark: str = "",
    ) -> Outcome:
        keys = await self._known(queue, None)
        words = f"limit {limit or 'none'}, rate {'none' if rate is None else f'{rate:g}/s'}"
        if dry_run:
            return Outcome(f"would set {queue} to {words}", 1)
        command = verbs.limit(keys, limit, rate, self._actor, f"queue {queue}", of, mark)
        changed, entry = ledger.read_act(await self.reader.run(command))
        if changed < 0:
            raise Denied(f"the limits of {queue} stay: {_SINCE}")
        said = f"{queue} has {words}" + ("" if changed else " already")
        named = name_of(entry, queue) if entry else ""
        return await self._on_record(Outcome(said, changed, entry=named))

    async def _undo_limits(self, row: AuditRow, entry: Entry, dry_run: bool) -> Outcome:
        limit, rate = str(entry.undo.get("limit") or ""), str(entry.undo.get("rate") or "")
        mark = str(entry.undo.get("mark"))
        return await self._limits(
            row.queue,
            int(limit) if limit else None,
            float(rate) if rate else None,
            dry_run,
            entry.id,
            mark,
        )

    # Clearing

    async def clear(
        self, queue: str, state: StateName = "pending", *, dry_run: bool = False
    ) -> Outcome:
        """Take all jobs of one state out of a queue and keep a copy of them for 24 h."""
        self._write("clear")
        keys = await self._known(queue, None)
        if state not in SETS or state == "running":
            raise Denied(f"{state} jobs cannot be cleared; cancel those that run")
        if dry_run:
            sources = await sources_of(self.reader, [queue], state)
            sizes = await self.reader.read([("ZCARD", source.key) for source in sources])
            total = sum(count(size) or 0 for size in sizes)
            return Outcome(f"would clear {_jobs(total, state)} of {queue}", total)
        act = Act(self._actor, f"{state} jobs of queue {queue}")
        command = ledger.clear(keys, getattr(keys, SETS[state]), state, new_id(), act)
        total, entry = ledger.read_act(await self.reader.run(command))
        if not total:
            return Outcome(f"{queue} has no {state} jobs")
        said = f"cleared {_jobs(total, state)} of {queue}; kept for 24 h"
        return await self._on_record(Outcome(said, total, entry=name_of(entry, queue)))

    async def cleared(self, queue: str | None = None) -> tuple[Cleared, ...]:
        """Return the copies that are kept, newest first."""
        return await self._journal.copies(await self._names(queue))

    async def restore(self, copy: str, *, dry_run: bool = False) -> Outcome:
        """Bring back the jobs of a copy in the order they had."""
        self._write("restore")
        found = next((each for each in await self.cleared() if each.id == copy), None)
        if found is None:
            raise Denied(f"there is no copy {copy!r}; it was restored, or its 24 h are over")
        return await self._restore(found, dry_run)

    async def _restore(self, copy: Cleared, dry_run: bool, of: str = "") -> Outcome:
        jobs = _jobs(copy.count, copy.state)
        if dry_run:
            return Outcome(f"would restore {jobs} of {copy.queue}", copy.count)
        keys = self._keys(copy.queue)
        act = Act(self._actor, f"{copy.state} jobs of queue {copy.queue}", of)
        why = "the server's memory is full" if await self._memory_full() else ""
        if copy.count > ledger.NOTED:
            why = f"that is kept for up to {ledger.NOTED:,} jobs"
        while True:
            source = getattr(keys, SETS[copy.state])
            command = ledger.restore(keys, source, copy.id, act, keep=not why)
            step = ledger.read_restored(await self.reader.run(command))
            if step.moved < 0:
                raise Denied(f"the copy of {jobs} is gone: {_SINCE}")
            if not step.left:
                said = f"restored {jobs} of {copy.queue}"
                if why:
                    said += f"; this cannot be taken back: {why}"
                named = name_of(step.entry, copy.queue)
                return await self._on_record(Outcome(said, step.total, entry=named))

    async def _undo_restore(self, row: AuditRow, entry: Entry, dry_run: bool) -> Outcome:
        copies = await self.cleared(row.queue)
        copy = next((each for each in copies if each.id == entry.undo.get("copy")), None)
        if copy is None:
            raise Denied(f"the copy of {row.target} is gone: {_SINCE}")
        return await self._restore(copy, dry_run, entry.id)

    async def _undo_clear_again(self, row: AuditRow, entry: Entry, dry_run: bool) -> Outcome:
        """Clear what a restore brought back, into the copy that it came from."""
        keys, copy = self._keys(row.queue), str(entry.undo.get("copy"))
        raw = await self.reader.one("HGET", keys.restored(copy), "state")
        state = next((word for word in SETS if word == text(raw)), None)
        if state is None:
            raise Denied(f"which {row.target} were restored is not known any more: {_SINCE}")
        jobs = _jobs(row.count or 0, state)
        if dry_run:
            return Outcome(f"would clear {jobs} of {row.queue} again", row.count or 0)
        act = Act(self._actor, f"restore of {row.target}", entry.id)
        while True:
            command = ledger.reclear(keys, getattr(keys, SETS[state]), copy, act)
            step = ledger.read_recleared(await self.reader.run(command))
            if step.ahead <= 0:
                break
        if step.total <= 0:
            raise Denied(f"none of the {jobs} is where the restore put it; nothing was changed")
        said = f"cleared {_jobs(step.total, state)} of {row.queue} again; kept for 24 h"
        left = f", {step.alone:,} left alone: they are where the restore put them no more"
        return Outcome(
            said + (left if step.alone else ""),
            step.total,
            entry=name_of(step.entry, row.queue),
        )

    async def _memory_full(self) -> bool:
        return any(map(memory_full, await self.reader.everywhere(("INFO", "memory"))))


def _no_way(row: AuditRow) -> str:
    """Return why an act has no way back."""
    if row.outcome == "started":
        return "it only began; abort it, or take back the act of its end"
    if not row.count and row.verb not in _ONE_WAY:
        return "it changed nothing"
    return _ONE_WAY.get(row.verb, "no copy of what it changed was kept")


def _jobs(number: int, state: str) -> str:
    return f"{number:,} {state} job" if number == 1 else f"{number:,} {state} jobs"
