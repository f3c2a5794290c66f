"""View 8: the server: what it is, how full it is, what it keeps, its nodes, and what was slow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from qdeck.admin import Failure, Node, ServerFacts
from qdeck_tui.format import age, count, memory, prose, safe, stamp
from qdeck_tui.poller import Read
from qdeck_tui.screens.base import Parts, View, take
from qdeck_tui.widgets.canvas import Line
from qdeck_tui.widgets.pane import TextPane

__all__ = ["RedisView"]


class RedisView(View):
    """Facts, warnings in words, nodes, and the slow log; each stays unknown where it is not told.

    It only looks: nothing here is changed.
    """

    view_id = "redis"

    def __init__(self) -> None:
        super().__init__("Redis")
        self.facts = TextPane("SERVER")
        self.warnings = TextPane("WARNINGS")
        self.warnings.empty = ("nothing to warn of",)
        self.nodes = TextPane("NODES")
        self.nodes.empty = ("one server, no replica",)
        self.slow = TextPane("SLOW COMMANDS")
        self.slow.empty = ("nothing was slow lately",)
        self.panes = [self.facts, self.warnings, self.nodes, self.slow]

    def fit_panes(self, width: int, height: int) -> None:
        """Give the facts their lines, the slow log what is left."""
        self.facts.styles.height = 8
        self.warnings.styles.height = 4 if height < 30 else 7
        self.nodes.wanted = height >= 22
        self.nodes.styles.height = 3 if height < 30 else 8
        self.slow.wanted = height >= 18
        for pane in self.panes:
            pane.display = pane.wanted

    def parts(self) -> Mapping[str, Read]:
        """Ask for the server."""
        return {"server": lambda admin: admin.server()}

    def show(self, parts: Parts) -> None:
        """Take what was read."""
        value = parts.get("server")
        if value is None or not take(self.facts, value):
            return
        found = cast("ServerFacts", value)
        name = " ".join(part for part in (found.product, found.version, found.mode) if part)
        self.facts.title = f"SERVER {safe(name) or '?'}"
        self.facts.show(self._facts(found))
        self.warnings.title = f"WARNINGS {len(found.warnings)}" if found.warnings else "WARNINGS"
        cells = max(20, self.size.width - 4)
        self.warnings.show(
            [((f" ! {part}" if not at else f"   {part}", "bad"),)
             for text in found.warnings for at, part in enumerate(prose(text, cells))]
        )  # fmt: skip
        self.nodes.show([_node(node) for node in found.nodes])
        if isinstance(found.slow, Failure):
            self.slow.trouble = found.slow.reason
            self.slow.show([])
            return
        self.slow.trouble = None
        self.slow.show(
            [
                ((f" {each.ms:>8.1f} ms  ", "warn" if each.ms >= 10 else ""),
                 (f"{stamp(each.at, self.desk.zone)}  ", "dim"), (safe(each.command), ""))
                for each in found.slow
            ]
        )  # fmt: skip

    def _facts(self, found: ServerFacts) -> list[Line]:
        limit = (
            f" of {memory(found.memory_limit_bytes)}" if found.memory_limit_bytes else ", no limit"
        )
        peak = f", peak {memory(found.memory_peak_bytes)}" if found.memory_peak_bytes else ""
        saved = f", saved {stamp(found.saved_at, self.desk.zone)}" if found.saved_at else ""
        blocked = f", {count(found.blocked_clients)} blocked" if found.clients is not None else ""
        speed = "?" if found.ops_per_s is None else f"{found.ops_per_s:,.0f}/s"
        rows = (
            ("address", found.address or "?"),
            ("role", f"{found.role or '?'}, up {age(found.uptime_s)}"),
            ("memory", f"{memory(found.memory_bytes)}{limit}{peak}"),
            ("eviction", found.eviction or "?"),
            ("on disk", f"{found.persistence or '?'}{saved}"),
            ("clients", f"{count(found.clients)}{blocked}   {speed}   {count(found.keys)} keys"),
        )
        return [((f" {name:<9} ", "dim"), (safe(text), "")) for name, text in rows]


def _node(each: Node) -> Line:
    parts = [f" {each.role:<8} {each.address}", each.version, each.state]
    if each.memory_bytes is not None:
        parts.append(memory(each.memory_bytes))
    if each.keys is not None:
        parts.append(f"{each.keys:,} keys")
    if each.lag_s is not None:
        parts.append(f"{each.lag_s:.0f} s behind")
    return ((safe("  ".join(part for part in parts if part)), ""),)
