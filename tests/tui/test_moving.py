"""Waiting jobs are moved to another queue: the name is typed, then a question asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import overload

from tests.servers import Server, wait_until
from tests.tui.desk import Desk as Project
from tests.tui.stage import Desk, running
from tests.tui.stock import filled
from tests.tui.twin import Twin

from qdeck.admin import Draft, JobRef, Operation, Outcome, Selection

What = Sequence[JobRef] | Selection


@dataclass
class Mover(Twin):
    """A twin that moves jobs to other queues."""

    asked: list[What] = field(default_factory=list)

    @overload
    async def move_queue(self, what: Selection, queue: str, *, dry_run: bool = False) -> Draft: ...
    @overload
    async def move_queue(
        self, what: Sequence[JobRef], queue: str, *, dry_run: bool = False
    ) -> Outcome: ...
    async def move_queue(self, what: What, queue: str, *, dry_run: bool = False) -> Outcome | Draft:
        """Freeze a selection, move named jobs at once."""
        await self._write("move_queue")
        if isinstance(what, Selection):
            self.asked.append(what)
            return self._freeze("move_queue", what)[0]
        if not dry_run:
            self.asked.append(what)
            for ref in what:
                self.records[ref.id] = replace(self.records[ref.id], ref=JobRef(ref.id, queue))
        return Outcome(f"moved {len(what)} jobs to {queue}", len(what))

    async def advance(self, operation_id: str, queue: str, *, dry_run: bool = False) -> Operation:
        """Handle all ids at once."""
        operation = self.started[operation_id]
        total = operation.total
        self.started[operation_id] = replace(operation, done=total, ok=total, state="done")
        return self.started[operation_id]


def mover(pending: int = 40) -> Mover:
    """Return a filled twin that moves."""
    plain = filled(pending=pending)
    return Mover(records=plain.records, crew=plain.crew)


async def on_pending(desk: Desk) -> None:
    """Open the pending mails."""
    await desk.until("> emails")
    await desk.press("enter")
    await desk.until("JOBS PENDING")
    await desk.press("tab", "tab")
    await desk.until("▸─ JOBS PENDING")


async def test_marked_jobs_go_to_the_queue_that_is_typed() -> None:
    twin = mover()
    async with running(twin) as desk:
        await desk.press("4")
        await desk.until("▸─ LATER SCHEDULED")
        await desk.press("space", "space", "colon", *"move queue")
        await desk.until("Enter: move waiting jobs to another queue")
        await desk.press("enter")
        await desk.until("2 jobs to queue:")
        await desk.press("w", "tab")
        await desk.until("Enter: asks whether to move 2 jobs to webhooks")
        await desk.press("enter")
        text = await desk.until("Move 2 marked jobs to the queue webhooks?")
        assert "from reports 2" in text
        assert "attempts begin anew" in text
        assert "yet: see that it is served" not in text
        assert not twin.asked
        await desk.say_yes()
        await desk.until("moved 2 jobs to webhooks")
    assert [len(what) for what in twin.asked if not isinstance(what, Selection)] == [2]
    assert len(twin.of("scheduled", "webhooks")) == 2


async def test_above_100_the_number_is_typed_and_the_whole_list_is_one_operation() -> None:
    twin = mover(pending=140)
    async with running(twin) as desk:
        await desk.press("2")
        await on_pending(desk)
        await desk.press("a", "M")
        await desk.until("140 jobs to queue:")
        desk.burst("overflow")
        await desk.until("there is no queue overflow yet; Enter asks whether to begin it")
        await desk.press("enter")
        text = await desk.until("type 140 and Enter to go")
        assert "there is no queue overflow yet: see that it is served" in text
        await desk.armed()
        desk.burst("140\r")
        await desk.until("move: 140 of 140 jobs")
    assert twin.asked == [Selection("pending", "emails")]
    assert [each.verb for each in twin.started.values()] == ["move_queue"]


async def test_no_moves_nothing_and_forgets_the_draft() -> None:
    twin = mover()
    before = dict(twin.records)
    async with running(twin) as desk:
        await desk.press("2")
        await on_pending(desk)
        await desk.press("a", "M")
        await desk.until("40 jobs to queue:")
        await desk.press("w", "tab", "enter")
        await desk.until("Move 40 jobs")
        await desk.armed()
        await desk.press("n")
        await desk.until("move to queue: no, nothing was moved")
        await desk.until(lambda text: not twin.drafts)
        await desk.press("M")
        await desk.until("40 jobs to queue:")
        await desk.press("enter")
        await desk.until("no name was typed; nothing was moved")
        # A yes that comes with the name is dropped, and said.
        await desk.press("M")
        await desk.until("40 jobs to queue:")
        desk.burst("webhooks\ryyy")
        await desk.until("typed too early, dropped")
        assert not twin.started
        await desk.press("escape")
    assert twin.records == before
    assert not twin.started


async def test_jobs_that_are_there_already_and_jobs_that_do_not_wait_are_not_moved() -> None:
    twin = mover()
    async with running(twin) as desk:
        await desk.press("4")
        await desk.until("▸─ LATER SCHEDULED")
        await desk.press("M")
        await desk.until("1 job to queue:")
        desk.burst("reports\r")
        await desk.until("nothing to move: the jobs are in reports already")
        await desk.press("escape", "3")
        await desk.until("▸─ RUNNING")
        await desk.press("M")
        await desk.pilot.pause()
        assert "to queue:" not in desk.text()
    assert twin.asked == []


async def test_a_door_that_cannot_move_says_so_and_a_read_only_one_asks_nothing() -> None:
    async with running(filled()) as desk:
        await desk.press("4")
        await desk.until("▸─ LATER SCHEDULED")
        await desk.press("M")
        await desk.until("1 job to queue:")
        desk.burst("emails\r")
        await desk.until("moving to another queue is unknown here")
    async with running(mover(), read_only=True) as desk:
        await desk.press("4")
        await desk.until("▸─ LATER SCHEDULED")
        await desk.press("M")
        await desk.until("move to queue refused: this console is read-only")


def test_jobs_change_their_queue_on_a_real_server(valkey: Server, tmp_path: Path) -> None:
    project = Project(valkey, tmp_path)
    jobs = [project.enqueue("quick", "alpha", number=number) for number in range(3)]
    project.enqueue("quick", "beta", number=9)
    with project.opened() as pty:
        pty.press("2")
        pty.wait_for("> alpha")
        pty.press("enter")
        pty.wait_for("JOBS PENDING 3")
        pty.press("tab", "tab", "space", "M")
        pty.wait_for("1 job to queue:")
        pty.press("b", "tab")
        pty.wait_for("Enter: asks whether to move 1 job to beta")
        pty.press("enter")
        pty.wait_to_answer("Move 1 marked job to the queue beta?")
        pty.press("y")
        pty.wait_for("moved 1 job to beta")
        wait_until(lambda: queues(project) == {"alpha": 2, "beta": 2})
        pty.wait_for("JOBS PENDING 2")
        pty.press("a", "M")
        pty.wait_for("2 jobs to queue:")
        pty.press("b", "tab", "enter")
        pty.wait_to_answer("Move 2 jobs")
        pty.press("y")
        pty.wait_for("move: 2 of 2 jobs")
    assert queues(project) == {"alpha": 0, "beta": 4}
    verbs = [row.verb for row in project.operate(lambda admin: admin.operations())]
    assert verbs == ["move_queue"]
    assert len(jobs) == 3
    project.close()


def queues(project: Project) -> dict[str, int]:
    """Return how many jobs are pending in each queue."""
    found = project.operate(lambda admin: admin.snapshot()).queues
    assert isinstance(found, tuple)
    return {row.name: row.pending or 0 for row in found}
