"""Jobs on their way to another queue: out of the sets of one, and not yet in those of the other.

A job that was taken out is on the list of its old queue, with its record, until it stands in the
new one, where its id is remembered for a week: so whoever carries it there, and however often, it
arrives once. Before it leaves again, what is still on its way anywhere arrives first. Pending and
due times go with it; runs and log stay behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from qdeck import ledger
from qdeck import queue as verbs
from qdeck.keys import QueueKeys
from qdeck.ledger import Act, Departed
from qdeck.record import encode_body, read_record
from qdeck.settings import check_name

if TYPE_CHECKING:
    from qdeck.deck import Deck

__all__ = ["carry", "carry_all", "send"]

_PAGE: Final = 100


async def send(
    deck: Deck, keys: QueueKeys, queue: str, ids: Sequence[str], act: Act, operation: str = ""
) -> Departed:
    """Take waiting jobs (at most 100) out of a queue, and carry those that could leave to another;
    as a step of an operation those that it has frozen.

    Raises QdeckError; what has left by then is carried on by any worker of the old queue.
    """
    names = sorted(raw.decode() for raw in await deck.call("SMEMBERS", deck.shared.queues))
    under_way = await asyncio.gather(
        *(deck.call("EXISTS", deck.keys(name).moving) for name in names)
    )
    for name, some in zip(names, under_way, strict=True):
        if some:
            await carry_all(deck, name)
    if ids:
        # It may have been there before.
        await deck.call("UNLINK", *(deck.keys(queue).moved(job_id) for job_id in ids))
    gone = ledger.read_departed(await deck.execute(ledger.depart(keys, queue, ids, act, operation)))
    if gone.moved:
        ways = await deck.call("HMGET", keys.moving, *gone.moved)
        await asyncio.gather(
            *(carry(deck, keys, job_id, way) for job_id, way in zip(gone.moved, ways, strict=True))
        )
    return gone


async def carry_all(deck: Deck, queue: str) -> int:
    """Carry on whatever is on its way from a queue; return how many jobs arrived.

    One call where nothing is. Raises QdeckError when a queue cannot be written.
    """
    keys, arrived = deck.keys(queue), 0
    if not await deck.call("EXISTS", keys.moving):
        return 0
    cursor = 0
    while True:
        answer = await deck.call("HSCAN", keys.moving, cursor, "COUNT", _PAGE)
        cursor, flat = int(answer[0]), answer[1]
        for i in range(0, len(flat), 2):
            arrived += await carry(deck, keys, flat[i].decode(), flat[i + 1])
        if cursor == 0:
            return arrived


async def carry(deck: Deck, keys: QueueKeys, job_id: str, way: bytes | None) -> bool:
    """Take one job to where it is going; False where it is on no way."""
    if way is None:
        return False
    name, _, due = way.decode("utf-8", "replace").partition(" ")
    record = read_record(await deck.call("GET", keys.job(job_id)))
    if record is not None:
        at = int(float(due or 0))
        body = msgspec.structs.replace(record.body, delay=0, at=at)
        if body.expires_in > 0:
            until = record.created + body.expires_in
            body = msgspec.structs.replace(body, expires_in=0, expires_at=until)
        target = deck.keys(check_name("queue", name))
        await deck.call("SADD", deck.shared.queues, name)
        await deck.execute(verbs.enqueue(target, 0, [job_id, encode_body(body)], ""))
    await deck.execute(ledger.arrive(keys, job_id, way))
    return True
