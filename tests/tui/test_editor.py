"""The user's own editor on a field of a form: the terminal is lent, and comes back as it was."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.servers import Server
from tests.tui.desk import Desk
from tests.tui.plans import planned
from tests.tui.pty import Pty
from tests.tui.stage import running

from qdeck_tui.editor import program
from qdeck_tui.spread import Shape, field_text, file_text, flaw

EDITOR = f"{sys.executable} -S {Path(__file__).parent / 'programs' / 'editor.py'}"


@pytest.fixture
def desk(valkey: Server, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(valkey, tmp_path)
    made.enqueue("quick", queue="alpha", number=1)
    yield made
    made.close()


def to_payload(pty: Pty) -> None:
    """Open the form of a new job, and go to its payload."""
    pty.press("2")
    pty.wait_for("> alpha")
    pty.press("enter")
    pty.wait_for('{"number":1}')
    pty.press("n")
    pty.wait_for("NEW JOB IN alpha")
    pty.press("tab")
    pty.wait_for("> payload")


def open_editor(pty: Pty, keys: str = "\x0f") -> Path:
    """Open the editor and return the file that it was given."""
    pty.send(keys)
    pty.wait(lambda: bool(re.search(r"^END$", pty.text, re.M)), "editor")
    said = re.search(r"EDITING (\S+)", pty.text.replace("\n", ""))
    assert said is not None
    return Path(said[1])


def test_a_field_goes_to_the_editor_and_comes_back(desk: Desk) -> None:
    with desk.opened(size=(150, 30), EDITOR="no-such-editor", VISUAL=EDITOR) as pty:
        # Only a form has something to edit.
        pty.press("ctrl+o")
        pty.wait_for("no form is open here")
        pty.press(":", "ctrl+o")
        pty.wait_for("Enter ends this line")
        pty.press("escape")
        to_payload(pty)
        # What is typed ahead in the same packet is for nobody.
        path = open_editor(pty, "\x0f\x18qq")
        assert f"{path} 600 700 True" in pty.text
        assert path.suffix == ".json"
        assert pty.modes_left_on() == []
        pty.send('write {|  "number": 7|}\n')
        pty.wait_for('payload    [{"number": 7}')
        pty.wait_for("3 keys typed before the editor dropped")
        assert not path.parent.exists()
        # What the form refuses it says, and the text is there to be mended.
        path = open_editor(pty)
        assert '{\n  "number": 7\n}\nEND' in pty.text, pty.text
        pty.send("write {|oops|}\n")
        pty.wait_for("payload: no JSON: Expecting property name")
        pty.wait_for("line 2 column 1")
        pty.wait_for("payload    [{oops}")
        # An editor that fails leaves the field alone, whatever it did to the terminal.
        open_editor(pty)
        pty.send("mess\n")
        pty.wait_for("ended with code 3; the field is as it was")
        pty.wait_for("payload    [{oops}")
        assert 1003 << 5 not in pty.screen.mode
        open_editor(pty)
        pty.send("gone\n")
        pty.wait_for("the file is gone; the field is as it was")
        # Ctrl+C is the editor's.
        open_editor(pty)
        pty.send("\x03")
        pty.wait_for("the field is as it was")
        open_editor(pty)
        pty.send('write {"number": 8}\n')
        pty.wait_for('payload    [{"number": 8}')
        pty.press("ctrl+x")
        pty.wait_for("Enqueue quick in alpha?")
        pty.press("escape")
        pty.wait_gone("Enqueue quick in alpha?")
        pty.press("escape", "escape", "escape", "escape", "q")
        assert pty.ended() == 0
        assert pty.modes_left_on() == []


def test_the_console_ends_with_its_editor(desk: Desk) -> None:
    with desk.opened(EDITOR=EDITOR) as pty:
        to_payload(pty)
        path = open_editor(pty)
        pty.signal(signal.SIGTERM)
        assert pty.ended() == 143
        assert pty.modes_left_on() == []
        assert not path.parent.exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("", "no editor is set"),
        ("no-such-editor --wait", "there is no editor 'no-such-editor'"),
        ("vi 'x", "cannot be read"),
    ],
)
async def test_an_editor_that_is_not_there_is_one_line(command: str, said: str) -> None:
    with pytest.raises(OSError, match=said):
        program(command)
    async with running(planned(), editor=command) as desk:
        await desk.press("5")
        await desk.until("nightly_report")
        await desk.press("n")
        await desk.until("NEW SCHEDULE")
        await desk.press("ctrl+o")
        await desk.until(said)
        await desk.press("x")
        await desk.until("[x")


async def test_a_choice_has_no_text_to_edit() -> None:
    async with running(planned(), editor="vi") as desk:
        await desk.press("5")
        await desk.until("nightly_report")
        await desk.press("n")
        await desk.until("NEW SCHEDULE")
        await desk.press("shift+tab", "ctrl+o")
        await desk.until("Ctrl+O edits text; here Space chooses")


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"b":[],"c":{"x":[1,2,{"y":"q,:{}\\" z"}]},"d":{}}',
        '{"big":12345678901234567890,"float":1.50,"twice":1,"twice":2}',
        "{}",
        "",
        '{"a" 1 2: ,}',
        '"open',
    ],
)
def test_nothing_but_blanks_changes_on_the_way_there_and_back(text: str) -> None:
    lines = file_text("json", text)
    back = field_text("json", lines)
    assert "".join(back.split()) == "".join(text.split())
    assert field_text("json", file_text("json", back)) == back
    assert ("\n  " in lines) == (":" in text)


@pytest.mark.parametrize(
    ("shape", "text", "back", "wrong"),
    [
        ("parts", "a = 1\n\n  -b\n", "a = 1 ; -b", ""),
        ("line", "0 2 * * *\n", "0 2 * * *", ""),
        ("line", "0 2 * *\n*\n", "0 2 * * *", "one line is wanted, not 2"),
        ("json", '{\n"a": 1,\n}\n', '{"a": 1, }', "line 3"),
    ],
)
def test_lines_become_a_field(shape: Shape, text: str, back: str, wrong: str) -> None:
    assert field_text(shape, text) == back
    assert wrong in flaw(shape, text)
    assert bool(wrong) == bool(flaw(shape, text))
