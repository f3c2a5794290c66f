"""The bulk verbs of the operator's door: drafts over jobs by reference or by description, and what
was started.

A part of `Operator`, which brings the reader, the pages and the check for read-only.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, overload

from qdeck import bulk, detail, ledger
from qdeck import queue as verbs
from qdeck.admin import (
    Action,
    AuditRow,
    Change,
    Denied,
    Draft,
    JobRef,
    Operation,
    Outcome,
    Selection,
    Skipped,
)
from qdeck.desk import Desk
from qdeck.errors import InvalidPayload, QdeckError, SettingsError
from qdeck.freezing import Frozen, about, freeze_refs
from qdeck.job import MOVES, State, new_id, parse_priority
from qdeck.journal import name_of
from qdeck.ledger import Act, Departed, Entry
from qdeck.link import SERVER_ERRORS
from qdeck.patching import encode_changes, plain
from qdeck.queue import BATCH
from qdeck.reader import in_words
from qdeck.removal import send
from qdeck.steps import Asked, Pace

__all__ = ["BulkDesk"]

What = Sequence[JobRef] | Selection
_PAST: Final = {
    "cancel": "cancelled",
    "run_now": "made pending",
    "retry": "retried",
    "delete": "deleted",
    "discard": "made dead",
    "move_in_time": "moved in time",
    "move_queue": "moved",
    "priority": "given another priority",
    "patch": "patched",
}
_LEFT: Final = {
    "running": "it runs",
    "linked": "it waits for others, or others wait for it",
    "unreadable": "its record is not readable",
    "gone": "it is not waiting any more",
}
_REASONS: Final = {
    "finished": "it has finished already",
    "unique": "another job holds its unique key",
    "unreadable": "its record is not readable",
}


class BulkDesk(Desk):
    """The verbs about many jobs; one part of `Operator`."""

    async def operations(self) -> tuple[Operation, ...]:
        """Return the bulk operations on record, newest first."""
        return await bulk.list_operations(self.reader, await self._names(None))

    async def operation(self, operation_id: str) -> Operation:
        """Return one operation as it is now; raises Denied where it is not on record."""
        return await bulk.read_operation(self.reader, operation_id)

    async def retry(self, what: What, *, dry_run: bool = False) -> Draft:
        """Freeze dead or cancelled jobs for another round of runs."""
        return await self._freeze("retry", what, dry_run)

    async def delete(self, what: What, *, dry_run: bool = False) -> Draft:
        """Freeze jobs that are not running for deletion with their records."""
        return await self._freeze("delete", what, dry_run)

    @overload
    async def cancel(self, what: Selection, *, dry_run: bool = False) -> Draft: ...
    @overload
    async def cancel(self, what: Sequence[JobRef], *, dry_run: bool = False) -> Outcome: ...
    async def cancel(self, what: What, *, dry_run: bool = False) -> Outcome | Draft:
        """Cancel unfinished jobs, where they are named at once; a running one is asked to stop."""
        if isinstance(what, Selection):
            return await self._freeze("cancel", what, dry_run)
        return await self._move("cancel", what, dry_run)

    @overload
    async def run_now(self, what: Selection, *, dry_run: bool = False) -> Draft: ...
    @overload
    async def run_now(self, what: Sequence[JobRef], *, dry_run: bool = False) -> Outcome: ...
    async def run_now(self, what: What, *, dry_run: bool = False) -> Outcome | Draft:
        """Make scheduled or retrying jobs pending, where they are named at once."""
        if isinstance(what, Selection):
            return await self._freeze("run_now", what, dry_run)
        return await self._move("run_now", what, dry_run)

    async def discard(self, what: What, *, dry_run: bool = False) -> Draft:
        """Freeze waiting jobs to be dead at once; they can be retried later."""
        return await self._freeze("discard", what, dry_run)

    async def move_in_time(
        self,
        what: What,
        *,
        to: datetime | None = None,
        by: timedelta | None = None,
        dry_run: bool = False,
    ) -> Draft:
        """Freeze scheduled or retrying jobs to be due at another time, or so much later."""
        if (to is None) == (by is None):
            raise Denied(
                "move in time refused: give either when they are to be due, or by how much"
            )
        if to is not None:
            if to.tzinfo is None:
                raise Denied(f"move in time refused: {to} has no zone; give an aware time")
            argument = f"to {int(to.timestamp() * 1000)}"
        else:
            argument = f"by {int((by or timedelta()).total_seconds() * 1000)}"
        return await self._freeze("move_in_time", what, dry_run, argument)

    @overload
    async def move_queue(self, what: Selection, queue: str, *, dry_run: bool = False) -> Draft: ...
    @overload
    async def move_queue(
        self, what: Sequence[JobRef], queue: str, *, dry_run: bool = False
    ) -> Outcome: ...
    async def move_queue(self, what: What, queue: str, *, dry_run: bool = False) -> Outcome | Draft:
        """Move waiting jobs to another queue under the same ids, where they are named at once."""
        self._keys(queue)
        if isinstance(what, Selection):
            if what.queue == queue:
                raise Denied(f"the jobs are in {queue} already; nothing was moved")
            return await self._freeze("move_queue", what, dry_run, queue)
        self._write("move")
        parts: dict[str, list[str]] = {}
        for ref in dict.fromkeys(what):
            if ref.queue == queue:
                raise Denied(f"job {ref.id} is in {queue} already; nothing was moved")
            parts.setdefault(self._keys(ref.queue).queue, []).append(ref.id)
        if dry_run:
            return await self._try_move("move_queue", list(dict.fromkeys(what)), f" to {queue}")
        moved: list[JobRef] = []
        skipped: list[Skipped] = []
        entry = ""
        for source, ids in parts.items():
            for i in range(0, len(ids), ledger.STEP):
                part = ids[i : i + ledger.STEP]
                gone = await self._send(source, queue, part)
                entry = name_of(gone.entry, source) if gone.entry else entry
                moved += [JobRef(each, queue) for each in gone.moved]
                skipped += [
                    Skipped(JobRef(each, source), _LEFT.get(word, word))
                    for each, word in gone.words.items()
                    if word != "moved"
                ]
        said = f"moved {_jobs(len(moved))} to {queue}"
        outcome = Outcome(said, len(moved), tuple(skipped), entry, tuple(moved))
        return await self._on_record(outcome)

    async def _send(self, source: str, queue: str, ids: Sequence[str]) -> Departed:
        keys = self._keys(source)
        target = f"job {ids[0]}" if len(ids) == 1 else f"{len(ids)} jobs"
        act = Act(self._actor, f"{target} of queue {source}")
        try:
            return await send(self._deck, keys, queue, ids, act, new_id())
        except (QdeckError, *SERVER_ERRORS) as error:
            told = in_words(self._deck, error)
            raise type(told)(
                f"{told}; what has left {source} is carried on by its workers"
            ) from error

    async def priority(self, what: What, priority: int | str, *, dry_run: bool = False) -> Draft:
        """Freeze jobs that have not finished and do not run for another priority."""
        try:
            number = parse_priority(priority)
        except SettingsError as error:
            raise Denied(str(error)) from error
        return await self._freeze("priority", what, dry_run, str(number))

    async def patch(
        self, what: What, changes: Sequence[Change], *, retry: bool = False, dry_run: bool = False
    ) -> Draft:
        """Freeze jobs that are not running for changes to their payloads, checked against what
        their tasks accept; with `retry` dead and cancelled ones run again with it.
        """
        try:
            edits = plain([(each.kind, each.path, each.value) for each in changes])
        except InvalidPayload as error:
            raise Denied(f"patch refused: {error}") from error
        if not edits:
            raise Denied("patch refused: it changes nothing; give at least one change")
        verb: Action = "retry" if retry else "patch"
        return await self._freeze(verb, what, dry_run, changes=encode_changes(edits))

    async def start(
        self,
        draft: Draft,
        *,
        rate: float | None = None,
        stop_after: int | None = None,
        canary: bool = False,
        keep_copy: bool = True,
        resume: bool = False,
        anyway: bool = False,
        dry_run: bool = False,
    ) -> Operation:
        """Start a draft; raises Denied where it has expired, or where the same runs already."""
        self._write(f"start of {draft.verb}")
        pace = Pace(rate, stop_after, canary, keep_copy, resume, anyway)
        return await bulk.start(self.reader, draft, self._actor, pace, dry_run)

    async def advance(self, operation_id: str, queue: str, *, dry_run: bool = False) -> Operation:
        """Do one bounded step of a started operation and return how far it is.

        The id names its queues; `queue` is only for show.
        """
        self._write("advance")
        if dry_run:
            return await self.operation(operation_id)
        return await bulk.advance(self.reader, operation_id)

    async def abort(self, operation_id: str, *, dry_run: bool = False) -> Outcome:
        """End a running operation where it is; what it has moved stays."""
        self._write("abort")
        if dry_run:
            operation = await self.operation(operation_id)
            bulk.check_running(operation)
            left = operation.total - operation.done
            return Outcome(f"would abort {operation.verb}: {_jobs(left)} are not handled yet", left)
        operation = await bulk.abort(self.reader, operation_id, self._actor)
        said = f"aborted {operation.verb} after {operation.done:,} of {_jobs(operation.total)}"
        return Outcome(said, operation.total - operation.done)

    async def undo_operation(self, operation_id: str, *, dry_run: bool = False) -> Outcome:
        """Take back what an operation did to jobs that nothing has touched since."""
        return await self._take_back(operation_id, dry_run)

    async def _undo_operation(self, row: AuditRow, entry: Entry, dry_run: bool) -> Outcome:
        return await self._take_back(f"{entry.undo.get('id')} {row.queue}", dry_run, entry.id)

    async def _take_back(self, operation_id: str, dry_run: bool, of: str = "") -> Outcome:
        self._write("undo")
        operation = await self.operation(operation_id)
        verb = "move" if operation.verb == "move_queue" else operation.verb.replace("_", " ")
        what = f"{verb} of {_jobs(operation.ok)}"
        if operation.state == "running":
            raise Denied(f"{what} still runs; abort it first")
        if operation.state != "undoing" and operation.undo_until is None:
            raise Denied(f"{what} cannot be taken back: no copy of it is kept (any more)")
        if dry_run:
            return Outcome(f"would take back {what}", operation.ok)
        undone = await bulk.undo(self.reader, operation_id, self._actor, of)
        left = f", {undone.left:,} left alone: something touched them since" if undone.left else ""
        return Outcome(f"took back {what}: {_jobs(undone.undone)}{left}", undone.undone)

    async def forget(self, draft: Draft, *, dry_run: bool = False) -> Outcome:
        """Forget a draft that nothing has started; its jobs stay as they are."""
        self._write("forget")
        total = await bulk.forget(self.reader, draft.id, dry_run)
        if total is None:
            return Outcome("there is no such draft any more")
        word = "would forget" if dry_run else "forgot"
        return Outcome(f"{word} the draft of {draft.verb} over {_jobs(total)}", total)

    async def _move(self, verb: Action, refs: Sequence[JobRef], dry_run: bool) -> Outcome:
        self._write(verb.replace("_", " "))
        queues: dict[str, list[str]] = {}
        for ref in dict.fromkeys(refs):
            queues.setdefault(self._keys(ref.queue).queue, []).append(ref.id)
        if dry_run:
            return await self._try_move(verb, list(dict.fromkeys(refs)))
        done, requested, skipped = 0, 0, []
        queue = operation = ""
        for queue, ids in queues.items():
            for i in range(0, len(ids), BATCH):
                part = ids[i : i + BATCH]
                operation = new_id()
                command = verbs.move(
                    self._keys(queue), verb, self._actor, part, operation=operation
                )
                moved = verbs.read_moved(await self.reader.run(command))
                asked = [each for each in moved if each.outcome == "requested"]
                await self.reader.read(
                    [
                        ("RPUSH", self.reader.deck.shared.control(each.owner), f"cancel {each.id}")
                        for each in asked
                        if each.owner
                    ]
                )
                requested += len(asked)
                for each in moved:
                    if each.outcome in ("cancelled", "pending"):
                        done += 1
                    elif each.outcome != "requested":
                        skipped.append(Skipped(JobRef(each.id, queue), _why(each)))
        parts = [f"{_PAST[verb]} {_jobs(done)}"] if done or not requested else []
        if requested:
            parts.append(f"asked {_jobs(requested)} to stop")
        outcome = Outcome(", ".join(parts), done + requested, tuple(skipped))
        # Several acts have several entries, of which an undo takes one.
        alone = len(queues) == 1 and len(refs) <= BATCH
        return await self._on_record(outcome, queue, operation if alone else "")

    async def _try_move(self, verb: Action, refs: Sequence[JobRef], where: str = "") -> Outcome:
        """Return what a verb would do to the jobs as they stand now."""
        skipped = []
        for ref in refs:
            found = await detail.read_job(self.reader, ref)
            state = State(found.row.state) if found else None
            if state not in MOVES[verb][0]:
                finished = verb == "cancel" and state is not None
                outcome = "finished" if finished else "refused"
                skipped.append(Skipped(ref, _why(verbs.Moved(ref.id, state or "", outcome, ""))))
        done = len(refs) - len(skipped)
        return Outcome(f"would have {_PAST[verb]} {_jobs(done)}{where}", done, tuple(skipped))

    async def _freeze(
        self, verb: Action, what: What, dry_run: bool, argument: str = "", changes: str = ""
    ) -> Draft:
        self._write(verb.replace("_", " "))
        asked = Asked(about(what), argument, changes)
        frozen = Frozen(self.reader, verb, self._actor, asked)
        if isinstance(what, Selection):
            if State(what.state) not in MOVES[verb][0]:
                raise Denied(f"{verb} refused: {what.state} jobs cannot be {_PAST[verb]}")
            queues = await self._names(what.queue)
            if verb == "move_queue":
                queues = [queue for queue in queues if queue != argument]
            await self._pages.freeze(frozen, queues, what)
        else:
            for ref in what:
                self._keys(ref.queue)
            await freeze_refs(frozen, what)
        warning = await bulk.running_over(self.reader, sorted(frozen.totals), asked.what)
        draft = await frozen.draft(await self._pages.rows(frozen.samples), warning)
        if dry_run:
            await bulk.forget(self.reader, draft.id)
        return draft


def _jobs(number: int) -> str:
    return f"{number:,} job" if number == 1 else f"{number:,} jobs"


def _why(moved: verbs.Moved) -> str:
    """Return why a verb left a job alone."""
    if not moved.state:
        return "there is no record of it"
    return _REASONS.get(moved.outcome, f"it is {moved.state}")
