"""The line of a job that says how many dead ones failed like it, and since when."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, tzinfo
from time import monotonic
from typing import Final, cast

from qdeck.admin import Admin, Denied, ErrorGroup, Failure, JobDetail, Shared
from qdeck_tui.actions import row
from qdeck_tui.desk import Console
from qdeck_tui.format import count, cut, safe
from qdeck_tui.poller import Read
from qdeck_tui.widgets.pane import TextPane

__all__ = ["SimilarLine"]

#: Seconds after which it is read again: that takes all groups of a queue.
EVERY: Final = 15.0
Found = tuple[ErrorGroup, Shared | None]


class SimilarLine(TextPane):
    """One line; it takes no room where no dead job failed like this one, or nobody knows."""

    titled = False
    reachable = False
    wanted = False

    def __init__(self) -> None:
        super().__init__()
        self.group: ErrorGroup | None = None
        self._read_at = -EVERY

    def parts(self, detail: JobDetail | None) -> Mapping[str, Read]:
        """Return what is to be read for a job now: nothing where that was read lately."""
        error = None if detail is None else detail.error
        if detail is None or error is None or not error.fingerprint:
            return {}
        if monotonic() - self._read_at < EVERY:
            return {}
        queue, fingerprint = detail.row.ref.queue, error.fingerprint
        return {"similar": lambda admin: _find(admin, queue, fingerprint)}

    def tell(self, parts: Mapping[str, object], desk: Console) -> bool:
        """Take what was read; return whether it takes up another room now."""
        value = parts.get("similar", self)
        if value is self or isinstance(value, Failure):
            return False
        self._read_at = monotonic()
        before = self.wanted
        self.wanted = value is not None
        if value is None:
            self.group = None
            return before
        self.group, shared = cast("Found", value)
        key = desk.options.keys.get("similar", row("similar").key)
        tail = f"   {key} group"
        words = _words(self.group, shared, desk)
        self.show([((cut(f" {words}", desk.size.width - len(tail) - 1), "warn"), (tail, "key"))])
        return not before


async def _find(admin: Admin, queue: str, fingerprint: str) -> Found | None:
    groups = (await admin.errors(queue)).groups
    group = next((each for each in groups if each.fingerprint == fingerprint), None)
    if group is None or group.count == 0:
        return None
    with suppress(Denied):
        return group, await admin.shared(group)
    return group, None


def _words(group: ErrorGroup, shared: Shared | None, desk: Console) -> str:
    words = [f"similar: {count(group.count)} dead"]
    if group.first_at is not None:
        words.append(f"first {_moment(group.first_at, desk.now, desk.zone)}")
    if shared is not None:
        where = [fact for fact in shared.facts if fact.kind == "worker"]
        if where:
            share = min(1.0, sum(fact.share for fact in where))
            more = f" and {len(where) - 1} more" if len(where) > 1 else ""
            words.append(f"{share:.0%} on {safe(where[0].name)}{more}")
    return ", ".join(words)


def _moment(at: datetime, now: datetime, zone: tzinfo) -> str:
    here = at.astimezone(zone)
    same_day = here.date() == now.astimezone(zone).date()
    return here.strftime("%H:%M:%S" if same_day else "%b %d %H:%M")
