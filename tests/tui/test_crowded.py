"""What others do at the same time: rows that arrive by the hundred, a second operator with the same
in mind, and a state with a million jobs.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.servers import Server
from tests.tui.desk import Desk
from tests.tui.pty import Pty

from qdeck.job import State


@pytest.fixture
def desk(valkey: Server, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(valkey, tmp_path)
    yield made
    made.close()


@contextmanager
def flood(desk: Desk, queue: str) -> Iterator[list[int]]:
    """Let 200 jobs a second arrive before all others; the list says how many at each step."""
    arrived: list[int] = []
    end = threading.Event()

    def pour() -> None:
        while not end.wait(0.1):
            calls = [desk.call("quick", queue, number=number) for number in range(20)]
            desk.deck.enqueue_many_sync(calls)
            arrived.append(len(calls))

    thread = threading.Thread(target=pour)
    thread.start()
    try:
        yield arrived
    finally:
        end.set()
        thread.join()


def chosen(pty: Pty) -> tuple[int, str]:
    """Return the row of the screen on which the cursor is, and the job there."""
    rows = pty.text.split("\n")
    at = max(at for at, row in enumerate(rows) if row.startswith(">"))
    return at, rows[at][2:].lstrip("* ").split()[0]


def pending(pty: Pty) -> int:
    """Return how many jobs the list says there are."""
    found = re.search(r"JOBS PENDING ([\d,]+)", pty.text)
    return int(found[1].replace(",", "")) if found else 0


def test_the_cursor_and_the_marks_stay_on_their_jobs_while_200_a_second_arrive(desk: Desk) -> None:
    jobs = [desk.enqueue("quick", "alpha", number=number) for number in range(60)]
    with desk.opened() as pty:
        pty.press("2")
        pty.wait_for("> alpha")
        pty.press("enter")
        pty.wait(lambda: pending(pty) == 60, "list of jobs")
        pty.press("tab", "tab", "down", "down", "down", "space", "space", "down")
        pty.wait_for("2 marked")
        pty.wait(lambda: chosen(pty)[1] == jobs[6].id[-8:], "cursor on the seventh job")
        place = chosen(pty)
        with flood(desk, "alpha") as arrived:
            seen = {pending(pty)}
            while len(arrived) < 25 or len(seen) < 3:
                pty.pump()
                if pending(pty):
                    seen.add(pending(pty))
                    assert chosen(pty) == place, pty.text
            pty.press("x")
            pty.wait_to_answer("Cancel 2 marked jobs?")
            pty.press("y")
            pty.wait(lambda: desk.state(jobs[4]) is State.CANCELLED, "cancelled job")
        states = [desk.state(job) for job in jobs]
        cancelled = [at for at, state in enumerate(states) if state is State.CANCELLED]
        assert cancelled == [3, 4]


#: What the one is told, and what the other one.
TOLD = ("retry: 80 of 80 jobs", "retry failed: the operation is running already over the same jobs")


def test_two_operators_who_do_the_same_do_it_once(desk: Desk) -> None:
    dead = [desk.enqueue("fail", code="currency") for _ in range(80)]
    desk.work("default")
    with desk.opened() as one, desk.opened() as two:
        for pty in (one, two):
            pty.press("6")
            pty.wait_for("80 DEAD in 1 group")
        desk.workers.end("give back")
        for pty in (one, two):
            pty.press("r")
            pty.wait_to_answer("Retry 80 dead jobs of fail")
        one.press("y")
        two.press("y")
        told: dict[Pty, str] = {}

        def both_told() -> bool:
            for pty in (one, two):
                pty.pump()
                if said := next((words for words in TOLD if words in pty.text), None):
                    told[pty] = said
            return len(told) == 2

        one.wait(both_told, "what came of it on both screens")
        assert sorted(told.values()) == sorted(TOLD)
        assert {desk.state(job) for job in dead} == {State.PENDING}
        (found,) = desk.operate(lambda admin: admin.operations())
        assert (found.state, found.ok, found.skipped) == ("done", 80, 0)


MILLION = 1_000_000
FILL = """
for at = ARGV[1], ARGV[2] do
  redis.call('ZADD', KEYS[1], at, string.format('01J8F3%020d', at))
end
"""


def memory(pid: int) -> int:
    """Return the bytes of memory that a process holds."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def test_a_million_jobs_in_one_state_are_listed_from_end_to_end(desk: Desk, valkey: Server) -> None:
    desk.enqueue("quick", "alpha", number=1)
    key = desk.deck.keys("alpha").completed
    with valkey.client() as client:
        fill = client.register_script(FILL)
        for start in range(1, MILLION, 10_000):
            fill([key], [start, start + 9_999])
        try:
            with desk.opened() as pty:
                pty.press("2")
                pty.wait_for("> alpha")
                pty.press("enter")
                pty.wait_for("JOBS PENDING 1")
                pty.press("]", "]", "]", "]")
                pty.wait_for("COMPLETED 1,000,000")
                pty.press("tab", "tab", "G")
                pty.wait_for("of 1,000,000")
                last = f"{MILLION:020d}"[-8:]
                pty.wait_for(f"> {last}")
                pty.press("g")
                pty.wait_for("1-")
                assert pty.child.pid is not None
                assert memory(pty.child.pid) <= 100 << 20
                pty.press("escape", "escape", "q")
                assert pty.ended() == 0
        finally:
            client.unlink(key)
