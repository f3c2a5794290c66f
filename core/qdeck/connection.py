"""The way to the server: one `Connector` a deck, which opens nothing before the first use.

Owns clients by (process, event loop), the checks of a server before it is used, and the lease on
the embedded server. Repeats nothing by itself.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
import weakref
from typing import Any

from redis import exceptions as errors

from qdeck.clients import (
    SOCKET_TIMEOUT,
    AsyncClient,
    LocalServer,
    SyncClient,
    async_client,
    sync_client,
)
from qdeck.cluster import ClusterLane, ClusterSyncLane
from qdeck.dial import Dial
from qdeck.durability import Confirmer, Confirming, ConfirmingSync
from qdeck.errors import QdeckError, SettingsError
from qdeck.facts import QUESTIONS, ServerFacts, facts_from, judge
from qdeck.failures import RETRYABLE, Backoff, repeat, repeat_sync, retryable, translate
from qdeck.lane import Lane, SyncLane, WireLane, WireSyncLane
from qdeck.private import PrivateServer
from qdeck.server import SharedServer
from qdeck.settings import Settings

__all__ = [
    "RETRYABLE",
    "AsyncClient",
    "Backoff",
    "Connector",
    "Lane",
    "ServerFacts",
    "SyncClient",
    "SyncLane",
    "repeat",
    "repeat_sync",
    "retryable",
    "translate",
]


class Connector:
    """Clients of one server, made when they are first asked for.

    Thread-safe. A forked child starts with none and leaves its parent's untouched.
    """

    def __init__(self, settings: Settings) -> None:
        if settings.connection == "sync":
            raise SettingsError("connection = 'sync' has no server; this needs one of the others")
        self.settings = settings
        self._target = settings.address
        self.address = self._target.masked
        self.secrets = self._target.secrets
        self.cluster = self._target.kind == "cluster"
        self._mutex = threading.RLock()
        self._pid = os.getpid()
        self._server: LocalServer | None = None
        self._clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncClient]
        self._clients = weakref.WeakKeyDictionary()
        self._lanes: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Lane]
        self._lanes = weakref.WeakKeyDictionary()
        self._confirmers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Confirmer]
        self._confirmers = weakref.WeakKeyDictionary()
        self._sync: SyncClient | None = None
        self._sync_lane: SyncLane | None = None
        self._facts: ServerFacts | None = None
        self._inherited: list[object] = []

    def client(self) -> AsyncClient:
        """Returns the asyncio client of this process and the running loop."""
        loop = asyncio.get_running_loop()
        with self._mutex:
            self._notice_fork()
            client = self._clients.get(loop)
            if client is None:
                client = self._clients[loop] = self._async(SOCKET_TIMEOUT)
            return client

    def sync_client(self) -> SyncClient:
        """Returns the blocking client of this process, safe to share between threads."""
        with self._mutex:
            self._notice_fork()
            if self._sync is None:
                self._sync = self._blocking(SOCKET_TIMEOUT)
            return self._sync

    def lane(self) -> Lane:
        """Returns the lane of this process and the running loop: raw replies, least overhead."""
        loop = asyncio.get_running_loop()
        with self._mutex:
            self._notice_fork()
            lane = self._lanes.get(loop)
            if lane is None:
                lane = self._lanes[loop] = self._open_lane()
            return lane

    def sync_lane(self) -> SyncLane:
        """Returns the blocking lane of this process, safe to share between threads."""
        with self._mutex:
            self._notice_fork()
            if self._sync_lane is None:
                self._sync_lane = self._open_sync_lane()
            return self._sync_lane

    def confirming(self) -> Confirming:
        """Returns the link for one write that `durability` asks to be confirmed."""
        loop = asyncio.get_running_loop()
        with self._mutex:
            self._notice_fork()
            confirmer = self._confirmers.get(loop)
            if confirmer is None:
                wanted = self.settings.durability or "replica"
                confirmer = self._confirmers[loop] = Confirmer(self._open_lane(), wanted)
            return Confirming(confirmer)

    def confirming_sync(self) -> ConfirmingSync:
        """The same without an event loop."""
        return ConfirmingSync(self.sync_lane(), self.settings.durability or "replica")

    def new_lane(self, block: float = 0.0) -> Lane:
        """Returns another lane, for reads that block up to `block` seconds; the caller closes it.

        One blocked read at a time; who cancels one closes the lane, since the server still waits.
        """
        with self._mutex:
            self._notice_fork()
            return self._open_lane(block)

    def new_sync_lane(self, block: float = 0.0) -> SyncLane:
        """The same without an event loop."""
        with self._mutex:
            self._notice_fork()
            return self._open_sync_lane(block)

    def blocking_client(self, block: float) -> AsyncClient:
        """Returns a new client for reads that block `block` seconds; the caller closes it."""
        with self._mutex:
            self._notice_fork()
            return self._async(block + SOCKET_TIMEOUT)

    def blocking_sync_client(self, block: float) -> SyncClient:
        """The same with a blocking client."""
        with self._mutex:
            self._notice_fork()
            return self._blocking(block + SOCKET_TIMEOUT)

    @property
    def private_path(self) -> str:
        """The socket of a `memory` server that this process started, for its children; or ""."""
        return self._server.path if isinstance(self._server, PrivateServer) else ""

    async def ensure(self) -> ServerFacts:
        """Connects and checks the server once; raises SettingsError and ConnectionFailed."""
        if self._facts is None or self._pid != os.getpid():
            _refuse_a_spawned_import()
            await self.check()
        assert self._facts is not None
        return self._facts

    def ensure_sync(self) -> ServerFacts:
        """Like `ensure`, without an event loop."""
        if self._facts is None or self._pid != os.getpid():
            _refuse_a_spawned_import()
            self.check_sync()
        assert self._facts is not None
        return self._facts

    async def check(self) -> ServerFacts:
        """Asks the server now for version, eviction policy and persistence, and judges them."""
        lane = self.lane()
        try:
            answers = [await lane.call_everywhere(*words) for words in QUESTIONS]
        except (errors.RedisError, OSError, EOFError) as error:
            raise self.translate(error) from error
        return self._judge(answers)

    def check_sync(self) -> ServerFacts:
        """Like `check`, without an event loop."""
        lane = self.sync_lane()
        try:
            answers = [lane.call_everywhere(*words) for words in QUESTIONS]
        except (errors.RedisError, OSError, EOFError) as error:
            raise self.translate(error) from error
        return self._judge(answers)

    def translate(self, error: BaseException) -> QdeckError:
        """Returns the error in qdeck's words, with this server's masked address."""
        return translate(error, self.address, self.secrets)

    async def aclose(self) -> None:
        """Closes the clients and the lane of the running loop."""
        loop = asyncio.get_running_loop()
        with self._mutex:
            self._notice_fork()
            client = self._clients.pop(loop, None)
            lane = self._lanes.pop(loop, None)
            confirmer = self._confirmers.pop(loop, None)
        if confirmer is not None:
            await confirmer.aclose()
        if lane is not None:
            await lane.aclose()
        if client is not None:
            await client.aclose()

    def close(self) -> None:
        """Closes the blocking clients and leaves the local server, which may end it."""
        with self._mutex:
            self._notice_fork()
            sync, self._sync = self._sync, None
            lane, self._sync_lane = self._sync_lane, None
            server, self._server = self._server, None
        if lane is not None:
            lane.close()
        if sync is not None:
            sync.close()
        if server is not None:
            server.release(self)

    def _judge(self, answers: list[list[Any]]) -> ServerFacts:
        for reply in (reply for replies in answers for reply in replies):
            if isinstance(reply, Exception) and not isinstance(reply, errors.NoPermissionError):
                if isinstance(reply, errors.ResponseError) and "unknown command" in str(reply):
                    continue
                raise self.translate(reply) from reply
        facts = [facts_from(info, save) for info, save in zip(*answers, strict=True)]
        self._facts = judge(facts, self.address, self.settings.allow_eviction)
        return self._facts

    def _async(self, timeout: float) -> AsyncClient:
        server = self._local()
        return async_client(self._target, server=server, holder=self, timeout=timeout)

    def _blocking(self, timeout: float) -> SyncClient:
        server = self._local()
        return sync_client(self._target, server=server, holder=self, timeout=timeout)

    def _open_lane(self, block: float = 0.0) -> Lane:
        if self.cluster:
            return ClusterLane(self._target, block)
        return WireLane(Dial(self._target, self._local(), self, block))

    def _open_sync_lane(self, block: float = 0.0) -> SyncLane:
        if self.cluster:
            return ClusterSyncLane(self._target, block)
        return WireSyncLane(Dial(self._target, self._local(), self, block))

    def _local(self) -> LocalServer | None:
        if self._server is None:
            if self.settings.connection == "embedded":
                assert self.settings.folder is not None
                self._server = SharedServer.at(self.settings.folder, self.settings.server_binary)
            elif self.settings.connection == "memory":
                self._server = PrivateServer(self.settings.server_binary)
        return self._server

    def _notice_fork(self) -> None:
        """Puts the parent's clients aside after a fork: closing them would disturb its loop."""
        if self._pid != os.getpid():
            self._inherited += [dict(self._clients), dict(self._lanes), dict(self._confirmers)]
            self._inherited.append(self._sync)
            self._confirmers = weakref.WeakKeyDictionary()
            self._clients = weakref.WeakKeyDictionary()
            self._lanes = weakref.WeakKeyDictionary()
            self._sync = self._sync_lane = None
            self._facts = None
            self._pid = os.getpid()


def _refuse_a_spawned_import() -> None:
    """Refuses to work while a child process imports the program that spawned it.

    Else a program without a guard would enqueue and serve again in each child of a process task.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise SettingsError(
            "a child process imports this program to find its task; put what enqueues or serves "
            'under `if __name__ == "__main__":`'
        )
