"""An editor for the tests: says what it was given, then does what the line says that is typed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

path = Path(sys.argv[-1])
modes = f"{path.stat().st_mode & 0o777:o} {path.parent.stat().st_mode & 0o777:o}"
print(f"\x1b[2J\x1b[HEDITING {path} {modes} {all(map(os.isatty, (0, 1, 2)))}")  # noqa: T201
print(path.read_text(), end="END\n", flush=True)  # noqa: T201
word, _, rest = sys.stdin.readline().rstrip("\n").partition(" ")
if word == "write":
    path.write_text(rest.replace("|", "\n"))
elif word == "mess":
    os.write(1, b"\x1b[?1049h\x1b[?1003h\x1b[?25l")
    os.system("stty raw -echo")
    sys.exit(3)
elif word == "gone":
    path.unlink()
