"""What is read for the first screen while Textual is imported."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.servers import Server
from tests.tui.desk import Desk
from tests.tui.pty import a_child_environment
from tests.tui.stage import PATIENCE
from tests.tui.stock import filled
from tests.tui.twin import Twin

from qdeck.admin import Action, Admin, Permission, Snapshot, Target
from qdeck_tui.app import QdeckApp
from qdeck_tui.options import Options
from qdeck_tui.scout import FIRST, EarlyDoor, Report, Scout

SENT = """
import asyncio, sys
from qdeck.settings import load_settings
from qdeck_tui import scout
scout.PATIENCE = 30.0
def deck():
    from qdeck.deck import Deck
    return Deck()
sent = scout.send(load_settings(), deck, read_only=True)
report = None if sent is None else asyncio.run(sent.report())
if report is None:
    print("nothing")
else:
    print(report.label, report.read_only, *sorted(report.parts), len(report.permitted))
    assert "redis" not in sys.modules
"""


class Came(Scout):
    """A scout that has come back."""

    def __init__(self, brought: Report | None) -> None:
        super().__init__(0, -1)
        self._report = brought


@pytest.fixture
def desk(valkey: Server, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(valkey, tmp_path)
    yield made
    made.close()


async def seen(twin: Twin) -> Report:
    """Return what a scout would bring from a twin."""
    parts = {name: await read(twin) for name, read in FIRST.items()}
    whole = parts["snapshot"]
    assert isinstance(whole, Snapshot)
    queues = whole.queues
    assert isinstance(queues, tuple)
    permitted: dict[Target, Mapping[Action, Permission]] = {
        queue: twin.actions(queue) for queue in queues
    }
    return Report("seen from afar", twin.actor, False, parts, permitted)


def in_a_child(environ: dict[str, str], folder: Path) -> str:
    """Return what a program prints that sends a scout out."""
    done = subprocess.run(
        [sys.executable, "-c", SENT], env=environ, cwd=folder, check=False, text=True,
        capture_output=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_scout_brings_the_first_screen_without_an_import_of_redis_here(desk: Desk) -> None:
    desk.enqueue("quick", "alpha", number=1)
    said = in_a_child(desk.environ, desk.folder)
    assert desk.prefix in said
    assert said.endswith("True errors operations running snapshot workers 1")


def test_a_scout_starts_no_server(tmp_path: Path) -> None:
    environ = a_child_environment(
        XDG_CONFIG_HOME=str(tmp_path / "config"), XDG_DATA_HOME=str(tmp_path / "data")
    )
    assert in_a_child(environ, tmp_path) == "nothing"
    assert not (tmp_path / "data").exists()


def test_a_scout_that_finds_no_server_brings_nothing(tmp_path: Path) -> None:
    environ = a_child_environment(REDIS_URL="redis://127.0.0.1:1/0", XDG_CONFIG_HOME=str(tmp_path))
    assert in_a_child(environ, tmp_path) == "nothing"


async def test_what_the_scout_saw_is_shown_before_the_door_is_open() -> None:
    twin = filled()
    opened = asyncio.Event()

    async def door() -> Admin:
        await opened.wait()
        return twin

    app = QdeckApp(door, options=Options(every=0.1), scout=Came(await seen(twin)))
    async with app.run_test(size=(80, 24)) as pilot:
        while "seen from afar" not in app.screen._compositor.render_strips()[0].text:
            await pilot.pause(0.01)
        assert app.admin is not None
        assert app.admin.label == "seen from afar"
        assert app.snapshot is not None
        opened.set()
        while app.admin is not twin:
            await pilot.pause(0.01)


async def test_without_a_report_the_console_reads_by_itself() -> None:
    twin = filled()

    async def door() -> Admin:
        return twin

    app = QdeckApp(door, options=Options(every=0.1), scout=Came(None))
    async with app.run_test(size=(80, 24)) as pilot:
        while app.snapshot is None:
            await pilot.pause(0.01)
        assert app.admin is twin


async def test_a_call_through_the_early_door_waits_for_the_door() -> None:
    twin = filled()
    door = EarlyDoor(await seen(twin), lambda: asyncio.sleep(0.01, twin))
    snapshot = await door.snapshot()
    assert isinstance(snapshot, Snapshot)
    await door.close()
    assert twin.closed


async def test_a_door_that_cannot_be_opened_fails_the_call() -> None:
    async def shut() -> Admin:
        raise OSError("no route")

    door = EarlyDoor(await seen(filled()), shut)
    with pytest.raises(OSError, match="no route"):
        await door.snapshot()
    await door.close()
