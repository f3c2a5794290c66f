"""Sends text towards the operator's clipboard; whether it arrives, no terminal says.

Inside tmux it is `tmux load-buffer -w -`, because tmux drops OSC 52 with its default settings.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Callable, Mapping

__all__ = ["send_to_clipboard"]

# Terminals drop longer sequences, some of them with everything that follows.
LIMIT = 74_994
PATIENCE = 2.0


async def send_to_clipboard(
    text: str, write: Callable[[str], None], environ: Mapping[str, str] | None = None
) -> str:
    """Send text through tmux where it runs, else by OSC 52 through `write`; return what was done.

    The sentence says where the text was sent, never that it arrived.
    """
    environ = os.environ if environ is None else environ
    if environ.get("TMUX"):
        problem = await _tmux(text)
        if not problem:
            return "sent to the tmux buffer (prefix ] pastes it) and asked the terminal to copy it"
        return f"tmux did not take it: {problem}; select the text with the mouse (:mouse first)"
    coded = base64.b64encode(text.encode("utf-8", "replace")).decode("ascii")
    if len(coded) > LIMIT:
        return "too long for a terminal's clipboard; select the text with the mouse (:mouse first)"
    write(f"\x1b]52;c;{coded}\x1b\\")
    return "asked the terminal to copy it (OSC 52); if nothing arrives, select it after :mouse"


async def _tmux(text: str) -> str:
    """Load tmux's buffer; return one line if that failed, else nothing."""
    try:
        process = await asyncio.create_subprocess_exec(
            *("tmux", "load-buffer", "-w", "-"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        return error.strerror or str(error)
    try:
        async with asyncio.timeout(PATIENCE):
            _, said = await process.communicate(text.encode())
    except TimeoutError:
        process.kill()
        await process.wait()
        return f"no answer within {PATIENCE:g} s"
    return said.decode("utf-8", "replace").strip() if process.returncode else ""
