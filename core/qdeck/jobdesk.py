"""Edits of single jobs, and new jobs, for the operator's door.

Mixed into `Operator`; every act goes on record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from qdeck import ledger, patching
from qdeck import queue as verbs
from qdeck.admin import AuditRow, Denied, JobRef, JobWishes, Outcome
from qdeck.desk import Desk
from qdeck.errors import QdeckError
from qdeck.job import new_id
from qdeck.journal import name_of
from qdeck.ledger import Act, Entry
from qdeck.producer import entry_by_name
from qdeck.reader import text
from qdeck.record import Body, Record, decode_map, encode_body, read_record
from qdeck.task import unique_digest
from qdeck.terms import make_options

__all__ = ["JobDesk"]

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
        return Outcome(f"replaced the {shown}", 1, entry=name_of(answer[1].decode(), ref.queue))

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
        return Outcome(f"enqueued {body.task} in {queue} as {job_id}, {how}", 1, refs=(ref,))


_EDITS: Final = {
    "running": "the job runs",
    "changed": _SINCE,
    "unique": "another job holds the unique key that its arguments would have",
}
