"""The operator's choices that outlive the console: theme, zone, keys and profiles, in the user's
config.toml.

It reads and writes only these; the settings of the engine in the same file are kept as they are.
A file that cannot be used is a notice and is never overwritten.
"""

from __future__ import annotations

import contextlib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from qdeck.admin.frozen import dataclass
from qdeck_tui.profiles import Profile, read_profiles

__all__ = ["Choices", "read_choices", "save_choices"]

ZONES = ("utc", "local")


@dataclass(frozen=True, slots=True)
class Choices:
    """What was chosen; None where nothing was. `keys` maps ids of actions to keys."""

    theme: str | None = None
    zone: str | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    profiles: tuple[Profile, ...] = ()
    notices: tuple[str, ...] = ()


def read_choices(path: Path) -> Choices:
    """Return the choices in a file; one that is missing holds none, a bad value is a notice."""
    try:
        table = _read(path)
    except ValueError as error:
        return Choices(notices=(str(error),))
    notices: list[str] = []
    theme, zone, keys = table.get("theme"), table.get("zone"), table.get("keys", {})
    if theme is not None and not isinstance(theme, str):
        notices.append(f"{path.name}: theme is a name as text, not {theme!r}")
        theme = None
    if zone is not None and zone not in ZONES:
        notices.append(f"{path.name}: zone is utc or local, not {zone!r}")
        zone = None
    if not isinstance(keys, dict):
        notices.append(f"{path.name}: [keys] is a table of action = key")
        keys = {}
    for name, key in keys.items():
        if not isinstance(key, str):
            notices.append(f"{path.name}: the key of {name} is a text, not {key!r}")
    usable = {name: key for name, key in keys.items() if isinstance(key, str)}
    profiles, wrong = read_profiles(table.get("profiles", {}), path.name)
    return Choices(theme, zone, usable, profiles, (*notices, *wrong))


def save_choices(path: Path, changes: Mapping[str, Any]) -> None:
    """Set values in a file, all or nothing; None removes one. Comments stay where they are.

    Raises ValueError when the file is not TOML, and OSError; in both cases it is left as it was.
    """
    import tempfile

    path = path.resolve()
    text = _changed(path, changes)
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise


def _changed(path: Path, changes: Mapping[str, Any]) -> str:
    """Return the file's text with values set: lines of its own for those that stand on one, and
    written anew where that would not say the same.
    """
    import tomli_w

    table = _read(path)
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    first = re.search(r"^[ \t]*\[", text, re.M)
    cut = first.start() if first else len(text)
    top, tables = text[:cut].rstrip("\n").split("\n") if text[:cut].strip() else [], text[cut:]
    for name, value in changes.items():
        table.pop(name, None)
        lines = []
        if value is not None:
            table[name] = value
            lines = tomli_w.dumps({name: value}).splitlines()
        found = [n for n, line in enumerate(top) if re.match(rf"{re.escape(name)}[ \t]*=", line)]
        at = found[0] if found else len(top)
        top[at : at + 1] = lines
    text = "".join(f"{line}\n" for line in top) + ("\n" if top and tables else "") + tables
    try:
        same = tomllib.loads(text) == table
    except tomllib.TOMLDecodeError:
        same = False
    return text if same else tomli_w.dumps(table)


def _read(path: Path) -> dict[str, Any]:
    """Return the table in a file, empty if there is none; raises ValueError with one line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{path} is not valid TOML: {error}") from error
