"""The console's loop beside threads that compute."""

from __future__ import annotations

import asyncio
import os
import sys

from qdeck_tui.turns import ConsoleLoop, turns


def test_turns_are_short_while_anybody_holds_them() -> None:
    before = sys.getswitchinterval()
    with turns:
        with turns:
            assert turns.shared
        assert sys.getswitchinterval() < before
    assert sys.getswitchinterval() == before
    assert not turns.shared


def test_the_loop_sees_a_key_although_it_never_rests() -> None:
    reading, writing = os.pipe()

    async def busy() -> bytes:
        loop = asyncio.get_running_loop()
        came: asyncio.Future[bytes] = loop.create_future()
        loop.add_reader(reading, lambda: came.set_result(os.read(reading, 9)))
        os.write(writing, b"j")
        spinning = True

        def spin() -> None:
            if spinning:
                loop.call_soon(spin)

        spin()
        key = await asyncio.wait_for(came, 10)
        spinning = False
        loop.remove_reader(reading)
        return key

    with asyncio.Runner(loop_factory=ConsoleLoop) as runner:
        assert runner.run(busy()) == b"j"
        with turns:
            assert runner.run(busy()) == b"j"
    os.close(reading)
    os.close(writing)


def test_the_loop_keeps_time_while_turns_are_short() -> None:
    with turns, asyncio.Runner(loop_factory=ConsoleLoop) as runner:
        assert runner.run(asyncio.wait_for(asyncio.sleep(0.02, "rested"), 5)) == "rested"
