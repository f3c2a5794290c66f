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

#: Groups that are returned; the server keeps about 1,000 a queue.
_MOST: Final = 200
_unpack: Final = msgspec.msgpack.Decoder().decode


async def read_groups(reader: Reader, queues: Sequence[str]) -> ErrorGroups:
    """Return the largest groups of these queues, counted exactly, in three round trips."""
    keys = [queue_keys(reader.deck.settings.prefix, queue) for queue in queues]
    clock, *replies = await reader.read(
        [
            ("TIME",),
            *(("ZCARD", of.dead) for of in keys),
            *(("HSCAN", of.errors, 0, "COUNT", 1000) for of in keys),
        ]
    )
    totals = [count(reply) for reply in replies[: len(keys)]]
    found: list[tuple[str, str, list[Any]]] = []
    more = False
    for queue, reply in zip(queues, replies[len(keys) :], strict=True):
        cursor, flat = reply if isinstance(reply, list) and len(reply) == 2 else (b"0", [])
        found += [(queue, text(flat[i]), _parts(flat[i + 1])) for i in range(0, len(flat) - 1, 2)]
        more = more or cursor != b"0"
    names = [queue_keys(reader.deck.settings.prefix, queue).group(name) for queue, name, _ in found]
    sizes = [count(reply) for reply in await reader.read([("ZCARD", name) for name in names])]
    order = sorted(range(len(found)), key=lambda i: -(sizes[i] or 0))
    largest = [i for i in order[:_MOST] if sizes[i] != 0]
    hour_ago = (server_ms(clock) or 0) - 3_600_000
    counted = await reader.read(
        [command for i in largest for command in _counts(names[i], hour_ago)]
    )
    groups = []
    for at, i in enumerate(largest):
        queue, name, parts = found[i]
        new, newest = counted[2 * at : 2 * at + 2]
        sample = [*items(newest), b"", b""]
        groups.append(
            ErrorGroup(
                queue,
                name,
                str(parts[0]),
                str(parts[1]),
                str(parts[2]),
                sizes[i],
                count(new) if server_ms(clock) else None,
                at_ms(parts[3]),
                at_ms(sample[1]),
                JobRef(text(sample[0]), queue) if sample[0] else None,
            )
        )
    more = more or len(order) > _MOST
    groups.sort(key=lambda group: (-(group.count or 0), group.queue, group.fingerprint))
    known_totals = [total for total in totals if total is not None]
    total = sum(known_totals) if known_totals else None
    return ErrorGroups(tuple(groups), total, not more, reader.deck.settings.keep_dead)


def _counts(key: str, since: float) -> tuple[tuple[Any, ...], ...]:
    return (
        ("ZCOUNT", key, f"{since:.0f}", "+inf"),
        ("ZRANGE", key, 0, 0, "REV", "WITHSCORES"),
    )


def _parts(raw: Any) -> list[Any]:
    """Return what is stored of a group: task, type, message and first time."""
    try:
        parts = _unpack(raw)
    except (msgspec.MsgspecError, TypeError):
        parts = None
    if isinstance(parts, list) and len(parts) == 4:
        return parts
    return ["?", "?", "what is stored of this group is not readable", None]
