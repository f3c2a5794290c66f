"""The console end to end: in a real pseudo-terminal, on a real server, with real jobs."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.servers import Server
from tests.tui.desk import Desk
from tests.tui.pty import Pty

from qdeck.job import State

SIZES = ((80, 24), (120, 40))
sized = pytest.mark.parametrize("size", SIZES, ids=["80x24", "120x40"])


@pytest.fixture
def desk(valkey: Server, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(valkey, tmp_path)
    yield made
    made.close()


@sized
def test_open_move_filter_and_open_a_job(desk: Desk, size: tuple[int, int]) -> None:
    jobs = [desk.enqueue("quick", queue="alpha", number=number) for number in range(5)]
    desk.enqueue("quick", queue="beta", number=9)
    with desk.opened(size=size) as pty:
        pty.wait_for("no worker runs")
        pty.press("2")
        pty.wait_for("IN/M")
        pty.wait_for("> alpha")
        pty.press("down")
        pty.wait_for("> beta")
        pty.press("/", "alp", "enter")
        pty.wait_for("filter: alp")
        pty.wait_gone("beta")
        pty.press("escape")
        pty.wait_for("beta")
        pty.press("g", "enter")
        pty.wait_for("Queues > alpha")
        pty.wait_for('{"number":3}')
        pty.press("tab")
        pty.wait_gone("▸─ TASKS")
        if "▸─ ERROR GROUPS" in pty.text:
            pty.press("tab")
        pty.wait_for("▸─ JOBS PENDING 5")
        pty.press("down")
        pty.wait_for("> " + jobs[1].id[-8:])
        pty.press("enter")
        pty.wait_for(f"JOB {jobs[1].id}")
        pty.wait_for("PENDING")
        pty.press("escape")
        pty.wait_for("Queues > alpha")
        pty.press("escape", "q")
        assert pty.ended() == 0
        assert pty.modes_left_on() == []


def _lines_seen(text: str) -> list[int]:
    """Return the numbers of the log's lines on a screen."""
    return [int(number) for number in re.findall(r"line (\d+) of the log", text)]


@sized
def test_a_running_jobs_log_is_followed(desk: Desk, size: tuple[int, int]) -> None:
    job = desk.enqueue("chatter", lines=3_000, pause=0.03)
    desk.work("default")
    with desk.opened(size=size) as pty:
        pty.press("3")
        pty.wait_for("▸─ RUNNING ──")
        pty.wait_for("> " + job.id[-8:])
        pty.press("enter")
        pty.wait_for("follow ON")
        pty.wait_for("of the log")
        first = _lines_seen(pty.text)[0]
        pty.wait(lambda: min(_lines_seen(pty.text), default=0) > first, "later lines")
        pty.press("g")
        pty.wait_for("line 0 of the log")
        pty.press("G")
        pty.wait_gone("line 0 of the log")
        pty.press("/", "line 1", "enter")
        pty.wait_for("find")
        pty.press("escape", "escape", "q")
        assert pty.ended() == 0


@sized
def test_a_dead_group_is_retried(desk: Desk, size: tuple[int, int]) -> None:
    dead = [desk.enqueue("fail", code="currency") for _ in range(4)]
    other = desk.enqueue("hostile", text="another")
    desk.work("default")
    with desk.opened(size=size) as pty:
        pty.press("6")
        pty.wait_for("5 DEAD in 2 groups")
        pty.wait_for("KeyError: 'currency'")
        pty.press("r")
        answer(pty, "Retry 4 dead jobs of fail", "n")
        assert {desk.found(job).state for job in dead} == {State.DEAD}
        began = [desk.found(job).started_at for job in dead]
        pty.press("r")
        answer(pty, "Retry 4 dead jobs of fail")
        pty.wait_for("retry: 4 of 4 jobs")

        def again() -> bool:
            found = [desk.found(job) for job in dead]
            return all(
                job.state is State.DEAD and job.started_at != before
                for job, before in zip(found, began, strict=True)
            )

        pty.wait(again, "second round of the four")
        assert desk.state(other) is State.DEAD


