"""Workers over fail-overs, dead cluster nodes and servers that come back: they consume again."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from tests.core.serving import eventually, finished, new_deck, serving
from tests.servers import Cluster, Sentinels, Server

from qdeck import ConnectionFailed, Deck, State
from qdeck.line import Lines
from qdeck.queue import Turn


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    """Three nodes that a test may end."""
    nodes = Cluster(options={"cluster-require-full-coverage": "no"})
    yield nodes
    nodes.close()


@pytest.fixture
def own_sentinels() -> Iterator[Sentinels]:
    """A primary and a replica that a test may exchange."""
    three = Sentinels()
    yield three
    three.close()


def define(deck: Deck, ran: list[int]) -> None:
    @deck.task(name="note")
    async def note(n: int) -> int:
        ran.append(n)
        return n


async def test_a_worker_follows_a_fail_over_to_the_new_primary(
    own_sentinels: Sentinels, prefix: str
) -> None:
    ran: list[int] = []
    async with new_deck(own_sentinels.url, prefix, lease=2) as deck:
        define(deck, ran)
        async with serving(deck, "default"):
            await finished(deck, await deck.enqueue("note", {"n": 1}))
            await asyncio.to_thread(own_sentinels.fail_over)
            for n in range(2, 6):
                job = await deck.enqueue("note", {"n": n})
                assert (await finished(deck, job)).state is State.COMPLETED
    assert sorted(set(ran)) == [1, 2, 3, 4, 5]


async def test_a_dead_node_stops_its_own_queues_only_and_they_go_on_when_it_is_back(
    own_cluster: Cluster, prefix: str
) -> None:
    ran: list[int] = []
    queues = [own_cluster.queue_on(node, prefix) for node in range(3)]
    # The shared keys of the worker itself stay reachable.
    away = next(node for node in range(3) if node != own_cluster.owner(prefix))
    url = own_cluster.url + "?socket_timeout=1&socket_connect_timeout=1"
    async with new_deck(url, prefix, lease=2) as deck:
        define(deck, ran)
        async with serving(deck, *queues):
            for n, queue in enumerate(queues):
                await finished(deck, await deck.enqueue("note", {"n": n}, queue=queue))
            await asyncio.to_thread(own_cluster.nodes[away].kill)
            for n, queue in enumerate(queues):
                if n != away:
                    for more in range(5):
                        number = 10 * n + more + 100
                        job = await deck.enqueue("note", {"n": number}, queue=queue)
                        assert (await finished(deck, job)).state is State.COMPLETED
            await asyncio.to_thread(own_cluster.nodes[away].start)
            # That node keeps nothing on disk: its slots are empty, and served again.
            job = await deck.enqueue("note", {"n": 200}, queue=queues[away])
            assert (await finished(deck, job)).state is State.COMPLETED


async def test_a_server_that_comes_back_empty_is_served_again_and_shows_the_worker(
    prefix: str,
) -> None:
    ran: list[int] = []
    with Server() as server:
        async with new_deck(server.url, prefix, lease=1) as deck:
            define(deck, ran)
            async with serving(deck, "default") as worker:
                await finished(deck, await deck.enqueue("note", {"n": 1}))
                await asyncio.to_thread(server.kill)
                await asyncio.sleep(1)
                await asyncio.to_thread(server.start)
                job = await deck.enqueue("note", {"n": 2})
                await finished(deck, job)

                async def shown() -> bool:
                    score = await deck.call("ZSCORE", deck.shared.workers, worker.id)
                    return score is not None and b"default" in await deck.call(
                        "SMEMBERS", deck.shared.queues
                    )

                await eventually(shown)
    assert ran == [1, 2]


async def test_scripts_that_the_server_forgot_are_sent_again(prefix: str) -> None:
    ran: list[int] = []
    with Server() as server:
        async with new_deck(server.url, prefix) as deck:
            define(deck, ran)
            async with serving(deck, "default"):
                for n in range(3):
                    await finished(deck, await deck.enqueue("note", {"n": n}))
                    server.ask("SCRIPT", "FLUSH")
    assert ran == [0, 1, 2]


async def test_a_frozen_server_delays_jobs_and_doubles_none(prefix: str) -> None:
    ran: list[int] = []
    with Server() as server:
        url = server.url + "?socket_timeout=0.5&socket_connect_timeout=0.5"
        async with new_deck(url, prefix, lease=1) as deck:

            @deck.task
            async def slow(n: int) -> None:
                ran.append(n)
                await asyncio.sleep(1.5)

            jobs = await deck.enqueue_many(slow.call(n) for n in range(3))
            async with serving(deck), serving(deck):
                await eventually(lambda: len(ran) == 3)
                server.freeze()
                await asyncio.sleep(2.5)
                server.thaw()
                done = [await finished(deck, job) for job in jobs]
    # Nobody was seen for longer than a lease: that is an outage, and no reason to run them again.
    assert sorted(ran) == [0, 1, 2]
    assert [job.attempt for job in done] == [1, 1, 1]


async def test_an_embedded_server_that_is_killed_is_started_again_by_who_uses_it(
    embedded_url: str, prefix: str
) -> None:
    ran: list[int] = []
    async with new_deck(embedded_url, prefix, lease=2) as deck:
        define(deck, ran)
        async with serving(deck, "default"):
            await finished(deck, await deck.enqueue("note", {"n": 1}))
            later = await deck.enqueue("note", {"n": 2}, delay=3)
            # The file of an embedded server is written once a second.
            await asyncio.sleep(1.5)
            info = (await deck.call("INFO", "server")).decode()
            pid = next(line for line in info.split() if line.startswith("process_id:"))
            os.kill(int(pid.partition(":")[2]), signal.SIGKILL)
            await finished(deck, await deck.enqueue("note", {"n": 3}))
            await finished(deck, later)
    assert sorted(ran) == [1, 2, 3]


async def test_what_a_queue_waits_for_may_pass_while_it_is_asked(
    deck: Deck, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = Lines([("a", None), ("b", None)], deck)
    for line in lines:
        line.take(Turn([], [], None, again=False), 1, 0)
        line.fail(ConnectionFailed("away"))
    ends = [at for line in lines if (at := line.next_at) is not None]
    moments = itertools.cycle([0.0, max(ends) + 1])
    monkeypatch.setattr("qdeck.line.time", SimpleNamespace(monotonic=lambda: next(moments)))
    assert lines.next_at() == ends[0]
