"""From calls to what the enqueue script takes, and from its answer to jobs.

Pure: nothing here sends anything. A job's id is made here, once, so that sending again creates
nothing new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from qdeck.errors import ConnectionFailed, NotDurable, QdeckError, SettingsError
from qdeck.flow import Flow
from qdeck.job import Job, State, from_ms, new_id
from qdeck.keys import QueueKeys
from qdeck.links import Links, encode_names
from qdeck.queue import CHUNK, enqueue
from qdeck.record import Body, encode_body, to_ms, waiting_for
from qdeck.scripts import Command
from qdeck.settings import Settings, check_name
from qdeck.task import Call, TaskSpec, unique_digest
from qdeck.terms import NO_OPTIONS, Options, fill_limit_key

__all__ = ["Batch", "Entry", "entries_of", "entry_by_name", "entry_of", "job_of", "jobs_of"]

#: Bytes of bodies in one script call at most, so that large payloads do not block the server.
_BATCH_BYTES: Final = 4 * 1024 * 1024


class Entry(msgspec.Struct, frozen=True):
    """One job to create: its id, queue and body."""

    id: str
    queue: str
    body: Body
    packed: bytes
    max_retries: int
    metadata: dict[str, Any]

    @property
    def waits(self) -> bool:
        """Whether the job waits for others."""
        return self.body.links is not None and self.body.links.waits > 0


def entry_of(call: Call[Any], settings: Settings) -> Entry:
    """Return the entry of a call; the task's terms count where the options are silent."""
    spec, options = call.spec, call.options
    retries = spec.max_retries if spec.max_retries is not None else settings.max_retries
    queue = spec.queue or settings.default
    if is_plain(call):
        body = Body(spec.name, call.payload.decode(), spec.priority, max_retries=retries)
        return Entry(new_id(), queue, body, encode_body(body), retries, {})
    unique, (key, most) = call.unique_key(), call.limit()
    return _entry(spec.name, call.payload, options, queue, retries, spec, unique, key, most)


def is_plain(call: Call[Any]) -> bool:
    """Return whether a call says nothing special, so that its entry cannot be refused."""
    spec = call.spec
    return (
        call.options is NO_OPTIONS
        and not spec.unique
        and spec.expires is None
        and spec.limit_key is None
    )


def entry_by_name(
    task: str,
    payload: bytes,
    options: Options,
    settings: Settings,
    facts: Mapping[str, Any],
) -> Entry:
    """Return the entry of a task whose code is not here; `facts` is what workers published."""
    queue, retries = facts.get("queue"), facts.get("max_retries")
    if not isinstance(queue, str):
        queue = settings.default
    if not isinstance(retries, int):
        retries = -1
    priority = facts.get("priority")
    if options.priority is None and isinstance(priority, int):
        options = msgspec.structs.replace(options, priority=priority)
    unique = options.unique if options.unique is not None else facts.get("unique") is True
    digest = unique_digest(task, unique, payload)
    key = facts.get("limit_key") if options.limit_key is None else options.limit_key
    key = fill_limit_key(task, key, payload) if isinstance(key, str) and key else ""
    most = facts.get("key_limit") if options.key_limit is None else options.key_limit
    if not isinstance(most, int):
        most = 1
    return _entry(task, payload, options, queue, retries, None, digest, key, most)


def entries_of(flow: Flow, settings: Settings) -> list[Entry]:
    """Return the entries of a flow's calls, each with the names of those it waits for and of those
    that wait for it.

    Raises SettingsError for a unique one: its key would be taken by a job that may never start.
    """
    entries = [entry_of(call, settings) for call in flow.calls]
    if len(entries) == 1:
        return entries
    after = [[(entries[at].queue, entries[at].id) for at in places] for places in flow.after]
    then: list[list[tuple[str, str]]] = [[] for _ in entries]
    for entry, places in zip(entries, flow.after, strict=True):
        for at in places:
            then[at].append((entry.queue, entry.id))
    return [_linked(entry, *names) for entry, *names in zip(entries, then, after, strict=True)]


