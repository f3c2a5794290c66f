"""Bulk operations on the server, advanced in bounded steps by any worker or console."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeck import queue as verbs

if TYPE_CHECKING:
    from qdeck.deck import Deck

__all__ = ["advance_all"]


async def advance_all(deck: Deck, queue: str) -> bool:
    """Do one step of every started operation of a queue; whether more is to do."""
    keys = deck.keys(queue)
    more = False
    for raw in await deck.call("ZREVRANGE", keys.ops, 0, 19):
        operation = raw.decode()
        state, verb, actor = await deck.call(
            "HMGET", keys.operation(operation), "state", "verb", "actor"
        )
        if state == b"running":
            command = verbs.advance(keys, verb.decode(), actor.decode(), operation)
            step = verbs.read_step(await deck.execute(command))
            more = more or step.state == "running"
    return more
