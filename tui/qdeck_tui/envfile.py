"""The file of NAME=value lines that a local worker's environment is read from."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["read_env"]

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Bytes of a file from which it is no such file.
LARGEST = 1 << 20


def read_env(path: str) -> dict[str, str]:
    """Return the variables of a file; raises ValueError with one line that names the line.

    Empty lines and those that begin with # are left out, `export` may stand before a name and one
    kind of quotes around a value; nothing in a value is replaced. Values are never repeated in an
    error, since they are secrets often enough.
    """
    try:
        with Path(path).expanduser().open("rb") as file:
            raw = file.read(LARGEST + 1)
    except OSError as error:
        raise ValueError(f"env {path} cannot be read: {error.strerror}") from error
    if len(raw) > LARGEST:
        raise ValueError(f"env {path} is larger than 1 MiB: it holds NAME=value lines")
    try:
        lines = raw.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"env {path} is no UTF-8 text: byte {error.start + 1}") from error
    found: dict[str, str] = {}
    for number, whole in enumerate(lines, 1):
        line = whole.strip().removeprefix("export ").strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        name, value = name.rstrip(), value.lstrip()
        if not equals or not NAME.fullmatch(name):
            raise ValueError(f"env {path} line {number} is no NAME=value")
        if value[:1] in ("'", '"'):
            if len(value) < 2 or value[-1] != value[0]:
                raise ValueError(f"env {path} line {number}: the quotes of {name} do not close")
            value = value[1:-1]
        if "\0" in value:
            raise ValueError(f"env {path} line {number}: {name} holds a NUL")
        found[name] = value
    return found
