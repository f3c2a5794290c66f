"""What a server says about itself, and whether a queue may live on it.

Owns the oldest versions and the rule on eviction; asks nothing itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qdeck.errors import SettingsError

__all__ = ["QUESTIONS", "ServerFacts", "facts_from", "judge", "memory_full"]

QUESTIONS: tuple[tuple[str, ...], ...] = (("INFO",), ("CONFIG", "GET", "save"))
"""What each server is asked; a user may be denied either."""

_OLDEST = {"redis": (6, 2), "valkey": (7, 2)}


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """One server, or the oldest of a cluster; empty texts where its user may not ask.

    `persistence` is `append-only file`, `snapshots` or `none`.
    """

    family: str = ""
    version: tuple[int, ...] = ()
    policy: str = ""
    persistence: str = ""
    replicas: int = 0

    def __str__(self) -> str:
        if not self.version:
            return "a server of unknown version"
        return f"{self.family.capitalize()} {'.'.join(map(str, self.version))}"


def facts_from(info: Any, save: Any) -> ServerFacts:
    """Reads the raw answers to QUESTIONS; an exception stands for a denied one."""
    if not isinstance(info, bytes):
        return ServerFacts()
    lines = info.decode(errors="replace").splitlines()
    found = dict(line.split(":", 1) for line in lines if ":" in line)
    family = "valkey" if "valkey_version" in found else "redis"
    version = found.get("valkey_version") or found.get("redis_version", "")
    persistence = ""
    if found.get("aof_enabled") == "1":
        persistence = "append-only file"
    elif isinstance(save, list) and len(save) == 2:
        persistence = "snapshots" if save[1] else "none"
    replicas = found.get("connected_slaves", "0")
    return ServerFacts(
        family,
        tuple(int(part) for part in version.split(".")[:3] if part.isdigit()),
        found.get("maxmemory_policy", ""),
        persistence,
        int(replicas) if replicas.isdigit() else 0,
    )


def memory_full(info: Any) -> bool:
    """Returns whether a server has reached its `maxmemory`, from its answer to INFO."""
    if not isinstance(info, bytes):
        return False
    found = dict(re.findall(rb"^(used_memory|maxmemory):(\d+)", info, re.MULTILINE))
    used, most = (int(found.get(name, 0)) for name in (b"used_memory", b"maxmemory"))
    return 0 < most <= used


def judge(facts: Sequence[ServerFacts], address: str, allow_eviction: bool) -> ServerFacts:
    """Returns the oldest server's facts; raises SettingsError for one that must not be used."""
    for fact in facts:
        oldest = _OLDEST.get(fact.family, ())
        if fact.version and fact.version < oldest:
            needed = ".".join(map(str, oldest))
            raise SettingsError(
                f"{address} is {fact}; qdeck needs {fact.family.capitalize()} {needed} or newer"
            )
        if fact.policy not in ("", "noeviction") and not allow_eviction:
            raise SettingsError(
                f"{address} has maxmemory-policy {fact.policy}, which deletes jobs when memory "
                "runs out; set it to noeviction, or allow_eviction = true here"
            )
    return min(facts, key=lambda fact: fact.version, default=ServerFacts())
