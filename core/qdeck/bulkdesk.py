"""The bulk verbs of the operator's door: drafts over jobs by reference or by description, and what
was started.

A part of `Operator`, which brings the reader, the pages and the check for read-only.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, overload

from qdeck import bulk
from qdeck import queue as verbs
from qdeck.admin import (
    Action,
    Change,
    Denied,
    Draft,
    JobRef,
    Operation,
    Outcome,
    Selection,
    Skipped,
)
from qdeck.job import MOVES, State
from qdeck.keys import QueueKeys
from qdeck.pages import Pages
from qdeck.queue import BATCH
from qdeck.reader import Reader

__all__ = ["BulkDesk"]

What = Sequence[JobRef] | Selection
_WORDS: Final = {"cancel": "cancelled", "run_now": "made pending"}
_PAST: Final = {
    "cancel": "cancelled",
    "run_now": "made pending",
    "retry": "retried",
    "delete": "deleted",
    "discard": "made dead",
}
_REASONS: Final = {
    "finished": "it has finished already",
    "unique": "another job holds its unique key",
    "unreadable": "its record is not readable",
}


class BulkDesk:
    """Mixed into `Operator`."""

    reader: Reader
    _pages: Pages
    _actor: str

    def _write(self, what: str) -> None:
        raise NotImplementedError

    def _keys(self, queue: str) -> QueueKeys:
        raise NotImplementedError

    async def _names(self, queue: str | None) -> list[str]:
        raise NotImplementedError

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
        """Freeze waiting jobs to be dead at once."""
        raise Denied("discard is not known to this server")

    async def move_in_time(
        self,
        what: What,
        *,
        to: datetime | None = None,
        by: timedelta | None = None,
        dry_run: bool = False,
    ) -> Draft:
        """Freeze scheduled or retrying jobs to be due at another time, or so much later."""
        raise Denied("moving in time is not known to this server")

    async def priority(self, what: What, priority: int | str, *, dry_run: bool = False) -> Draft:
        """Freeze jobs that have not finished and do not run for another priority."""
        raise Denied("priorities are not known to this server")

    async def patch(
        self, what: What, changes: Sequence[Change], *, retry: bool = False, dry_run: bool = False
    ) -> Draft:
        """Freeze jobs that are not running for changes to their payloads."""
        raise Denied("patches are not known to this server")

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
    ) -> Operation:
        """Start a draft; raises Denied where it has expired."""
        self._write(f"start of {draft.verb}")
        return await bulk.start(self.reader, draft, self._actor)

    async def advance(self, operation_id: str, queue: str) -> Operation:
        """Do one bounded step of a started operation and return how far it is.

        The id names its queues; `queue` is only for show.
        """
        self._write("advance")
        return await bulk.advance(self.reader, operation_id)

    async def abort(self, operation_id: str, *, dry_run: bool = False) -> Outcome:
        """End a running operation where it is; what it has moved stays."""
        raise Denied("aborting is not known to this server")

    async def undo_operation(self, operation_id: str, *, dry_run: bool = False) -> Outcome:
        """Take back what an operation did to jobs that nothing has touched since."""
        raise Denied("undoing is not known to this server")

    async def forget(self, draft: Draft) -> None:
        """Forget a draft that nothing has started."""
        self._write("forget")
        await bulk.forget(self.reader, draft.id)

    async def _move(self, verb: str, refs: Sequence[JobRef], dry_run: bool) -> Outcome:
        self._write(verb.replace("_", " "))
        queues: dict[str, list[str]] = {}
        for ref in dict.fromkeys(refs):
            queues.setdefault(self._keys(ref.queue).queue, []).append(ref.id)
        if dry_run:
            return Outcome(f"would have {_WORDS[verb]} {_jobs(len(set(refs)))}")
        done, requested, skipped = 0, 0, []
        for queue, ids in queues.items():
            for i in range(0, len(ids), BATCH):
                command = verbs.move(self._keys(queue), verb, self._actor, ids[i : i + BATCH])
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
        parts = [f"{_WORDS[verb]} {_jobs(done)}"] if done or not requested else []
        if requested:
            parts.append(f"asked {_jobs(requested)} to stop")
        return Outcome(", ".join(parts), done + requested, tuple(skipped))

    async def _freeze(self, verb: Action, what: What, dry_run: bool) -> Draft:
        self._write(verb.replace("_", " "))
        frozen = bulk.Frozen(self.reader, verb, self._actor)
        if isinstance(what, Selection):
            if State(what.state) not in MOVES[verb][0]:
                raise Denied(f"{verb} refused: {what.state} jobs cannot be {_PAST[verb]}")
            queues = await self._names(what.queue)
            await self._pages.freeze(frozen, queues, what)
        else:
            for ref in what:
                self._keys(ref.queue)
            await bulk.freeze_refs(frozen, what)
        draft = await frozen.draft(await self._pages.rows(frozen.samples))
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