def _linked(entry: Entry, then: list[tuple[str, str]], after: list[tuple[str, str]]) -> Entry:
    if not then and not after:
        return entry
    if entry.body.unique:
        raise SettingsError(
            f"task {entry.body.task!r} is unique, and a job that waits or is waited for cannot be; "
            "say .options(unique=False)"
        )
    links = msgspec.structs.replace(
        entry.body.links or Links(),
        then=encode_names(then),
        after=encode_names(after),
        waits=len(after),
    )
    body = msgspec.structs.replace(entry.body, links=links)
    return msgspec.structs.replace(entry, body=body, packed=encode_body(body))


def _entry(
    task: str,
    payload: bytes,
    options: Options,
    queue: str,
    retries: int,
    spec: TaskSpec | None,
    digest: str | None,
    key: str,
    most: int,
) -> Entry:
    expires = options.expires if options.expires is not None else spec.expires if spec else None
    until = options.unique_for
    if until is None and spec is not None:
        until = spec.unique_for
    if options.max_retries is not None:
        retries = options.max_retries
    priority = options.priority
    if priority is None:
        priority = spec.priority if spec is not None else 4
    body = Body(
        task,
        payload.decode(),
        priority,
        _ms(options.delay),
        to_ms(options.at) if options.at is not None else 0,
        _ms(expires) if not isinstance(expires, datetime) else 0,
        to_ms(expires) if isinstance(expires, datetime) else 0,
        retries,
        _ms(options.timeout) if options.timeout is not None else -1,
        digest or "",
        _ms(until),
        msgspec.json.encode(options.metadata).decode() if options.metadata else "",
        Links(key=key, most=most) if key else None,
    )
    if expires == 0:
        body = msgspec.structs.replace(body, expires_at=1)
    queue = check_name("queue", options.queue) if options.queue is not None else queue
    return Entry(new_id(), queue, body, encode_body(body), retries, options.metadata or {})


def _ms(seconds: float | None) -> int:
    return 0 if seconds is None else round(seconds * 1000)


