"""Whatever is pressed, in whatever order and at whatever size, over hostile data: the console
lives.
"""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from tests.tui.stage import running
from tests.tui.stock import filled

from qdeck.admin import STATES, JobRef, JobRow

KEYS = [
    *"123467jkgGsSVaylpPrxDQXnfWTLNO{}<>[],./+_ZF?: n01",
    *("enter", "escape", "down", "up", "tab", "shift+tab", "pagedown", "pageup", "ctrl+d"),
    *("ctrl+u", "ctrl+r", "ctrl+l", "ctrl+x", "home", "end", "backspace", "left", "ctrl+p"),
]
SIZES = [(80, 24), (120, 40), (60, 16), (50, 10), (200, 60)]
HOSTILE = "\x1b]52;c;x\x07[b]\u202e漢\U0001f600\n\t" * 50


@pytest.mark.parametrize("seed", range(4))
async def test_random_keys_never_end_the_console(
    seed: int, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(str(tmp_path))
    chance = Random(seed)
    twin = filled(dead=chance.choice([0, 250]))
    for at in range(5):
        twin.add(
            JobRow(
                JobRef(f"01BAD{at}", HOSTILE),
                HOSTILE,
                chance.choice(STATES),
                args=HOSTILE,
                error=HOSTILE,
                message=HOSTILE,
                worker=HOSTILE,
                progress=chance.choice([None, -5.0, 1e9]),
            )
        )
    async with running(twin, size=SIZES[seed % 3], plain=seed == 3, ascii=seed == 3) as desk:
        for _ in range(120):
            key = chance.choice(KEYS)
            if len(key) == 1:
                desk.burst(key)
            else:
                desk.app.press(key, None)
            if chance.random() < 0.3:
                await asyncio.sleep(chance.choice([0, 0.02]))
            if chance.random() < 0.03:
                await desk.pilot.resize_terminal(*chance.choice(SIZES))
            if chance.random() < 0.03:
                twin.failing = set(chance.sample(["snapshot", "jobs", "errors", "job", "log"], 2))
        await desk.pilot.resize_terminal(80, 24)
        twin.failing.clear()
        await desk.until(lambda text: "live" in text or "frozen" in text)
        assert desk.app.is_running
