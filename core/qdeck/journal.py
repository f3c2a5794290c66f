"""The record of what operators did, read over all queues and workers, newest first.

Owns the ids of audit rows: the entry of a stream, and the queue whose stream it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from qdeck.admin import AuditRow, Cleared, Denied, StateName, Window
from qdeck.copies import MOST
from qdeck.crew import server_ms
from qdeck.keys import QueueKeys, queue_keys
from qdeck.ledger import Entry, read_entry
from qdeck.listing import SETS
from qdeck.reader import Reader, at_ms, items, number, text

__all__ = ["Journal", "name_of"]

#: Entries of one stream that a window reaches back at most.
_DEEPEST: Final = 2000
#: Acts of a queue among which that of a moment ago is looked for.
_LAST: Final = 20


def name_of(entry: str, queue: str) -> str:
    """Return the id of an audit row."""
    return f"{entry}@{queue}" if queue else entry


class Journal:
    """Reads audit streams and copies of one prefix."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._prefix = reader.deck.settings.prefix

    async def rows(
        self, queues: Sequence[str], window: Window, workers: bool = True
    ) -> tuple[AuditRow, ...]:
        """Return a window of the acts in some queues (and on workers), newest first."""
        wanted = min(max(0, window.offset) + max(0, min(window.limit, 1000)), _DEEPEST)
        streams = [(queue, queue_keys(self._prefix, queue).audit) for queue in queues]
        if workers:
            streams.append(("", self._reader.deck.shared.audit))
        *replies, clock = await self._reader.read(
            [("XREVRANGE", key, "+", "-", "COUNT", max(wanted, 1)) for _, key in streams]
            + [("TIME",)]
        )
        now, found = server_ms(clock), []
        for (queue, _), reply in zip(streams, replies, strict=True):
            entries = [read_entry(part[0], part[1]) for part in items(reply)]
            undone = {entry.of: entry.actor for entry in entries if entry.of}
            found += [_row(entry, queue, undone.get(entry.id, ""), now) for entry in entries]
        found.sort(key=lambda row: _order(row.id), reverse=True)
        return tuple(found[max(0, window.offset) : wanted])

    async def find(self, name: str) -> tuple[AuditRow, Entry]:
        """Return one act by the id of its row, and its entry as stored; raises Denied."""
        entry_id, _, queue = name.partition("@")
        key = self._stream(queue)
        replies = await self._reader.read(
            [
                ("XRANGE", key, entry_id, entry_id),
                ("XRANGE", key, f"({entry_id}", "+", "COUNT", _DEEPEST),
                ("TIME",),
            ]
            if _is_id(entry_id)
            else []
        )
        found = items(replies[0]) if replies else []
        if not found:
            raise Denied(f"there is no act {name!r} on record; `qdeck audit` lists them")
        entry = read_entry(found[0][0], found[0][1])
        later = [read_entry(part[0], part[1]) for part in items(replies[1])]
        undone = next((each.actor for each in later if each.of == entry.id), "")
        return _row(entry, queue, undone, server_ms(replies[2])), entry

    async def newest(self, queue: str, mark: str) -> AuditRow | None:
        """Return the newest of the last acts in a queue that is taken back by this id or name."""
        found, clock = await self._reader.read(
            [("XREVRANGE", self._stream(queue), "+", "-", "COUNT", _LAST), ("TIME",)]
        )
        for part in items(found):
            entry = read_entry(part[0], part[1])
            if mark in (entry.undo.get("id"), entry.undo.get("name")):
                return _row(entry, queue, "", server_ms(clock))
        return None

    async def copies(self, queues: Sequence[str]) -> tuple[Cleared, ...]:
        """Return the copies of cleared jobs in some queues, newest first."""
        keys = [queue_keys(self._prefix, queue) for queue in queues]
        listed = await self._reader.read([("ZRANGE", of.cleared, 0, MOST - 1) for of in keys])
        pairs = [
            (of, text(raw)) for of, reply in zip(keys, listed, strict=True) for raw in items(reply)
        ]
        fields = ("state", "total", "at", "until", "actor")
        replies = await self._reader.read(
            [("HMGET", of.trash(copy), *fields) for of, copy in pairs]
        )
        found = []
        for (of, copy), reply in zip(pairs, replies, strict=True):
            state, total, at, until, actor = items(reply) or [None] * 5
            named: StateName | None = next((word for word in SETS if word == text(state)), None)
            if named is not None:
                kept = int(number(total) or 0)
                found.append(
                    Cleared(copy, of.queue, named, kept, at_ms(at), at_ms(until), text(actor))
                )
        return tuple(sorted(found, key=lambda copy: copy.id, reverse=True))

    def keys(self, queue: str) -> QueueKeys:
        """Return the names of a queue."""
        return queue_keys(self._prefix, queue)

    def _stream(self, queue: str) -> str:
        return self.keys(queue).audit if queue else self._reader.deck.shared.audit


def _row(entry: Entry, queue: str, undone_by: str, now: float | None) -> AuditRow:
    until = entry.until if entry.undo and entry.until else None
    if until is not None and now is not None and until <= now:
        until = None
    at = at_ms(entry.at)
    assert at is not None
    return AuditRow(
        name_of(entry.id, queue),
        at,
        entry.actor,
        entry.verb,
        entry.target,
        entry.count,
        entry.outcome,
        queue,
        at_ms(until),
        undone_by,
        name_of(entry.of, queue) if entry.of else "",
    )


def _order(name: str) -> tuple[int, int, str]:
    entry, _, queue = name.partition("@")
    at, _, count = entry.partition("-")
    return int(at), int(count or 0), queue


def _is_id(entry: str) -> bool:
    at, _, count = entry.partition("-")
    return at.isascii() and at.isdigit() and count.isascii() and count.isdigit()
