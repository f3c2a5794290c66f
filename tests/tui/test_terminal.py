"""What stands around the console: keys, prints, signals, crashes, a terminal that goes away."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.tui.pty import Pty, a_child_environment

from qdeck_tui.clipboard import send_to_clipboard
from qdeck_tui.output import OutputLog, pump
from qdeck_tui.packets import Packet, Packets
from qdeck_tui.terminal import needs_ascii, prepare_environment, refusal

SMALL = str(Path(__file__).parent / "programs" / "small.py")


@contextmanager
def a_small_console(**environment: str) -> Iterator[Pty]:
    """Start the small program and wait for its first screen."""
    with Pty.python(SMALL, env=a_child_environment(**environment)) as pty:
        pty.wait_for("ready 80x24")
        yield pty


# The program in a terminal


def test_quitting_leaves_no_mode_on() -> None:
    with a_small_console() as pty:
        pty.press("q")
        assert pty.ended() == 0
        assert pty.modes_left_on() == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_restores_the_terminal_and_says_so_in_the_exit_code(
    number: int, code: int
) -> None:
    with a_small_console() as pty:
        pty.signal(number)
        assert pty.ended() == code
        assert pty.modes_left_on() == []


def test_a_crash_restores_the_terminal_prints_no_locals_and_masks_passwords() -> None:
    with a_small_console() as pty:
        pty.press("x")
        assert pty.ended() == 1
        assert pty.modes_left_on() == []
        assert "RuntimeError: cannot reach redis://***@host/0" in pty.text
        assert "hunter2" not in pty.raw


@pytest.mark.parametrize("keys", ["a", "i"], ids=["with SIGHUP", "deaf to SIGHUP"])
def test_the_program_ends_when_its_terminal_does(keys: str) -> None:
    with a_small_console() as pty:
        pty.press(keys)
        pty.wait_for(f"\n{keys}\n")
        assert pty.hang_up() == 129


def test_what_is_printed_goes_to_the_log_and_not_to_the_screen() -> None:
    with a_small_console() as pty:
        pty.press("p")
        pty.wait_for("written to 2 without an end")
        rows = pty.text.split("\n")
        assert rows[2:5] == ["printed by python", "written to 1", "written to 2 without an end"]


def test_a_child_of_the_program_reads_no_keys() -> None:
    with a_small_console() as pty:
        pty.press("c")
        pty.wait_for("child read ''")
        pty.press("z")
        pty.wait_for("c z")


def test_a_new_size_is_drawn() -> None:
    with a_small_console() as pty:
        pty.resize(120, 40)
        pty.wait_for("ready 120x40")
        pty.resize(60, 16)
        pty.wait_for("ready 60x16")


def test_escape_and_a_key_in_one_packet_are_two_keys() -> None:
    with a_small_console() as pty:
        pty.send("\x1bj")
        pty.wait_for("escape j")
        pty.send("\x1b\x1b[B")
        pty.wait_for("escape j escape down")
        pty.send("\x1b")
        pty.wait_for("escape j escape down escape")


def test_a_paste_is_one_text_without_controls() -> None:
    with a_small_console() as pty:
        pty.send("\x1b[200~a\x1b[A\x1bq\x01b\x1b[201~z")
        pty.wait_for("paste'a[Aqb' z")


def test_the_mouse_reports_clicks_only_and_can_be_switched() -> None:
    with a_small_console() as pty:
        assert 1000 << 5 in pty.screen.mode
        assert 1006 << 5 in pty.screen.mode
        assert 1003 << 5 not in pty.screen.mode
        pty.send("\x1b[<0;5;2M\x1b[<0;5;2m")
        pty.wait_for("click@4,1")
        pty.press("m")
        pty.wait(lambda: 1000 << 5 not in pty.screen.mode, "end of click reports")
        pty.press("m")
        pty.wait(lambda: 1000 << 5 in pty.screen.mode, "click reports")


def test_no_colour_code_is_written_under_no_color() -> None:
    with a_small_console(NO_COLOR="1") as pty:
        pty.press("a", "b")
        pty.wait_for("a b")
        codes = {
            code for sgr in re.findall(r"\x1b\[([0-9;]*)m", pty.raw) for code in sgr.split(";")
        }
        assert codes <= {"", "0", "1", "2", "4", "7"}
        assert "7" in codes


def test_an_idle_console_writes_nothing() -> None:
    with a_small_console() as pty:
        pty.press("a")
        pty.wait_for("\na\n")
        while True:
            before = len(pty.raw)
            for _ in range(20):
                pty.pump()
            if len(pty.raw) == before:
                break


def test_a_stopped_program_gives_the_terminal_back_and_paints_again() -> None:
    with a_small_console() as pty:
        pty.press("a")
        pty.wait_for("\na\n")
        pty.signal(signal.SIGTSTP)
        pty.wait(lambda: pty.raw.endswith("\x1b[?25h"), "end of the modes")
        assert pty.modes_left_on() == []
        pty.screen.erase_in_display(2)
        # As a shell does: a SIGCONT that comes before the stop would be lost.
        pty.wait(pty.stopped, "stop")
        pty.signal(signal.SIGCONT)
        pty.wait_for("ready")
        pty.press("b")
        pty.wait_for("\na b\n")


def test_a_size_that_comes_back_is_painted_again() -> None:
    with a_small_console() as pty:
        pty.resize(60, 24)
        pty.wait_for("ready 60x24")
        pty.screen.erase_in_display(2)
        pty.signal(signal.SIGWINCH)
        pty.wait_for("ready 60x24")


def test_a_stalled_line_leaves_frames_out_and_ends_with_the_right_screen() -> None:
    with a_small_console() as pty:
        pty.press("f")
        stalled = time.monotonic() + 2
        while time.monotonic() < stalled:
            time.sleep(0.1)
        pty.press("a")
        pty.wait_for("f a")
        assert "flood" not in pty.text
        assert len(pty.raw) < 300 * 500


# The parts


def test_packets_tell_escape_sequences_and_pastes_apart() -> None:
    packets = Packets()
    assert packets.feed("a\x1b[Bc") == [
        Packet("keys", "a"),
        Packet("keys", "\x1b[B"),
        Packet("keys", "c"),
    ]
    assert packets.feed("\x1bOP\x1b[<0;1;2M") == [
        Packet("keys", "\x1bOP"),
        Packet("keys", "\x1b[<0;1;2M"),
    ]
    assert packets.feed("\x1b") == []
    assert packets.waiting
    assert packets.feed("[") == []
    assert packets.feed("A") == [Packet("keys", "\x1b[A")]
    assert packets.feed("\x1b[") == []
    assert packets.flush() == [Packet("escape"), Packet("keys", "[")]
    assert packets.feed("\x1b[200~y\x1b[2") == []
    assert packets.flush() == []
    assert packets.feed("01~n") == [Packet("paste", "y"), Packet("keys", "n")]


@pytest.mark.parametrize(
    ("environ", "utf8_mode", "ascii_only"),
    [
        ({"TERM": "linux", "LANG": "C.UTF-8"}, False, True),
        ({"TERM": "xterm", "LANG": "en_GB.utf8"}, False, False),
        ({"TERM": "xterm", "LANG": "en_GB.ISO-8859-1"}, False, True),
        ({"TERM": "xterm", "LANG": "de_DE.UTF-8", "LC_ALL": "C"}, False, True),
        ({"TERM": "xterm", "LC_CTYPE": "C.UTF-8"}, True, True),
        ({"TERM": "xterm"}, False, True),
    ],
)
def test_ascii_is_chosen_where_nothing_else_can_be_shown(
    environ: dict[str, str], utf8_mode: bool, ascii_only: bool
) -> None:
    assert needs_ascii(environ, utf8_mode) is ascii_only


def test_a_dumb_terminal_and_no_terminal_are_refused_in_one_line() -> None:
    assert refusal({"TERM": "xterm"}, stdin=True, stdout=True) is None
    for reason in (
        refusal({"TERM": "dumb"}, stdin=True, stdout=True),
        refusal({}, stdin=True, stdout=True),
        refusal({"TERM": "xterm"}, stdin=True, stdout=False),
    ):
        assert reason is not None
        assert reason.startswith("qdeck: ")
        assert "\n" not in reason


def test_fewer_frames_are_drawn_over_ssh() -> None:
    near: dict[str, str] = {}
    far = {"SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22", "TEXTUAL_DRIVER": "x:y"}
    prepare_environment(near)
    prepare_environment(far)
    assert int(far["TEXTUAL_FPS"]) == 15 < int(near["TEXTUAL_FPS"])
    assert far["TEXTUAL_ANIMATIONS"] == "none"
    assert "TEXTUAL_DRIVER" not in far


def test_what_stands_before_textual_does_not_import_it() -> None:
    code = (
        "import sys, qdeck_tui.terminal, qdeck_tui.output, qdeck_tui.packets;"
        "sys.exit('textual' in sys.modules or 'rich' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], env=a_child_environment(), check=False)
    assert run.returncode == 0


def test_a_log_keeps_its_last_lines_and_their_numbers() -> None:
    log = OutputLog(kept=3)
    log.add(["a", "b"])
    assert [line.text for line in log.after(1)] == ["b"]
    log.add(["c", "d"])
    assert [(line.number, line.text) for line in log.after()] == [(2, "b"), (3, "c"), (4, "d")]
    assert log.after(4) == ()


def test_a_pipe_is_read_by_lines_with_binary_and_endless_ones_made_safe() -> None:
    reading, writing = os.pipe()
    log = OutputLog()
    os.write(writing, b"one\n\xff\xfe two\r\n10%\r100%\n" + b"x" * 9_000 + b"tail")
    os.close(writing)
    pump(reading, log.add)
    lines = [line.text for line in log.after()]
    assert lines[:3] == ["one", "\ufffd\ufffd two", "100%"]
    assert len(lines[3]) == 8_192


async def test_copying_never_claims_success(tmp_path: Path) -> None:
    sent: list[str] = []
    said = await send_to_clipboard("ab", sent.append, {})
    assert sent == ["\x1b]52;c;YWI=\x1b\\"]
    assert "asked" in said
    assert "too long" in await send_to_clipboard("x" * 80_000, sent.append, {})
    assert len(sent) == 1
