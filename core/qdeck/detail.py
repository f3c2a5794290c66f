"""Everything about one job, and its log, without scripts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from qdeck.admin import (
    FINISHED,
    Attempt,
    ErrorDetail,
    JobDetail,
    JobRef,
    LogChunk,
    LogLine,
    StateName,
)
from qdeck.copies import REASON, Copy, copy_of
from qdeck.glimpse import MISSING, RUN_FIELDS, UNREADABLE, Hit, row_of
from qdeck.keys import QueueKeys, queue_keys
from qdeck.listing import HOLDING, SETS, paused_tasks
from qdeck.reader import Reader, at_ms, count, in_words, items, number, text
from qdeck.record import read_record

__all__ = ["Follower", "find_job", "read_job"]

_MORE: Final = ("crashes", "state", "fp", "was", "edited")
_unpack: Final = msgspec.msgpack.Decoder().decode


async def find_job(reader: Reader, queues: Sequence[str], job_id: str) -> JobRef | None:
    """Return where a job is kept, in one round trip over the queues."""
    keys = [queue_keys(reader.deck.settings.prefix, queue) for queue in queues]
    replies = await reader.read([("EXISTS", of.job(job_id), of.run(job_id)) for of in keys])
    for queue, reply in zip(queues, replies, strict=True):
        if count(reply):
            return JobRef(job_id, queue)
    return None


async def read_job(reader: Reader, ref: JobRef) -> JobDetail | None:
    """Return all that is kept of a job as of one moment; in a cluster a torn read is repeated."""
    for _ in range(3):
        found = await _read(reader, ref)
        if found is None or found[1]:
            break
    return None if found is None else found[0]


async def _read(reader: Reader, ref: JobRef) -> tuple[JobDetail, bool] | None:
    keys = queue_keys(reader.deck.settings.prefix, ref.queue)
    replies = await reader.atomic(
        [
            ("GET", keys.job(ref.id)),
            ("HMGET", keys.run(ref.id), *RUN_FIELDS, *_MORE),
            ("GET", keys.error(ref.id)),
            ("GET", keys.result(ref.id)),
            ("LRANGE", keys.attempts(ref.id), 0, 19),
            ("XLEN", keys.log(ref.id)),
            ("HMGET", keys.meta, *HOLDING),
            *(("ZSCORE", getattr(keys, name), ref.id) for name in SETS.values()),
        ]
    )
    raw, run, error, result, attempts, lines, meta, *scores = replies
    run_fields = items(run)
    state: StateName | None = None
    score = 0.0
    for name, reply in zip(SETS, scores, strict=True):
        if isinstance(reply, bytes):
            state, score = name, float(reply)
    if state is None and not isinstance(raw, bytes) and not any(run_fields):
        return None
    copy = await _copy(reader, keys, ref.id) if state is None else None
    if copy is not None:
        state, score = "cancelled", float(copy.at)
    record = read_record(raw) if isinstance(raw, bytes) else None
    paused = {task for field in items(meta) for task in paused_tasks(field)}
    task = record.body.task if record else ""
    settled = state is not None or task in paused
    hit = Hit(
        ref.queue,
        ref.id,
        score,
        state or "pending",
        state in (None, "pending") and task in paused_tasks(items(meta)[0] if items(meta) else b""),
    )
    more = dict(zip(_MORE, run_fields[len(RUN_FIELDS) :], strict=False))
    reason = text(dict(zip(RUN_FIELDS, run_fields, strict=False)).get("reason"))
    if copy is not None:
        reason = REASON
    elif record is None:
        reason = reason or (MISSING if raw is None else UNREADABLE)
    crashes = number(more.get("crashes"))
    silent = record is not None and record.body.max_retries < 0
    retries = await reader.deck.retries_of(task) if silent else 0
    detail = JobDetail(
        row_of(hit, record, run_fields[: len(RUN_FIELDS)], error, retries),
        payload=record.body.payload if record else text(raw),
        metadata=record.body.metadata if record else "",
        result=text(result) if isinstance(result, bytes) else None,
        error=None if state == "completed" else _error(error),
        attempts=tuple(_attempts(attempts)),
        log_lines=count(lines),
        reason=reason,
        crashes=int(crashes or 0) if any(run_fields) else None,
        was=text(more["was"]) if more.get("was") is not None else None,
        edited_by=text(more.get("edited")).partition(" ")[2],
        edited_at=at_ms(text(more.get("edited")).partition(" ")[0]),
        lease_ends_at=at_ms(score) if state == "running" else None,
    )
    return detail, settled


async def _copy(reader: Reader, keys: QueueKeys, job_id: str) -> Copy | None:
    """Return the copy of cleared jobs that holds a job."""
    search, reply = copy_of(keys, job_id), None
    try:
        while True:
            reply = await reader.one(*search.send(reply))
    except StopIteration as stop:
        found: Copy | None = stop.value
        return found


def _error(raw: Any) -> ErrorDetail | None:
    try:
        kind, message, trace, fingerprint = _unpack(raw)
        return ErrorDetail(str(kind), str(message), str(trace), str(fingerprint))
    except (msgspec.MsgspecError, TypeError, ValueError):
        return None


def _attempts(replies: Any) -> list[Attempt]:
    """Return the readable ones of the stored attempts."""
    found = []
    for raw in items(replies):
        try:
            entry, started, ended, worker, outcome, error = _unpack(raw)
            made = Attempt(int(entry), at_ms(started), at_ms(ended), str(worker), str(outcome),
                           str(error))  # fmt: skip
        except (msgspec.MsgspecError, TypeError, ValueError):
            continue
        found.append(made)
    return found


class Follower:
    """Reads logs; waits for new lines on a connection of its own, which `close` ends."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._lane: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting = False

    async def read(self, ref: JobRef, after: str, follow: bool, limit: int) -> LogChunk:
        """Return lines after a cursor; with `follow` wait up to 1 s for the first one."""
        chunk = await self._chunk(ref, after, limit)
        if not follow or chunk.lines or chunk.ended:
            return chunk
        await self._wait(ref, chunk.cursor or "0")
        return await self._chunk(ref, after, limit)

    async def close(self) -> None:
        """Close the connection that waits."""
        lane, self._lane = self._lane, None
        if lane is not None:
            await lane.aclose()

    async def _chunk(self, ref: JobRef, after: str, limit: int) -> LogChunk:
        keys = queue_keys(self._reader.deck.settings.prefix, ref.queue)
        log, limit = keys.log(ref.id), max(1, min(limit, 5000))
        begin = f"({after}" if after else "-"
        about, state, size, entries, exists, completed = await self._reader.atomic(
            [
                ("XINFO", "STREAM", log),
                ("HGET", keys.run(ref.id), "state"),
                ("XLEN", log),
                ("XRANGE", log, begin, "+", "COUNT", limit),
                ("EXISTS", keys.job(ref.id)),
                ("ZSCORE", keys.completed, ref.id),
            ]
        )
        if isinstance(entries, BaseException) and not str(entries).startswith("WRONGTYPE"):
            raise in_words(self._reader.deck, entries) from entries
        lines = tuple(_line(entry) for entry in items(entries))
        ended = text(state) in FINISHED or not count(exists) or isinstance(completed, bytes)
        return LogChunk(
            lines,
            lines[-1].cursor if lines else after,
            ended and len(lines) < limit,
            count(size),
            _trimmed(about, count(size)),
        )

    async def _wait(self, ref: JobRef, after: str) -> None:
        connector = self._reader.deck.connector
        keys = queue_keys(self._reader.deck.settings.prefix, ref.queue)
        if self._waiting:
            await asyncio.sleep(0.25)
            return
        self._waiting = True
        try:
            if self._lane is None or self._loop is not asyncio.get_running_loop():
                self._lane, self._loop = connector.new_lane(1.0), asyncio.get_running_loop()
            await self._lane.call_many(
                [("XREAD", "COUNT", 1, "BLOCK", 1000, "STREAMS", keys.log(ref.id), after)]
            )
        except asyncio.CancelledError:
            # The server still waits: the next read needs another connection.
            await self.close()
            raise
        except Exception as error:
            raise in_words(self._reader.deck, error) from error
        finally:
            self._waiting = False


def _trimmed(about: Any, size: int | None) -> int | None:
    """Return how many lines of a log are gone; None where there is none, or Redis is below 7."""
    flat = [part for pair in about.items() for part in pair] if isinstance(about, dict) else about
    words = items(flat)
    facts = dict(zip(words[::2], words[1::2], strict=False))
    added = count(facts.get(b"entries-added"))
    return None if added is None or size is None else added - size


def _line(entry: Any) -> LogLine:
    cursor = text(entry[0])
    flat = entry[1] or []
    fields = {flat[i]: flat[i + 1] for i in range(0, len(flat) - 1, 2)}
    at = at_ms(fields.get(b"t")) or at_ms(cursor.partition("-")[0])
    attempt = number(fields.get(b"a"))
    assert at is not None
    return LogLine(cursor, at, text(fields.get(b"l")).lower() or "out", int(attempt or 0),
                   text(fields.get(b"x")))  # fmt: skip
