"""Local workers: in this process and as children, how they start, print, stop and end."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.servers import Server
from tests.tui.pty import a_child_environment

from qdeck.deck import Deck
from qdeck.job import Job, State
from qdeck_tui.local import LocalWorker, StartRequest
from qdeck_tui.output import OutputLog
from qdeck_tui.supervisor import LocalWorkers

APP = str(Path(__file__).parent / "programs" / "jobs.py")
THREAD = StartRequest(app="jobs", concurrency=4, kind="thread")
CHILD = StartRequest(app=APP, queues=("default",), concurrency=4, kind="process")


@pytest.fixture
def deck(valkey: Server, prefix: str) -> Iterator[Deck]:
    """The app of the tests on the server of the tests, as imported in this process."""
    source = Path(APP).read_text()
    names: dict[str, object] = {"__name__": "jobs_of_the_test"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REDIS_URL", valkey.url)
        patch.setenv("QUEUE_PREFIX", prefix)
        code = compile(source, APP, "exec", dont_inherit=True)
        exec(code, names)
    found = names["deck"]
    assert isinstance(found, Deck)
    yield found
    found.close_sync()


@pytest.fixture
def workers(deck: Deck, valkey: Server, prefix: str) -> Iterator[LocalWorkers]:
    """A supervisor whose children use the same server; it leaves nothing behind."""
    environ = a_child_environment(REDIS_URL=valkey.url, QUEUE_PREFIX=prefix)
    found = LocalWorkers(environ=environ, decks={"jobs": deck})
    yield found
    found.end("give back")


def eventually(what: Callable[[], bool], name: str, patience: float = 30.0) -> None:
    end = time.monotonic() + patience
    while not what():
        assert time.monotonic() < end, f"no {name}"
        time.sleep(0.02)


def job_of(deck: Deck, job: Job[object]) -> Job[object]:
    found = deck.job_sync(job.id, queue=job.queue)
    assert found is not None
    return found


def running(deck: Deck, job: Job[object]) -> Callable[[], bool]:
    return lambda: job_of(deck, job).state is State.RUNNING


def enqueue(deck: Deck, task: str, **arguments: object) -> Job[object]:
    return deck.enqueue_sync(task, arguments)


def the(workers: LocalWorkers, worker: LocalWorker) -> LocalWorker:
    return next(each for each in workers.workers() if each.name == worker.name)


@pytest.mark.parametrize("request_", [THREAD, CHILD], ids=["in process", "child"])
async def test_a_worker_runs_jobs_and_stops(
    workers: LocalWorkers, deck: Deck, request_: StartRequest
) -> None:
    job = enqueue(deck, "quick", number=1)
    worker = await workers.start(request_)
    assert worker.state == "running"
    assert re.fullmatch(r"\S+:\d+:[0-9a-f]{4}", worker.id)
    assert await asyncio.to_thread(deck.result_sync, job.id, timeout=30) == 2
    await workers.stop(worker.name, 5)
    assert the(workers, worker).state == "stopped"


@pytest.mark.parametrize("request_", [THREAD, CHILD], ids=["in process", "child"])
@pytest.mark.parametrize("task", ["wait", "spin"])
def test_unfinished_jobs_go_back_uncounted(
    workers: LocalWorkers, deck: Deck, request_: StartRequest, task: str
) -> None:
    job = enqueue(deck, task, seconds=20)
    worker = workers.begin(request_)
    eventually(running(deck, job), "running job")
    workers.end("give back")
    found = job_of(deck, job)
    assert (found.state, found.attempt) == (State.PENDING, 0)
    assert the(workers, worker).state == "stopped"


def test_a_job_that_blocks_the_loop_goes_back_too(workers: LocalWorkers, deck: Deck) -> None:
    job = enqueue(deck, "block", seconds=7)
    worker = workers.begin(THREAD)
    eventually(running(deck, job), "running job")
    workers.end("give back")
    assert (job_of(deck, job).state, job_of(deck, job).attempt) == (State.PENDING, 0)
    eventually(lambda: the(workers, worker).state == "stopped", "end of the worker")
    assert job_of(deck, job).state is State.PENDING


def test_finishing_waits_for_what_runs(workers: LocalWorkers, deck: Deck) -> None:
    job = enqueue(deck, "wait", seconds=1)
    workers.begin(THREAD)
    eventually(running(deck, job), "running job")
    workers.end("finish")
    assert job_of(deck, job).state is State.COMPLETED


def test_threads_take_short_turns_only_while_a_worker_runs(workers: LocalWorkers) -> None:
    before = sys.getswitchinterval()
    worker = workers.begin(THREAD)
    assert sys.getswitchinterval() < before
    asyncio.run(workers.stop(worker.name, 1))
    assert sys.getswitchinterval() == before
    assert not [each for each in threading.enumerate() if each.name.startswith("qdeck-local")]


def test_what_a_child_prints_is_its_log(workers: LocalWorkers, deck: Deck) -> None:
    worker = workers.begin(CHILD)
    enqueue(deck, "noisy", word="hello")

    def lines() -> str:
        return "\n".join(line.text for line in workers.log(worker.name))

    eventually(lambda: "child got ''" in lines(), "line of the grandchild")
    assert "printed hello" in lines()
    assert "written hello" in lines()
    assert workers.log("") == ()


def test_a_child_has_a_session_of_its_own_and_no_terminal(workers: LocalWorkers) -> None:
    worker = workers.begin(CHILD)
    child = workers._workers[worker.name]
    pid = getattr(child, "pid", None)
    assert isinstance(pid, int)
    assert os.getsid(pid) == pid


def test_a_worker_that_cannot_start_says_why_in_one_line(workers: LocalWorkers) -> None:
    for request in (
        StartRequest(app="no_such_module_anywhere"),
        StartRequest(app="missing.py", kind="process"),
        StartRequest(app=""),
        StartRequest(app="jobs", concurrency=0),
        StartRequest(app="jobs", queues=("bad name!",)),
        StartRequest(app="jobs", on_exit="leave"),
        StartRequest(app="jobs", env=".env"),
        StartRequest(app=APP, kind="process", env="missing.env"),
        StartRequest(app="jobs", log="missing/w.log"),
        StartRequest(app=APP, kind="process", log="/"),
    ):
        with pytest.raises(ValueError, match=r"^[^\n]{10,300}$"):
            workers.begin(request)
    assert workers.workers() == ()


def test_a_child_has_the_variables_of_its_env_file(
    workers: LocalWorkers, deck: Deck, tmp_path: Path
) -> None:
    file = tmp_path / ".env"
    file.write_text("# of the test\n\nexport SHOP='a b'  \nOTHER=1\n")
    worker = workers.begin(replace(CHILD, env=str(file)))
    job = enqueue(deck, "variable", name="SHOP")
    assert deck.result_sync(job.id, timeout=30) == "a b"
    assert "SHOP" not in os.environ
    assert the(workers, worker).state == "running"


@pytest.mark.parametrize("request_", [THREAD, CHILD], ids=["in process", "child"])
def test_a_log_file_gets_every_line_after_what_it_holds(
    workers: LocalWorkers, deck: Deck, tmp_path: Path, request_: StartRequest
) -> None:
    file = tmp_path / "w.log"
    file.write_text("before\n")
    started = [workers.begin(replace(request_, log=str(file))) for _ in range(2)]
    if request_ is THREAD:
        workers.output.add(["said in this process"])
        wanted = "said in this process"
    else:
        enqueue(deck, "noisy", word="hello")
        wanted = "printed hello"

    def lines() -> list[str]:
        return file.read_text().splitlines()

    eventually(lambda: wanted in lines(), "line in the file")
    assert lines()[0] == "before"
    assert lines().count(wanted) == 1
    logs = "\n".join(line.text for each in started for line in workers.log(each.name))
    assert wanted in logs
    workers.end("give back")
    workers.output.add(["after the end"])
    assert "after the end" not in lines()


def test_a_log_file_that_fails_is_said_in_the_log_and_left(tmp_path: Path) -> None:
    log = OutputLog()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    log.copy_to(str(pipe))
    os.close(reading)
    log.add(["one"])
    log.add(["two"])
    assert [line.text for line in log.after()] == [
        "one",
        f"log to {pipe} ends here: Broken pipe",
        "two",
    ]
    log.leave_file(str(pipe))


HOLDER = """
import os, sys, time
from qdeck_tui.local import StartRequest
from qdeck_tui.output import OutputLog
from qdeck_tui.supervisor import LocalWorkers
workers = LocalWorkers()
workers.begin(StartRequest(app=sys.argv[1], kind="process", on_exit=sys.argv[2]))
pid = workers._workers["local-1"].pid
print(pid, flush=True)
if sys.argv[3] == "leave":
    workers.end("leave")
    sys.exit()
