"""Which node of a cluster a command belongs to.

Owns the map from slots to primaries and the place of the key in a command; sends nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError

from qdeck.wire import Word

__all__ = ["Node", "SlotMap", "slot_of", "target_of"]

Node = tuple[str, int]

_KEYLESS = frozenset({"ACL", "CLIENT", "CLUSTER", "COMMAND", "CONFIG", "DBSIZE", "ECHO", "INFO"})
_KEYLESS |= {"LATENCY", "PING", "SCAN", "SCRIPT", "TIME"}
_SUBCOMMANDS = frozenset(["MEMORY", "OBJECT", "XGROUP", "XINFO"])
_SCRIPTED = frozenset(["EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO"])


def slot_of(words: Sequence[Word]) -> int | None:
    """Returns the slot of a command's first key; None for one that any node can answer."""
    name = _text(words[0]).upper()
    if name in _SCRIPTED:
        place = 3 if int(words[2]) else 0
    elif name in ("XREAD", "XREADGROUP"):
        place = 1 + next(
            index for index, word in enumerate(words) if _text(word).upper() == "STREAMS"
        )
    elif name in _SUBCOMMANDS:
        place = 2
    else:
        place = 0 if name in _KEYLESS else 1
    if not 0 < place < len(words):
        return None
    key = words[place]
    return key_slot(key if isinstance(key, bytes) else str(key).encode())


def target_of(error: AskError, asked: Node) -> Node:
    """Returns where a redirection points; an empty host means the one that was asked."""
    return (error.host or asked[0], int(error.port))


class SlotMap:
    """Primaries by slot, as one node told them."""

    def __init__(self, reply: Any, asked: Node) -> None:
        """`reply` is the raw answer to CLUSTER SLOTS, `asked` the node that gave it."""
        rows = sorted((row[0], row[1], row[2]) for row in reply)
        self._starts = [row[0] for row in rows]
        self._rows: list[tuple[int, Node]] = []
        self._moved: dict[int, Node] = {}
        for _, end, primary in rows:
            host = _text(primary[0]) if primary[0] else asked[0]
            self._rows.append((end, (host if host != "?" else asked[0], int(primary[1]))))

    @property
    def primaries(self) -> list[Node]:
        """Every node that owns slots, once."""
        return list(dict.fromkeys([node for _, node in self._rows] + list(self._moved.values())))

    def owner(self, slot: int | None) -> Node:
        """Returns the primary of a slot, any for None; raises ClusterDownError for an orphan."""
        if slot in self._moved:
            return self._moved[slot]
        index = 0 if slot is None else bisect_right(self._starts, slot) - 1
        if index < 0 or index >= len(self._rows) or (slot or 0) > self._rows[index][0]:
            raise ClusterDownError(f"no node serves slot {slot}")
        return self._rows[index][1]

    def move(self, slot: int, node: Node) -> None:
        """Takes over one slot that a node said has moved."""
        self._moved[slot] = node


def _text(word: object) -> str:
    return word.decode(errors="replace") if isinstance(word, bytes) else str(word)