@sized
@pytest.mark.parametrize("kind", ["in this process", "child process"])
def test_a_local_worker_is_started_and_stopped(
    desk: Desk, size: tuple[int, int], kind: str
) -> None:
    job = desk.enqueue("noisy", word="hello")
    with desk.opened(size=size) as pty:
        pty.press("7")
        pty.wait_for("no worker is alive")
        pty.press("n")
        pty.wait_for("START A LOCAL WORKER")
        pty.wait_for("jobs.py")
        if kind == "child process":
            pty.press("tab", "tab", "tab", "tab", "space")
            pty.wait_for("(o) child process")
        pty.press("ctrl+x")
        pty.wait_for("child got ''")
        pty.wait_for("running")
        assert "printed hello" in pty.text
        assert desk.deck.result_sync(job.id, timeout=30) is None
        pty.press("X")
        answer(pty, "Stop worker")
        pty.wait_for("stopped")


@sized
def test_every_size_is_drawn_and_a_small_one_said(desk: Desk, size: tuple[int, int]) -> None:
    desk.enqueue("quick", queue="alpha", number=1)
    with desk.opened(size=size) as pty:
        pty.wait_for("alpha")
        for columns, rows in ((200, 60), (80, 24), (60, 16)):
            pty.resize(columns, rows)
            pty.wait(
                lambda rows=rows: (  # type: ignore[misc]
                    "qdeck" in pty.text.split("\n")[0]
                    and "Enter" in pty.text.split("\n")[rows - 1]
                    and "alpha" in pty.text
                ),
                f"whole screen at {columns}x{rows}",
            )
        pty.resize(40, 10)
        pty.wait_for("too small")
        pty.resize(*size)
        pty.wait_for("alpha")
        pty.wait_gone("too small")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
@pytest.mark.parametrize("task", ["wait", "spin", "block"])
def test_a_signal_gives_jobs_back_and_restores_the_terminal(
    desk: Desk, number: int, code: int, task: str
) -> None:
    job = desk.enqueue(task, seconds=60)
    with desk.opened() as pty:
        start_here(pty)
        pty.wait(lambda: desk.state(job) is State.RUNNING, "running job")
        pty.signal(number)
        assert pty.ended() == code
        assert pty.modes_left_on() == []
        found = desk.found(job)
        assert (found.state, found.attempt) == (State.PENDING, 0)


def test_ctrl_c_twice_gives_jobs_back(desk: Desk) -> None:
    job = desk.enqueue("wait", seconds=60)
    with desk.opened() as pty:
        start_here(pty)
        pty.wait(lambda: desk.state(job) is State.RUNNING, "running job")
        pty.press("ctrl+c")
        pty.wait_for("Ctrl+C again")
        pty.press("ctrl+c")
        assert pty.ended() == 130
        assert pty.modes_left_on() == []
        found = desk.found(job)
        assert (found.state, found.attempt) == (State.PENDING, 0)


def test_a_terminal_that_goes_away_gives_jobs_back(desk: Desk) -> None:
    job = desk.enqueue("wait", seconds=60)
    with desk.opened() as pty:
        start_here(pty)
        pty.wait(lambda: desk.state(job) is State.RUNNING, "running job")
        assert pty.hang_up() == 129
        found = desk.found(job)
        assert (found.state, found.attempt) == (State.PENDING, 0)


@pytest.mark.parametrize("burst", ["ry", "DDyy", "ryryry", "D4\r", ":retry\ry"])
def test_keys_typed_ahead_of_a_dialog_never_answer_it(desk: Desk, burst: str) -> None:
    dead = [desk.enqueue("fail", code="currency") for _ in range(4)]
    desk.work("default")
    with desk.opened() as pty:
        pty.press("6")
        pty.wait_for("4 DEAD in 1 group")
        began = [desk.found(job).started_at for job in dead]
        pty.send(burst)
        pty.wait_for("y yes")
        pty.press("escape")
        pty.wait_gone("y yes")
        found = [desk.found(job) for job in dead]
        assert [job.started_at for job in found] == began
        assert {job.state for job in found} == {State.DEAD}


