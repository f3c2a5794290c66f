"""The operator's way to the server: many plain reads at a time, and scripts, with errors in the
words of `qdeck.admin`.

Reads need no `EVAL`. A read is repeated once after a lost connection, a write by its deck.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from qdeck.admin import Denied
from qdeck.connection import retryable
from qdeck.deck import Deck
from qdeck.errors import ConnectionFailed, QdeckError
from qdeck.link import SERVER_ERRORS
from qdeck.scripts import Command
from qdeck.wire import Word

__all__ = ["Reader", "at_ms", "count", "in_words", "items", "number", "text"]

#: Seconds for which a write is tried again: an operator waits for it.
_PATIENCE: Final = 5.0


class Reader:
    """Sends commands over the lane of a deck and the running loop.

    `rtt_s` is what the last read took, `trips` how many reads there were.
    """

    def __init__(self, deck: Deck) -> None:
        self.deck = deck
        self.rtt_s = 0.0
        self.trips = 0

    async def read(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        """Return the replies to commands sent together, errors of single ones as values.

        One round trip; none without commands. Raises OSError when the server is away.
        """
        if not commands:
            return []
        try:
            await self.deck.connector.ensure()
            started = time.monotonic()
            try:
                replies = await self._send(commands)
            except SERVER_ERRORS as error:
                if not retryable(error):
                    raise
                await asyncio.sleep(0.05)
                started = time.monotonic()
                replies = await self._send(commands)
            self.trips += 1
            self.rtt_s = time.monotonic() - started
        except (QdeckError, *SERVER_ERRORS) as error:
            raise in_words(self.deck, error) from error
        return replies

    async def one(self, *words: Word) -> Any:
        """Return the reply to one command; raises its error in words."""
        reply = (await self.read([words]))[0]
        if isinstance(reply, BaseException):
            raise in_words(self.deck, reply) from reply
        return reply

    async def everywhere(self, words: Sequence[Word]) -> list[Any]:
        """Return the reply of each primary to one command, errors as values."""
        try:
            await self.deck.connector.ensure()
            return await self.deck.connector.lane().call_everywhere(*words)
        except (QdeckError, *SERVER_ERRORS) as error:
            raise in_words(self.deck, error) from error

    async def atomic(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        """Return the replies to commands that see one moment; in a cluster they may see several."""
        if self.deck.connector.cluster:
            return await self.read(commands)
        replies = (await self.read([("MULTI",), *commands, ("EXEC",)]))[-1]
        if isinstance(replies, BaseException):
            raise in_words(self.deck, replies) from replies
        return list(replies)

    async def run(self, command: Command) -> Any:
        """Send a script, again after a lost reply; raises Denied and OSError."""
        try:
            return await self.deck.execute(command, patience=_PATIENCE)
        except (QdeckError, *SERVER_ERRORS) as error:
            raise in_words(self.deck, error) from error

    def refuse(self, replies: Sequence[Any]) -> None:
        """Raise the first error among replies in words."""
        for reply in replies:
            if isinstance(reply, BaseException):
                raise in_words(self.deck, reply) from reply

    async def _send(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        replies = await self.deck.connector.lane().call_many(commands)
        for reply in replies:
            if isinstance(reply, BaseException) and retryable(reply):
                raise reply
        return replies


def in_words(deck: Deck, error: BaseException) -> Exception:
    """Return any error as the protocol has it: ConnectionError when the server is away, else
    Denied; one line without secrets.
    """
    told = error if isinstance(error, QdeckError) else deck.connector.translate(error)
    if isinstance(told, ConnectionFailed):
        return ConnectionError(str(told))
    return Denied(str(told))


def items(reply: Any) -> list[Any]:
    """Return a list reply; empty where the server gave something else."""
    return reply if isinstance(reply, list) else []


def count(reply: Any) -> int | None:
    """Return an integer reply; None where the server gave something else."""
    return reply if isinstance(reply, int) else None


def number(raw: Any) -> float | None:
    """Return stored digits as a number; None where there are none."""
    try:
        return float(raw)
    except (TypeError, ValueError):
        return None


def text(raw: Any) -> str:
    """Return stored bytes as text, whatever they are; empty where there are none."""
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else ""


def at_ms(raw: Any) -> datetime | None:
    """Return an aware UTC time for stored milliseconds; None where there are none."""
    ms = number(raw)
    if not ms or not 0 < ms < 1e14:
        return None
    return datetime.fromtimestamp(ms / 1000, UTC)
