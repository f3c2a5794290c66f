"""The form that starts local workers: what it shows, refuses, starts and remembers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import field

import pytest
from tests.tui.stage import Desk, running
from tests.tui.stock import filled
from textual.events import Key

from qdeck.admin.frozen import dataclass
from qdeck_tui.local import Closing, LocalWorker, OutputLine, StartRequest
from qdeck_tui.widgets.startform import command

LAST = StartRequest("shop:deck", ("emails", "reports"), 4, "process")


@dataclass(frozen=True, slots=True)
class Hands:
    """A supervisor whose workers do nothing; the next start after `most` fails."""

    most: int = 99
    asked: list[StartRequest] = field(default_factory=list)

    def workers(self) -> Sequence[LocalWorker]:
        return [
            LocalWorker(f"local-{at}", each.kind, each.queues, each.concurrency, "running")
            for at, each in enumerate(self.asked, 1)
        ]

    async def start(self, request: StartRequest) -> LocalWorker:
        if len(self.asked) >= self.most:
            raise ValueError(f"only {self.most} may run here")
        self.asked.append(request)
        return self.workers()[-1]

    async def stop(self, name: str, grace: float) -> None:
        raise AssertionError(name)

    def log(self, name: str, after: int = 0) -> Sequence[OutputLine]:
        return ()

    async def close(self, choice: Closing) -> None:
        return None


@asynccontextmanager
async def opened(hands: Hands, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Desk]:
    """Run a console whose form is open."""
    async with running(filled(), size=size, supervisor=hands, start=LAST) as desk:
        await desk.press("7")
        await desk.until("host-a:11")
        await desk.press("n")
        await desk.until("START A LOCAL WORKER")
        yield desk


async def to(desk: Desk, name: str) -> None:
    """Go to a field."""
    form = desk.app.sheet
    while form is not None and getattr(form, "here").name != name:  # noqa: B009
        await desk.press("tab")


async def put(desk: Desk, name: str, text: str) -> None:
    """Put a text into a field."""
    await to(desk, name)
    await desk.press("ctrl+u", *text)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, "qdeck worker a:b -c 4"),
        ({"queues": " x, y ,"}, "qdeck worker a:b -q x,y -c 4"),
        ({"count": "3"}, "qdeck worker a:b -c 4 --processes 3"),
        ({"app": "my app.py"}, "qdeck worker 'my app.py' -c 4"),
        ({"app": ""}, "qdeck worker APP -c 4"),
    ],
)
def test_the_command_that_does_the_same_is_shown(changes: dict[str, str], wanted: str) -> None:
    values = {"app": "a:b", "queues": "", "slots": "4", "count": "1"} | changes
    assert command(values) == wanted


async def test_all_that_is_entered_is_started_and_remembered() -> None:
    hands = Hands()
    async with opened(hands) as desk:
        text = await desk.until("runs: qdeck worker shop:deck -q emails,reports -c 4")
        for name, value in {"count": "3", "env": ".env", "log": "memory + ./w1.log"}.items():
            await put(desk, name, value)
        await to(desk, "on_exit")
        await desk.press("space")
        await desk.until("-c 4 --processes 3")
        await desk.press("ctrl+x")
        await desk.until("local workers local-1 to local-3 are starting")
        wanted = StartRequest(
            "shop:deck", LAST.queues, 4, "process", "leave", 3, ".env", "./w1.log"
        )
        assert hands.asked == [wanted] * 3
        await desk.press("n")
        text = await desk.until("START A LOCAL WORKER")
        for shown in ("count [3", "env [.env", "log to [./w1.log", "(o) leave it running"):
            assert shown in text


async def test_the_form_refuses_what_cannot_be_and_stays_open() -> None:
    hands = Hands(most=1)
    async with opened(hands) as desk:
        for count in ("0", "17", "x"):
            await put(desk, "count", count)
            await desk.press("ctrl+x")
            await desk.until("count: a number from 1 to 16")
        await put(desk, "count", "2")
        await put(desk, "env", "x.env")
        await to(desk, "kind")
        await desk.press("space")
        await desk.press("ctrl+x")
        await desk.until("env: only a child process gets one of its own")
        assert hands.asked == []
        await put(desk, "env", "")
        await desk.press("ctrl+x")
        await desk.until("1 worker of 2 started, then: only 1 may run here")
        await desk.press("n", "ctrl+x")
        await desk.until(lambda text: "START A LOCAL WORKER" in text and "only 1 may run" in text)
        assert len(hands.asked) == 1


async def test_a_start_in_one_packet_with_the_key_of_its_form_is_dropped() -> None:
    hands = Hands()
    async with running(filled(), supervisor=hands, start=LAST) as desk:
        await desk.press("7")
        await desk.until("host-a:11")
        desk.burst("n")
        for _ in range(3):
            desk.app.post_message(Key("ctrl+x", None))
        await desk.until("Ctrl+X was typed too early, dropped")
        assert hands.asked == []
        await desk.press("ctrl+x")
        await desk.until("local worker local-1 is starting")
        assert hands.asked == [LAST]


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_the_list_stays_in_sight_above_the_form(size: tuple[int, int]) -> None:
    async with opened(Hands(), size) as desk:
        lines = (await desk.until("START A LOCAL WORKER")).splitlines()
        top = next(at for at, line in enumerate(lines) if "START A LOCAL WORKER" in line)
        assert top >= 9
        assert any("host-a:11" in line for line in lines[:top])
        assert "NAME" in lines[3]
        assert lines[size[1] - 3].strip().startswith("└")
        assert "│" not in "".join(lines[:top])
