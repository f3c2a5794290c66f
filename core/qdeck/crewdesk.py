"""The verbs about workers: quiet, unquiet, stop, slots, stack, and the return of what a lost one
held.

Mixed into `Operator`. A worker reads its commands within its next beat.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from qdeck import ledger
from qdeck.admin import AuditRow, Denied, Outcome, WorkerRow
from qdeck.crew import read_workers
from qdeck.deck import Deck
from qdeck.journal import name_of
from qdeck.keys import QueueKeys
from qdeck.ledger import Act, Entry
from qdeck.reader import Reader, at_ms, items, text

__all__ = ["CrewDesk"]

#: Slots that a worker can be asked for at most.
_MOST_SLOTS = 10_000


class CrewDesk:
    """The verbs about workers; `Operator` brings the reader and says who acts."""

    reader: Reader
    _deck: Deck
    _actor: str

    def _write(self, what: str) -> None:
        raise NotImplementedError

    def _keys(self, queue: str) -> QueueKeys:
        raise NotImplementedError

    async def quiet(self, worker: str, *, dry_run: bool = False) -> Outcome:
        """Ask a worker to claim nothing more."""
        undo = {"do": "worker", "verb": "unquiet", "line": "unquiet", "group": "quiet"}
        return await self._ask(worker, "quiet", "to claim nothing more", dry_run, undo)

    async def unquiet(self, worker: str, *, dry_run: bool = False) -> Outcome:
        """Ask a quiet worker to claim again."""
        undo = {"do": "worker", "verb": "quiet", "line": "quiet", "group": "quiet"}
        return await self._ask(worker, "unquiet", "to claim again", dry_run, undo)

    async def stop(self, worker: str, *, dry_run: bool = False) -> Outcome:
        """Ask a worker to finish within its grace and exit."""
        return await self._ask(worker, "stop", "to finish and exit", dry_run)

    async def slots(self, worker: str, count: int, *, dry_run: bool = False) -> Outcome:
        """Ask a worker to run up to so many jobs at a time."""
        self._write("slots")
        if not 1 <= count <= _MOST_SLOTS:
            raise Denied(f"{count} slots are not usable; give 1 to {_MOST_SLOTS:,}")
        row = await self._row(worker)
        undo = None
        if row.concurrency is not None:
            undo = {"do": "worker", "verb": "slots", "line": f"slots {row.concurrency}"}
        said = f"to run up to {count} jobs at a time"
        return await self._ask(worker, "slots", said, dry_run, undo, line=f"slots {count}")

    async def stack(self, worker: str, *, dry_run: bool = False) -> Outcome:
        """Ask a worker where it stands; it writes that to its log and its record."""
        return await self._ask(worker, "stack", "where it stands", dry_run)

    async def stack_of(self, worker: str) -> tuple[datetime | None, str]:
        """Return when a worker last said where it stood, and what it said (empty: never)."""
        key = self._deck.shared.worker(worker)
        at, said = items(await self.reader.one("HMGET", key, "stack_at", "stack")) or (None, None)
        return at_ms(at), text(said)

    async def _row(self, worker: str) -> WorkerRow:
        found = next((row for row in await read_workers(self.reader) if row.id == worker), None)
        if found is None:
            raise Denied(f"there is no worker {worker!r} any more; nothing was asked")
        return found

    async def _ask(
        self,
        worker: str,
        verb: str,
        said: str,
        dry_run: bool,
        undo: Mapping[str, Any] | None = None,
        *,
        line: str = "",
        of: str = "",
        mark: str = "",
    ) -> Outcome:
        self._write(verb)
        shared = self._deck.shared
        if dry_run:
            if not await self.reader.one("EXISTS", shared.worker(worker)):
                raise Denied(f"there is no worker {worker!r} any more")
            return Outcome(f"would have asked {worker} {said}", 1)
        act, group = Act(self._actor, f"worker {worker}", of, mark), (undo or {}).get("group", "")
        command = ledger.command(
            shared, worker, line or verb, verb, f"asked {said}", act, undo, group
        )
        asked, entry = ledger.read_act(await self.reader.run(command))
        if asked < 0:
            raise Denied(f"{worker} was asked for something else since; nothing was asked")
        if not asked:
            raise Denied(f"there is no worker {worker!r} any more; nothing was asked")
        return Outcome(f"asked {worker} {said}", 1, entry=name_of(entry, ""))

    async def _undo_worker(self, row: AuditRow, entry: Entry, dry_run: bool) -> Outcome:
        undo = entry.undo
        worker, verb, line = (str(undo.get(name) or "") for name in ("worker", "verb", "line"))
        group, said = str(undo.get("group") or ""), f"to take back: {line}"
        back: dict[str, Any] | None = None
        if group:
            back = {"do": "worker", "verb": row.verb, "line": row.verb, "group": group}
        elif verb == "slots":
            now = (await self._row(worker)).concurrency
            back = None if now is None else {"do": "worker", "verb": verb, "line": f"slots {now}"}
        mark = str(undo.get("mark") or "")
        return await self._ask(worker, verb, said, dry_run, back, line=line, of=entry.id, mark=mark)
