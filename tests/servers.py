"""Real servers for the tests: plain, cluster, sentinel, each in a folder of its own.

A shell beside every server watches a pipe to this process, so that none outlives it, whatever ends
it; a test ends only what it started, by its process id.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import hiredis
import redis
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.retry import Retry

from qdeck.binary import find_binary
from qdeck.connection import Connector
from qdeck.settings import Settings, load_settings

__all__ = [
    "Cluster",
    "Sentinels",
    "Server",
    "finish",
    "free_port",
    "settings_for",
    "wait_until",
]

_WATCH = 'trap "" INT; "$@" & echo $!; read -r _; kill -KILL $! 2>/dev/null; wait'


def free_port() -> int:
    """Returns a TCP port that is free now, as is the one 10000 above, a cluster's bus.

    Both lie below the range that the system hands out to outgoing connections.
    """
    while True:
        port = random.randrange(10_000, 22_000)
        try:
            for one in (port, port + 10_000):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", one))
        except OSError:
            continue
        return port


def wait_until(what: Callable[[], bool], *, patience: float = 60.0, pause: float = 0.01) -> None:
    """Waits until `what()` holds; gives up after `patience`, since hanging tells nothing."""
    end = time.monotonic() + patience
    while not what():
        if time.monotonic() > end:
            raise AssertionError(f"not reached within {patience:.0f} s")
        time.sleep(pause)


def settings_for(url: str | None = None, **arguments: Any) -> Settings:
    """Returns settings that no file and no environment of the machine can change."""
    nowhere = Path(tempfile.gettempdir(), "qdeck-tests-no-config", "config.toml")
    return load_settings(url, environ={}, user_config=nowhere, **arguments)


async def finish(connector: Connector) -> None:
    """Closes what the connector opened on this loop, and its local server."""
    await connector.aclose()
    await asyncio.to_thread(connector.close)


class AddressTaken(AssertionError):
    """Somebody took the port between choosing and using it."""


class Server:
    """One server process; it can be killed and started again on the same address and data."""

    def __init__(
        self,
        *,
        binary: Path | str | None = None,
        unix: bool = False,
        sentinel: str | None = None,
        options: Mapping[str, object] | None = None,
    ) -> None:
        self.binary = str(binary or find_binary())
        self.folder = Path(tempfile.mkdtemp(prefix="qdt-", dir="/tmp"))
        self.port = 0 if unix else free_port()
        self.path = str(self.folder / "s.sock") if unix else ""
        self.pid = 0
        self._sentinel = sentinel
        self._options = dict(options or {})
        self._shell: subprocess.Popen[bytes] | None = None
        for again in range(5):
            try:
                self.start()
            except AddressTaken:
                if again == 4:
                    raise
                self.port = free_port()
            else:
                break

    @property
    def url(self) -> str:
        """The address as qdeck takes it."""
        return f"unix://{self.path}" if self.path else f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Starts the process and waits until it answers."""
        options: dict[str, object] = {"dir": self.folder, "logfile": self.folder / "log"}
        options["port"] = self.port
        words = [self.binary]
        if self._sentinel is not None:
            config = self.folder / "sentinel.conf"
            if not config.exists():
                config.write_text(self._sentinel)
            words += [str(config), "--sentinel"]
        else:
            options |= {"save": "", "appendonly": "no"}
        if self.path:
            options["unixsocket"] = self.path
        options |= self._options
        for name, value in options.items():
            words += [f"--{name}", str(value)]
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", _WATCH, "server", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._shell.stdout is not None
        self.pid = int(self._shell.stdout.readline())
        try:
            wait_until(self._settled)
        except BaseException:
            self._reap()
            raise
        if not self.answers() or int(self.info()["process_id"]) != self.pid:
            said = self._log()[-2000:]
            self._reap()
            (self.folder / "log").unlink(missing_ok=True)
            raise AddressTaken(f"the server did not start: {said}")

    def _log(self) -> str:
        log = self.folder / "log"
        return log.read_text(errors="replace") if log.exists() else ""

    def _settled(self) -> bool:
        return self.answers() or "Failed listening" in self._log()

    def answers(self) -> bool:
        """Whether it answers a PING now."""
        try:
            return bool(self.ask("PING") == b"PONG")
        except OSError:
            return False

    def ask(self, *words: str | int | bytes) -> Any:
        """Runs one command over a connection of its own and returns the raw reply."""
        family = socket.AF_UNIX if self.path else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(10)
            connection.connect(self.path or ("127.0.0.1", self.port))
            request = [word if isinstance(word, bytes) else str(word).encode() for word in words]
            packed = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in request)
            connection.sendall(b"*%d\r\n%s" % (len(request), packed))
            reader = hiredis.Reader()
            while (reply := reader.gets()) is False:
                data = connection.recv(65536)
                if not data:
                    raise ConnectionResetError("closed by the server")
                reader.feed(data)
            return reply

    def info(self) -> dict[str, str]:
        """Returns the server's INFO."""
        lines = self.ask("INFO", "everything").decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def calls(self) -> int:
        """Client calls handled so far (what scripts call inside is not counted)."""
        return int(self.info()["total_commands_processed"])

    def client(self, **options: Any) -> redis.Redis:
        """Returns a plain redis-py client without retries; the caller closes it."""
        retry = Retry(NoBackoff(), 0)
        if self.path:
            return redis.Redis(unix_socket_path=self.path, retry=retry, protocol=2, **options)
        return redis.Redis(host="127.0.0.1", port=self.port, retry=retry, protocol=2, **options)

    def kill(self) -> None:
        """Ends the process by SIGKILL; `start` brings it back with the data it had on disk."""
        if self._shell is not None and self._shell.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self._reap()

    def freeze(self) -> None:
        """Stops the process without ending it, like a partition."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets a frozen process go on."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Ends the process and removes its folder."""
        self._reap()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _reap(self) -> None:
        shell, self._shell = self._shell, None
        if shell is not None:
            assert shell.stdin is not None
            assert shell.stdout is not None
            shell.stdin.close()
            shell.wait()
            shell.stdout.close()


