"""What the README shows runs as it is written there."""

from __future__ import annotations

import ast
import asyncio
import os
import re
import shlex
import subprocess
import sys
from inspect import isawaitable
from pathlib import Path
from typing import Any

import pytest
from tests.commands import Program
from tests.core.serving import serving
from tests.servers import Server

import qdeck
from qdeck.settings import load_settings

README = Path(__file__).resolve().parents[2] / "README.md"


def blocks(language: str) -> list[str]:
    """Returns the code blocks of a language in the order of the README."""
    text = README.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


async def run(block: str, names: dict[str, Any]) -> None:
    """Runs a block that may await at its top level."""
    code = compile(block, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    done = eval(code, names)
    if isawaitable(done):
        await done


async def test_the_blocks_of_python_run_one_after_the_other(
    valkey: Server, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", valkey.url)
    monkeypatch.setenv("QUEUE_PREFIX", prefix)
    first, calls, own_tests, chains, limits, schedules = blocks("python")
    names: dict[str, Any] = {"__name__": "readme"}
    await run(first, names)
    deck: qdeck.Deck = names["deck"]
    send_email = names["send_email"]
    names["addresses"] = ["a@example.org", "b@example.org"]
    async with deck, serving(deck, "emails"):
        await run(calls, names)
        assert names["text"] == "sent 'hi' to a@example.org"
        assert len(names["jobs"]) == 2
    names["signup"] = lambda name: send_email.enqueue_sync(f"{name}@example.org", subject="hi")
    await asyncio.to_thread(eval, compile(own_tests, "README.md", "exec"), names)

    @deck.task
    async def resize(path: str) -> None: ...

    @deck.task
    async def upload(path: str) -> None: ...

    @deck.task
    async def notify(who: str) -> None: ...

    @deck.register
    class Receipt(qdeck.Task):
        order_id: int

        async def handle(self) -> None: ...

    @deck.register
    class Report(qdeck.Task):
        scope: str

        async def handle(self) -> None: ...

    names |= {"resize": resize, "upload": upload, "notify": notify, "paths": ["a.png", "b.png"]}
    names |= {"Receipt": Receipt, "Report": Report}
    async with deck:
        for block in (chains, limits, schedules):
            await run(block, names)
        assert sorted(await deck.declare()) == ["monthly", "send_report"]
    await asyncio.to_thread(deck.close_sync)


def test_the_first_task_is_enqueued_and_served_by_the_lines_below_it(qdeck: Program) -> None:
    (qdeck.folder / "app.py").write_text(blocks("python")[0])
    lines = next(block for block in blocks("sh") if "app.py" in block).splitlines()
    enqueue, serve, _ = [shlex.split(line, comments=True) for line in lines]
    assert enqueue[0] == "python"
    environ = os.environ | qdeck.environ
    words = [sys.executable, *enqueue[1:]]
    done = subprocess.run(
        words, cwd=qdeck.folder, env=environ, capture_output=True, text=True, check=True
    )
    assert serve[0] == "qdeck"
    qdeck.run(*serve[1:], "--burst")
    assert qdeck.json("job", done.stdout.strip())["result"] == "sent 'hi' to a@example.org"


def test_the_files_of_settings_are_accepted(tmp_path: Path) -> None:
    project, user = blocks("toml")
    (tmp_path / "qdeck.toml").write_text(project)
    (tmp_path / "config.toml").write_text(user)
    found = load_settings(cwd=tmp_path, environ={}, user_config=tmp_path / "config.toml")
    assert found.prefix == "shop"
    assert found.limits["emails"].limit == 20


def test_the_lines_of_the_console_block_are_words_it_knows(qdeck: Program) -> None:
    groups, retry = [line[2:] for line in blocks("console")[0].splitlines()]
    assert qdeck.run(*shlex.split(groups)[1:]).stdout.startswith("group")
    # Exit code 2 would be for words that it does not know.
    assert "f42bed44ba9816ee" in qdeck.fails(*shlex.split(retry)[1:], code=1)
