"""Where the editor of schedules lies on screens of all sizes."""

from __future__ import annotations

from qdeck_tui.widgets.overlay import Box

__all__ = ["ABOVE", "WIDE", "editor_box"]

#: Cells from which something stands beside the list, while a schedule is edited and else.
WIDE = 110
#: Lines of the list above an editor that stands below it: title, head and four rows.
ABOVE = 6
#: Smaller screens are filled by the editor.
LEAST = (80, 24)


def editor_box(cells: int, rows: int) -> Box:
    """Return the place right of the list, below its first rows, or over all of it."""
    if cells < LEAST[0] or rows < LEAST[1]:
        return (0, 1, cells, rows - 2)
    if cells < WIDE:
        return (0, 2 + ABOVE, cells, rows - 4 - ABOVE)
    left = cells * 9 // 20
    return (left, 2, cells - left, rows - 4)
