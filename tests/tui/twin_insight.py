"""The part of the in-memory stand-in that explains, incomplete on purpose: it knows no causes, no
counters of the past and no slow log.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field

from qdeck.admin import (
    Denied,
    ErrorGroup,
    Event,
    Explanation,
    Fact,
    Failure,
    History,
    JobRef,
    Page,
    ServerFacts,
    Shared,
    Window,
)

__all__ = ["TwinInsight"]

SAMPLE = 100


@dataclass(kw_only=True)
class TwinInsight:
    """Mixed into the stand-in; `explained` holds what a test wants explained, by queue or id."""

    explained: dict[str, Explanation] = field(default_factory=dict)

    async def _call(self, name: str) -> None:
        raise NotImplementedError

    async def group(self, group: ErrorGroup, window: Window) -> Page:
        """Return the members of a group."""
        raise NotImplementedError

    async def explain(self, target: str | JobRef) -> Explanation:
        """Return what a test put in; Denied without it."""
        await self._call("explain")
        name = target if isinstance(target, str) else target.id
        if name not in self.explained:
            raise Denied(f"explain: the causes for {name} are unknown here")
        return self.explained[name]

    async def shared(self, group: ErrorGroup) -> Shared:
        """Return the arguments that members have; nothing is known of what should be there."""
        await self._call("shared")
        page = await self.group(group, Window(0, SAMPLE))
        seen: Counter[str] = Counter()
        for row in page.rows:
            try:
                seen.update(json.loads(row.args))
            except (TypeError, ValueError):
                continue
        size = len(page.rows)
        facts = tuple(
            Fact("argument", name, many / size, f"{name} in {many} of {size}")
            for name, many in seen.most_common()
        )
        return Shared(size, page.total, facts)

    async def history(self, queue: str | None = None, minutes: int = 60) -> History:
        """Refuse."""
        await self._call("history")
        raise Denied("history: no counters are kept here")

    async def events(self, limit: int = 100) -> tuple[Event, ...]:
        """Return nothing."""
        await self._call("events")
        return ()

    async def server(self) -> ServerFacts:
        """Return a name; the rest stays unknown."""
        await self._call("server")
        return ServerFacts("twin", "1", slow=Failure("no slow log is kept here"))
