"""The servers that an operator named in `[profiles.<name>]` of the user's config.toml.

It reads; a profile that cannot be used is left out and said, and never stops the console.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from qdeck.admin.frozen import dataclass

__all__ = ["Profile", "read_profiles"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
COLOURS = {"green": "good", "yellow": "warn", "red": "bad", "blue": "accent", "none": ""}
KINDS = {"url": str, "prefix": str, "colour": str, "production": bool, "read_only": bool}


@dataclass(frozen=True, slots=True)
class Profile:
    """A named server. `production` asks for its name before large writes; `read_only` is how it is
    opened; `style` is how its name is drawn.
    """

    name: str
    url: str
    prefix: str | None = None
    production: bool = False
    read_only: bool = False
    style: str = ""


def read_profiles(table: object, file: str) -> tuple[tuple[Profile, ...], tuple[str, ...]]:
    """Return the profiles of a parsed `[profiles]`, and one line for each that is left out."""
    if not isinstance(table, dict):
        return (), (f"{file}: [profiles.NAME] is a table for each server",)
    found: list[Profile] = []
    notices: list[str] = []
    for name, row in table.items():
        wrong = _wrong(name, row)
        if wrong:
            notices.append(f"{file}: profile {name!r} left out: {wrong}")
        else:
            found.append(_profile(name, row))
    return tuple(found), tuple(notices)


def _wrong(name: str, row: Any) -> str:
    """Return what is wrong with a profile, nothing where it is right."""
    if not NAME.fullmatch(name):
        return "a name is letters, digits, _ . and -, at most 40"
    if not isinstance(row, dict):
        return "it is a table with url = …"
    for key, value in row.items():
        kind = KINDS.get(key)
        if kind is None:
            return f"there is no {key!r}; known are {', '.join(KINDS)}"
        if not isinstance(value, kind):
            return f"{key} is {'true or false' if kind is bool else 'a text'}, not {value!r}"
    if not row.get("url"):
        return "it lacks url, as in url = 'rediss://host:6379/0'"
    if row.get("colour", "none") not in COLOURS:
        return f"colour is one of {', '.join(COLOURS)}, not {row['colour']!r}"
    return ""


def _profile(name: str, row: Mapping[str, Any]) -> Profile:
    production = row.get("production", False)
    colour = row.get("colour", "red" if production else "none")
    return Profile(
        name, row["url"], row.get("prefix"), production, row.get("read_only", False),
        COLOURS[colour],
    )  # fmt: skip
