"""Opening wires: finding the server of an address, TLS, login and database.

Owns what happens between an address and a usable wire; keeps nothing but a holder's place among
the users of a local server.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from typing import Any

from redis import exceptions as errors

from qdeck.address import Address
from qdeck.clients import ABSENT, SOCKET_TIMEOUT, LocalServer, sentinel, sync_sentinel
from qdeck.wire import SyncWire, Wire

__all__ = ["Dial"]


class Dial:
    """Opens connections to one address, which is no cluster."""

    def __init__(
        self,
        address: Address,
        server: LocalServer | None = None,
        holder: object = None,
        block: float = 0.0,
    ) -> None:
        """`block` seconds are added to the timeout of a reply."""
        self.address = address
        self._server = server
        self._holder = holder
        own = address.options.get("socket_timeout")
        self.timeout = block + (own if isinstance(own, float) else SOCKET_TIMEOUT)
        patience = address.options.get("socket_connect_timeout")
        self._patience = patience if isinstance(patience, float) else SOCKET_TIMEOUT

    async def open(self) -> Wire:
        """Returns a wire that is logged in; raises errors of redis-py."""
        try:
            # A local server may have to be started first, and to load what it holds.
            async with asyncio.timeout(None if self._server else self._patience):
                wire = await self._connect()
        except TimeoutError:
            raise errors.TimeoutError(f"no connection within {self._patience:g} s") from None
        except OSError as error:
            raise errors.ConnectionError(str(error)) from error
        try:
            greeting = [wire.call(*words) for words in self._greeting()]
            # All are awaited: an error that nobody takes would be logged with its traceback.
            for said in await asyncio.gather(*greeting, return_exceptions=True):
                if isinstance(said, BaseException):
                    raise said
        except BaseException:
            await wire.close()
            raise
        return wire

    def open_sync(self) -> SyncWire:
        """The same, blocking."""
        try:
            connection = self._connect_sync()
        except TimeoutError:
            raise errors.TimeoutError(f"no connection within {self._patience:g} s") from None
        except OSError as error:
            raise errors.ConnectionError(str(error)) from error
        try:
            connection.settimeout(self.timeout)
            wire = SyncWire(connection)
            for words in self._greeting():
                wire.call(*words)
        except TimeoutError:
            connection.close()
            raise errors.TimeoutError(f"no answer within {self.timeout:g} s") from None
        except OSError as error:
            connection.close()
            raise errors.ConnectionError(f"the connection was lost ({error})") from error
        except BaseException:
            connection.close()
            raise
        return wire

    def _greeting(self) -> list[tuple[str | int, ...]]:
        address = self.address
        words: list[tuple[str | int, ...]] = []
        if address.password is not None:
            user = (address.username,) if address.username else ()
            words.append(("AUTH", *user, address.password))
        if address.db:
            words.append(("SELECT", address.db))
        name = address.options.get("client_name") or f"qdeck-{os.getpid()}"
        words.append(("CLIENT", "SETNAME", str(name)))
        return words

    async def _connect(self) -> Wire:
        if self._server is not None:
            path = await asyncio.to_thread(self._server.acquire, self._holder)
            try:
                return await self._unix(path)
            except ABSENT:
                return await self._unix(await asyncio.to_thread(self._server.revive, self._holder))
        if self.address.kind == "unix":
            return await self._unix(self.address.path)
        host, port = self.address.hosts[0]
        if self.address.kind == "sentinel":
            watch = sentinel(self.address)
            try:
                host, port = await watch.discover_master(self.address.service)
            finally:
                for one in watch.sentinels:
                    await one.aclose()
        loop = asyncio.get_running_loop()
        tls: dict[str, Any] = {}
        if self.address.tls:
            tls = {"ssl": tls_context(self.address), "server_hostname": host}
        transport, wire = await loop.create_connection(
            lambda: Wire(self.timeout), host, port, **tls
        )
        bare = transport.get_extra_info("socket")
        if bare is not None:
            bare.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return wire

    async def _unix(self, path: str) -> Wire:
        loop = asyncio.get_running_loop()
        _, wire = await loop.create_unix_connection(lambda: Wire(self.timeout), path)
        return wire

    def _connect_sync(self) -> socket.socket:
        if self._server is not None:
            try:
                return self._unix_sync(self._server.acquire(self._holder))
            except ABSENT:
                return self._unix_sync(self._server.revive(self._holder))
        if self.address.kind == "unix":
            return self._unix_sync(self.address.path)
        host, port = self.address.hosts[0]
        if self.address.kind == "sentinel":
            watch = sync_sentinel(self.address)
            try:
                host, port = watch.discover_master(self.address.service)
            finally:
                for one in watch.sentinels:
                    one.close()
        bare = socket.create_connection((host, port), self._patience)
        try:
            bare.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            bare.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if self.address.tls:
                return tls_context(self.address).wrap_socket(bare, server_hostname=host)
        except BaseException:
            bare.close()
            raise
        return bare

    def _unix_sync(self, path: str) -> socket.socket:
        bare = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            bare.settimeout(self._patience)
            bare.connect(path)
        except BaseException:
            bare.close()
            raise
        return bare


def tls_context(address: Address) -> ssl.SSLContext:
    """Returns the TLS rules that the URL's ssl_ options ask for; certificates are checked."""
    options = {name: str(value) for name, value in address.options.items()}
    context = ssl.create_default_context(
        cafile=options.get("ssl_ca_certs"), capath=options.get("ssl_ca_path")
    )
    level = options.get("ssl_cert_reqs", "required")
    context.check_hostname = address.options.get("ssl_check_hostname", True) is True
    if level == "none":
        context.check_hostname = False
    modes = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
    context.verify_mode = modes[level]
    if "ssl_certfile" in options:
        context.load_cert_chain(
            options["ssl_certfile"], options.get("ssl_keyfile"), options.get("ssl_password")
        )
    return context
