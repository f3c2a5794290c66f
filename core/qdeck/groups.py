"""Dead jobs by error group: how many now, how many new, and the jobs of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from qdeck.admin import ErrorGroup, ErrorGroups, JobRef
from qdeck.crew import server_ms
from qdeck.keys import queue_keys
from qdeck.reader import Reader, at_ms, count, items, text

__all__ = ["read_groups"]

#: Groups of one queue that are counted; the server keeps about 1,000.
_MOST: Final = 200
_unpack: Final = msgspec.msgpack.Decoder().decode


async def read_groups(reader: Reader, queues: Sequence[str]) -> ErrorGroups:
    """Return the largest groups of each queue, counted exactly, in two round trips."""
    keys = [queue_keys(reader.deck.settings.prefix, queue) for queue in queues]
    clock, *replies = await reader.read(
        [
            ("TIME",),
            *(("ZCARD", of.dead) for of in keys),
            *(("HSCAN", of.errors, 0, "COUNT", 1000) for of in keys),
        ]
    )
    totals = [count(reply) for reply in replies[: len(keys)]]
    drafts: list[tuple[str, str, list[Any]]] = []
    more = False
    for queue, reply in zip(queues, replies[len(keys) :], strict=True):
        cursor, flat = reply if isinstance(reply, list) and len(reply) == 2 else (b"0", [])
        known = [(queue, text(flat[i]), _parts(flat[i + 1])) for i in range(0, len(flat) - 1, 2)]
        known.sort(key=lambda each: -_int(each[2][0]))
        more = more or cursor != b"0" or len(known) > _MOST
        drafts += known[:_MOST]
    hour_ago = (server_ms(clock) or 0) - 3_600_000
    counted = await reader.read(
        [
            command
            for queue, name, _ in drafts
            for command in _counts(
                queue_keys(reader.deck.settings.prefix, queue).group(name), hour_ago
            )
        ]
    )
    groups = []
    for i, (queue, name, parts) in enumerate(drafts):
        size, new, newest = counted[3 * i : 3 * i + 3]
        if size == 0:
            continue
        sample = next((text(each) for each in items(newest)), "") or str(parts[6])
        groups.append(
            ErrorGroup(
                queue,
                name,
                str(parts[1]),
                str(parts[2]),
                str(parts[3]),
                count(size),
                count(new) if server_ms(clock) else None,
                at_ms(parts[4]),
                at_ms(parts[5]),
                JobRef(sample, queue) if sample else None,
            )
        )
    groups.sort(key=lambda group: (-(group.count or 0), group.queue, group.fingerprint))
    known_totals = [total for total in totals if total is not None]
    return ErrorGroups(tuple(groups), sum(known_totals) if known_totals else None, not more)


def _counts(key: str, since: float) -> tuple[tuple[Any, ...], ...]:
    return (
        ("ZCARD", key),
        ("ZCOUNT", key, f"{since:.0f}", "+inf"),
        ("ZRANGE", key, 0, 0, "REV"),
    )


def _parts(raw: Any) -> list[Any]:
    """Return what is stored of a group: count, task, type, message, first, last, sample."""
    try:
        parts = _unpack(raw)
    except (msgspec.MsgspecError, TypeError):
        parts = None
    if isinstance(parts, list) and len(parts) == 7:
        return parts
    return [0, "?", "?", "what is stored of this group is not readable", None, None, ""]


def _int(value: Any) -> int:
    return value if isinstance(value, int) else 0
