"""The pane that says what the dead jobs of a group have in common, and when they came."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import cast

from qdeck.admin import ErrorGroup, Shared
from qdeck_tui.format import count, prose, safe, spark
from qdeck_tui.poller import Read
from qdeck_tui.screens.base import take
from qdeck_tui.widgets.canvas import Line
from qdeck_tui.widgets.pane import TextPane

__all__ = ["SharedPane"]

#: Seconds after which it is read again: that takes hundreds of records.
EVERY = 15.0
#: Share from which what some have is worth a word.
SOME = 0.01


class SharedPane(TextPane):
    """What one group shares, what is missing first."""

    def __init__(self) -> None:
        super().__init__("WHAT THEY SHARE")
        self.empty = ("what the jobs of the selected group have in common appears here",)
        self._of: str | None = None
        self._read_at = -EVERY

    def parts(self, name: str | None, group: ErrorGroup) -> Mapping[str, Read]:
        """Return what is to be read for a group now: nothing where that was read lately."""
        old = monotonic() - self._read_at >= EVERY
        if not self.wanted or (name == self._of and not old):
            return {}
        return {f"shared {name}": lambda admin: admin.shared(group)}

    def tell(self, name: str | None, parts: Mapping[str, object]) -> None:
        """Take what was read for a group; forget another one's."""
        if name != self._of:
            self._of, self._read_at = name, -EVERY
            self.title, self.note = "WHAT THEY SHARE", ""
            self.show([])
        value = parts.get(f"shared {name}")
        if value is None:
            return
        self._read_at = monotonic()
        if take(self, value):
            self._tell(cast("Shared", value))

    def _tell(self, found: Shared) -> None:
        cells = max(20, self.size.width - 2)
        lines: list[Line] = []
        whole = [fact.name for fact in found.facts if fact.kind == "argument" and fact.share == 1]
        rest = [f"all have {', '.join(safe(name) for name in whole)}"] if whole else []
        for fact in found.facts:
            if fact.kind == "missing":
                lines += [((f" {part}", "warn"),) for part in prose(safe(fact.text), cells)]
            elif (fact.kind != "argument" or fact.share < 1) and fact.share >= SOME:
                rest.append(safe(fact.text))
        lines += [((f" {part}", "dim"),) for part in prose(" · ".join(rest), cells)]
        self.title = f"WHAT THEY SHARE of {count(found.sample)} looked at"
        self.note = f"arrivals 1h {spark(found.arrivals, 20)}" if any(found.arrivals) else ""
        self.show(lines)
