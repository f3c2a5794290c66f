"""Bulk operations as workers see them: whatever is running is advanced, one bounded step at a time.

Who started an operation may be long gone; any worker of its queue carries it on.
"""

from __future__ import annotations

from typing import Any, Final

from qdeck import queue as verbs
from qdeck.deck import Deck
from qdeck.job import MOVES
from qdeck.keys import QueueKeys

__all__ = ["advance_all"]

#: Finished operations of a queue that stay listed.
_KEPT: Final = 100
_PAGE: Final = 100
_FIELDS: Final = ("state", "verb", "actor")


async def advance_all(deck: Deck, queue: str) -> bool:
    """Advance the running bulk operations of a queue by one step each; True while any goes on.

    Costs one call where nothing is on record. Raises QdeckError when the server is away.
    """
    keys, going, seen, at = deck.keys(queue), False, 0, 0
    while True:
        names = await deck.call("ZRANGE", keys.ops, at, at + _PAGE - 1, "REV")
        gone = []
        for raw in names:
            name = raw.decode()
            fields = await deck.call("HMGET", keys.operation(name), *_FIELDS)
            state, verb, actor = ("" if each is None else each.decode() for each in fields)
            if state == "running" and verb in MOVES:
                going = await _step(deck, keys, name, verb, actor) or going
            elif state != "draft":
                seen += 1
                if not state or seen > _KEPT:
                    gone.append(raw)
        if gone:
            await deck.call("ZREM", keys.ops, *gone)
        if len(names) < _PAGE:
            return going
        at += _PAGE - len(gone)


async def _step(deck: Deck, keys: QueueKeys, name: str, verb: str, actor: str) -> bool:
    answer: Any = await deck.execute(verbs.advance(keys, verb, actor, name))
    return verbs.read_step(answer).state == "running"
