"""One connection each, asyncio or blocking: bytes to replies by hiredis, and nothing more.

A round trip through redis-py's client costs four times the processor time of one here. Knows no
address, no login and no retry; a wire that failed stays closed.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import hiredis
from redis import exceptions as errors

__all__ = ["SyncWire", "Wire", "reply_error"]

Word = str | bytes | int | float | memoryview

_CODES: dict[str, type[errors.ResponseError] | type[errors.ConnectionError]] = {
    "ASK": errors.AskError,
    "CLUSTERDOWN": errors.ClusterDownError,
    "LOADING": errors.BusyLoadingError,
    "MASTERDOWN": errors.MasterDownError,
    "MOVED": errors.MovedError,
    "NOAUTH": errors.AuthenticationError,
    "NOPERM": errors.NoPermissionError,
    "NOSCRIPT": errors.NoScriptError,
    "OOM": errors.OutOfMemoryError,
    "READONLY": errors.ReadOnlyError,
    "TRYAGAIN": errors.TryAgainError,
    "WRONGPASS": errors.AuthenticationError,
}
# hiredis' own type hint knows tuples of one word only.
_pack: Callable[[tuple[Word, ...]], bytes] = cast(Any, hiredis.pack_command)
_STALE = (errors.ReadOnlyError, errors.MasterDownError)


def reply_error(text: str) -> Exception:
    """Returns the server's error as redis-py's class for its code."""
    code, _, rest = text.partition(" ")
    kind = _CODES.get(code)
    if kind is not None:
        return kind(rest)
    if text.startswith("ERR max number of clients"):
        return errors.MaxConnectionsError(rest)
    return errors.ResponseError(rest if code == "ERR" else text)


def _reader() -> hiredis.Reader:
    return hiredis.Reader(protocolError=errors.InvalidResponse, replyError=reply_error)


class Wire(asyncio.Protocol):
    """A connection on which concurrent callers share round trips; replies come first in, first out.

    Fails all callers with TimeoutError when `timeout` seconds pass without any reply, and with
    ConnectionError when the connection ends.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._reader = _reader()
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._progress = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.usable = False

    def call(self, *words: Word) -> asyncio.Future[Any]:
        """Sends one command; the future holds its reply, or its error as exception."""
        packed = _pack(words)
        future: asyncio.Future[Any] = self._loop.create_future()
        self._send(packed, (future,))
        return future

    def call_many(self, commands: Sequence[Sequence[Word]]) -> list[asyncio.Future[Any]]:
        """Sends commands in one write; the futures hold their replies in order."""
        packed = b"".join([_pack(tuple(words)) for words in commands])
        futures: list[asyncio.Future[Any]] = [self._loop.create_future() for _ in commands]
        self._send(packed, futures)
        return futures

    def _send(self, packed: bytes, futures: Iterable[asyncio.Future[Any]]) -> None:
        if not self.usable or self._transport is None:
            raise errors.ConnectionError("the connection is closed")
        if not self._waiting:
            self._progress = self._loop.time()
            if self._timer is None:
                self._timer = self._loop.call_later(self._timeout, self._look)
        self._waiting.extend(futures)
        self._transport.write(packed)

    async def close(self) -> None:
        """Closes the connection; callers that still wait get ConnectionError."""
        self._fail(errors.ConnectionError("the connection was closed"))
        await self._closed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self.usable = True

    def data_received(self, data: bytes) -> None:
        self._progress = self._loop.time()
        reader, waiting = self._reader, self._waiting
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not False:
                future = waiting.popleft()
                if future.done():
                    continue
                if isinstance(reply, Exception):
                    future.set_exception(reply)
                    if isinstance(reply, _STALE):
                        self.usable = False
                else:
                    future.set_result(reply)
        except (errors.InvalidResponse, IndexError) as error:
            self._fail(errors.InvalidResponse(f"the server does not speak RESP ({error})"))
        if not self.usable and not waiting:
            # A demoted primary refuses writes for good: the next caller looks for the new one.
            self._fail(errors.ConnectionError("the server is no primary any more"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(errors.ConnectionError(f"the connection was lost ({exc or 'closed by server'})"))
        if not self._closed.done():
            self._closed.set_result(None)

    def _fail(self, error: Exception) -> None:
        self.usable = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(error)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.abort()

    def _look(self) -> None:
        """Runs once a `timeout` while calls wait, so that no call arms a timer of its own."""
        self._timer = None
        if not self._waiting:
            return
        left = self._progress + self._timeout - self._loop.time()
        if left <= 0:
            self._fail(errors.TimeoutError(f"no answer within {self._timeout:g} s"))
        else:
            self._timer = self._loop.call_later(left, self._look)


class SyncWire:
    """A blocking connection for one thread at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._reader = _reader()

    def call_many(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        """Sends commands in one write; returns replies in order, errors among them as values."""
        self._socket.sendall(b"".join(_pack(tuple(words)) for words in commands))
        reader, receive = self._reader, self._socket.recv
        replies = []
        for _ in commands:
            while (reply := reader.gets()) is False:
                data = receive(65536)
                if not data:
                    raise errors.ConnectionError("the connection was closed by the server")
                reader.feed(data)
            replies.append(reply)
        return replies

    def call(self, *words: Word) -> Any:
        """Sends one command and returns its reply; raises its error."""
        self._socket.sendall(_pack(words))
        reader = self._reader
        while (reply := reader.gets()) is False:
            data = self._socket.recv(65536)
            if not data:
                raise errors.ConnectionError("the connection was closed by the server")
            reader.feed(data)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def close(self) -> None:
        """Closes the connection."""
        self._socket.close()
