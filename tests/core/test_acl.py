"""The README's lines for users of the server with fewer rights, tried on a real one."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.core.serving import eventually
from tests.servers import Server

import qdeck
from qdeck.admin import Denied, ScheduleSpec
from qdeck.errors import QdeckError, ReadOnly

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def rules(name: str) -> list[str]:
    """Return the rules of a user as the README gives them, behind the password."""
    found = re.search(rf"^ACL SETUSER {name} on >\S+ (.+)$", README, re.MULTILINE)
    assert found is not None, f"the README has no line for {name}"
    return found[1].split()


def login(server: Server, name: str, prefix: str) -> str:
    """Make the user and return the URL to log in with."""
    words = [word.replace("shop", prefix) for word in rules(name)]
    assert server.ask("ACL", "SETUSER", name, "on", ">secret", *words) == b"OK"
    return server.url.replace("redis://", f"redis://{name}:secret@")


def make(url: str, prefix: str) -> qdeck.Deck:
    """Return a deck with one task."""
    deck = qdeck.Deck(url, prefix=prefix)

    @deck.task(max_retries=1, backoff=[0.05])
    async def double(ctx: qdeck.Context, n: int) -> int:
        ctx.log.info("doubling %d", n)
        ctx.progress(50, "half way")
        if n == 3 and ctx.attempt == 1:
            raise ValueError("odd")
        return 2 * n

    return deck


async def test_a_producer_enqueues_and_awaits_what_a_worker_runs(prefix: str) -> None:
    with Server() as server:
        producer = make(login(server, "producer", prefix), prefix)
        worker = make(login(server, "worker", prefix), prefix)
        async with producer, worker:
            jobs = [await producer.enqueue("double", {"n": n}) for n in range(4)]
            late = await producer.enqueue("double", {"n": 9}, delay=0.05, unique="k")
            serving = worker.worker(concurrency=2)
            task = asyncio.create_task(serving.run())
            values = [await producer.result(job.id, timeout=20) for job in [*jobs, late]]
            assert values == [0, 2, 4, 6, 18]
            await serving.stop()
            await task


async def test_what_a_producer_enqueues_as_an_operator_goes_on_record(prefix: str) -> None:
    with Server() as server:
        async with make(login(server, "producer", prefix), prefix) as producer:
            producer.actor = "ann"
            job = await producer.enqueue("double", {"n": 1})
            assert job.state == "pending"
            assert [entry.actor for entry in await producer.admin().audit()] == ["ann"]


@pytest.mark.parametrize("delay", [None, 5.0])
async def test_an_enqueue_that_may_not_go_on_record_leaves_nothing(
    prefix: str, delay: float | None
) -> None:
    with Server() as server:
        url = login(server, "producer", prefix)
        async with make(url, prefix) as producer:
            await producer.enqueue("double", {"n": 1})
            keys = producer.keys("default")
            before = [server.ask("HGETALL", key) for key in (keys.tasks, keys.meta)]
            assert server.ask("ACL", "SETUSER", "producer", "-xadd") == b"OK"
            producer.actor = "ann"
            with pytest.raises(QdeckError, match=r"(?i)permission|may not|xadd"):
                await producer.enqueue("double", {"n": 2}, delay=delay)
            found = server.ask("KEYS", f"{keys.tag.replace('{', '[{]')}j:*")
            assert isinstance(found, list)
            assert len(found) == 1
            counts = [server.ask("HGETALL", key) for key in (keys.tasks, keys.meta)]
            assert [_without_zeros(each) for each in counts] == [_without_zeros(x) for x in before]


def _without_zeros(flat: object) -> dict[bytes, bytes]:
    assert isinstance(flat, list)
    return {k: v for k, v in zip(flat[::2], flat[1::2], strict=True) if v != b"0"}


async def test_a_producer_may_not_delete_what_is_pending(prefix: str) -> None:
    with Server() as server:
        producer = make(login(server, "producer", prefix), prefix)
        async with producer:
            job = await producer.enqueue("double", {"n": 1})
            with pytest.raises(ReadOnly):
                await producer.cancel(job.id)
            found = await producer.job(job.id)
            assert found is not None
            assert found.state == "pending"


async def test_a_viewer_may_not_enqueue(prefix: str) -> None:
    with Server() as server:
        viewer = make(login(server, "viewer", prefix), prefix)
        async with viewer:
            with pytest.raises(ReadOnly):
                await viewer.enqueue("double", {"n": 1})
            assert server.ask("KEYS", "*") == []


async def test_a_worker_fires_what_an_operator_schedules_and_a_viewer_sees(prefix: str) -> None:
    with Server() as server:
        worker = make(login(server, "worker", prefix), prefix)
        operator = make(login(server, "operator", prefix), prefix)
        viewer = make(login(server, "viewer", prefix), prefix)
        async with worker, operator, viewer:
            serving = worker.worker(concurrency=2)
            task = asyncio.create_task(serving.run())
            spec = ScheduleSpec("twice", "* * * * * *", "double", payload={"n": 1})
            await operator.admin().add_schedule(spec)

            async def fired() -> bool:
                found = await viewer.admin().schedule("twice")
                return found is not None and found.last_outcome == "completed"

            await eventually(fired, 20)
            assert (await viewer.admin().preview("* * * * *")).ok
            assert "twice" in await viewer.admin().export_schedules()
            for call in (
                viewer.admin().add_schedule(replace(spec, name="other")),
                viewer.admin().disable_schedule("twice"),
                viewer.admin().trigger_schedule("twice"),
            ):
                with pytest.raises(Denied, match="does not permit"):
                    await call
            await serving.stop()
            await task
