"""The snapshot: all queues, the server's line and the verdict, each failing alone."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from qdeck.admin import Failure, ServerInfo, Snapshot
from qdeck.crew import FIELDS, listed, worker_row
from qdeck.overview import Overview
from qdeck.reader import Reader, items, text
from qdeck.verdict import judge

__all__ = ["Status", "parse_info", "server_info"]

_FRESH_S: Final = 3.0


class Status:
    """Makes snapshots; one for each operator."""

    def __init__(self, reader: Reader, overview: Overview) -> None:
        self._reader = reader
        self._overview = overview
        self._read_at = float("-inf")
        self._info = ServerInfo(address=reader.deck.connector.address)
        self._crew: tuple[str, ...] = ()

    @property
    def fresh(self) -> bool:
        """Whether the names of the queues were read within the last seconds."""
        return time.monotonic() - self._read_at < _FRESH_S

    @property
    def label(self) -> str:
        """The server and prefix in a few characters."""
        settings, info = self._reader.deck.settings, self._info
        version = ".".join(info.version.split(".")[:2])
        address = info.address.partition("://")[2] or info.address
        if settings.connection in ("embedded", "memory"):
            address = settings.connection
        parts = (info.product, version, address, settings.prefix)
        return " ".join(part for part in parts if part)

    async def snapshot(self) -> Snapshot:
        """Return all queues and the server at one moment of the server's clock."""
        shared = self._reader.deck.shared
        overview = self._overview
        crew = self._crew
        info, names, *records = await overview.read(
            [
                ("INFO",),
                listed(self._reader),
                *(("HMGET", shared.worker(name), *FIELDS) for name in crew),
            ]
        )
        self._read_at = time.monotonic()
        server = self._server(info)
        queues = tuple(overview.row(facts) for facts in overview.facts.values())
        self._crew = tuple(text(name) for name in items(names))
        if set(self._crew) - set(crew):
            crew = self._crew
            records = await self._reader.read(
                [("HMGET", shared.worker(name), *FIELDS) for name in crew]
            )
        now, lease = overview.now_ms(), self._reader.deck.settings.lease
        workers = [
            worker_row(name, dict(zip(FIELDS, items(reply), strict=False)), now, lease)
            for name, reply in zip(crew, records, strict=True)
            if name in self._crew
        ]
        at = datetime.fromtimestamp(now / 1000, UTC)
        if overview.failure is not None:
            failed = Failure(overview.failure)
            return Snapshot(at, self._reader.rtt_s, failed, server, failed)
        return Snapshot(
            at,
            self._reader.rtt_s,
            queues,
            server,
            judge(list(overview.facts.values()), queues, workers, server, now),
            overview.today(("ok", "dead")),
            overview.today(("failed", "crashed")),
        )

    def _server(self, reply: Any) -> ServerInfo | Failure:
        """Return the server's line from its answer to INFO."""
        if isinstance(reply, BaseException):
            return Failure(f"the server does not tell about itself ({reply})")
        self._info = server_info(parse_info(reply), self._reader.deck.connector.address)
        return self._info


def parse_info(reply: Any) -> dict[str, str]:
    """Return the fields of INFO, as text or already parsed."""
    if isinstance(reply, Mapping):
        return {str(key): str(value) for key, value in reply.items()}
    lines = text(reply).splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))


def server_info(fields: Mapping[str, str], address: str) -> ServerInfo:
    """Return the server's line from the fields of INFO."""
    valkey = fields.get("valkey_version")
    version = valkey or fields.get("redis_version", "")
    limit, memory = _int(fields.get("maxmemory")), _int(fields.get("used_memory"))
    return ServerInfo(
        ("valkey" if valkey else "redis") if version else "",
        version,
        address,
        memory,
        limit or None,
        fields.get("maxmemory_policy", ""),
        _persistence(fields),
        _int(fields.get("connected_clients")),
        tuple(_warnings(fields, memory, limit)),
    )


def _persistence(fields: Mapping[str, str]) -> str:
    if fields.get("aof_enabled") == "1":
        return "append-only file"
    return "snapshots" if _int(fields.get("rdb_saves")) else "none"


def _warnings(fields: Mapping[str, str], memory: int | None, limit: int | None) -> list[str]:
    found = []
    if limit and memory is not None and memory >= 0.9 * limit:
        found.append(f"memory is {100 * memory / limit:.0f}% of maxmemory")
    if fields.get("maxmemory_policy", "noeviction") != "noeviction":
        found.append(f"maxmemory-policy {fields['maxmemory_policy']} deletes jobs")
    if fields.get("rdb_last_bgsave_status", "ok") != "ok":
        found.append("the last snapshot to disk failed")
    if fields.get("aof_last_write_status", "ok") != "ok":
        found.append("the last write to the append-only file failed")
    if fields.get("master_link_status", "up") != "up":
        found.append("this replica has lost its primary")
    return found


def _int(raw: str | None) -> int | None:
    return int(raw) if raw is not None and raw.isdigit() else None
