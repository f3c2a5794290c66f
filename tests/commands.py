"""Runs the real program as its user does: as a process, with words and variables of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["APP", "PATIENCE", "Program"]

#: Seconds after which a program that does not end is one that hangs.
PATIENCE = 120.0

#: An app of a user, kept in a file of its own.
APP = """
import os
import time

from qdeck import Context, Deck, Task

deck = Deck(url=os.environ.get("APP_URL"))


@deck.task(queue="mail", max_retries=2, priority="high")
async def send(to: str, n: int = 0) -> str:
    return f"{to} {n}"


@deck.task(queue="mail", max_retries=0)
def boom(why: str) -> None:
    raise ValueError(why)


@deck.task(queue="bulk", timeout=30)
def talk(ctx: Context, lines: int) -> int:
    for number in range(lines):
        ctx.log.info("line %d of %d", number, lines)
    ctx.progress(50, "half way")
    time.sleep(0.5)
    print("said it")
    return lines


@deck.register
class Pay(Task, queue="bulk"):
    order: int

    async def handle(self, ctx: Context) -> None:
        ctx.log.warning("paid %d", self.order)
"""


class Program:
    """`python -m qdeck` in a folder, against one server and prefix."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.folder = folder
        self.environ = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            **environ,
        }

    def command(self, *words: str) -> list[str]:
        """Return the words of a process."""
        return [sys.executable, "-m", "qdeck", *words]

    def run(self, *words: str, code: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end and hold it to an exit code; without a terminal to ask on."""
        done = subprocess.run(
            self.command(*words),
            cwd=self.folder,
            env={**self.environ, **environ},
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def json(self, *words: str) -> Any:
        """Run a read with `--json` and return what it printed."""
        return json.loads(self.run(*words, "--json").stdout)

    def fails(self, *words: str, code: int = 1, **environ: str) -> str:
        """Run what must fail, and return its one line."""
        done = self.run(*words, code=code, **environ)
        assert done.stderr.startswith("qdeck: ")
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr

    def enqueue(self, *words: str) -> str:
        """Enqueue a job and return its id."""
        job_id: str = self.json("enqueue", *words)["id"]
        return job_id

    def work(self) -> None:
        """Run all that is due."""
        self.run("worker", "app.py", "--burst")

    def alive(self) -> list[dict[str, Any]]:
        """Return the workers that are not lost."""
        return [row for row in self.json("workers") if row["state"] != "lost"]
