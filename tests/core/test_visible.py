"""What the command line shows on a terminal: text of jobs and of the operator commands nothing."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from qdeck.visible import Visible

HOSTILE = "a\x1b]0;title\x07b\x9b31mc\u202ed\u200be\x00f\rg"
SHOWN = "a?]0;title?b?31mc?d?e?f?g"


def test_a_text_commands_nothing_and_letters_lines_and_tabs_stay() -> None:
    raw = io.BytesIO()
    stream = Visible(raw, encoding="utf-8")
    assert stream.write(f"{HOSTILE}\n\t漢字 é ✓\n") == len(HOSTILE) + 9
    stream.flush()
    assert raw.getvalue().decode() == f"{SHOWN}\n\t漢字 é ✓\n"


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "pipe"])
def test_an_error_shows_what_was_typed_without_its_commands_on_a_terminal_only(
    tmp_path: Path, terminal: bool
) -> None:
    reading, writing = pty.openpty() if terminal else os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as received:
        code = subprocess.call(
            [sys.executable, "-m", "qdeck_tui", "config", "\x1b]0;title\x07"],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
        )
        told = received.read(4096)
        os.close(writing)
    assert code == 2
    assert (b"\x1b" in told) is not terminal
    assert b"]0;title" in told


def test_what_the_locale_has_no_character_for_is_written_as_an_escape(tmp_path: Path) -> None:
    (tmp_path / "qdeck.toml").write_text('name = "名"\n')
    done = subprocess.run(
        [sys.executable, "-m", "qdeck_tui", "config"],
        cwd=tmp_path,
        env=os.environ
        | {"PYTHONIOENCODING": "latin-1:strict", "XDG_CONFIG_HOME": str(tmp_path / "config")},
        capture_output=True,
        check=False,
    )
    assert b"Traceback" not in done.stderr
    assert b"\\u540d" in done.stdout + done.stderr
