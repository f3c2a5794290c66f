"""The memory server: private to its process and gone with it."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import time
from pathlib import Path

import psutil
import pytest
from tests.clients import spawn
from tests.servers import wait_until

from qdeck.errors import ConnectionFailed
from qdeck.ping import ask, ping
from qdeck.private import PrivateServer


def test_a_memory_server_leaves_nothing(tmp_path: Path) -> None:
    server = PrivateServer()
    path = server.acquire("a")
    assert ping(path) == "up"
    assert server.revive("a") == path
    server.release("a")
    assert not Path(path).parent.exists()


def test_a_memory_server_dies_with_its_killed_owner() -> None:
    process = spawn("memory://", pause=60)
    assert process.stdout is not None
    assert process.stdout.readline() == "in\n"
    below = psutil.Process(process.pid).children(recursive=True)
    servers = [one for one in below if "server" in one.name()]
    assert len(servers) == 1
    place = Path(servers[0].cmdline()[0] and servers[0].cwd())
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(below, timeout=60)
    assert alive == []
    wait_until(lambda: not (place / "qdeck.sock").exists())


def test_a_memory_server_outlives_the_thread_that_started_it() -> None:
    async def start() -> PrivateServer:
        server = PrivateServer()
        await asyncio.to_thread(server.acquire, "a")
        return server

    server = asyncio.run(start())
    time.sleep(0.1)
    assert ping(server.path) == "up"
    server.release("a")


def test_a_memory_server_that_ended_is_no_fresh_one() -> None:
    server = PrivateServer()
    ask(server.acquire("a"), "SET", "k", "v")
    with contextlib.suppress(OSError):
        ask(server.path, "SHUTDOWN", "NOSAVE")
    with pytest.raises(ConnectionFailed, match="its jobs with it"):
        server.revive("a")
    server.release("a")


def _in_fork(server: PrivateServer, queue: multiprocessing.Queue[bytes]) -> None:
    queue.put(ask(server.acquire("child"), "GET", "k"))
    server.release("child")


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_fork_may_use_its_parents_memory_server_and_never_ends_it() -> None:
    server = PrivateServer()
    ask(server.acquire("a"), "SET", "k", "v")
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[bytes] = context.Queue()
    child = context.Process(target=_in_fork, args=(server, queue))
    child.start()
    assert b"v" in queue.get(timeout=60)
    child.join()
    queue.close()
    queue.join_thread()
    assert ping(server.path) == "up"
    server.release("a")
    assert not Path(server.path).exists()
