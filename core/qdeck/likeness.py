"""What the dead jobs of an error group have in common, told from a sample of the newest.

An argument counts as missing when the task is known to take it (from the schema that workers
published, or from completed jobs of the same task) and hardly a member carries it with a value
other than null.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from qdeck.admin import ErrorGroup, Fact, JobRow, Shared
from qdeck.crew import server_ms
from qdeck.glimpse import Hit, read_rows
from qdeck.keys import QueueKeys, queue_keys
from qdeck.reader import Reader, at_ms, count, items, text
from qdeck.record import read_record

__all__ = ["read_shared"]

#: Members and completed jobs that are looked at, and bytes of a record that are read.
SAMPLE: Final = 200
_BYTES: Final = 16_384
_COMPLETED: Final = 400
#: Share of members up to which an argument is missing, and of completed jobs from which it belongs.
_HARDLY: Final = 0.05
_MOSTLY: Final = 0.5
#: Share of members that carry the same value from which that is worth a line.
_EQUAL: Final = 0.9
_MINUTES: Final = 60
_SHOWN: Final = 60


async def read_shared(reader: Reader, group: ErrorGroup) -> Shared:
    """Return what a group shares, in three round trips."""
    keys = queue_keys(reader.deck.settings.prefix, group.queue)
    members = keys.group(group.fingerprint)
    total, newest, oldest, clock, schema, completed = await reader.read(
        [
            ("ZCARD", members),
            ("ZRANGE", members, 0, SAMPLE - 1, "REV", "WITHSCORES"),
            ("ZRANGE", members, 0, 0, "WITHSCORES"),
            ("TIME",),
            ("HGET", reader.deck.shared.tasks, group.task),
            ("ZRANGE", keys.completed, 0, _COMPLETED - 1, "REV"),
        ]
    )
    flat = items(newest)
    hits = [
        Hit(group.queue, text(flat[i]), float(flat[i + 1]), "dead")
        for i in range(0, len(flat) - 1, 2)
    ]
    rows = await read_rows(reader, hits, {})
    minute = int((server_ms(clock) or 0) // 60_000)
    done = [text(raw) for raw in items(completed)]
    replies = await reader.read(
        [
            *(_head(keys, hit.id) for hit in hits),
            *(_head(keys, job_id) for job_id in done),
            *_arrivals(members, minute),
        ]
    )
    carried = [args for _, args in _arguments(replies[: len(hits)])]
    good = [
        args
        for task, args in _arguments(replies[len(hits) : len(hits) + len(done)])
        if task == group.task
    ]
    return Shared(
        len(rows),
        count(total),
        tuple(_facts(group, rows, carried, good, _properties(schema))),
        at_ms(items(oldest)[1]) if len(items(oldest)) == 2 else group.first_at,
        at_ms(flat[1]) if len(flat) > 1 else group.last_at,
        tuple(count(reply) or 0 for reply in replies[len(hits) + len(done) :]),
    )


def _head(keys: QueueKeys, job_id: str) -> tuple[str | int, ...]:
    return ("GETRANGE", keys.job(job_id), 0, _BYTES - 1)


def _arrivals(members: str, last: int) -> Iterable[tuple[str | int, ...]]:
    for minute in range(last - _MINUTES + 1, last + 1):
        yield ("ZCOUNT", members, minute * 60_000, f"({(minute + 1) * 60_000}")


def _arguments(replies: Sequence[Any]) -> Iterable[tuple[str, dict[str, msgspec.Raw]]]:
    """Yield task and arguments of the records that are whole and readable."""
    for raw in replies:
        record = read_record(raw) if isinstance(raw, bytes) else None
        if record is None:
            continue
        try:
            yield (
                record.body.task,
                msgspec.json.decode(record.body.payload, type=dict[str, msgspec.Raw]),
            )
        except msgspec.MsgspecError:
            continue


def _properties(raw: Any) -> tuple[str, ...]:
    """Return the arguments of a task from what workers published about it."""
    try:
        published = msgspec.json.decode(raw)
        return tuple(str(name) for name in published["schema"]["properties"])
    except (msgspec.MsgspecError, TypeError, KeyError):
        return ()


def _facts(
    group: ErrorGroup,
    rows: Sequence[JobRow],
    carried: Sequence[Mapping[str, msgspec.Raw]],
    good: Sequence[Mapping[str, msgspec.Raw]],
    known: Sequence[str],
) -> Iterable[Fact]:
    """Yield the facts, what to look at first."""
    if not rows:
        return
    seen = Counter(name for args in carried for name in args)
    yield from _missing(group, carried, good, known)
    for task, many in Counter(row.task for row in rows).most_common(3):
        yield Fact("task", task, many / len(rows), f"task {task} {many / len(rows):.0%}")
    yield Fact("queue", group.queue, 1.0, f"queue {group.queue} 100%")
    size = len(carried)
    for name, many in sorted(seen.items(), key=lambda pair: (-pair[1], pair[0])):
        yield Fact("argument", name, many / size, f"argument {name} in {many / size:.0%}")
    for name in sorted(seen):
        values = Counter(bytes(args[name]) for args in carried if name in args)
        value, times = values.most_common(1)[0]
        share = times / size
        if size > 1 and share >= _EQUAL:
            shown = value.decode("utf-8", "replace")
            cut = shown if len(shown) <= _SHOWN else shown[: _SHOWN - 1] + "…"
            yield Fact("value", name, share, f"{name} is {cut} in {share:.0%}", shown)
    for worker, many in Counter(row.worker for row in rows if row.worker).most_common(5):
        share = many / len(rows)
        yield Fact("worker", worker, share, f"worker {worker} {share:.0%}")
    for attempt, many in Counter(row.attempt for row in rows).most_common(2):
        share = many / len(rows)
        if attempt is not None:
            yield Fact("attempts", str(attempt), share, f"{attempt} runs in {share:.0%}")


def _missing(
    group: ErrorGroup,
    carried: Sequence[Mapping[str, msgspec.Raw]],
    good: Sequence[Mapping[str, msgspec.Raw]],
    known: Sequence[str],
) -> Iterable[Fact]:
    """Yield the arguments that members lack: named by the error, then had by completed jobs."""
    size = len(carried)
    if not size:
        return
    seen, usual = (
        Counter(name for args in each for name, value in args.items() if bytes(value) != b"null")
        for each in (carried, good)
    )
    null = {name for args in carried for name, value in args.items() if bytes(value) == b"null"}
    found = []
    for name in dict.fromkeys((*known, *usual)):
        lacking = 1 - seen.get(name, 0) / size
        had = usual.get(name, 0) / len(good) if good else 0.0
        if lacking < 1 - _HARDLY or (name not in known and had < _MOSTLY):
            continue
        named = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", group.message) is not None
        source = "completed" if had >= _MOSTLY else "schema"
        whence = f"{had:.0%} of {len(good)} completed jobs have it" if had else "the task takes it"
        word = "is null or missing" if name in null else "is missing"
        told = "all" if lacking == 1 else f"{lacking:.0%}"
        line = f"argument {name} {word} in {told} of {size} looked at ({whence})"
        found.append((not named, -had, name, Fact("missing", name, lacking, line, "", source)))
    for *_, fact in sorted(found, key=lambda each: each[:3]):
        yield fact
