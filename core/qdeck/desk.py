"""What every part of the operator's door stands on: who acts, what may be written, and the readers.

Knows no verb and reads no job; the parts inherit it, and `Operator` puts them together.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace

from qdeck.admin import Denied, Outcome
from qdeck.crew import whoami
from qdeck.deck import Deck
from qdeck.errors import QdeckError, ReadOnly, SettingsError
from qdeck.journal import Journal
from qdeck.keys import QueueKeys
from qdeck.overview import Overview
from qdeck.pages import Pages
from qdeck.reader import Reader, count, text
from qdeck.rights import READ_ONLY
from qdeck.status import Status

__all__ = ["Desk", "ReadOnlyDoor"]


class ReadOnlyDoor(Denied, ReadOnly):
    """A write was refused since the door was opened for looking only."""


class Desk:
    """One operator at the server of a deck; for one event loop at a time."""

    def __init__(self, deck: Deck, *, actor: str | None = None, read_only: bool = False) -> None:
        self.reader = Reader(deck)
        self._deck = deck
        self._actor = actor or "@".join(whoami())
        self._read_only = read_only
        self._overview = Overview(self.reader)
        self._status = Status(self.reader, self._overview)
        self._pages = Pages(self.reader, self._overview)
        self._journal = Journal(self.reader)

    @property
    def label(self) -> str:
        """The server and prefix in a few characters, without secrets."""
        return self._status.label

    @property
    def actor(self) -> str:
        """Who acts through this door."""
        return self._actor

    @property
    def read_only(self) -> bool:
        """Whether every write is denied."""
        return self._read_only

    def _write(self, what: str) -> None:
        if self._read_only:
            raise ReadOnlyDoor(f"{what} refused: {READ_ONLY}")

    async def _on_record(self, outcome: Outcome, queue: str = "", mark: str = "") -> Outcome:
        """Return an outcome with its entry on record, and until when it can be taken back.

        Where the script told no entry, `mark` finds it in a queue: the id or name in its way back.
        What was done stays done where the record cannot be read.
        """
        row = None
        with contextlib.suppress(Denied, QdeckError, OSError):
            if outcome.entry:
                row, _ = await self._journal.find(outcome.entry)
            elif mark and outcome.changed:
                row = await self._journal.newest(queue, mark)
        return outcome if row is None else replace(outcome, entry=row.id, undo_until=row.undo_until)

    def _keys(self, queue: str) -> QueueKeys:
        try:
            return self._deck.keys(queue)
        except SettingsError as error:
            raise Denied(str(error)) from error

    async def _names(self, queue: str | None) -> list[str]:
        if queue is not None:
            return [self._keys(queue).queue]
        if self._overview.facts and self._status.fresh:
            return list(self._overview.facts)
        found = await self.reader.one("SMEMBERS", self._deck.shared.queues)
        return sorted(text(name) for name in found)

    async def _known(self, queue: str, task: str | None) -> QueueKeys:
        """Return the keys of a queue; raises Denied where it, or the task, was never seen."""
        keys = self._keys(queue)
        is_queue, in_queue, anywhere = await self.reader.read(
            [
                ("SISMEMBER", self._deck.shared.queues, queue),
                ("HEXISTS", keys.tasks, f"index:{task}"),
                ("HEXISTS", self._deck.shared.tasks, task or ""),
            ]
        )
        if not count(is_queue):
            raise Denied(f"there is no queue {queue!r} here; `qdeck queues` lists those that are")
        if task is not None and not count(in_queue) and not count(anywhere):
            raise Denied(
                f"there is no task {task!r} in {queue}; `qdeck tasks` lists those that are"
            )
        return keys
