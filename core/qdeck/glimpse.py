"""What a list shows of a job, read from the first bytes of its record.

A record may be a megabyte; a list needs a line. Owns the bounded reads of a row and their meaning;
broken bytes give a row with the task `?` and the reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from qdeck.admin import FINISHED, LATER, JobRef, JobRow, StateName
from qdeck.keys import queue_keys
from qdeck.links import WAITING
from qdeck.reader import Reader, at_ms, items, number, text
from qdeck.record import Body, Record, read_claim, read_record, waiting_for

__all__ = [
    "HEAD",
    "MISSING",
    "RUN_FIELDS",
    "UNREADABLE",
    "Hit",
    "error_line",
    "first_times",
    "glimpse",
    "read_rows",
    "row_of",
]

#: Bytes of a record that a list reads.
HEAD: Final = 1024
#: Bytes that hold what follows the payload, up to the metadata.
_TAIL: Final = 160
_ARGS: Final = 200
RUN_FIELDS: Final = (
    "run", "base", "progress", "message", "cancel", "reason", "task",
)  # fmt: skip
_FAILED: Final = frozenset({"dead", "retrying", "cancelled"})
UNREADABLE: Final = "the record is not readable"
MISSING: Final = "the record is missing"


@dataclass(frozen=True, slots=True)
class Hit:
    """A job as a set lists it: `score` is its place or time there."""

    queue: str
    id: str
    score: float
    state: StateName
    held: bool = False

    @property
    def ref(self) -> JobRef:
        """The reference to hand out."""
        return JobRef(self.id, self.queue)


@dataclass(frozen=True, slots=True)
class Glimpse:
    """The head of a record. `rest` is where the bytes after the payload begin, 0 where all was
    read.
    """

    record: Record
    rest: int = 0


async def read_rows(
    reader: Reader, hits: Sequence[Hit], usual: dict[tuple[str, str], float]
) -> tuple[JobRow, ...]:
    """Return the rows of jobs in one round trip, in a second one what stands behind long payloads,
    in a third one how often jobs that do not say are retried, where that is not known.

    `usual` are p95 run times in seconds by queue and task.
    """
    commands: list[Sequence[Any]] = []
    prefix = reader.deck.settings.prefix
    keys = {hit.queue: queue_keys(prefix, hit.queue) for hit in hits}
    for hit in hits:
        of = keys[hit.queue]
        commands.append(("GETRANGE", of.job(hit.id), 0, HEAD - 1))
        commands.append(("HMGET", of.run(hit.id), *RUN_FIELDS))
        if hit.state in _FAILED:
            commands.append(("GETRANGE", of.error(hit.id), 0, 511))
    replies = iter(await reader.read(commands))
    read = []
    for hit in hits:
        head, run = next(replies), next(replies)
        error = next(replies) if hit.state in _FAILED else b""
        read.append((hit, glimpse(head), head, run, error))
    long = [(hit, seen) for hit, seen, *_ in read if seen is not None and seen.rest]
    tails = await reader.read(
        [
            ("GETRANGE", keys[hit.queue].job(hit.id), seen.rest, seen.rest + _TAIL)
            for hit, seen in long
        ]
    )
    tail = {(hit.queue, hit.id): raw for (hit, _), raw in zip(long, tails, strict=True)}
    records = [seen.record if seen else None for _, seen, *_ in read]
    for i, (hit, *_) in enumerate(read):
        record = records[i]
        if record is not None and (hit.queue, hit.id) in tail:
            records[i] = _with_tail(record, tail[hit.queue, hit.id])
    silent = sorted({each.body.task for each in records if each and each.body.max_retries < 0})
    retries = dict(
        zip(silent, await asyncio.gather(*map(reader.deck.retries_of, silent)), strict=True)
    )
    rows = []
    for (hit, _, head, run, error), record in zip(read, records, strict=True):
        reason = ""
        if record is None:
            reason = MISSING if head in (b"", None) else UNREADABLE
        default = retries.get(record.body.task, 0) if record else 0
        row = row_of(hit, record, items(run), error, default, reason)
        if hit.state == "running" and (hit.queue, row.task) in usual:
            row = replace(row, usual_p95_s=usual[hit.queue, row.task])
        rows.append(row)
    return tuple(rows)


def row_of(
    hit: Hit,
    record: Record | None,
    run: Sequence[Any],
    error: Any,
    default_retries: int,
    reason: str = "",
) -> JobRow:
    """Return the row of a job from its record, the fields of its run and its error's bytes."""
    found = dict(zip(RUN_FIELDS, run, strict=False))
    claim = read_claim(found.get("run"))
    body = record.body if record else Body(text(found.get("task")) or claim.task or "?", "")
    retries = body.max_retries if body.max_retries >= 0 else default_retries
    base = number(found.get("base")) or 0
    later, finished = hit.state in LATER, hit.state in FINISHED
    waits = waiting_for(body) or "waiting" if later and hit.score >= WAITING else ""
    return JobRow(
        hit.ref,
        body.task,
        hit.state,
        priority=body.priority if record else None,
        attempt=claim.attempt,
        max_attempts=int(base) + retries + 1 if record else None,
        created_at=at_ms(record.created) if record else None,
        due_at=None if waits else at_ms(hit.score if later else first_due(record)),
        started_at=at_ms(claim.started or None),
        finished_at=at_ms(hit.score) if finished else None,
        progress=number(found.get("progress")),
        message=(text(found.get("message")) or reason or waits)[:_ARGS],
        worker=claim.worker,
        args=body.payload[:_ARGS],
        error=error_line(error) or reason,
        held=hit.held,
        cancel_requested=hit.state == "running" and found.get("cancel") is not None,
    )