class Cluster:
    """Three primaries that share the slots evenly."""

    def __init__(self, nodes: int = 3, options: Mapping[str, object] | None = None) -> None:
        self.nodes: list[Server] = []
        try:
            for _ in range(nodes):
                config = {"cluster-enabled": "yes", "cluster-node-timeout": 2000}
                self.nodes.append(Server(options=config | dict(options or {})))
            self._join()
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """The address as qdeck takes it."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def owner(self, tag: str) -> int:
        """Returns the index of the node that owns keys with the hash tag `{tag}`."""
        return key_slot(tag.encode()) * len(self.nodes) // 16384

    def queue_on(self, node: int, prefix: str, name: str = "q") -> str:
        """Returns a queue name whose keys lie on that node."""
        number = 0
        while self.owner(f"{prefix}:{name}{number}") != node:
            number += 1
        return f"{name}{number}"

    def close(self) -> None:
        """Ends all nodes."""
        for node in self.nodes:
            node.close()

    def _join(self) -> None:
        count = len(self.nodes)
        # The same borders as in `owner`: slot * count // 16384 is the node's index.
        borders = [-(-16384 * index // count) for index in range(count + 1)]
        for index, node in enumerate(self.nodes):
            node.ask("CLUSTER", "ADDSLOTSRANGE", borders[index], borders[index + 1] - 1)
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
        for node in self.nodes[1:]:
            node.ask("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)

        def settled() -> bool:
            infos = [node.ask("CLUSTER", "INFO").decode() for node in self.nodes]
            known = f"cluster_known_nodes:{count}\r"
            return all("cluster_state:ok" in info and known in info for info in infos)

        wait_until(settled)


class Sentinels:
    """A primary, a replica and one sentinel that watches them under the name `main`."""

    def __init__(self, down_after: int = 1000) -> None:
        """`down_after` milliseconds of silence make the sentinel replace the primary."""
        self.servers: list[Server] = []
        self.sentinel: Server | None = None
        try:
            primary = Server(options={"repl-diskless-sync-delay": 0})
            self.servers.append(primary)
            follow = {"replicaof": f"127.0.0.1 {primary.port}", "repl-diskless-sync-delay": 0}
            replica = Server(options=follow)
            self.servers.append(replica)
            self.sentinel = Server(
                sentinel=(
                    f"sentinel monitor main 127.0.0.1 {primary.port} 1\n"
                    f"sentinel down-after-milliseconds main {down_after}\n"
                    "sentinel failover-timeout main 4000\n"
                )
            )
            wait_until(lambda: "master_link_status:up" in replica.ask("INFO").decode())
            wait_until(lambda: len(self._ask("SENTINEL", "REPLICAS", "main")) == 1)
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """The address as qdeck takes it."""
        assert self.sentinel is not None
        return f"redis+sentinel://127.0.0.1:{self.sentinel.port}/main/0"

    @property
    def primary(self) -> Server:
        """The server that the sentinel names now."""
        port = int(self._ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main")[1])
        return next(server for server in self.servers if server.port == port)

    @property
    def replica(self) -> Server:
        """The server that the sentinel does not name."""
        primary = self.primary
        return next(server for server in self.servers if server is not primary)

    def fail_over(self) -> None:
        """Makes the replica the primary and waits until both know."""
        before, after = self.primary, self.replica

        def accepted() -> bool:
            return bool(self._ask("SENTINEL", "FAILOVER", "main") == b"OK")

        def has(server: Server, role: str) -> bool:
            # The sentinel ends the connections of a server whose role it changes.
            try:
                return f"role:{role}" in server.ask("INFO").decode()
            except ConnectionError:
                return False

        wait_until(accepted, pause=0.2)
        wait_until(lambda: self.primary is after)
        wait_until(lambda: has(after, "master"))
        wait_until(lambda: has(before, "slave"))

    def close(self) -> None:
        """Ends all three."""
        for server in (*self.servers, *([self.sentinel] if self.sentinel else [])):
            server.close()

    def _ask(self, *words: str) -> Any:
        assert self.sentinel is not None
        return self.sentinel.ask(*words)
