"""The bulk operations of the in-memory stand-in, incomplete on purpose: it knows retry, delete and
patch; a rate, a stop rule and a canary are kept on the record and change nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import overload

from qdeck.admin import (
    Action,
    Change,
    Denied,
    Diff,
    Draft,
    JobRef,
    JobRow,
    Operation,
    Outcome,
    Selection,
    Skipped,
    StateName,
)

__all__ = ["TwinBulk"]

What = Sequence[JobRef] | Selection
STEP = 500


@dataclass(kw_only=True)
class TwinBulk:
    """Mixed into the stand-in; `records` are its jobs by id."""

    records: dict[str, JobRow] = field(default_factory=dict)
    started: dict[str, Operation] = field(default_factory=dict)
    drafts: dict[str, tuple[Draft, list[str]]] = field(default_factory=dict)
    scanned: int = 0

    @property
    def _who(self) -> str:
        raise NotImplementedError

    async def _call(self, name: str) -> None:
        raise NotImplementedError

    async def _write(self, name: str) -> None:
        raise NotImplementedError

    def chosen(self, what: Selection) -> list[JobRow]:
        """Return the jobs that a selection describes."""
        raise NotImplementedError

    async def operations(self) -> tuple[Operation, ...]:
        """Return what was started."""
        await self._call("operations")
        return tuple(self.started.values())

    async def operation(self, operation_id: str) -> Operation:
        """Return one operation."""
        await self._call("operation")
        if operation_id not in self.started:
            raise Denied("the operation is not on record")
        return self.started[operation_id]

    def _move(
        self,
        refs: Sequence[JobRef],
        states: tuple[StateName, ...],
        to: StateName,
        dry_run: bool,
    ) -> Outcome:
        moved, left = 0, []
        for ref in refs:
            row = self.records.get(ref.id)
            if row is None or row.state not in states:
                left.append(Skipped(ref, "it is in another state"))
            else:
                moved += 1
                if not dry_run:
                    self.records[ref.id] = replace(row, state=to, error="")
        said = "would be" if dry_run else "now"
        return Outcome(f"{moved} {said} {to}", moved, tuple(left))

    @overload
    async def cancel(self, what: Selection, *, dry_run: bool = False) -> Draft: ...
    @overload
    async def cancel(self, what: Sequence[JobRef], *, dry_run: bool = False) -> Outcome: ...
    async def cancel(self, what: What, *, dry_run: bool = False) -> Outcome | Draft:
        """Cancel named jobs at once, running ones too."""
        await self._write("cancel")
        if isinstance(what, Selection):
            raise Denied("cancelling jobs by description is unknown here")
        states: tuple[StateName, ...] = ("pending", "running", "scheduled", "retrying")
        return self._move(what, states, "cancelled", dry_run)

    @overload
    async def run_now(self, what: Selection, *, dry_run: bool = False) -> Draft: ...
    @overload
    async def run_now(self, what: Sequence[JobRef], *, dry_run: bool = False) -> Outcome: ...
    async def run_now(self, what: What, *, dry_run: bool = False) -> Outcome | Draft:
        """Make named waiting jobs pending."""
        await self._write("run_now")
        if isinstance(what, Selection):
            raise Denied("running jobs now by description is unknown here")
        return self._move(what, ("scheduled", "retrying"), "pending", dry_run)

    def _freeze(self, verb: Action, what: What) -> tuple[Draft, list[str]]:
        if isinstance(what, Selection):
            ids = [job.ref.id for job in self.chosen(what)]
        else:
            ids = [ref.id for ref in what]
        samples = tuple(self.records[i] for i in ids[:3] if i in self.records)
        draft = Draft(f"draft{len(self.drafts)}", verb, len(ids), samples)
        self.drafts[draft.id] = (draft, ids)
        return draft, ids

    async def retry(self, what: What, *, dry_run: bool = False) -> Draft:
        """Freeze for another round."""
        await self._write("retry")
        return self._freeze("retry", what)[0]

    async def delete(self, what: What, *, dry_run: bool = False) -> Draft:
        """Freeze for deletion."""
        await self._write("delete")
        return self._freeze("delete", what)[0]

    async def patch(
        self, what: What, changes: Sequence[Change], *, retry: bool = False, dry_run: bool = False
    ) -> Draft:
        """Freeze for changes to top-level arguments, which nothing checks."""
        await self._write("patch")
        draft, ids = self._freeze("retry" if retry else "patch", what)
        pairs = [(i, self.records[i].args, patched(self.records[i].args, changes)) for i in ids]
        changed = sum(before != after for _, before, after in pairs)
        draft = replace(
            draft,
            changed=changed,
            unchanged=len(pairs) - changed,
            invalid=0,
            diffs=tuple(Diff(self.records[i].ref, old, new) for i, old, new in pairs[:5]),
            changes=tuple(changes),
        )
        self.drafts[draft.id] = (draft, ids)
        if dry_run:
            del self.drafts[draft.id]
        return draft

    async def discard(self, what: What, *, dry_run: bool = False) -> Draft:
        """Refuse."""
        raise Denied("discard is unknown here")

    async def move_in_time(
        self,
        what: What,
        *,
        to: datetime | None = None,
        by: timedelta | None = None,
        dry_run: bool = False,
    ) -> Draft:
        """Refuse."""
        raise Denied("moving in time is unknown here")

    @overload
    async def move_queue(self, what: Selection, queue: str, *, dry_run: bool = False) -> Draft: ...
    @overload
    async def move_queue(
        self, what: Sequence[JobRef], queue: str, *, dry_run: bool = False
    ) -> Outcome: ...
    async def move_queue(self, what: What, queue: str, *, dry_run: bool = False) -> Outcome | Draft:
        """Refuse."""
        raise Denied("moving to another queue is unknown here")

    async def priority(self, what: What, priority: int | str, *, dry_run: bool = False) -> Draft:
        """Refuse."""
        raise Denied("priorities are unknown here")

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
        """Start a draft; `advance` does the work."""
        await self._write("start")
        if dry_run:
            return Operation(draft.id, draft.verb, "draft", draft.total, 0, 0, 0, self._who)
        self.started[draft.id] = Operation(
            draft.id,
            draft.verb,
            "running",
            draft.total,
            0,
            0,
            0,
            self._who,
            rate=rate,
            stop_after=stop_after,
            canary="waiting" if canary else "",
            changes=draft.changes,
        )
        return self.started[draft.id]

    async def advance(self, operation_id: str, queue: str, *, dry_run: bool = False) -> Operation:
        """Handle up to 500 ids."""
        await self._write("advance")
        operation = self.started.get(operation_id)
        if operation is None:
            raise Denied(f"there is no operation {operation_id} here")
        if dry_run or operation.state != "running":
            return operation
        _, ids = self.drafts[operation_id]
        ok = skipped = 0
        part = ids[operation.done : operation.done + STEP]
        for identifier in part:
            row = self.records.get(identifier)
            if row is None or row.state == "running":
                skipped += 1
            elif operation.verb == "delete":
                del self.records[identifier]
                ok += 1
            elif operation.verb == "patch" or row.state in ("dead", "cancelled"):
                row = replace(row, args=patched(row.args, operation.changes))
                if operation.verb == "retry":
                    row = replace(row, state="pending", error="")
                self.records[identifier] = row
                ok += 1
            else:
                skipped += 1
        done = operation.done + len(part)
        self.scanned = 0
        self.started[operation_id] = replace(
            operation, done=done, ok=operation.ok + ok, skipped=operation.skipped + skipped,
            state="running" if done < operation.total else "done",
            canary="ok" if operation.canary else "",
        )  # fmt: skip
        return self.started[operation_id]

    async def abort(self, operation_id: str, *, dry_run: bool = False) -> Outcome:
        """End an operation where it is."""
        await self._write("abort")
        operation = await self.operation(operation_id)
        self.started[operation_id] = replace(operation, state="aborted", ended_by=self._who)
        return Outcome(f"aborted {operation.verb} after {operation.done} jobs", 1)

    async def undo_operation(self, operation_id: str, *, dry_run: bool = False) -> Outcome:
        """Refuse."""
        raise Denied("no copies are kept here; nothing can be undone")

    async def forget(self, draft: Draft, *, dry_run: bool = False) -> Outcome:
        """Forget a draft."""
        await self._write("forget")
        known = draft.id in self.drafts and draft.id not in self.started
        if known and not dry_run:
            del self.drafts[draft.id]
        return Outcome(
            "forgot the draft" if known else "nothing to forget", draft.total if known else 0
        )


def patched(args: str, changes: Sequence[Change]) -> str:
    """Return arguments with top-level changes made to them; as they are where they are no JSON."""
    try:
        values = json.loads(args)
    except ValueError:
        return args
    if not isinstance(values, dict):
        return args
    for change in changes:
        name = change.path.removeprefix("args.")
        if change.kind == "set":
            values[name] = json.loads(change.value)
        elif change.kind == "unset":
            values.pop(name, None)
        elif name in values:
            values[change.value] = values.pop(name)
    return args if values == json.loads(args) else json.dumps(values, separators=(",", ":"))
