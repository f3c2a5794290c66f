"""All that is known of the server: one or the nodes of a cluster, its slow log, and warnings.

A user of the server who may not ask for the slow log still sees the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Final

from qdeck.admin import Failure, Node, ServerFacts, SlowCommand
from qdeck.causes import of_server
from qdeck.reader import Reader, at_ms, count, items, text
from qdeck.scripts import script
from qdeck.status import parse_info, server_info

__all__ = ["read_server"]

_SLOW: Final = 20
_CUT: Final = 80


async def read_server(reader: Reader) -> ServerFacts:
    """Return the facts, in two round trips a node."""
    deck = reader.deck
    infos, slow = await reader.everywhere(("INFO",)), await reader.everywhere(
        ("SLOWLOG", "GET", _SLOW)
    )  # fmt: skip
    found = [{} if isinstance(reply, BaseException) else parse_info(reply) for reply in infos]
    first = found[0] if found else {}
    line = server_info(first, deck.connector.address)
    nodes = _primaries(found) if deck.connector.cluster else _replicas(first)
    memory = [_int(each.get("used_memory")) for each in found]
    return ServerFacts(
        line.product,
        line.version,
        line.address,
        first.get("server_mode") or first.get("redis_mode", ""),
        {"master": "primary", "slave": "replica"}.get(first.get("role", ""), ""),
        _float(first.get("uptime_in_seconds")),
        _total(memory),
        _total([_int(each.get("used_memory_peak")) for each in found]),
        _total([_int(each.get("maxmemory")) or None for each in found]),
        _float(first.get("mem_fragmentation_ratio")),
        line.eviction,
        line.persistence,
        at_ms((_float(first.get("rdb_last_save_time")) or 0.0) * 1000),
        _total([_int(each.get("connected_clients")) for each in found]),
        _total([_int(each.get("blocked_clients")) for each in found]),
        _total([_int(each.get("instantaneous_ops_per_sec")) for each in found]),
        _total([_keys(each) for each in found]),
        nodes,
        _slow(slow),
        tuple(_warnings(found, slow)),
    )


def _primaries(found: Sequence[Mapping[str, str]]) -> tuple[Node, ...]:
    return tuple(
        Node(
            f"{each.get('tcp_port', '?')}",
            {"master": "primary", "slave": "replica"}.get(each.get("role", ""), "?"),
            each.get("valkey_version") or each.get("redis_version", ""),
            _int(each.get("used_memory")),
            _keys(each),
            None,
            f"{each.get('connected_slaves', '?')} replicas",
        )
        for each in found
    )


def _replicas(info: Mapping[str, str]) -> tuple[Node, ...]:
    made = []
    for i in range(_int(info.get("connected_slaves")) or 0):
        parts = dict(
            part.partition("=")[::2] for part in info.get(f"slave{i}", "").split(",") if part
        )
        made.append(
            Node(
                f"{parts.get('ip', '?')}:{parts.get('port', '?')}",
                "replica",
                lag_s=_float(parts.get("lag")),
                state=parts.get("state", ""),
            )
        )
    if info.get("role") == "slave":
        primary = f"{info.get('master_host', '?')}:{info.get('master_port', '?')}"
        made.append(Node(primary, "primary", state=info.get("master_link_status", "")))
    return tuple(made)


def _slow(replies: Sequence[Any]) -> tuple[SlowCommand, ...] | Failure:
    known = {script(name).sha.encode(): name for name in _names()}
    made = []
    for reply in replies:
        if isinstance(reply, BaseException):
            return Failure(f"this user may not read the slow log ({reply})")
        for entry in items(reply):
            fields = items(entry)
            if len(fields) < 4 or count(fields[1]) is None:
                continue
            made.append(
                SlowCommand(
                    datetime.fromtimestamp(fields[1], UTC),
                    (count(fields[2]) or 0) / 1000,
                    _command(items(fields[3]), known),
                )
            )
    made.sort(key=lambda each: each.at, reverse=True)
    return tuple(made[:_SLOW])


def _names() -> list[str]:
    folder = files("qdeck").joinpath("lua")
    return [
        each.name.removesuffix(".lua") for each in folder.iterdir() if each.name.endswith(".lua")
    ]


def _command(words: Sequence[Any], known: Mapping[bytes, str]) -> str:
    """Return a command by its name and first key; a script of qdeck by the script's name."""
    if not words:
        return "?"
    name = text(words[0]).upper()
    if name in ("EVALSHA", "EVAL") and len(words) > 3:
        first = text(words[3])
        tag = first[first.find("{") + 1 : first.find("}")] if "{" in first else first
        return f"script {known.get(words[1], 'of others')} on {tag}"[:_CUT]
    return " ".join([name, *(text(word) for word in words[1:2])])[:_CUT]


def _warnings(found: Sequence[Mapping[str, str]], slow: Sequence[Any]) -> list[str]:
    made = []
    for info in found:
        for cause in of_server(info):
            made.append(f"{cause.text}; {cause.next_step}")
        used, limit = _int(info.get("used_memory")) or 0, _int(info.get("maxmemory")) or 0
        if limit and 0.9 * limit <= used < 0.98 * limit:
            made.append(f"memory is {used / limit:.0%} of maxmemory; raise it or delete jobs")
        policy = info.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            made.append(f"maxmemory-policy {policy} deletes jobs; set it to noeviction")
        if info.get("aof_enabled") == "0" and not (_int(info.get("rdb_saves")) or 0):
            made.append("nothing is written to disk: a restart loses all jobs; set appendonly yes")
        ratio = _float(info.get("mem_fragmentation_ratio")) or 0.0
        if ratio > 2 and used > 256 * 1024 * 1024:
            made.append(f"memory is fragmented ({ratio:.1f} times what is used); try activedefrag")
        rejected = _int(info.get("rejected_connections")) or 0
        if rejected:
            made.append(f"{rejected:,} connections were refused; raise maxclients")
    return list(dict.fromkeys(made))


def _keys(info: Mapping[str, str]) -> int | None:
    counts = [
        part.partition("=")[2]
        for name, value in info.items()
        if name.startswith("db") and name[2:].isdigit()
        for part in value.split(",")
        if part.startswith("keys=")
    ]
    return sum(int(each) for each in counts if each.isdigit()) if info else None


def _total(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _int(raw: str | None) -> int | None:
    return int(raw) if raw is not None and raw.isdigit() else None


def _float(raw: str | None) -> float | None:
    try:
        return float(raw) if raw is not None else None
    except ValueError:
        return None
