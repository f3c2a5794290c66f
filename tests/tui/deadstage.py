"""The way to the dead jobs of a console that runs on a twin."""

from __future__ import annotations

from tests.tui.stage import Desk

__all__ = ["open_group", "open_job", "open_patch", "open_sample"]


async def open_sample(desk: Desk) -> None:
    """Go to the groups of dead jobs, and wait for the newest job of the largest."""
    await desk.press("6")
    await desk.until("SAMPLE F3")


async def open_group(desk: Desk) -> None:
    """Open the jobs of the largest group."""
    await open_sample(desk)
    await desk.press("enter")
    await desk.until("newest first")


async def open_job(desk: Desk, said: str) -> str:
    """Open the newest job of the largest group, and wait for a text; return the screen."""
    await open_group(desk)
    await desk.press("enter")
    await desk.until("LOG error attempts")
    return await desk.until(said)


async def open_patch(desk: Desk) -> None:
    """Open the form that patches the largest group."""
    await open_sample(desk)
    await desk.press("e")
    await desk.until("stop after")
