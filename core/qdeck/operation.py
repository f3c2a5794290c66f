"""Bulk operations as workers see them: whatever is running is advanced, one bounded step at a time.

Who started an operation may be long gone; any worker of its queue carries it on.
"""

from __future__ import annotations

from typing import Any, Final

from qdeck import queue as verbs
from qdeck.connection import repeat
from qdeck.deck import Deck
from qdeck.job import MOVES
from qdeck.keys import QueueKeys
from qdeck.link import PATIENCE, SERVER_ERRORS

__all__ = ["advance_all"]

#: Finished operations of a queue that stay listed.
_KEPT: Final = 100
_PAGE: Final = 100
_FIELDS: Final = ("state", "verb", "actor", "states")


async def advance_all(deck: Deck, queue: str) -> bool:
    """Advance the running bulk operations of a queue by one step each; True while any goes on.

    One call where none is on record, two where none runs. Raises QdeckError when the server is
    away.
    """
    keys, going, seen, at = deck.keys(queue), False, 0, 0
    while True:
        (names,) = await _read(deck, [("ZRANGE", keys.ops, at, at + _PAGE - 1, "REV")])
        if isinstance(names, BaseException) or not names:
            return going
        records = await _read(
            deck, [("HMGET", keys.operation(raw.decode()), *_FIELDS) for raw in names]
        )
        gone = []
        for raw, fields in zip(names, records, strict=True):
            if isinstance(fields, BaseException):
                continue
            state, verb, actor, states = ("" if f is None else f.decode() for f in fields)
            if state == "running" and verb in MOVES:
                going = await _step(deck, keys, raw.decode(), verb, actor, states) or going
            elif state != "draft":
                seen += 1
                if not state or seen > _KEPT:
                    gone.append(raw)
        if gone:
            await _read(deck, [("ZREM", keys.ops, *gone)])
        if len(names) < _PAGE:
            return going
        at += _PAGE - len(gone)


async def _step(deck: Deck, keys: QueueKeys, name: str, verb: str, actor: str, states: str) -> bool:
    answer: Any = await deck.execute(verbs.advance(keys, verb, actor, name, states))
    return verbs.read_step(answer).state == "running"


async def _read(deck: Deck, commands: list[tuple[Any, ...]]) -> list[Any]:
    """Return the replies to commands of one round trip, errors of single ones as values."""
    connector = deck.connector
    await connector.ensure()
    try:
        return await repeat(lambda: connector.lane().call_many(commands), limit=PATIENCE)
    except SERVER_ERRORS as error:
        raise connector.translate(error) from error
