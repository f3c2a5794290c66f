"""Draws the lines around the view: header, tabs, footer, and the terminal's own cursor."""

from __future__ import annotations

from datetime import UTC, datetime
from time import monotonic

from textual.geometry import Offset

from qdeck.admin import Failure
from qdeck_tui.actions import Row
from qdeck_tui.dispatch import show_key
from qdeck_tui.format import age, clock, memory, safe
from qdeck_tui.screens.base import View
from qdeck_tui.shell import Shell
from qdeck_tui.widgets.chrome import HeaderState
from qdeck_tui.widgets.table import Table

__all__ = ["Framing"]

#: Cells from which the views have their whole names, and the server its state.
WIDE = 110
DISK = {"append-only file": "aof", "snapshots": "rdb", "none": "not on disk"}
RTT_STEPS = (20, 50, 100, 200, 500, 1000, 2000, 5000, 20_000)


class Framing(Shell):
    """The app as far as the lines around its views go."""

    def show_header(self) -> None:
        """Draw the header and the tabs again, where they changed."""
        view = self.view_now()
        if view is None:
            return
        old = monotonic() - self._read_at
        live = not self._trouble and not self.stale
        note = self._trouble
        if not live and self._read_at > 0:
            note = f"stale {age(old)}" + (f": {note}" if note else "")
        admin = self.admin
        rights = "ro" if self.read_only or (admin is not None and admin.read_only) else "rw"
        label = admin.label if admin is not None else "connecting"
        at = clock(datetime.now(UTC) if self.snapshot is None else self.now, self.zone)
        zone = "UTC" if self.zone is UTC else (self.now.astimezone(self.zone).tzname() or "local")
        profile = self.profile
        state = HeaderState(
            label, rights, live, safe(note), self._rtt(), f"{at} {zone}", self.poller.frozen,
            "" if profile is None else profile.name, "" if profile is None else profile.style,
            profile is not None and profile.production,
            self._server() if self.size.width >= WIDE else "",
        )  # fmt: skip
        view.header.tell(state)
        view.tabs.tell(self._tabs(), self.current_mode, self._crumbs(view), view.summary())

    def _crumbs(self, view: View) -> tuple[str, ...]:
        """Return the way to what is on the screen."""
        return (*(s.crumb for s in self.screen_stack if isinstance(s, View)), *view.trail)

    def _server(self) -> str:
        """Return the server's memory and how it keeps data, in steps that do not tick."""
        info = self.snapshot.server if self.snapshot is not None else None
        if info is None or isinstance(info, Failure):
            return ""
        used = info.memory_bytes
        if used is not None and not self._memory * 0.9 < used < self._memory * 1.1:
            self._memory = used
        limit = f"/{memory(info.memory_limit_bytes)}" if info.memory_limit_bytes else ""
        words = [f"mem {memory(self._memory)}{limit}" if used is not None else ""]
        disk = DISK.get(info.persistence, info.persistence)
        return " ".join(filter(None, [*words, info.eviction, disk]))

    def _rtt(self) -> str:
        """Return the round trip in steps, which change only when it left its step clearly."""
        rtt = self.poller.rtt
        if rtt is None:
            return ""
        low = self._rtt_step / 4
        if not low < rtt * 1000 <= self._rtt_step * 1.5:
            self._rtt_step = next((s for s in RTT_STEPS if rtt * 1000 <= s), RTT_STEPS[-1])
        return f"rtt <{self._rtt_step}ms"

    def _tabs(self) -> tuple[tuple[str, str, str, str], ...]:
        """Return the views, each with what an operator should see of it without going there."""
        wide = self.size.width >= WIDE
        badges = {}
        queues = self.snapshot.queues if self.snapshot else ()
        if isinstance(queues, tuple):
            dead = sum(queue.dead or 0 for queue in queues)
            badges["dead"] = (f" {dead:,}!" if wide else f":{dead:,}!") if dead else ""
            if wide and queues:
                later = sum((queue.scheduled or 0) + (queue.retrying or 0) for queue in queues)
                badges["queues"] = f" {len(queues)}"
                badges["running"] = f" {sum(queue.running or 0 for queue in queues):,}"
                badges["later"] = f" {later:,}"
        lost = sum(1 for worker in self._crew if worker.state in ("lost", "stuck"))
        badges["workers"] = f":{lost}!" if lost else ""
        if wide and self._crew:
            badges["workers"] = f" {len(self._crew)}" + (f" ({lost}!)" if lost else "")
        return tuple(
            (row.id, row.key, f" {row.id.capitalize()}" if wide else row.label,
             badges.get(row.id, ""))
            for row in self.dispatch.rows
            if row.group == "views"
        )  # fmt: skip

    def changed(self) -> None:
        """Draw the footer soon, once, since what the keys mean may have changed."""
        if not self._footer_due:
            self._footer_due = True
            # The row under a key is painted first: what follows is seldom another footer.
            self.call_after_refresh(self._draw_footer)

    def _draw_footer(self) -> None:
        self._footer_due = False
        view = self.view_now()
        if view is None:
            return
        if self.typing is not None:
            view.footer.tell((), self.typing.line(self.size.width))
        elif self.sheet is not None:
            view.footer.tell(self.sheet.hints())
        else:
            view.footer.tell(self._footer(view))
        if view.tabs.crumbs != self._crumbs(view):
            self.show_header()
        self.place_cursor()

    def _footer(self, view: View) -> tuple[tuple[str, str], ...]:
        found: list[tuple[int, str, str]] = []
        for row in self.dispatch.rows:
            if not row.hint or not self._offered(row, view):
                continue
            label = row.label
            if row.verbs:
                verb = self.verbs.find(row)
                if verb is None or not verb[2].allowed:
                    continue
                label = verb[1].replace("_", " ")
            elif self.dispatch.handler(row, view) is None:
                continue
            found.append((row.hint, show_key(row.key), label))
        return tuple((key, label) for _, key, label in sorted(found))

    def _offered(self, row: Row, view: View) -> bool:
        """Return whether a row that can be carried out makes sense now."""
        if row.id == "pane":
            return len(view.reachable_panes()) > 1
        if row.id in ("open", "mark", "log", "sort", "copy") and isinstance(view.pane, Table):
            return view.pane.total > 0
        if row.id == "quit":
            return self.depth == 0
        if row.id == "back":
            pane = view.pane
            busy = view.zoomed or getattr(pane, "marked", False) or getattr(pane, "needle", "")
            return self.depth > 0 or bool(busy)
        return True

    def place_cursor(self) -> None:
        """Put the terminal's own cursor on the selected row, where it is shown."""
        view = self.view_now()
        pane = view.pane if view is not None else None
        row = getattr(pane, "cursor_line", None)
        if self.plain and pane is not None and row is not None:
            self.cursor_position = pane.region.offset + Offset(0, row)