class Batch(msgspec.Struct, frozen=True):
    """Jobs of one queue that are created together or not at all; `actor` is who goes on record."""

    keys: QueueKeys
    max_size: int
    entries: Sequence[Entry]
    actor: str | None = None

    def command(self) -> Command:
        """Return the script call; sending it again changes nothing."""
        args: list[str | bytes] = []
        for entry in self.entries:
            args += (entry.id, entry.packed)
        return enqueue(self.keys, self.max_size, args, self.actor)

    def unknown(self, error: QdeckError) -> QdeckError:
        """Return the error of a call that may or may not have reached the server."""
        if not isinstance(error, ConnectionFailed):
            return error
        return ConnectionFailed(
            f"outcome unknown: {self._what()} may or may not be in queue {self.keys.queue}: "
            f"{error}",
            job_id=self.entries[0].id,
        )

    def unsent(self, error: ConnectionFailed) -> ConnectionFailed:
        """Return the error of a call that was not even begun."""
        return ConnectionFailed(f"{self._what()} not enqueued in {self.keys.queue}: {error}")

    def _what(self) -> str:
        count = len(self.entries)
        return f"job {self.entries[0].id}" if count == 1 else f"{count} jobs"

    def not_durable(self, answer: list[Any], why: str) -> NotDurable:
        """Return the error of a write that exists, but not as safely as was asked for."""
        jobs = jobs_of(self, answer)
        what = f"job {jobs[0].id} exists" if len(jobs) == 1 else f"{len(jobs)} jobs exist"
        return NotDurable(
            f"{what} in queue {self.keys.queue}, but {why}; it is not lost unless the server is",
            job=jobs[0] if len(jobs) == 1 else jobs,
        )

    @staticmethod
    def split_flow(
        entries: Sequence[Entry], keys: Callable[[str], QueueKeys], max_size: int
    ) -> Iterator[Batch]:
        """Yield the batches of a flow: one where all fits, else what waits before what starts."""
        batches = list(Batch.split(entries, keys, max_size))
        if len(batches) > 1:
            waiting = [entry for entry in entries if entry.waits]
            heads = [entry for entry in entries if not entry.waits]
            batches = [
                *Batch.split(waiting, keys, max_size),
                *Batch.split(heads, keys, max_size),
            ]
        yield from batches

    @staticmethod
    def of_calls(
        calls: Sequence[Call[Any]], settings: Settings, keys: Callable[[str], QueueKeys]
    ) -> Iterator[tuple[list[int], Batch]]:
        """Yield the batches of many calls, each with the places of its calls.

        What can be refused is refused before the first; all else is made when its batch comes, so
        that the server can work meanwhile.
        """
        by_queue: dict[str, list[tuple[int, Call[Any] | Entry]]] = {}
        for place, call in enumerate(calls):
            made = call if is_plain(call) else entry_of(call, settings)
            queue = made.queue if isinstance(made, Entry) else call.spec.queue or settings.default
            by_queue.setdefault(queue, []).append((place, made))
        for queue, found in by_queue.items():
            of, size = keys(queue), 0
            places: list[int] = []
            part: list[Entry] = []
            for place, made in found:
                entry = made if isinstance(made, Entry) else entry_of(made, settings)
                if part and (len(part) >= CHUNK or size + len(entry.packed) > _BATCH_BYTES):
                    yield places, Batch(of, settings.max_size, part)
                    places, part, size = [], [], 0
                places.append(place)
                part.append(entry)
                size += len(entry.packed)
            yield places, Batch(of, settings.max_size, part)

    @staticmethod
    def split(
        entries: Sequence[Entry], keys: Callable[[str], QueueKeys], max_size: int
    ) -> Iterator[Batch]:
        """Yield batches of at most 500 jobs and 4 MiB, in order within each queue."""
        by_queue: dict[str, list[Entry]] = {}
        for entry in entries:
            by_queue.setdefault(entry.queue, []).append(entry)
        for queue, found in by_queue.items():
            part: list[Entry] = []
            size = 0
            for entry in found:
                if part and (len(part) >= CHUNK or size + len(entry.packed) > _BATCH_BYTES):
                    yield Batch(keys(queue), max_size, part)
                    part, size = [], 0
                part.append(entry)
                size += len(entry.packed)
            yield Batch(keys(queue), max_size, part)


def jobs_of(batch: Batch, answer: list[Any]) -> list[Job[Any]]:
    """Return the jobs that the script's answer to a batch stands for."""
    created_at = from_ms(answer[0])
    return [
        job_of(entry, answer[0], word, created_at)
        for entry, word in zip(batch.entries, answer[1:], strict=True)
    ]


def job_of(entry: Entry, now_ms: int, word: bytes, created_at: datetime | None = None) -> Job[Any]:
    """Return the job that the script's word stands for; the holder's id where a key was taken."""
    body = entry.body
    state, created, job_id = State.PENDING, True, entry.id
    available: int | None = now_ms
    if word == b"s":
        state = State.SCHEDULED
        available = now_ms + body.delay if body.delay else body.at
        available = None if entry.waits else available
    elif len(word) > 1:
        created, job_id = False, word.decode()
    created_at = created_at or from_ms(now_ms)
    return Job(
        id=job_id,
        task=body.task,
        queue=entry.queue,
        state=state,
        priority=body.priority,
        max_attempts=max(entry.max_retries, 0) + 1,
        payload=msgspec.json.decode(body.payload),
        metadata=entry.metadata,
        created_at=created_at,
        message=(waiting_for(body) or None) if body.links else None,
        available_at=created_at if available == now_ms else from_ms(available),
        created=created,
    )
