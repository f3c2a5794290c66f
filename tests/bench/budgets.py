"""Measures the console on the shop of the operator's scenarios, against its budgets.

    pip install '.[test]'
    python tests/bench/budgets.py [--scale 1.0] [--runs 5] [--seconds 20]

The shop has 1,000,000 finished jobs, 48,210 pending and 3,012 dead ones (see tests/tui/fixture.py);
the console runs beside it in a pseudo-terminal of 80x24 and of 120x40 cells. Times are this
machine's and compare only within one run, so a Textual program that shows one line runs beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench.console import DOWN, HELLO, Meter
from tests.bench.rig import print_table
from tests.proxies import FarProxy
from tests.servers import Server
from tests.tui.fixture import Shop
from tests.tui.staff import BRISK

SIZES = ((80, 24), (120, 40))
PAGE, UP = b"\x1b[6~", b"\x1b[A"
VIEWS = {"2": "QUEUES", "3": "RUNNING", "4": "LATER", "6": "DEAD in", "7": "WORKERS"}


class Console(Meter):
    """The console in a pseudo-terminal, which keeps what it wrote last."""

    def went(self, key: bytes, text: str) -> float:
        """Press a key; return the seconds until a text is written and silence follows."""
        self.text = ""
        sent = time.perf_counter()
        os.write(self._fd, key)
        self.wait_for(text)
        self.settle(0.1)
        return self.pieces[-1][0] - sent

    def cpu(self, seconds: float) -> float:
        """Return the share of a core that the program used meanwhile, in percent."""
        process = psutil.Process(self.pid)
        before = sum(process.cpu_times()[:2])
        self.watch(seconds)
        return float(100 * (sum(process.cpu_times()[:2]) - before) / seconds)

    def modes_after(self, number: int) -> list[str]:
        """End the program by a signal; return the modes that it has switched on and leaves on."""
        os.kill(self.pid, number)
        end = time.perf_counter() + 15
        while os.waitpid(self.pid, os.WNOHANG) == (0, 0) and time.perf_counter() < end:
            self.read(0.02)
        while self.read(0.05):
            pass
        os.close(self._fd)
        on: set[str] = set()
        for codes, switch in re.findall(r"\x1b\[\?([0-9;]+)([hl])", self.text):
            change = set(codes.split(";"))
            on = on | change if switch == "h" else on - change
        return sorted(on - {"7", "25", "2026"})


class Clocked(FarProxy):
    """Passes everything on at once, and keeps when it passed."""

    def __init__(self, port: int) -> None:
        self.passed: list[float] = []
        super().__init__(port, 0.0)

    async def deliver(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        self.passed.append(time.perf_counter())
        writer.write(data)

    def last_before(self, moment: float) -> float:
        """Return when something last passed before a moment."""
        return max(at for at in self.passed if at <= moment)


@contextmanager
def opened(
    environ: Mapping[str, str], folder: Path, size: tuple[int, int], *words: str
) -> Iterator[Console]:
    """Start a program of this Python in a terminal, and end it."""
    meter = Console([sys.executable, *words], environ, folder, size)
    try:
        yield meter
    finally:
        meter.end()


def starts(shop: Shop, size: tuple[int, int], runs: int) -> tuple[float, float, float]:
    """Return median seconds: Textual's line stable, the console's first screen, its data."""
    hello, first, data = [], [], []
    for _ in range(runs):
        with opened(shop.environ, shop.folder, size, "-c", HELLO) as meter:
            hello.append(meter.settle())
        with opened(shop.environ, shop.folder, size, "-m", "qdeck_tui") as meter:
            first.append(meter.wait_for("VERDICT", keep=True))
            data.append(meter.wait_for("live"))
            meter.settle()
    return statistics.median(hello), statistics.median(first), statistics.median(data)


def switches(shop: Shop, port: int, size: tuple[int, int], again: int) -> dict[str, str]:
    """Return how long it takes until a view is shown: from its key, and from its data."""
    found: dict[str, str] = {}
    with Clocked(port) as proxy:
        environ = {**shop.environ, "REDIS_URL": proxy.url}
        with opened(environ, shop.folder, size, "-m", "qdeck_tui") as meter:
            meter.wait_for("live")
            meter.settle()
            for name, rounds in (("view, first time", 1), ("view, again", again)):
                whole, after = [], []
                for _ in range(rounds):
                    for key, text in VIEWS.items():
                        whole.append(meter.went(key.encode(), text))
                        shown = meter.pieces[-1][0]
                        # What is shown may have been read before the key.
                        after.append(min(shown - proxy.last_before(shown), whole[-1]))
                found[f"{name}: from its key, ms"] = f"{1000 * statistics.median(whole):.0f}"
                figures = f"{1000 * statistics.median(after):.0f}, {1000 * max(after):.0f}"
                found[f"{name}: after its data, median and most, ms"] = figures
    return found


def keys(meter: Console, key: bytes, count: int) -> tuple[float, int]:
    """Press a key often; return the median ms to the first byte and the most bytes."""
    took = [meter.press(key) for _ in range(count) if meter.watch(0.07) >= 0]
    return 1000 * statistics.median(s for s, _ in took), max(n for _, n in took)


def measure(
    shop: Shop, port: int, size: tuple[int, int], runs: int, seconds: float
) -> dict[str, str]:
    """Return the figures of one size by name."""
    found = switches(shop, port, size, runs)
    hello, first, data = starts(shop, size, runs)
    found["first screen, x hello-world"] = f"{first / hello:.2f}"
    found["first data, x hello-world"] = f"{data / hello:.2f}"
    with opened(shop.environ, shop.folder, size, "-m", "qdeck_tui") as meter:
        meter.wait_for("live")
        meter.settle()
        meter.went(b"2", "QUEUES")
        meter.went(b"\r", "JOBS")
        meter.settle(1.2)
        os.write(meter._fd, b"\t\t")
        meter.settle(1.2)
        ms, size_of = keys(meter, DOWN, 40)
        found["arrow key, ms"], found["arrow key, most bytes"] = f"{ms:.1f}", f"{size_of:,}"
        meter.settle(1.2)
        ms, size_of = keys(meter, PAGE, 10)
        found["page, ms"], found["page, most bytes"] = f"{ms:.1f}", f"{size_of:,}"
        meter.settle(1.2)
        os.write(meter._fd, b"6")
        meter.settle(2.0)
        # The clock and the ages of jobs change by the minute: the quietest stretch counts.
        idle = min(meter.watch(5.0) for _ in range(4)) / 5
        found["idle without change, B/s"] = f"{idle:.0f}"
        found["idle, CPU %"] = f"{meter.cpu(10.0):.1f}"
        found["memory, MiB"] = f"{meter.memory():.0f}"
    shop.staff.hire("mails", BRISK)
    with opened(shop.environ, shop.folder, size, "-m", "qdeck_tui") as meter:
        meter.wait_for("live")
        meter.watch(5.0)
        found["live overview, B/s"] = f"{meter.watch(seconds) / seconds:,.0f}"
    shop.staff.hire("mails")
    left = []
    for number in (signal.SIGTERM, signal.SIGHUP):
        meter = Console([sys.executable, "-m", "qdeck_tui"], shop.environ, shop.folder, size)
        meter.wait_for("live", keep=True)
        left += meter.modes_after(number)
    found["modes left on after SIGTERM and SIGHUP"] = ", ".join(left) or "none"
    return found


BUDGETS = {
    "first screen, x hello-world": "1.6",
    "first data, x hello-world": "",
    "arrow key, ms": "10",
    "arrow key, most bytes": "600",
    "page, most bytes": "9,000",
    "view, first time: from its key, ms": "",
    "view, first time: after its data, median and most, ms": "120",
    "view, again: from its key, ms": "",
    "view, again: after its data, median and most, ms": "60",
    "idle without change, B/s": "0",
    "live overview, B/s": "1,500",
    "idle, CPU %": "3",
    "memory, MiB": "100",
    "modes left on after SIGTERM and SIGHUP": "none",
}


def main() -> None:
    """Make the shop, measure and print."""
    parser = argparse.ArgumentParser(description="The console's budgets on the shop.")
    parser.add_argument("--scale", type=float, default=1.0, help="of 1,000,000 completed jobs")
    parser.add_argument("--runs", type=int, default=5, help="starts of each program")
    parser.add_argument("--seconds", type=float, default=20.0, help="to watch the overview")
    chosen = parser.parse_args()
    with (
        Server() as server,
        tempfile.TemporaryDirectory(prefix="qdeck-shop-") as folder,
        Shop(server.url, Path(folder), scale=chosen.scale) as shop,
    ):
        shop.build()
        found = [measure(shop, server.port, size, chosen.runs, chosen.seconds) for size in SIZES]
    lines = [[name, *(each[name] for each in found), most] for name, most in BUDGETS.items()]
    print_table(["figure", *(f"{columns}x{rows}" for columns, rows in SIZES), "budget"], lines)


if __name__ == "__main__":
    main()
