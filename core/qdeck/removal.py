"""Jobs on their way to another queue: out of the sets of one, and not yet in those of the other.

A job that was taken out is on the list of its old queue, with its record, until it stands in the
new one, where its id is remembered for a week: so whoever carries it there, and however often, it
arrives once. Pending and due times go with it; runs and log stay behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from qdeck import queue as verbs
from qdeck.keys import QueueKeys
from qdeck.record import encode_body, read_record
from qdeck.settings import check_name

if TYPE_CHECKING:
    from qdeck.deck import Deck

__all__ = ["carry", "carry_all"]

_PAGE: Final = 100


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
    await deck.call("UNLINK", keys.job(job_id), keys.run(job_id))
    await deck.call("HDEL", keys.moving, job_id)
    return True
