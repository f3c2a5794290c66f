"""The console over one `Admin`."""

from __future__ import annotations

from qdeck_tui.commands import Commands

__all__ = ["QdeckApp"]


class QdeckApp(Commands):
    """The console. `open_admin` is awaited after the first paint, so that no client is imported
    before it.

    `supervisor` None means that no local worker can be started. `terminal` None is for tests
    without one.
    """
