"""The verbs about workers: quiet, unquiet, stop, slots, stack, and the return of what a lost one
held.

Mixed into `Operator`. A worker reads its commands within its next beat.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from qdeck import ledger
from qdeck import queue as verbs
from qdeck.admin import AuditRow, Denied, JobRef, Outcome, Skipped, WorkerRow
from qdeck.crew import read_workers, server_ms
from qdeck.desk import Desk
from qdeck.journal import name_of
from qdeck.keys import QueueKeys
from qdeck.ledger import Act, Entry
from qdeck.reader import at_ms, items, number, text
from qdeck.record import read_claim

__all__ = ["CrewDesk"]

#: Slots that a worker can be asked for at most.
_MOST_SLOTS: Final = 10_000
#: Jobs that one step of recovering names at most.
_PART: Final = 100


class CrewDesk(Desk):
    """The verbs about workers; one part of `Operator`."""

    async def quiet(self, worker: str, *, dry_run: bool = False) -> Outcome:
        """Ask a worker to claim nothing more."""
        undo = {"do": "worker", "verb": "unquiet", "line": "unquiet", "group": "quiet"}
        return await self._ask(worker, "quiet", "to claim nothing more", dry_run, undo)

    async def unquiet(self, worker: str, *, dry_run: bool = False) -> Outcome:
        """Ask a quiet worker to claim again."""
        undo = {"do": "worker", "verb": "quiet", "line": "quiet", "group": "quiet"}
        return await self._ask(worker, "unquiet", "to claim again", dry_run, undo)

    async def stop(self, worker: str, *, dry_run: bool = False) -> Outcome:
        """Ask a worker to finish within its grace and exit."""
        return await self._ask(worker, "stop", "to finish and exit", dry_run)

    async def slots(self, worker: str, count: int, *, dry_run: bool = False) -> Outcome:
        """Ask a worker to run up to so many jobs at a time."""
        self._write("slots")
        if not 1 <= count <= _MOST_SLOTS:
            raise Denied(f"{count} slots are not usable; give 1 to {_MOST_SLOTS:,}")
        row = await self._row(worker)
        undo = None
        if row.concurrency is not None:
            undo = {"do": "worker", "verb": "slots", "line": f"slots {row.concurrency}"}
        said = f"to run up to {count} jobs at a time"
        return await self._ask(worker, "slots", said, dry_run, undo, line=f"slots {count}")

    async def stack(self, worker: str, *, dry_run: bool = False) -> Outcome:
        """Ask a worker where it stands; it writes that to its log and its record."""
        return await self._ask(worker, "stack", "where it stands", dry_run)

    async def stack_of(self, worker: str) -> tuple[datetime | None, str]:
        """Return when a worker last said where it stood, and what it said (empty: never)."""
        key = self._deck.shared.worker(worker)
        at, said = items(await self.reader.one("HMGET", key, "stack_at", "stack")) or (None, None)
        return at_ms(at), text(said)

    async def recover(self, what: str | Sequence[JobRef], *, dry_run: bool = False) -> Outcome:
        """Make the jobs of a lost worker (by its id), or named jobs, pending again; one whose lease
        still lives is left alone, with that reason. Raises Denied for a worker that is not lost.
        """
        self._write("recover")
        worker, refs = (what, ()) if isinstance(what, str) else ("", tuple(dict.fromkeys(what)))
        whose = f"worker {worker}" if worker else f"job {refs[0].id}" if refs else "no job"
        if len(refs) > 1:
            whose = f"{len(refs)} jobs"
        if worker:
            row = await self._row(worker)
            if row.state != "lost":
                ago = f"{row.beat_age_s or 0:.0f} s ago"
                said = f"{worker} was heard of {ago}; only what a lost worker held is recovered"
                raise Denied(said)
            refs, alive = row.holds, frozenset[str]()
        else:
            rows = await read_workers(self.reader)
            alive = frozenset(row.id for row in rows if row.state != "lost")
        await self._check_uptime(worker or "the worker")
        queues: dict[str, list[str]] = {}
        for ref in refs:
            queues.setdefault(self._keys(ref.queue).queue, []).append(ref.id)
        back, left = 0, []
        settings = self._deck.settings
        for queue, ids in queues.items():
            keys = self._keys(queue)
            for i in range(0, len(ids), _PART):
                part = ids[i : i + _PART]
                ended, reasons = await self._ended(keys, worker, part, alive)
                left += reasons
                if ended and not dry_run:
                    command = verbs.recover(
                        keys, settings.lease, settings.max_retries, self._actor,
                        whose, ended,
                    )  # fmt: skip
                    back += len(verbs.read_tend(await self.reader.run(command))[2])
                elif ended:
                    back += len(ended)
        jobs = f"{back:,} job" if back == 1 else f"{back:,} jobs"
        said = f"would return {jobs}" if dry_run else f"returned {jobs}"
        if worker and not dry_run:
            said += f" of {worker}"
        return Outcome(said, back, tuple(left))

    async def _ended(
        self, keys: QueueKeys, worker: str, ids: Sequence[str], alive: frozenset[str]
    ) -> tuple[list[str], list[Skipped]]:
        """Return which jobs run with an ended lease (for a worker, where one is named), and why the
        others are left.
        """
        scores, runs, clock = await self._leases(keys, ids)
        now = server_ms(clock) or 0.0
        ended, left = [], []
        for job_id, raw, run in zip(ids, scores, runs, strict=True):
            ref, until = JobRef(job_id, keys.queue), number(raw)
            owner = read_claim(run if isinstance(run, bytes) else None).worker
            if until is None:
                left.append(
                    Skipped(ref, "it does not run any more" if worker else "it does not run")
                )
            elif worker and owner != worker:
                left.append(Skipped(ref, f"it runs at {owner or '?'}"))
            elif owner in alive:
                left.append(Skipped(ref, f"its worker {owner} is alive"))
            elif until > now:
                left.append(Skipped(ref, f"its lease lives for {(until - now) / 1000:.1f} s more"))
            else:
                ended.append(job_id)
        return ended, left

    async def _leases(
        self, keys: QueueKeys, ids: Sequence[str]
    ) -> tuple[list[Any], list[Any], Any]:
        replies = await self.reader.read(
            [("ZMSCORE", keys.lease, *ids), ("TIME",)]
            + [("HGET", keys.run(job_id), "run") for job_id in ids]
        )
        return items(replies[0]) or [None] * len(ids), replies[2:], replies[1]

    async def _check_uptime(self, worker: str) -> None:
        """Refuse until the server has been up for a lease: until then all workers look lost."""
        info = await self.reader.one("INFO", "server")
        text_of = info if isinstance(info, bytes) else b"".join(info.values())
        found = re.search(rb"uptime_in_seconds:(\d+)", text_of)
        least = self._deck.settings.lease
        if found is not None and int(found[1]) < least:
            raise Denied(
                f"the server has been up for {int(found[1])} s: {worker} may not have found it "
                f"again; try in {least - int(found[1]):.0f} s"
            )

    async def _row(self, worker: str) -> WorkerRow:
        found = next((row for row in await read_workers(self.reader) if row.id == worker), None)
        if found is None:
            raise Denied(f"there is no worker {worker!r} any more; nothing was asked")
        return found

    async def _ask(
        self,
        worker: str,
        verb: str,
        said: str,
        dry_run: bool,
        undo: Mapping[str, Any] | None = None,
        *,
        line: str = "",
        of: str = "",
        mark: str = "",
    ) -> Outcome:
        self._write(verb)
        shared = self._deck.shared
        if dry_run:
            if not await self.reader.one("EXISTS", shared.worker(worker)):
                raise Denied(f"there is no worker {worker!r} any more")
            return Outcome(f"would {verb} worker {worker}", 1)
        act, group = Act(self._actor, f"worker {worker}", of, mark), (undo or {}).get("group", "")
        command = ledger.command(
            shared, worker, line or verb, verb, f"asked {said}", act, undo, group
        )
        asked, entry = ledger.read_act(await self.reader.run(command))
        if asked < 0:
            raise Denied(f"{worker} was asked for something else since; nothing was asked")
        if not asked:
            raise Denied(f"there is no worker {worker!r} any more; nothing was asked")
        outcome = Outcome(f"asked {worker} {said}", 1, entry=name_of(entry, ""))
        return await self._on_record(outcome)

    async def _undo_worker(self, row: AuditRow, entry: Entry, dry_run: bool) -> Outcome:
        undo = entry.undo
        worker, verb, line = (str(undo.get(name) or "") for name in ("worker", "verb", "line"))
        group, said = str(undo.get("group") or ""), f"to take back: {line}"
        back: dict[str, Any] | None = None
        if group:
            back = {"do": "worker", "verb": row.verb, "line": row.verb, "group": group}
        elif verb == "slots":
            now = (await self._row(worker)).concurrency
            back = None if now is None else {"do": "worker", "verb": verb, "line": f"slots {now}"}
        mark = str(undo.get("mark") or "")
        return await self._ask(worker, verb, said, dry_run, back, line=line, of=entry.id, mark=mark)
