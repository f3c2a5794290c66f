"""The `qdeck` script: what opens the console, what does not, and the demo in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.servers import Server
from tests.tui.desk import Desk
from tests.tui.pty import Pty, a_child_environment

WORDS = """
import sys
from qdeck_tui.__main__ import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
loaded = sorted(name for name in ("textual", "rich", "qdeck_tui.app") if name in sys.modules)
print("LOADED", loaded)
"""

INTERRUPTED = """
import os, signal, sys
from qdeck_tui import __main__
class Importing:
    def find_spec(self, name, *rest):
        if name == "qdeck_tui.launch":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Importing())
sys.exit(__main__.main([]))
"""


def environ(folder: Path, **changes: str) -> dict[str, str]:
    return a_child_environment(
        XDG_CONFIG_HOME=str(folder / "config"), XDG_DATA_HOME=str(folder / "data"), **changes
    )


def run(folder: Path, *command: str, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        env=environ(folder, **changes),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "words",
    [["--help"], ["config"], ["worker", "--help"], ["demo", "--help"], ["nonsense"]],
    ids=" ".join,
)
def test_words_never_import_textual(tmp_path: Path, words: list[str]) -> None:
    done = run(tmp_path, "-c", WORDS, *words)
    assert "LOADED []" in done.stdout, done.stdout + done.stderr


def test_ctrl_c_while_the_console_is_still_imported_ends_it_without_a_word(tmp_path: Path) -> None:
    done = run(tmp_path, "-c", INTERRUPTED)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("words", [[], ["--plain"], ["demo"]], ids=["none", "option", "demo"])
def test_without_a_terminal_the_console_says_so_in_one_line(
    tmp_path: Path, words: list[str]
) -> None:
    done = run(tmp_path, "-m", "qdeck_tui", *words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "needs a terminal" in done.stderr


def test_a_word_that_the_console_does_not_know_is_told_in_one_line(tmp_path: Path) -> None:
    for words in (["demo", "--jobs", "5"], ["--ascii", "--nope"]):
        done = run(tmp_path, "-m", "qdeck_tui", *words)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1, done.stderr
        assert words[1] in done.stderr


def test_a_dumb_terminal_is_refused_before_textual_is_imported(tmp_path: Path) -> None:
    with Pty.python(
        "-X", "importtime", "-m", "qdeck_tui", env=environ(tmp_path, TERM="dumb")
    ) as pty:
        assert pty.ended() == 2
        assert "TERM=dumb" in pty.raw
        assert "textual" not in pty.raw


def test_a_bad_setting_is_one_line_and_not_a_screen(tmp_path: Path) -> None:
    (tmp_path / "qdeck.toml").write_text("lease = -1\n")
    with Pty.python("-m", "qdeck_tui", env=environ(tmp_path), cwd=tmp_path) as pty:
        assert pty.ended() == 1
        assert "lease" in pty.text
        assert "\x1b[?1049h" not in pty.raw


def test_bad_choices_and_themes_are_notices(valkey: Server, tmp_path: Path) -> None:
    desk = Desk(valkey, tmp_path)
    config = tmp_path / "config" / "qdeck"
    (config / "themes").mkdir(parents=True)
    (config / "themes" / "broken.toml").write_text("dark = maybe\n")
    (config / "config.toml").write_text('theme = "broken"\n')
    with desk.opened() as pty:
        pty.wait_for("broken")
        pty.press("q")
        assert pty.ended() == 0
    desk.close()


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
def test_the_demo_runs_real_jobs_and_leaves_nothing(tmp_path: Path, size: tuple[int, int]) -> None:
    env = environ(tmp_path, TMPDIR=str(tmp_path))
    with Pty.python("-m", "qdeck_tui", "demo", size=size, env=env, cwd=tmp_path) as pty:
        pty.wait_for("VERDICT")
        pty.wait(lambda: "done," in pty.text and "today 0 done" not in pty.text, "finished job")
        pty.press("7")
        pty.wait_for("local")
        pty.press("q")
        assert pty.ended() == 0
        assert pty.modes_left_on() == []
        assert pty.child.pid is not None
        left = in_session(pty.child.pid)
    assert left == []
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith("qdeck-demo")] == []
    status = run(tmp_path, "-m", "qdeck", "server", "status")
    assert "pid" not in status.stdout


def in_session(session: int) -> list[int]:
    """Return the processes of a session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(folder.name)) == session:
                found.append(int(folder.name))
        except ProcessLookupError:
            continue
    return found
