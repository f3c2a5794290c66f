"""Handlers that misbehave: each ends with its reason on record, and the worker loses nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.core.apps import crunch
from tests.core.serving import check_sets, eventually, finished, log_of, new_deck, serving, state_of
from tests.servers import Server

import qdeck
from qdeck import Context, Deck, State


class Unspeakable(Exception):
    """Its message cannot be read."""

    def __str__(self) -> str:
        raise ZeroDivisionError


class Unquittable(Exception):
    """Its message ends the process that reads it."""

    def __str__(self) -> str:
        raise SystemExit(9)


RAISED: dict[str, BaseException] = {
    "BaseException": BaseException("base"),
    "SystemExit": SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt(),
    "StopIteration": StopIteration("stop"),
    "StopAsyncIteration": StopAsyncIteration(),
    "GeneratorExit": GeneratorExit(),
    "CancelledError": asyncio.CancelledError("mine"),
    "TimeoutError": TimeoutError(),
    "Unspeakable": Unspeakable(),
    "Unquittable": Unquittable(),
    "UnicodeError": UnicodeError("bad \udcff \x00 name"),
    "ExceptionGroup": ExceptionGroup("many", [ValueError(1), KeyError(2)]),
    "InvalidPayload": qdeck.InvalidPayload("of another task"),
    "MemoryError": MemoryError("x" * 10_000_000),
    "RecursionError": RecursionError(),
}


async def test_whatever_a_handler_raises_its_job_ends_dead(deck: Deck, healthy: Any) -> None:
    @deck.task(max_retries=1)
    async def bad(kind: str) -> None:
        raise RAISED[kind]

    @deck.task(max_retries=1)
    def worse(kind: str) -> None:
        raise RAISED[kind]

    async with serving(deck):
        jobs = {
            (task.name, kind): await task.enqueue(kind) for kind in RAISED for task in (bad, worse)
        }
        for (task, kind), job in jobs.items():
            done = await finished(deck, job)
            assert (done.state, done.attempt) == (State.DEAD, 2), (task, kind)
            assert done.error is not None
            expected = "RuntimeError" if kind == "StopIteration" else kind
            assert done.error.type == expected
            assert len(done.error.message) <= 2000
            assert len(done.error.traceback.encode()) <= 8192
        await healthy()


async def test_results_that_cannot_be_kept_fail_with_that_reason(deck: Deck) -> None:
    values: dict[str, Any] = {
        "set of complex": {1j},
        "surrogate": "\udcff",
        "object": object(),
        "too deep": None,
        "large": "x" * 300_000,
    }
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    values["too deep"] = deep

    @deck.task(max_retries=0)
    async def give(which: str) -> Any:
        return values[which]

    async with serving(deck):
        for which in values:
            done = await finished(deck, await give.enqueue(which))
            assert done.state is State.DEAD, which
            assert done.error is not None
            assert done.error.type == "InvalidResult"
        assert done.error is not None
        assert "262144" in done.error.message
    while deep:
        deep = deep[0]


async def test_binary_output_and_100000_lines_stay_within_the_logs_caps(
    deck: Deck, healthy: Any
) -> None:
    @deck.task
    def shout(ctx: Context) -> None:
        sys.stdout.buffer.write(b"\x00\xff\xfe binary\n")
        sys.stdout.write("lone \udcff surrogate\n")
        ctx.progress(10, "lone \udcff")
        ctx.log.info("lone \udcff %s", "in a log")
        ctx.log.info("wrong %d %d", 1)
        ctx.log.info("long " + "y" * 100_000)
        for number in range(100_000):
            ctx.log.info("line %d", number)

    logging.getLogger("qdeck.job.shout").propagate = True
    before = logging.raiseExceptions
    logging.raiseExceptions = False
    try:
        async with serving(deck):
            job = await shout.enqueue()
            done = await finished(deck, job)
            await healthy()
    finally:
        logging.raiseExceptions = before
    assert done.state is State.COMPLETED
    assert done.message == "lone ?"
    texts = [text for _, text in await log_of(deck, job)]
    assert len(texts) <= 2000
    assert texts[-1] == "line 99999"
    assert max(len(text) for text in texts) <= 8192


async def test_an_unknown_task_is_given_back_until_somebody_knows_it(
    valkey: Server, prefix: str, deck: Deck
) -> None:
    job = await deck.enqueue("later", {"n": 2})
    async with new_deck(valkey.url, prefix) as old, serving(old, "default"):

        async def returned() -> bool:
            return await state_of(deck, job) is State.RETRYING

        await eventually(returned)
        found = await deck.job(job.id)
        assert found is not None
        assert found.attempt == 0

        @old.task(name="later")
        async def later(n: int) -> int:
            return n

        assert await deck.result(job.id, timeout=30) == 2
    found = await deck.job(job.id)
    assert found is not None
    assert found.attempt == 1


async def test_an_unknown_task_is_dead_at_once_where_the_grace_is_0(
    valkey: Server, prefix: str
) -> None:
    async with new_deck(valkey.url, prefix, unknown_task_grace=0) as deck:
        job = await deck.enqueue("nobody", {})
        async with serving(deck, "default"):
            done = await finished(deck, job)
    assert done.state is State.DEAD
    assert done.error is not None
    assert done.error.type == "UnknownTask"
    assert "nobody" in done.error.message


async def test_arguments_that_do_not_fit_are_refused_here_and_dead_where_they_are_run(
    valkey: Server, prefix: str, deck: Deck
) -> None:
    ran = []

    @deck.task(max_retries=5)
    async def add(a: int) -> None:
        ran.append(a)

    with pytest.raises(qdeck.InvalidPayload, match="'a'"):
        await add.enqueue("x")  # type: ignore[arg-type]
    with pytest.raises(qdeck.InvalidPayload, match="1048576"):
        await deck.enqueue("other", {"blob": "x" * (2 << 20)})
    for name in ("", "a b", "ä", "x" * 101, "a/b", "a:b"):
        with pytest.raises(qdeck.SettingsError):
            await add.options(queue=name).enqueue(1)
        with pytest.raises(qdeck.SettingsError):
            deck.worker([name])
    async with new_deck(valkey.url, prefix) as producer:
        job = await producer.enqueue("add", {"a": "x"})
        more = await producer.enqueue("add", {"a": 1, "b": 2})
    async with serving(deck):
        done = await finished(deck, job)
        assert (done.state, done.attempt) == (State.DEAD, 1)
        assert done.error is not None
        assert done.error.type == "InvalidPayload"
        assert done.payload == {"a": "x"}
        await finished(deck, more)
    assert ran in ([], [1])


async def test_records_that_are_garbage_are_dead_with_that_reason(deck: Deck, healthy: Any) -> None:
    @deck.task
    async def note(word: str) -> None: ...

    keys = deck.keys("default")
    jobs = [await note.enqueue(word) for word in ("a", "b", "c", "d", "e")]
    raw = await deck.call("GET", keys.job(jobs[0].id))
    await deck.call("SET", keys.job(jobs[0].id), b"\xff\xfe garbage")
    await deck.call("SET", keys.job(jobs[1].id), b"")
    await deck.call("SET", keys.job(jobs[2].id), raw.replace(b'{"word":"a"}', b'{"word"; a  '))
    await deck.call("SET", keys.run(jobs[3].id), "not a hash")
    await deck.call("DEL", keys.job(jobs[4].id))
    async with serving(deck):
        done = [await finished(deck, job) for job in jobs]
        await healthy()
    assert [job.state for job in done[:3]] == [State.DEAD] * 3
    assert done[2].error is not None
    assert done[2].error.type == "InvalidPayload"
    assert done[4].state is State.DEAD
    await deck.call("SET", keys.job(jobs[4].id), raw)


async def test_a_queue_whose_key_is_something_else_stops_no_other_queue(
    deck: Deck, caplog: pytest.LogCaptureFixture
) -> None:
    @deck.task
    async def note() -> str:
        return "fine"

    await deck.call("SET", deck.keys("broken").lease, "mine")
    async with serving(deck, "broken", "default"):
        job = await note.enqueue()
        assert await deck.result(job.id, timeout=30) == "fine"
        assert "something else uses this key" in caplog.text
        await deck.call("DEL", deck.keys("broken").lease)
        job = await note.options(queue="broken").enqueue()
        assert await deck.result(job.id, timeout=30) == "fine"


async def test_a_handler_that_forks_and_comes_back_runs_on_once(deck: Deck, healthy: Any) -> None:
    @deck.task
    async def fork() -> int:
        child = os.fork()
        if child:
            os.waitpid(child, 0)  # noqa: ASYNC222
        return child

    @deck.task
    def fork_too() -> int:
        child = os.fork()
        if child:
            os.waitpid(child, 0)
        return child

    @deck.task(max_retries=0)
    async def fork_and_raise() -> int:
        child = os.fork()
        if child:
            os.waitpid(child, 0)  # noqa: ASYNC222
            return child
        raise SystemExit(4)

    async with serving(deck):
        for task in (fork, fork_too, fork_and_raise):
            job = await task.enqueue()
            assert await deck.result(job.id, timeout=30) > 0
            assert (await finished(deck, job)).attempt == 1
        await healthy()


async def test_a_task_that_a_handler_leaks_disturbs_nothing(deck: Deck, healthy: Any) -> None:
    leaked: list[asyncio.Task[None]] = []
    go = asyncio.Event()

    @deck.task
    async def leak(ctx: Context) -> None:
        async def later() -> None:
            await go.wait()
            ctx.log.info("after the end")
            ctx.progress(99)
            raise asyncio.CancelledError

        leaked.append(asyncio.ensure_future(later()))

    async with serving(deck):
        done = await finished(deck, await leak.enqueue())
        go.set()
        await asyncio.wait(leaked)
        await healthy()
        found = await deck.job(done.id)
        assert found is not None
        assert found.progress is None


FAILING_CHILDREN: list[tuple[str, dict[str, Any], str]] = [
    ("leave", {"code": 5}, "ChildExited"),
    ("leave", {"code": 0}, "ChildExited"),
    ("die", {}, "ChildExited"),
    ("fail", {"kind": "x"}, "ValueError"),
    ("fail", {"kind": "exit"}, "SystemExit"),
    ("fail", {"kind": "surrogate"}, "ValueError"),
    ("fail", {"kind": "discard"}, "Discard"),
    ("large", {}, "InvalidResult"),
    ("unencodable", {}, "InvalidResult"),
]


async def test_running_jobs_finish_on_a_server_that_is_full_and_none_runs_twice(
    prefix: str,
) -> None:
    runs: list[int] = []
    go = asyncio.Event()
    with Server() as server:
        async with new_deck(server.url, prefix, lease=1.5) as deck:

            @deck.task(max_retries=1)
            async def work(ctx: Context, n: int) -> int:
                runs.append(n)
                await go.wait()
                ctx.progress(50, "half")
                ctx.log.info("said")
                if n == 3 and ctx.attempt == 1:
                    raise RuntimeError
                return n

            jobs = await deck.enqueue_many(work.call(n) for n in range(4))
            async with serving(deck):
                await eventually(lambda: len(runs) == 4)
                server.ask("CONFIG", "SET", "maxmemory", "1")
                with pytest.raises(qdeck.ServerFull):
                    await work.enqueue(9)
                go.set()
                for job in jobs[:3]:
                    assert (await finished(deck, job)).state is State.COMPLETED
                server.ask("CONFIG", "SET", "maxmemory", "0")
                assert (await finished(deck, jobs[3])).state is State.COMPLETED
                await finished(deck, await work.enqueue(4))
        assert sorted(runs) == [0, 1, 2, 3, 3, 4]
        check_sets(server, prefix)


async def test_children_that_fail_leave_dead_jobs_with_the_reason(deck: Deck) -> None:
    for name in ("leave", "die", "fail", "large", "unencodable", "double_async"):
        deck.registry.add(crunch.deck.registry.get(name))
    async with serving(deck, concurrency=1):
        for task, payload, kind in FAILING_CHILDREN:
            done = await finished(deck, await deck.enqueue(task, payload))
            assert done.state is State.DEAD
            assert done.error is not None
            assert done.error.type == kind
        next_one = await deck.enqueue("double_async", {"n": 4})
        assert await deck.result(next_one.id, timeout=60) == 8


async def test_a_process_task_that_no_child_can_find_is_dead_with_the_reason(deck: Deck) -> None:
    @deck.task(run="process")
    def local(n: int) -> int:
        return n

    async with serving(deck, concurrency=1):
        done = await finished(deck, await local.enqueue(1))
    assert (done.state, done.attempt) == (State.DEAD, 1)
    assert done.error is not None
    assert "local" in done.error.message
    assert "top level of a module" in done.error.message


async def test_a_program_without_a_guard_is_not_run_again_by_its_children(tmp_path: Path) -> None:
    program = tmp_path / "bare.py"
    program.write_text(
        "import asyncio, qdeck\n"
        "print('begun')\n"
        "deck = qdeck.Deck('memory://', prefix='bare', max_retries=0)\n"
        "@deck.task(run='process')\n"
        "def crunch(n: int) -> int: return 2 * n\n"
        "async def main():\n"
        "    async with deck:\n"
        "        job = await crunch.enqueue(3)\n"
        "        await deck.worker(burst=True).run()\n"
        "        print((await deck.job(job.id)).error.message)\n"
        "asyncio.run(main())\n"
    )
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, str(program)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "ended before it could begin" in done.stdout
    assert "__name__" in done.stderr
    assert done.stdout.count("begun") == 2
