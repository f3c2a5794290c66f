"""Edits of single jobs, and new jobs, for the operator's door.

Mixed into `Operator`; every act goes on record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from qdeck import detail, ledger, patching
from qdeck import queue as verbs
from qdeck.admin import AuditRow, Denied, JobDetail, JobRef, JobRow, JobWishes, Outcome
from qdeck.desk import Desk
from qdeck.errors import QdeckError
from qdeck.job import new_id
from qdeck.journal import name_of
from qdeck.ledger import Act, Entry
from qdeck.producer import entry_by_name
from qdeck.reader import count, items, text
from qdeck.record import Body, Record, decode_map, encode_body, read_record
from qdeck.task import unique_digest
from qdeck.terms import make_options

__all__ = ["JobDesk"]

#: Jobs of one act that are asked one by one whether they can still be taken back; of more some are
#: very likely to wait still.
_LOOKED: Final = 20
_SINCE: Final = "something changed it since; nothing was changed"


class JobDesk(Desk):
    """The verbs about one job; one part of `Operator`."""

    # Single jobs

    async def edit_payload(self, ref: JobRef, payload: str, *, dry_run: bool = False) -> Outcome:
        """Give a job that is not running another payload; the old one is kept."""
        self._write("edit")
        return await self._edit(ref, payload, dry_run)

    async def _edit(
        self, ref: JobRef, payload: str, dry_run: bool, of: str = "", mark: str = ""
    ) -> Outcome:
        keys = self._keys(ref.queue)
        raw, record = await self._record(ref)
        task, before = record.body.task, record.body.payload
        await self._fit(task, payload)
        shown = f"payload of {ref.id[-8:]} in {ref.queue}"
        if payload == before:
            return Outcome(f"the {shown} is that already")
        digests = ("", "")
        if record.body.unique and record.body.unique == unique_digest(task, True, before.encode()):
            digests = (record.body.unique, unique_digest(task, True, payload.encode()) or "")
        if dry_run:
            return Outcome(f"would replace the {shown}", 1)
        body = msgspec.structs.replace(
            record.body, payload=payload, unique=digests[1] or record.body.unique
        )
        packed = msgspec.msgpack.encode(msgspec.structs.replace(record, body=body))
        sha = hashlib.sha1(raw, usedforsecurity=False).hexdigest()
        act = Act(self._actor, f"job {ref.id} in {ref.queue}", of, mark)
        answer = await self.reader.run(ledger.edit(keys, ref.id, sha, packed, before, digests, act))
        why = _EDITS.get(answer[0].decode())
        if why is not None:
            raise Denied(f"the {shown} stays: {why}")
        entry = name_of(answer[1].decode(), ref.queue)
        return await self._on_record(Outcome(f"replaced the {shown}", 1, entry=entry))

    async def _undo_edit(self, row: AuditRow, entry: Entry, dry_run: bool) -> Outcome:
        ref = JobRef(str(entry.undo.get("id")), row.queue)
        was = await self.reader.one("HGET", self._keys(row.queue).run(ref.id), "was")
        if was is None:
            raise Denied(f"the payload that {row.target} had is not kept any more")
        return await self._edit(ref, text(was), dry_run, entry.id, str(entry.undo.get("mark")))

    async def _record(self, ref: JobRef) -> tuple[bytes, Record]:
        raw = await self.reader.one("GET", self._keys(ref.queue).job(ref.id))
        record = read_record(raw)
        if record is None:
            raise Denied(f"there is no readable record of job {ref.id} in {ref.queue}")
        return raw, record

    async def _fit(self, task: str, payload: str) -> Mapping[str, Any]:
        """Check a payload against what is published of its task, and return that."""
        facts = decode_map(await self.reader.one("HGET", self._deck.shared.tasks, task))
        try:
            patching.fit(task, payload, facts)
        except QdeckError as error:
            raise Denied(str(error)) from error
        return facts

    # New jobs

    async def enqueue_new(
        self, task: str, payload: str, wishes: JobWishes | None = None, *, dry_run: bool = False
    ) -> Outcome:
        """Enqueue a job by the name of its task and a payload, checked against what it takes."""
        self._write("enqueue")
        facts, said = await self._fit(task, payload), wishes or JobWishes()
        try:
            options = make_options(
                queue=said.queue,
                delay=said.delay_s,
                at=said.at,
                priority=said.priority,
                max_retries=said.max_retries,
                timeout=said.timeout_s,
                metadata=said.metadata or None,
            )
            settings = self._deck.settings
            entry = entry_by_name(task, payload.encode(), options, settings, facts)
        except QdeckError as error:
            raise Denied(str(error)) from error
        return await self._create(entry.queue, entry.id, entry.body, dry_run)

    async def enqueue_again(self, ref: JobRef, *, dry_run: bool = False) -> Outcome:
        """Enqueue a new job with the task, payload and terms of a known one, due at once."""
        self._write("enqueue")
        _, record = await self._record(ref)
        body = msgspec.structs.replace(
            record.body, delay=0, at=0, expires_at=0, unique="", unique_for=0
        )
        if body.links is not None:
            links = msgspec.structs.replace(body.links, then="", after="", waits=0)
            body = msgspec.structs.replace(body, links=links)
        return await self._create(ref.queue, new_id(), body, dry_run)

    async def _undo_made(self, row: AuditRow, entry: Entry, dry_run: bool) -> Outcome:
        """Delete the jobs that an act made and that nothing has begun."""
        job_id, made = str(entry.undo.get("id") or ""), str(entry.undo.get("name") or "")
        keys, what = self._keys(row.queue), f"{row.verb} of {row.target}"
        ids, total = [job_id], 1
        if made:
            name = keys.operation_ids(made)
            found, size = await self.reader.read(
                [("ZRANGE", name, 0, _LOOKED - 1), ("ZCARD", name)]
            )
            ids, total = [text(raw) for raw in items(found)], count(size) or 0
        if total <= _LOOKED:
            refs = [JobRef(each, row.queue) for each in ids]
            stand = [await detail.read_job(self.reader, ref) for ref in refs]
            total = sum(each is not None and _waits(each.row) for each in stand)
            if not total:
                raise Denied(f"{what} cannot be taken back: {_why_not(stand)}")
        if dry_run:
            return Outcome(f"would take back {what}: {_jobs(total)}", total)
        act = Act(self._actor, what, entry.id)
        while True:
            command = ledger.retract(keys, job_id, made, act)
            done = ledger.read_retracted(await self.reader.run(command))
            if not done.ahead:
                break
        told = f", {done.begun:,} had begun already" if done.begun else ""
        told += f", {done.left:,} left alone: something changed them since" if done.left else ""
        if not done.taken:
            raise Denied(f"{what} cannot be taken back: {_jobs(0)} of it wait{told}")
        return Outcome(f"took back {what}: {_jobs(done.taken)}{told}", done.taken)

    async def _create(self, queue: str, job_id: str, body: Body, dry_run: bool) -> Outcome:
        keys, ref = self._keys(queue), JobRef(job_id, queue)
        if dry_run:
            return Outcome(f"would enqueue {body.task} in {queue}", 1)
        await self.reader.one("SADD", self._deck.shared.queues, queue)
        parts: list[str | bytes] = [job_id, encode_body(body)]
        command = verbs.enqueue(keys, self._deck.settings.max_size, parts, self._actor)
        word = (await self.reader.run(command))[1].decode()
        if len(word) > 1:
            raise Denied(f"job {word} in {queue} holds that unique key; nothing was enqueued")
        how = "due later" if word == "s" else "pending"
        said = f"enqueued {body.task} in {queue} as {job_id}, {how}"
        return await self._on_record(Outcome(said, 1, refs=(ref,)), queue, job_id)


def _waits(row: JobRow) -> bool:
    return row.state in ("pending", "scheduled") and row.started_at is None


def _why_not(jobs: Sequence[JobDetail | None]) -> str:
    """Return why none of the jobs that an act made can be deleted."""
    states = sorted({each.row.state for each in jobs if each is not None})
    if not states:
        return "its jobs are gone"
    if len(jobs) > 1:
        return f"each of its jobs has begun, or was changed since ({', '.join(states)})"
    row = next(each.row for each in jobs if each is not None)
    begun = "has begun" if row.started_at else "was changed since"
    return f"its job {begun} and is {row.state}"


def _jobs(number: int) -> str:
    return f"{number:,} job" if number == 1 else f"{number:,} jobs"


_EDITS: Final = {
    "running": "the job runs",
    "changed": _SINCE,
    "unique": "another job holds the unique key that its arguments would have",
}
