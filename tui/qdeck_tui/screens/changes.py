"""The line of changes that is typed, and what changes make of a payload, in words."""

from __future__ import annotations

import json
from typing import Any

from qdeck.admin import Change, Denied, Diff
from qdeck_tui.format import cut, safe, width

__all__ = ["as_object", "changes_of", "flaw_of", "shown_diff", "value_text", "whole_diff"]

_SHAPE = "args.name = value, -args.name or args.old -> new"


def changes_of(line: str) -> list[Change]:
    """Return the changes of a line; several stand with `;` between them. Raises Denied."""
    return [Change.parse(part) for part in _parts(line) if part.strip()]


def _parts(line: str) -> list[str]:
    """Return what stands between the `;` of a line that are not within a text of JSON."""
    parts, inside, at = [""], False, 0
    while at < len(line):
        size = 2 if inside and line[at] == "\\" else 1
        inside ^= line[at] == '"'
        if line[at] == ";" and not inside:
            parts.append("")
        else:
            parts[-1] += line[at : at + size]
        at += size
    return parts


def flaw_of(line: str) -> str:
    """Return why a line is no change, empty where it is one."""
    try:
        return "" if changes_of(line) else _SHAPE
    except Denied as error:
        return str(error)


def shown_diff(diff: Diff) -> str:
    """Return a change in one line: what goes and what comes, then the payload it is in."""
    if diff.problem:
        return safe(diff.problem)
    before, after = as_object(diff.before), as_object(diff.after)
    gone = {name: value for name, value in before.items() if after.get(name, ...) != value}
    come = {name: value for name, value in after.items() if before.get(name, ...) != value}
    old = value_text(gone) if gone else cut(safe(diff.before), 26)
    return safe(f"{old}  >  {value_text(come)}")


def whole_diff(diff: Diff, cells: int) -> str:
    """Return a change in one line: both payloads whole where there is room for them, else what
    changes beside one argument that stays.
    """
    before, after = as_object(diff.before), as_object(diff.after)
    if not diff.problem and before and after:
        for text in (f"{value_text(before)}  >  {value_text(after)}", _beside(before, after)):
            if text and width(safe(text)) <= cells:
                return safe(text)
    return cut(shown_diff(diff), cells)


def _beside(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Return what changes beside the last argument that stays, empty where none does."""
    same = [name for name, value in before.items() if after.get(name, ...) == value]
    if not same:
        return ""
    left = {*same[:-1]}
    sides = []
    for values in (before, after):
        shown = value_text({name: value for name, value in values.items() if name not in left})
        sides.append(f"{{…, {shown[1:]}" if left else shown)
    return "  >  ".join(sides)


def value_text(values: Any) -> str:
    """Return a value as JSON text."""
    return json.dumps(values, ensure_ascii=False)


def as_object(raw: str) -> dict[str, Any]:
    """Return the object of a JSON text, an empty one where it holds none."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
