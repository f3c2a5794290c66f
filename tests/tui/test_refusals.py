"""A door that denies everything alike: each key is refused by the name of what it would do here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from tests.tui.stage import running
from tests.tui.stock import filled
from tests.tui.twin import START, Twin

from qdeck.admin import Action, Pause, Permission, QueueRow, Snapshot, Target
from qdeck.rights import permissions


class Closed(Twin):
    """A twin that denies as the engine does on a read-only door; most queues are paused."""

    def actions(self, target: Target) -> Mapping[Action, Permission]:
        """Return that nothing may be done, and why."""
        return permissions(target, True)

    async def snapshot(self) -> Snapshot:
        """Return the queues, all but one of them paused."""
        found = await super().snapshot()
        assert isinstance(found.queues, tuple)
        queues = tuple(self._paused(queue) for queue in found.queues)
        return replace(found, queues=queues)

    @staticmethod
    def _paused(queue: QueueRow) -> QueueRow:
        return replace(queue, paused=Pause("ana", START) if queue.name != "emails" else None)


def closed() -> Closed:
    """Return a filled twin that denies everything."""
    plain = filled()
    crew = {**plain.crew, "a": replace(plain.crew["a"], state="quiet")}
    return Closed(records=plain.records, crew=crew, read_only=True)


@pytest.mark.parametrize(
    ("view", "row", "key", "said"),
    [
        ("4", "▸─ LATER SCHEDULED", "r", "run now refused"),
        ("4", "▸─ LATER SCHEDULED", "m", "move refused"),
        ("4", "▸─ LATER SCHEDULED", "D", "delete refused"),
        ("6", "SAMPLE F3", "r", "retry refused"),
        ("6", "SAMPLE F3", "e", "patch refused"),
        ("3", "> F3", "x", "cancel refused"),
        ("7", "> host-b", "r", "recover refused"),
        ("7", "> host-b", "Q", "quiet refused"),
        ("7", "host-b", "jQ", "unquiet refused"),
        ("2", "> emails", "p", "pause refused"),
        ("2", "> emails", "jp", "resume refused"),
        ("2", "> emails", "D", "clear refused"),
    ],
)
async def test_a_key_is_refused_by_the_name_of_what_it_would_do(
    view: str, row: str, key: str, said: str
) -> None:
    async with running(closed()) as desk:
        await desk.press(view)
        await desk.until(row)
        await desk.press(*key)
        await desk.until(f"{said}: this door is read-only")
        assert desk.app.sheet is None