@sized
def test_hostile_text_is_shown_and_never_obeyed(desk: Desk, size: tuple[int, int]) -> None:
    text = "\x1b]52;c;cHduZWQ=\x07\x1b[2J\x1b[31m[red]boo[/] 漢字\u202e\x9b1m " + "x" * 100_000
    job = desk.enqueue("hostile", text=text)
    desk.work("default")
    with desk.opened(size=size) as pty:
        pty.wait(lambda: desk.state(job) is State.DEAD, "dead job")
        pty.press("6")
        pty.wait_for("1 DEAD in 1 group")
        pty.wait_for("[red]boo[/]")
        pty.wait_for("漢")
        pty.press("enter")
        pty.wait_for("TRY ARGS")
        pty.wait_for("> " + job.id[-8:])
        pty.press("enter")
        pty.wait_for(f"JOB {job.id}")
        pty.wait(lambda: " WARN " in pty.text and "#1 " in pty.text, "its log")
        assert "\x1b]52" not in pty.raw
        assert "\x9b" not in pty.raw
        assert "\u202e" not in pty.raw
        assert pty.raw.count("\x1b[2J") == 0
        pty.wait_for("qdeck")


@sized
def test_without_colour_and_with_ascii_only_everything_is_still_there(
    desk: Desk, size: tuple[int, int]
) -> None:
    desk.enqueue("quick", queue="alpha", number=1)
    with desk.opened("--ascii", size=size, NO_COLOR="1") as pty:
        pty.wait_for("> alpha")
        codes = set(";".join(re.findall(r"\x1b\[([0-9;]*)m", pty.raw)).split(";"))
        assert codes <= {"", "0", "1", "4", "7"}
        pty.press("2", "7", "6", "1")
        pty.wait_for("VERDICT")
        assert {char for char in pty.raw if not char.isascii()} == set()


def test_plain_shows_the_terminals_cursor_on_the_selected_row(desk: Desk) -> None:
    desk.enqueue("quick", queue="alpha", number=1)
    desk.enqueue("quick", queue="beta", number=1)
    with desk.opened("--plain") as pty:
        pty.press("2")
        pty.wait_for("IN/M")
        pty.wait_for("beta")
        first = min(pty.row_of("alpha"), pty.row_of("beta"))
        for key, row in (("G", first + 1), ("g", first)):
            pty.press(key)
            pty.wait(lambda row=row: pty.screen.cursor.y == row, f"cursor on row {row}")  # type: ignore[misc]
            assert pty.text.split("\n")[row].startswith("> ")
        assert not pty.screen.cursor.hidden


def test_a_read_only_console_changes_nothing(desk: Desk) -> None:
    desk.enqueue("quick", queue="alpha", number=1)
    with desk.opened("--read-only") as pty:
        pty.wait_for("> alpha")
        assert " ro " in pty.text.split("\n")[0]
        pty.press("p")
        pty.wait_for("read-only")
        pty.press("q")
        assert pty.ended() == 0


def test_a_chosen_theme_is_kept(desk: Desk) -> None:
    with desk.opened() as pty:
        pty.press(":", "theme light", "enter")
        config = desk.folder / "config" / "qdeck" / "config.toml"
        pty.wait(lambda: config.is_file() and "light" in config.read_text(), "kept theme")
        pty.press("q")
        assert pty.ended() == 0


def answer(pty: Pty, text: str, key: str = "y") -> None:
    """Answer the dialog with a text, once it takes an answer."""
    pty.wait_to_answer(text)
    pty.press(key)
    pty.wait_gone(text)


def start_here(pty: Pty) -> None:
    """Start a worker in the console's own process."""
    pty.press("7")
    pty.wait_for("no worker is alive")
    pty.press("n")
    pty.wait_for("START A LOCAL WORKER")
    pty.press("ctrl+x")
    pty.wait_gone("START A LOCAL WORKER")
