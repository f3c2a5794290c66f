"""Measures the console from the terminal's side; run `python tests/bench/console.py`.

It opens the console at 120x40 in a pseudo-terminal on an embedded server of its own and reads only
what a person at the far end of the line would get: bytes, and when they come. Times are this
machine's and compare only within one run, so a Textual program that shows one line runs beside it.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import select
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
COLUMNS, ROWS = 120, 40
QUIET = 0.3
DOWN = b"\x1b[B"

HELLO = """
from textual.app import App
from textual.widgets import Static
class Hello(App):
    def compose(self):
        yield Static("Hello, world")
    def on_key(self):
        self.exit()
Hello().run()
"""

APP = """
import time
from qdeck import Deck
deck = Deck()

@deck.task
async def quick(number: int) -> int:
    return number

@deck.task
def compute(seconds: float) -> int:
    end, total = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        total += sum(number * number for number in range(500))
    return total
"""

FILL = """
from app import deck, quick
deck.enqueue_many_sync([quick.options(queue="alpha").call(number) for number in range(3_000)])
for number in range(20):
    deck.enqueue_sync("quick", {"number": number}, queue=f"queue{number:02}")
"""

HOLD = """
from app import deck
deck.enqueue_sync("quick", {"number": 0}, queue="alpha")
print("held", flush=True)
input()
"""

COMPUTE = """
from app import compute, deck
deck.enqueue_many_sync([compute.options(queue="cpu").call(0.05) for _ in range(1_200)])
"""


class Meter:
    """A program in a pseudo-terminal, and the moment of each piece of its output."""

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        cwd: Path,
        size: tuple[int, int] = (COLUMNS, ROWS),
    ) -> None:
        self.began = time.perf_counter()
        self.pieces: list[tuple[float, int]] = []
        self.text = ""
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            os.execvpe(command[0], list(command), env)
        columns, rows = size
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds: float) -> int:
        """Take in output for at most so long; return the bytes of the first piece, 0 for none."""
        if not select.select([self._fd], [], [], max(0.0, seconds))[0]:
            return 0
        try:
            data = os.read(self._fd, 65_536)
        except OSError:
            return 0
        self.pieces.append((time.perf_counter(), len(data)))
        self.text = (self.text + data.decode("utf-8", "replace"))[-200_000:]
        return len(data)

    def watch(self, seconds: float) -> int:
        """Take in output for so long and return its bytes."""
        end, total = time.perf_counter() + seconds, 0
        while (left := end - time.perf_counter()) > 0:
            total += self.read(left)
        return total

    def settle(self, quiet: float = QUIET, limit: float = 20.0) -> float:
        """Wait for silence and return when it began, in seconds since the start."""
        end = time.perf_counter() + limit
        while time.perf_counter() < end:
            if not self.read(quiet) and self.pieces:
                break
        return self.pieces[-1][0] - self.began

    def wait_for(self, text: str, limit: float = 30.0, *, keep: bool = False) -> float:
        """Wait until a text was written since the last wait, and forget what was written unless it
        is to be kept; return the seconds since the start.
        """
        end = time.perf_counter() + limit
        while text not in self.text:
            if time.perf_counter() > end:
                raise SystemExit(f"no {text!r} on the console's screen within {limit:g} s")
            self.read(0.1)
        if not keep:
            self.text = ""
        return self.pieces[-1][0] - self.began

    def press(self, key: bytes, patience: float = 1.0) -> tuple[float, int]:
        """Send a key; return seconds to the first byte and the bytes of its answer."""
        sent = time.perf_counter()
        os.write(self._fd, key)
        first = self.read(patience)
        if not first:
            return patience, 0
        return self.pieces[-1][0] - sent, first + self.watch(0.05)

    def memory(self) -> float:
        """Return the resident memory of the program itself in MiB."""
        return float(psutil.Process(self.pid).memory_info().rss) / 2**20

    def end(self) -> None:
        """Ask the program to end, wait, and kill it if it does not."""
        os.kill(self.pid, signal.SIGTERM)
        end = time.perf_counter() + 15
        while os.waitpid(self.pid, os.WNOHANG) == (0, 0):
            if time.perf_counter() > end:
                os.kill(self.pid, signal.SIGKILL)
            self.read(0.05)
        os.close(self._fd)


class Bench:
    """A project with an embedded server, and the programs that are measured in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        paths = [str(ROOT / name) for name in ("core", "tui", "themes")] + [str(folder)]
        self.env = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "PYTHONPATH": os.pathsep.join(paths),
            "XDG_DATA_HOME": str(folder / "data"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "LANG": "C.UTF-8",
        }
        (folder / "app.py").write_text(APP)
        (folder / "qdeck.toml").write_text('app = ["app:deck"]\nname = ["cpu"]\n')

    def python(self, *arguments: str) -> None:
        """Run Python in the project to its end."""
        subprocess.run(
            [sys.executable, *arguments], env=self.env, cwd=self.folder, check=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip

    @contextmanager
    def running(self, *arguments: str) -> Iterator[Meter]:
        """Start a program of this Python on a pseudo-terminal."""
        meter = Meter([sys.executable, *arguments], self.env, self.folder)
        try:
            yield meter
        finally:
            meter.end()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the server running, whoever leaves."""
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD], env=self.env, cwd=self.folder,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.communicate(b"\n", timeout=30)

    def starts(self, runs: int) -> tuple[float, float, float]:
        """Return median seconds: Textual's line stable, the console's first screen, its data."""
        hello, first, data = [], [], []
        for _ in range(runs):
            with self.running("-c", textwrap.dedent(HELLO)) as meter:
                hello.append(meter.settle())
            with self.running("-m", "qdeck_tui") as meter:
                first.append(meter.wait_for("VERDICT", keep=True))
                data.append(meter.wait_for("live"))
        return statistics.median(hello), statistics.median(first), statistics.median(data)

    def arrows(self, meter: Meter, count: int) -> tuple[list[float], list[int]]:
        """Press the down key in the list of jobs; return the seconds and the bytes of each."""
        seconds, sizes = [], []
        for _ in range(count):
            took, size = meter.press(DOWN)
            meter.watch(0.07)
            seconds.append(took)
            sizes.append(size)
        return seconds, sizes

    def open_jobs(self, meter: Meter) -> None:
        """Go to the list of the 3,000 pending jobs."""
        meter.wait_for("VERDICT")
        meter.settle()
        for key, text in ((b"2", "alpha"), (b"\r", '{"number"')):
            meter.text = ""
            os.write(meter._fd, key)
            meter.wait_for(text)
            meter.settle(1.2)
        os.write(meter._fd, b"\t")
        meter.settle(0.2)
        os.write(meter._fd, b"\t")
        meter.settle(1.2)

    def start_worker(self, meter: Meter) -> None:
        """Start a worker in the console's process by its form."""
        for key, text in ((b"7", "WORKERS"), (b"n", "LOCAL WORKER"), (b"\x18", "running")):
            meter.text = ""
            os.write(meter._fd, key)
            meter.wait_for(text)
            meter.settle(0.6)


def p95(values: Sequence[float]) -> float:
    return sorted(values)[max(0, round(len(values) * 0.95) - 1)]


def measure(bench: Bench, runs: int, seconds: float) -> list[tuple[str, str, str]]:
    """Return the rows of the table: what, its figure, its budget."""
    rows: list[tuple[str, str, str]] = []
    bench.python("-c", FILL)
    hello, first, data = bench.starts(runs)
    rows.append(("one line of Textual, stable after", f"{hello * 1000:.0f} ms", ""))
    for what, at, budget in (
        ("console, first screen after", first, "1.6 x"),
        ("console, first data of a running server after", data, "1.6 x"),
    ):
        rows.append((what, f"{at * 1000:.0f} ms, {at / hello:.2f} x", budget))
    with bench.running("-m", "qdeck_tui") as meter:
        bench.open_jobs(meter)
        took, sizes = bench.arrows(meter, 40)
        rows.append(("arrow key, to the first byte", f"{statistics.median(took) * 1000:.1f} ms",
                     "10 ms"))  # fmt: skip
        rows.append(("arrow key, bytes, median and most",
                     f"{statistics.median(sizes):.0f}, {max(sizes)}", "600"))  # fmt: skip
        rows.append(("memory without local workers", f"{meter.memory():.0f} MiB", "100 MiB"))
        # Ages and rates of what was just enqueued change still: not so a list without a row. The
        # clock changes by the minute: the quietest stretch counts.
        os.write(meter._fd, b"6")
        meter.settle(1.2)
        idle = min(meter.watch(5.0) for _ in range(4)) / 5
        rows.append(("idle, 5 s without a change", f"{idle:.0f} B/s", "0 B/s"))
    with bench.running("-m", "qdeck_tui", "demo") as meter:
        meter.wait_for("VERDICT")
        meter.watch(5.0)
        rate = meter.watch(seconds) / seconds
        rows.append(("live view of the demo", f"{rate:,.0f} B/s", "3,000 B/s"))
    with bench.running("-m", "qdeck_tui") as meter:
        meter.wait_for("VERDICT")
        meter.settle()
        bench.start_worker(meter)
        bench.python("-c", COMPUTE)
        os.write(meter._fd, b"1")
        meter.settle(0.2, 3.0)
        bench_took = []
        for number in range(80):
            key = DOWN if number % 20 < 10 else b"\x1b[A"
            bench_took.append(meter.press(key)[0])
            meter.watch(0.07)
        rows.append(("arrow key beside CPU-bound thread jobs, p95",
                     f"{p95(bench_took) * 1000:.0f} ms", "60 ms"))  # fmt: skip
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=7, help="starts of each program")
    parser.add_argument("--seconds", type=float, default=20.0, help="to watch the demo")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="qdeck-bench-") as folder:
        bench = Bench(Path(folder))
        with bench.held():
            rows = measure(bench, chosen.runs, chosen.seconds)
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for what, figure, budget in [("figure", "measured", "budget"), *rows]:
        line = f"{what:<{widths[0]}}  {figure:>{max(widths[1], 8)}}  {budget:>{widths[2]}}"
        sys.stdout.write(line.rstrip() + "\n")


if __name__ == "__main__":
    main()
