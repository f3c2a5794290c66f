"""What the entry point decides before the console starts, as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Literal

from qdeck.admin.frozen import dataclass
from qdeck_tui.local import Closing, StartRequest
from qdeck_tui.profiles import Profile

__all__ = ["Options", "ZoneName"]

ZoneName = Literal["utc", "local"]


@dataclass(frozen=True, slots=True)
class Options:
    """How the console looks and behaves.

    `colour` false means that no colour is written at all. `every` is the poll interval in seconds.
    `keys` maps action ids to keys. `profiles` are the servers that can be switched to; `profile` is
    the one that the console starts on, None for that of the settings. `notices` are shown at the
    start. `start` fills the form of a local worker. `closing` is what becomes of local workers at
    the end, None to ask. `config` is the file that choices are kept in, None to keep none. `themes`
    are further folders of themes. `editor` is the command of the user's own editor.
    """

    ascii: bool = False
    plain: bool = False
    colour: bool = True
    theme: str = "dark"
    zone: ZoneName = "utc"
    every: float = 1.0
    read_only: bool = False
    keys: Mapping[str, str] = field(default_factory=dict)
    profiles: tuple[Profile, ...] = ()
    profile: Profile | None = None
    notices: tuple[str, ...] = ()
    start: StartRequest | None = None
    closing: Closing | None = None
    config: Path | None = None
    themes: tuple[Path, ...] = ()
    editor: str = ""
