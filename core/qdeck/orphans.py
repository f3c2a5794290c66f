"""Cancelling jobs that wait for one that is gone: deleted, trimmed, or never enqueued after all.

A job is gone for good when it has no record and its queue's outbox has no word of it: whoever took
word of it out of there had told those that wait before.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Final

from qdeck import queue as verbs
from qdeck.job import State
from qdeck.links import WAITING, decode_names
from qdeck.record import Record, read_record

if TYPE_CHECKING:
    from qdeck.deck import Deck

__all__ = ["cancel_orphans"]

#: Milliseconds for which an enqueue in several steps may be under way.
GRACE_MS: Final = 3_600_000
#: Jobs that one look handles, and names of those that each waits for.
_PAGE: Final = 50
_NAMES: Final = 200


async def cancel_orphans(deck: Deck, queue: str) -> int:
    """Cancel jobs of a queue that wait in vain for more than an hour; return how many.

    Looks at 50 of those that wait, from a random place. One read where none does.
    """
    keys = deck.keys(queue)
    size = await deck.call("ZCOUNT", keys.scheduled, WAITING, WAITING)
    if not size:
        return 0
    at = random.randrange(max(size - _PAGE, 0) + 1)
    raws = await deck.call("ZRANGEBYSCORE", keys.scheduled, WAITING, WAITING, "LIMIT", at, _PAGE)
    seconds, _ = await deck.call("TIME")
    cancelled = 0
    for job_id in (raw.decode() for raw in raws):
        record = read_record(await deck.call("GET", keys.job(job_id)))
        if record is None or record.created > int(seconds) * 1000 - GRACE_MS:
            continue
        if await _in_vain(deck, queue, job_id, record):
            command = verbs.move(keys, "cancel", _ACTOR, [job_id], {State.SCHEDULED})
            moved = verbs.read_moved(await deck.execute(command))
            cancelled += moved[0].outcome == "cancelled"
    return cancelled


_ACTOR: Final = "qdeck, since what it waited for is gone"


async def _in_vain(deck: Deck, queue: str, job_id: str, record: Record) -> bool:
    """Return whether a job waits for one that will never be heard of."""
    done = deck.keys(queue).done(job_id)
    names = decode_names(record.body.links.after) if record.body.links else []
    for other, before in random.sample(names, min(len(names), _NAMES)):
        keys = deck.keys(other)
        # In this order: a record may go while word of it lies in the outbox.
        if await deck.call("EXISTS", keys.job(before)):
            continue
        if await deck.call("HEXISTS", keys.outbox, before):
            continue
        if not await deck.call("SISMEMBER", done, f"{other} {before}"):
            return True
        await asyncio.sleep(0)
    return False
