"""Several servers in one console: named, marked, switched between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.servers import Server
from tests.tui.desk import Desk as PtyDesk
from tests.tui.pty import Pty
from tests.tui.stage import Desk
from tests.tui.stock import filled
from tests.tui.twin import Twin

from qdeck.admin import Admin
from qdeck.job import State
from qdeck_tui.app import QdeckApp
from qdeck_tui.choices import read_choices
from qdeck_tui.options import Options
from qdeck_tui.profiles import Profile, read_profiles

PROD = Profile("prod-eu", "redis://prod/0", production=True, style="bad")
LOOK = Profile("look", "redis://look/0", read_only=True)
TOML = """
theme = "dark"
[profiles.prod-eu]
url = "rediss://user@10.0.3.7:6379/0"
prefix = "shop"
production = true
[profiles.look]
url = "redis://10.0.3.8/0"
read_only = true
colour = "green"
[profiles.lost]
colour = "green"
[profiles.odd]
url = "redis://x/0"
color = "red"
"""


@asynccontextmanager
async def console(
    start: Twin, others: dict[str, Twin], profile: Profile | None = None
) -> AsyncIterator[Desk]:
    """Run the console on one twin, with the others behind profiles."""

    def opener(twin: Twin) -> Callable[[], Awaitable[Admin]]:
        async def door() -> Admin:
            return twin

        return door

    app = QdeckApp(
        opener(start),
        open_profile=lambda chosen: opener(others[chosen.name]),
        options=Options(every=0.1, profiles=(PROD, LOOK), profile=profile),
    )
    async with app.run_test(size=(100, 24)) as pilot:
        desk = Desk(app, pilot, start)
        await desk.until("live")
        yield desk


def test_profiles_are_read_and_what_is_wrong_is_said(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(TOML)
    choices = read_choices(file)
    assert choices.profiles == (
        Profile("prod-eu", "rediss://user@10.0.3.7:6379/0", "shop", True, False, "bad"),
        Profile("look", "redis://10.0.3.8/0", None, False, True, "good"),
    )
    assert choices.notices == (
        "config.toml: profile 'lost' left out: it lacks url, as in url = 'rediss://host:6379/0'",
        "config.toml: profile 'odd' left out: there is no 'color'; known are url, prefix, colour,"
        " production, read_only",
    )


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ([], "[profiles.NAME] is a table"),
        ({"a b": {"url": "redis://x"}}, "a name is letters"),
        ({"a": 1}, "it is a table with url"),
        ({"a": {"url": 1}}, "url is a text, not 1"),
        ({"a": {"url": "redis://x", "production": "yes"}}, "production is true or false"),
        ({"a": {"url": "redis://x", "colour": "pink"}}, "colour is one of green"),
    ],
)
def test_a_profile_that_cannot_be_used_is_left_out(table: object, said: str) -> None:
    found, notices = read_profiles(table, "config.toml")
    assert found == ()
    assert said in notices[0]


async def test_a_profile_is_switched_to_and_nothing_of_the_old_server_stays() -> None:
    old, new = filled(), Twin(label="twin of prod")
    async with console(old, {"prod-eu": new}) as desk:
        await desk.press("6")
        await desk.until("250 DEAD")
        await desk.press("enter")
        await desk.until("Dead > ")
        await desk.press("colon", *"profile prod-eu", "enter")
        text = await desk.until("twin of prod  ● live")
        assert "prod-eu PRODUCTION rw" in text
        assert "no queues yet" in text
        assert "emails" not in text
        assert "Dead:" not in text
        await desk.press("6")
        await desk.until("no dead jobs")
        assert old.closed


async def test_a_server_that_hangs_does_not_hold_the_switch_up() -> None:
    old, new = filled(), filled()
    new.label = "the other one"
    async with console(old, {"look": new}) as desk:
        old.pause_s = 60.0
        await desk.press("ctrl+r")
        await desk.press("colon", *"profile look", "enter")
        await desk.until("the other one  ● live")


async def test_a_profile_can_start_read_only_until_rw_is_said() -> None:
    twin = filled()
    async with console(filled(), {"look": twin}) as desk:
        await desk.press("colon", *"profile look", "enter")
        await desk.until("look ro  twin memory shop")
        await desk.press("6")
        await desk.until("250 DEAD")
        await desk.press("r")
        await desk.until("this console is read-only (:rw lets it write)")
        await desk.press("colon", *"rw", "enter")
        await desk.until("look rw")
        await desk.press("r")
        await desk.until("Retry 84 dead jobs")


async def test_production_asks_for_its_name_above_a_hundred_jobs() -> None:
    twin = filled(dead=600)
    async with console(twin, {}, PROD) as desk:
        await desk.press("6")
        await desk.until("600 DEAD")
        await desk.press("r")
        await desk.until("type prod-eu and Enter")
        await desk.armed()
        await desk.press(*"200", "enter")
        await desk.until("that is not the name")
        assert not twin.started
        await desk.press("ctrl+u", *"prod-eu", "enter")
        await desk.until("200 of 200 jobs")


async def test_production_takes_a_yes_for_a_few_jobs() -> None:
    twin = filled()
    async with console(twin, {}, PROD) as desk:
        await desk.press("6")
        await desk.until("250 DEAD")
        await desk.press("r")
        await desk.until("Retry 84")
        await desk.armed()
        await desk.press("y")
        await desk.until("84 of 84 jobs")


async def test_an_unknown_profile_runs_nothing() -> None:
    async with console(filled(), {}) as desk:
        await desk.press("colon", *"profile nowhere", "enter")
        await desk.until("no command 'profile nowhere'")


@pytest.fixture
def project(valkey: Server, tmp_path: Path) -> PtyDesk:
    """A project whose own server is not there, and a profile of one that is."""
    desk = PtyDesk(valkey, tmp_path)
    folder = tmp_path / "config" / "qdeck"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(
        f'[profiles.real]\nurl = "{valkey.url}"\nproduction = true\nprefix = "{desk.prefix}"\n'
    )
    desk.environ["REDIS_URL"] = "redis://127.0.0.1:1/0"
    return desk


def test_the_console_starts_on_a_profile_and_switches_to_one(project: PtyDesk) -> None:
    project.enqueue("quick", "alpha", number=1)
    with project.opened("--profile", "real") as pty:
        pty.wait_for("real! rw")
        pty.wait_for("alpha")
        pty.press("q")
        assert pty.ended() == 0
    with project.console() as pty:
        pty.wait_for("127.0.0.1:1")
        pty.press(":", "profile real", "enter")
        pty.wait_for("alpha")
        pty.wait_for("● live")
        pty.press("q")
        assert pty.ended() == 0
    project.close()


def test_an_unknown_profile_is_one_line(project: PtyDesk) -> None:
    with project.console("--profile", "nope") as pty:
        assert pty.ended() == 1
        assert "there is no profile 'nope' in config.toml; known: real" in pty.text.replace(
            "\n", ""
        )
    project.close()


def test_keys_are_changed_in_the_file_and_what_clashes_is_told(project: PtyDesk) -> None:
    config = project.folder / "config" / "qdeck" / "config.toml"
    keys = '[keys]\ncancel = "C"\ndelete = "r"\nredraw = "y"\n'
    config.write_text(config.read_text() + keys)
    job = project.enqueue("wait", "alpha", seconds=600)
    with project.opened("--profile", "real") as pty:
        pty.wait_for("keys:")
        told = "'r' is both", "redraw cannot be put on 'y'"
        pty.wait(lambda: any(words in pty.text for words in told), "what clashes")
        pty.wait_for("alpha")
        pty.press("enter")
        pty.wait_for("JOBS PENDING 1")
        pty.press("tab", "tab")
        pty.wait_for("C cancel")
        pty.press("x")
        pty.press("?")
        pty.wait_for("HELP")
        pty.wait(lambda: "C" in key_of(pty, "cancel unfinished jobs"), "the key in the help")
        pty.press("escape")
        pty.wait_gone("HELP")
        pty.press("C")
        pty.wait_to_answer("Cancel job")
        pty.press("y")
        pty.wait(lambda: project.state(job) is State.CANCELLED, "cancelled job")
    project.close()


def key_of(pty: Pty, words: str) -> str:
    """Return what stands before some words on the screen."""
    return next((row.partition(words)[0] for row in pty.text.split("\n") if words in row), "")