def glimpse(raw: Any, read: int = HEAD) -> Glimpse | None:
    """Return what the first bytes of a record say, of which `read` were asked for; None where they
    are none.
    """
    if not isinstance(raw, bytes) or not raw:
        return None
    record = read_record(raw)
    if record is not None:
        return Glimpse(record)
    if len(raw) < read or raw[0] != 0x93:
        return None
    try:
        created, at = _number(raw, 1)
        available, at = _number(raw, at)
        if raw[at] & 0xF0 != 0x90:
            return None
        task, at = _string(raw, at + 1)
        payload, at = _string(raw, at)
    except (IndexError, msgspec.MsgspecError):
        return None
    return Glimpse(Record(int(created), int(available), Body(task, payload)), at)


def first_times(raw: Any) -> tuple[float, float] | None:
    """Return when a job was created and is available (ms), from the first 24 bytes of a record."""
    if not isinstance(raw, bytes) or len(raw) < 3 or raw[0] != 0x93:
        return None
    try:
        created, at = _number(raw, 1)
        return created, _number(raw, at)[0] or created
    except (IndexError, msgspec.MsgspecError):
        return None


def _with_tail(record: Record, raw: Any) -> Record:
    """Return a record with what follows its payload: priority, and retries after four times."""
    try:
        values, at = [], 0
        for _ in range(6):
            value, at = _number(raw, at)
            values.append(int(value))
    except (IndexError, TypeError, msgspec.MsgspecError):
        return record
    body = msgspec.structs.replace(record.body, priority=values[0], max_retries=values[5])
    return msgspec.structs.replace(record, body=body)


def error_line(raw: Any) -> str:
    """Return type and message from the first bytes of an error."""
    if not isinstance(raw, bytes) or len(raw) < 3 or raw[0] & 0xF0 != 0x90:
        return ""
    try:
        kind, at = _string(raw, 1)
        message, _ = _string(raw, at)
    except (IndexError, msgspec.MsgspecError):
        return ""
    return f"{kind}: {message}"[:300] if kind else message[:300]


_SIZES: Final = {0xCA: 5, 0xCB: 9, 0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9,
                 0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9}  # fmt: skip
_LENGTHS: Final = {0xD9: 1, 0xDA: 2, 0xDB: 4, 0xC4: 1, 0xC5: 2, 0xC6: 4}
_decode_number: Final = msgspec.msgpack.Decoder(float).decode


def _number(raw: bytes, at: int) -> tuple[float, int]:
    end = at + _SIZES.get(raw[at], 1)
    return _decode_number(raw[at:end]), end


def _string(raw: bytes, at: int) -> tuple[str, int]:
    """Return the text that begins at a place, as far as it is there, and where it ends."""
    first = raw[at]
    if first & 0xE0 == 0xA0:
        size, start = first & 0x1F, at + 1
    else:
        width = _LENGTHS.get(first)
        if width is None:
            raise IndexError(at)
        size, start = int.from_bytes(raw[at + 1 : at + 1 + width], "big"), at + 1 + width
    return raw[start : start + size].decode("utf-8", "replace"), start + size


def first_due(record: Record | None) -> int | None:
    """Return when a job was first due, in ms; None where its record is not readable."""
    return (record.available or record.created) if record else None