time.sleep(600)
"""


def a_holder(valkey: Server, prefix: str, deck: Deck, on_exit: str, then: str) -> int:
    """Start a process that starts a child worker, wait for its work, and return the child's id."""
    job = enqueue(deck, "quick", number=1)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, APP, on_exit, then],
        env=a_child_environment(REDIS_URL=valkey.url, QUEUE_PREFIX=prefix),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    child = int(process.stdout.readline())
    assert deck.result_sync(job.id, timeout=30) == 2
    if then == "killed":
        process.kill()
    process.wait()
    process.stdout.close()
    return child


def alive(pid: int) -> bool:
    """Return whether a process runs; one that only waits to be collected does not."""
    try:
        os.kill(pid, 0)
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_a_child_ends_when_its_console_is_killed(valkey: Server, prefix: str, deck: Deck) -> None:
    child = a_holder(valkey, prefix, deck, "stop", "killed")
    eventually(lambda: not alive(child), "end of the child")


@pytest.mark.parametrize(("on_exit", "then"), [("leave", "killed"), ("stop", "leave")])
def test_a_child_that_is_left_goes_on(
    valkey: Server, prefix: str, deck: Deck, on_exit: str, then: str
) -> None:
    child = a_holder(valkey, prefix, deck, on_exit, then)
    try:
        job = enqueue(deck, "noisy", word="alone")
        deck.result_sync(job.id, timeout=30)
        assert alive(child)
    finally:
        os.kill(child, signal.SIGTERM)
        eventually(lambda: not alive(child), "end of the child")
