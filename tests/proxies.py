"""Proxies between a client and a real server: one loses replies, one is far away, one adds TLS.

Each runs its own event loop in a thread, so that blocking and asyncio clients can both be tried.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Self, TypeVar

import hiredis
import trustme

__all__ = ["CuttingProxy", "FarProxy", "TlsProxy"]

Match = Callable[[list[bytes]], bool]
T = TypeVar("T")


class _Proxy:
    """Listens on a free port and forwards every connection to the server."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None = None) -> None:
        self._target = (host, port)
        self._context = context
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._door: socket.socket | None = None
        self._links: set[_Link] = set()
        self.port = 0
        self.listen()

    def listen(self) -> None:
        """Takes connections, again after `refuse`, on the same port."""
        self._run(self._listen())

    def cut(self) -> None:
        """Cuts all connections now; new ones are taken."""
        self._run(self._cut())

    def refuse(self) -> None:
        """Cuts all connections and takes no new ones, like a server that is down."""
        self._run(self._refuse())

    def close(self) -> None:
        """Ends the proxy and its thread."""
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def _listen(self) -> None:
        if self._door is None:
            # Not `start_server`: a connection accepted while that is closed stays open for good.
            self._door = socket.create_server(("127.0.0.1", self.port))
            self._door.setblocking(False)
            self.port = self._door.getsockname()[1]
            self._loop.add_reader(self._door, self._accept, self._door)

    def _accept(self, door: socket.socket) -> None:
        with contextlib.suppress(OSError):
            taken, _ = door.accept()
            taken.setblocking(False)
            asyncio.ensure_future(self._take(taken)).add_done_callback(_raised)

    async def _cut(self) -> None:
        links = list(self._links)
        for link in links:
            link.end()
        await asyncio.gather(*(link.done.wait() for link in links))

    async def _refuse(self) -> None:
        door, self._door = self._door, None
        if door is not None:
            self._loop.remove_reader(door)
            door.close()
        await self._cut()

    async def _end(self) -> None:
        """Cuts everything, what is being taken just now included, before the loop stops."""
        await self._refuse()
        for _ in range(5):
            while others := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.wait(others)
            # Transports that were cut are closed by calls that wait for the loop.
            await asyncio.sleep(0)

    async def _take(self, taken: socket.socket) -> None:
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            transport, _ = await self._loop.connect_accepted_socket(
                lambda: protocol, taken, ssl=self._context
            )
        except OSError:
            taken.close()
            return
        writer = asyncio.StreamWriter(transport, protocol, reader, self._loop)
        try:
            behind = await asyncio.open_connection(*self._target)
        except OSError:
            transport.abort()
            return
        link = _Link(self, (reader, writer), behind)
        if self._door is None:
            link.end()
            return
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)
            link.done.set()

    async def requested(self, link: _Link, data: bytes) -> None:
        """Sees what a client sent, before it is passed on."""

    async def replied(self, link: _Link, data: bytes) -> bool:
        """Sees what the server sent; says whether it may pass."""
        return True

    async def deliver(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        """Passes on what one side said."""
        writer.write(data)
        await writer.drain()


def _raised(task: asyncio.Future[None]) -> None:
    """Raises what ended a connection badly, for the loop to tell."""
    task.result()


class _Link:
    """One client's connection and its twin to the server."""

    def __init__(
        self,
        proxy: _Proxy,
        front: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        back: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self.proxy = proxy
        self.front = front
        self.back = back
        self.done = asyncio.Event()
        self.requests = hiredis.Reader()
        self.replies = hiredis.Reader()
        self.asked = 0
        self.answered = 0
        self.doomed: int | None = None

    async def run(self) -> None:
        """Copies both ways until one side ends."""
        ways = {asyncio.create_task(self._there()), asyncio.create_task(self._back())}
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.end()
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for _, writer in (self.front, self.back):
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    def end(self) -> None:
        """Cuts both sides without a goodbye."""
        for _, writer in (self.front, self.back):
            writer.transport.abort()

    async def _there(self) -> None:
        while data := await self.front[0].read(65536):
            await self.proxy.requested(self, data)
            await self.proxy.deliver(self.back[1], data)

    async def _back(self) -> None:
        while data := await self.back[0].read(65536):
            if not await self.proxy.replied(self, data):
                return
            await self.proxy.deliver(self.front[1], data)


class CuttingProxy(_Proxy):
    """Loses replies on demand: the server has executed the request, the client never learns it.

    `requests` holds every command that passed, as lists of words.
    """

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._match: Match | None = None
        self._left = 0
        self._open = asyncio.Event()
        self._open.set()
        self.requests: list[list[bytes]] = []
        self.cuts = 0
        super().__init__(host, port)

    @property
    def url(self) -> str:
        """The address as qdeck takes it."""
        return f"redis://127.0.0.1:{self.port}/0"

    def cut_after(self, match: Match, times: int = 1) -> None:
        """Cuts the connection of the next `times` requests that match, once each is executed."""

        async def arm() -> None:
            self._match, self._left = match, times

        self._run(arm())

    def black_hole(self) -> None:
        """Swallows nothing and passes nothing on: connections stay open and silent."""

        async def shut() -> None:
            self._open.clear()

        self._run(shut())

    def heal(self) -> None:
        """Passes everything on again, what was held back first."""

        async def unlock() -> None:
            self._open.set()

        self._run(unlock())

    async def requested(self, link: _Link, data: bytes) -> None:
        link.requests.feed(data)
        while (words := link.requests.gets()) is not False:
            self.requests.append(words)
            link.asked += 1
            if self._left and link.doomed is None and self._match and self._match(words):
                self._left -= 1
                link.doomed = link.asked
        await self._open.wait()

    async def replied(self, link: _Link, data: bytes) -> bool:
        await self._open.wait()
        if link.doomed is None:
            link.replies.feed(data)
            while link.replies.gets() is not False:
                link.answered += 1
            return True
        link.replies.feed(data)
        while link.replies.gets() is not False:
            link.answered += 1
        if link.answered < link.doomed:
            return True
        self.cuts += 1
        return False


class FarProxy(_Proxy):
    """A server at the far end of a line: what passes comes so many seconds later each way, and
    nothing that is on its way holds up what follows.
    """

    def __init__(self, port: int, round_trip: float, host: str = "127.0.0.1") -> None:
        self.one_way = round_trip / 2
        super().__init__(host, port)

    @property
    def url(self) -> str:
        """The address as qdeck takes it."""
        return f"redis://127.0.0.1:{self.port}/0"

    async def deliver(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        asyncio.get_running_loop().call_later(self.one_way, _write, writer, data)


def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    if not writer.transport.is_closing():
        writer.write(data)


class TlsProxy(_Proxy):
    """Speaks TLS to the client, with a certificate for `localhost`, and plain to the server."""

    def __init__(self, port: int, folder: Path, host: str = "127.0.0.1") -> None:
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        self.ca = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca))
        super().__init__(host, port, context)

    @property
    def url(self) -> str:
        """The address as qdeck takes it, with the authority to trust."""
        return f"rediss://localhost:{self.port}/0?ssl_ca_certs={self.ca}"
