"""Reads themes from TOML: the six that come along, and the user's own files.

A file that cannot be used becomes a notice that names the file, the line and what is wrong; it
never stops the console. It decides no colour: `palette` turns a theme into styles.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from textual.color import Color, ColorParseError
from textual.theme import Theme

from qdeck.admin.frozen import dataclass

__all__ = ["COLOURS", "GROUNDS", "TEXTS", "ThemeSet", "load_theme", "load_themes", "read_theme"]

COLOURS = (
    *("background", "surface", "panel", "foreground", "primary", "secondary"),
    *("accent", "success", "warning", "error"),
)
TEXTS = ("dim", "title", "key", "mark", "rule")
GROUNDS = ("cursor", "bar", "found")
TABLES = {"colours": COLOURS, "text": TEXTS, "ground": GROUNDS}
# What Textual's own styles name and what it makes no value of for a theme of the 16 colours.
UNMADE = ("ansi-background", "ansi-foreground", "foreground-disabled", "surface-active")
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
LARGEST = 64 * 1024


@dataclass(frozen=True, slots=True)
class ThemeSet:
    """The themes by name, the bundled ones first, and one line for each file that is no theme."""

    themes: Mapping[str, Theme]
    notices: tuple[str, ...] = ()


class _Wrong(ValueError):
    """What is wrong in a theme file, and the word whose line is to be named."""

    def __init__(self, text: str, word: str = "") -> None:
        super().__init__(text)
        self.word = word


def load_themes(folders: Sequence[Path] = ()) -> ThemeSet:
    """Return the bundled themes and those in folders; a later one replaces one of its name."""
    themes: dict[str, Theme] = {}
    notices: list[str] = []
    places: list[Any] = [files("qdeck_themes"), *folders]
    for place in places:
        try:
            found = sorted(
                (each for each in place.iterdir() if each.name.endswith(".toml")),
                key=lambda each: str(each.name),
            )
        except FileNotFoundError:
            continue
        except OSError as error:
            notices.append(f"themes in {place}: {error.strerror}")
            continue
        for file in found:
            theme = _load(file, notices)
            if theme is not None:
                themes[theme.name] = theme
    return ThemeSet(themes, tuple(notices))


def load_theme(name: str, folders: Sequence[Path] = ()) -> Theme | None:
    """Return one theme by name, the last folder first; None where there is none that is right."""
    if not NAME.fullmatch(name):
        return None
    places: list[Any] = [*reversed(folders), files("qdeck_themes")]
    for place in places:
        file = place / f"{name}.toml"
        if file.is_file():
            found = _load(file, [])
            if found is not None:
                return found
    return None


def _load(file: Any, notices: list[str]) -> Theme | None:
    """Return the theme in a file, or None after a notice."""
    try:
        with file.open("rb") as stream:
            data = stream.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise _Wrong("larger than 64 KiB")
        return read_theme(file.name.removesuffix(".toml"), data.decode("utf-8"))
    except OSError as error:
        notices.append(f"theme {file.name}: {error.strerror}")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        notices.append(f"theme {file.name}, line {line}: not UTF-8")
    except ValueError as error:
        notices.append(f"theme {file.name}, {error}")
    return None


def read_theme(name: str, text: str) -> Theme:
    """Return the theme that a TOML text describes; raises ValueError `line N: what is wrong`."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column \d+\)", str(error))
        what = re.sub(r"\s*\(at .*\)$", "", str(error))
        last = text.rstrip().count("\n") + 1
        raise ValueError(f"line {found[1] if found else last}: {what}") from error
    try:
        return _theme(name, table)
    except _Wrong as error:
        raise ValueError(f"line {_line_of(text, error.word)}: {error}") from error


def _theme(name: str, table: Mapping[str, Any]) -> Theme:
    """Return the theme that a parsed file describes."""
    if not NAME.fullmatch(name):
        raise _Wrong(f"the file's name {name!r} is to be a-z, 0-9, _ and - only")
    for key in table:
        if key not in (*TABLES, "title", "dark", "ansi"):
            known = ", ".join(("title", "dark", "ansi", *TABLES))
            raise _Wrong(f"unknown key {key!r}; known are {known}", key)
    for key in ("dark", "ansi"):
        if not isinstance(table.get(key, False), bool):
            raise _Wrong(f"{key} is true or false, not {table[key]!r}", key)
    if not isinstance(table.get("title", ""), str):
        raise _Wrong("title is a text", "title")
    ansi = table.get("ansi", False)
    colours = _colours(table, "colours", required=COLOURS, ansi=ansi)
    texts = _colours(table, "text", required=(), ansi=ansi)
    grounds = _colours(table, "ground", required=(), ansi=ansi)
    options: dict[str, Any] = {"dark": table.get("dark", True), "ansi": ansi, **colours}
    return Theme(
        name=name,
        **options,
        variables={
            "block-cursor-text-style": "none",
            **(dict.fromkeys(UNMADE, "ansi_default") if ansi else {}),
            **{f"qdeck-{key}": value for key, value in texts.items()},
            **{f"qdeck-{key}-ground": value for key, value in grounds.items()},
        },
    )


def _colours(
    table: Mapping[str, Any], section: str, *, required: Sequence[str], ansi: bool
) -> dict[str, str]:
    """Return the colours of one table of a theme, each checked."""
    given = table.get(section, {})
    if not isinstance(given, dict):
        raise _Wrong(f"[{section}] is a table of colours", section)
    for key, value in given.items():
        if key not in TABLES[section]:
            known = ", ".join(TABLES[section])
            raise _Wrong(f"unknown colour {key!r} in [{section}]; known are {known}", key)
        if not isinstance(value, str):
            raise _Wrong(f"{key} is a colour as text, not {value!r}", key)
        if value.startswith("ansi_") != ansi:
            wanted = "one of ansi_… colours" if ansi else 'no ansi_… colour without "ansi = true"'
            raise _Wrong(f"{key} is to be {wanted}, not {value!r}", key)
        try:
            Color.parse(value)
        except ColorParseError as error:
            raise _Wrong(f"{key} is not a colour: {value!r} (write #rrggbb)", key) from error
    missing = [key for key in required if key not in given]
    if missing:
        raise _Wrong(f"[{section}] lacks {', '.join(missing)}", section)
    return dict(given)


def _line_of(text: str, word: str) -> int:
    """Return the number of the line that first sets a word, or opens its table; 1 if none does."""
    if word:
        place = re.compile(rf"\s*(?:\[\s*)?[\"']?{re.escape(word)}[\"']?\s*(?:=|\]|\.)")
        for number, line in enumerate(text.split("\n"), 1):
            if place.match(line):
                return number
    return 1
