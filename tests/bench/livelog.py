"""Measures the live log of a job that writes thousands of lines a second.

    pip install '.[test]'
    python tests/bench/livelog.py [--rate 10000] [--seconds 60]

A worker runs the job, the console follows its log in a pseudo-terminal of 120x40 cells: how soon a
key is answered, whether the window keeps up, what memory that takes, and whether the saved file has
every line that the window had, or says how many were trimmed by the server.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench.budgets import Console
from tests.bench.console import p95
from tests.bench.rig import print_table
from tests.servers import Server, wait_until
from tests.tui.pty import a_child_environment

from qdeck import Deck
from qdeck.job import Job, State

APP = """
import asyncio, logging, time
from qdeck import Deck
deck = Deck()

@deck.task
async def talk(rate: int, seconds: float) -> int:
    began, said = time.monotonic(), 0
    while (gone := time.monotonic() - began) < seconds:
        for number in range(said, int(gone * rate)):
            logging.info("line %d", number)
        said = max(said, int(gone * rate))
        await asyncio.sleep(0.005)
    return said
"""
LINE = re.compile(r"#1 line (\d+)")
TRIMMED = re.compile(r"#1 ([\d,]+) lines? (?:was|were) trimmed by the server")
TOO_FAST = re.compile(r"#1 \((\d+) older lines came too fast to be kept\)")


def answers(meter: Console, seconds: float) -> list[float]:
    """Open and close the help for so long; return the seconds from each key to the help."""
    end, took = time.perf_counter() + seconds, []
    while time.perf_counter() < end:
        meter.text = ""
        sent = time.perf_counter()
        os.write(meter._fd, b"?")
        meter.wait_for("HELP")
        took.append(meter.pieces[-1][0] - sent)
        meter.watch(0.2)
        os.write(meter._fd, b"\x1b")
        meter.watch(0.4)
    return took


def unaccounted(saved: str) -> tuple[int, int, int]:
    """Return how many lines a file has, how many it says are missing, and how many it lacks
    without a word.
    """
    lines = told = lost = 0
    expected: int | None = None
    said = 0
    for text in saved.splitlines():
        if gone := TRIMMED.search(text) or TOO_FAST.search(text):
            said += int(gone[1].replace(",", ""))
            continue
        if found := LINE.search(text):
            number = int(found[1])
            gap = 0 if expected is None else number - expected
            lost += max(0, gap - said)
            told, said = told + min(gap, said), 0
            expected, lines = number + 1, lines + 1
    return lines, told, lost


def measure(folder: Path, server: Server, rate: int, seconds: float) -> list[list[str]]:
    """Return the rows of the table."""
    (folder / "app.py").write_text(APP)
    (folder / "qdeck.toml").write_text('app = ["app:deck"]\n')
    environ = a_child_environment(
        REDIS_URL=server.url, QUEUE_PREFIX="log", XDG_CONFIG_HOME=str(folder / "config"),
        XDG_DATA_HOME=str(folder / "data"),
    )  # fmt: skip
    environ["PYTHONPATH"] += os.pathsep + str(folder)
    worker = subprocess.Popen(
        [sys.executable, "-m", "qdeck", "worker", "app:deck"], env=environ, cwd=folder,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    meter, deck = None, Deck(server.url, prefix="log")
    try:
        job = deck.enqueue_sync("talk", {"rate": rate, "seconds": seconds})
        wait_until(lambda: _now(deck, job.id).state is State.RUNNING)
        meter = Console([sys.executable, "-m", "qdeck_tui"], environ, folder, (120, 40))
        meter.wait_for("live")
        os.write(meter._fd, b":" + job.id.encode())
        meter.settle(0.2)
        os.write(meter._fd, b"\r")
        meter.wait_for("follow ON")
        took = answers(meter, seconds - 5)
        memory = meter.memory()
        while _now(deck, job.id).state is State.RUNNING:
            meter.watch(0.05)
        last = str(int(str(_now(deck, job.id).result)) - 1)
        ended = time.perf_counter()
        meter.wait_for("ended")
        behind = meter.pieces[-1][0] - ended
        meter.settle()
        os.write(meter._fd, b"O")
        meter.wait_for("saved")
        (saved,) = folder.glob("qdeck-*.log")
        text = saved.read_text()
        lines, told, lost = unaccounted(text)
        at_end = f"line {last}" in text.splitlines()[-1]
    finally:
        if meter is not None:
            meter.end()
        deck.close_sync()
        worker.terminate()
        worker.wait(30)
    half = statistics.median(took) * 1000
    return [
        ["lines a second, seconds", f"{rate:,}, {seconds:g}", ""],
        ["key to help, ms: median, p95", f"{half:.0f}, {p95(took) * 1000:.0f}", "50"],
        ["the window says that it has ended, s after that", f"{behind:.1f}", ""],
        ["it is the last one in the file", "yes" if at_end else "NO", "yes"],
        ["lines in the file", f"{lines:,}", ""],
        ["lines that the file says were trimmed", f"{told:,}", ""],
        ["lines that it lacks without a word", f"{lost:,}", "0"],
        ["memory, MiB", f"{memory:.0f}", "100"],
    ]


def _now(deck: Deck, job_id: str) -> Job[Any]:
    job = deck.job_sync(job_id)
    assert job is not None
    return job


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="The live log under thousands of lines.")
    parser.add_argument("--rate", type=int, default=10_000, help="lines a second")
    parser.add_argument("--seconds", type=float, default=60.0, help="for so long")
    chosen = parser.parse_args()
    with Server() as server, tempfile.TemporaryDirectory(prefix="qdeck-log-") as folder:
        rows = measure(Path(folder), server, chosen.rate, chosen.seconds)
    print_table(["figure", "120x40", "asked"], rows)


if __name__ == "__main__":
    main()
