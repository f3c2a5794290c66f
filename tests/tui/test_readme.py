"""The README's key table is the table of actions."""

from __future__ import annotations

from pathlib import Path

from qdeck_tui.actions import ROWS

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_readme_lists_every_key_and_no_other() -> None:
    wanted = [
        f"| {row.group} | {' '.join(f'`{key}`' for key in row.keys)} | {row.help} |"
        for row in ROWS
        if row.keys
    ]
    groups = {row.group for row in ROWS}
    found = [
        line for line in README.splitlines() if line.startswith(tuple(f"| {g} | `" for g in groups))
    ]
    assert found == wanted
