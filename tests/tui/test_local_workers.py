"""Local workers in the console: started, looked into, scaled, made quiet, and asked about at the
end.
"""

from __future__ import annotations

from collections.abc import Iterator
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


THROWN = ("SystemExit", "KeyboardInterrupt", "GeneratorExit", "BaseException", "RecursionError")


def sides(pty: Pty) -> str:
    """Return the rows of the screen in one line, without what stands around them."""
    return " ".join(row.strip(" │") for row in pty.text.split("\n"))


def worker(pty: Pty) -> str:
    """Return the row of the worker under the cursor."""
    return next((row for row in pty.text.split("\n") if row.startswith("> ")), "")


@pytest.mark.parametrize("kind", ["in this process", "child process"])
def test_a_local_worker_is_scaled_and_made_quiet_and_its_job_goes_back_at_the_end(
    desk: Desk, kind: str
) -> None:
    thrown = [desk.enqueue("throw", kind=name) for name in THROWN]
    noisy = desk.enqueue("noisy", word="hello")
    with desk.opened() as pty:
        pty.press("7")
        pty.wait_for("no worker is alive")
        pty.send("n\x18\x18")
        pty.wait_for("Ctrl+X was typed too early, dropped")
        pty.wait(lambda: "calls os._exit, crashes the interpreter" in sides(pty), "the risks")
        assert desk.operate(lambda admin: admin.workers()) == ()
        pty.press("tab", "tab", "2")
        if kind == "child process":
            pty.press("tab", "tab", "space")
            pty.wait(lambda: "os._exit" not in pty.text, "no risk for the console")
        pty.wait_for(f"(o) {kind}")
        pty.press("ctrl+x")
        pty.wait_for("OUTPUT of local-1")
        pty.wait_for("printed hello")
        pty.wait(lambda: desk.state(noisy) is State.COMPLETED, "the job that prints")
        pty.wait(lambda: all(desk.state(job) is State.DEAD for job in thrown), "dead jobs")
        pty.wait(lambda: "0/2" in worker(pty), "two free slots")
        pty.press("c")
        pty.wait_for("slots:")
        pty.press("ctrl+u", "3")
        pty.wait_for("runs up to 3 jobs at a time")
        pty.press("enter")
        pty.wait(lambda: "0/3" in worker(pty), "three free slots")
        pty.press("r")
        pty.wait_for("recover refused: it is alive")
        pty.press("Q")
        pty.wait(lambda: " quiet " in worker(pty), "quiet worker")
        held = desk.enqueue("wait", seconds=600)
        pty.press("n")
        pty.wait_for("START A LOCAL WORKER")
        pty.wait(lambda: f"(o) {kind}" in pty.text and "[2" in pty.text, "what was entered last")
        pty.press("escape")
        pty.wait_gone("START A LOCAL WORKER")
        assert desk.state(held) is State.PENDING
        pty.press("Q")
        pty.wait(lambda: desk.state(held) is State.RUNNING, "running job")
        pty.wait(lambda: "1/3" in worker(pty), "one slot in use")
        pty.press("escape", "1")
        pty.wait_for("VERDICT")
        pty.send("qb")
        pty.wait_for("1 local worker with 1 running job")
        pty.rest(0.3)
        assert ("leave child processes running" in pty.text) == (kind == "child process")
        pty.press("b")
        assert pty.ended() == 0
        assert pty.modes_left_on() == []
    found = desk.found(held)
    assert (found.state, found.attempt) == (State.PENDING, 0)
