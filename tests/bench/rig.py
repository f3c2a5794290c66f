"""What every measurement needs: a server of its own, processes that produce and work, a table.

The server has no persistence, on a free loopback port; only what was started here is ended.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
from tests.bench import rows
from tests.servers import Server

__all__ = ["Bench", "Drain", "Library", "middle", "print_heading", "print_table"]

_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Library:
    """A job queue: its name, the interpreter that has it, and the file that drives it."""

    name: str
    python: str
    driver: str

    @staticmethod
    def own() -> Library:
        """Return qdeck as it is installed here."""
        return Library("qdeck", sys.executable, "side_qdeck.py")


@dataclass(frozen=True, slots=True)
class Drain:
    """What draining one queue took; rates are jobs a second, times µs a job, memory bytes a job."""

    rate: float
    bulk: float
    memory: float
    server_us: float
    worker_us: float


class Bench:
    """One server, and the processes of one library on it."""

    def __init__(self, library: Library, nap: float = 0.005) -> None:
        # Ended from outside it still ends its own processes.
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
        self.library = library
        self.server = Server()
        self.folder = Path(tempfile.mkdtemp(prefix="qdeck-bench-"))
        self.record = self.folder / "rows"
        self.record.touch()
        self._log = (self.folder / "log").open("wb")
        self._workers: list[subprocess.Popen[bytes]] = []
        known = ("REDIS_", "QUEUE_")
        self._environ = {k: v for k, v in os.environ.items() if not k.startswith(known)}
        self._environ |= {
            "BENCH_URL": self.server.url,
            "BENCH_RECORD": str(self.record),
            "BENCH_NAP": str(nap),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            self.kill(worker)
        self.server.close()
        self._log.close()
        for path in self.folder.iterdir():
            path.unlink()
        self.folder.rmdir()

    def _command(self, *words: object) -> list[str]:
        library = self.library
        return [library.python, str(_HERE / library.driver), *map(str, words)]

    def produce(self, mode: str, jobs: int, job: str = "noop", first: int = 0) -> dict[str, Any]:
        """Run a producer; returns its seconds, processor seconds and the stamps of its calls."""
        done = subprocess.run(
            self._command(mode, jobs, job, first),
            env=self._environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{self.library.name} cannot enqueue: {done.stderr[-2000:]}")
        said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return said

    def work(self, concurrency: int = 10) -> subprocess.Popen[bytes]:
        """Start a worker process."""
        worker = subprocess.Popen(
            self._command("worker", concurrency),
            env=self._environ,
            cwd=self.folder,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        self._workers.append(worker)
        return worker

    @staticmethod
    def kill(worker: subprocess.Popen[bytes]) -> None:
        """Kill a worker and what it started."""
        if worker.poll() is None:
            for process in _tree(worker.pid):
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue
            worker.wait()

    def wait_rows(self, wanted: int, patience: float = 300.0) -> None:
        """Wait until so many rows are there."""
        end = time.monotonic() + patience
        while (found := rows.count(self.record)) < wanted:
            if time.monotonic() > end:
                said = Path(self._log.name).read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{self.library.name}: {found} of {wanted} rows\n{said}")
            time.sleep(0.01)

    def numbers(self) -> tuple[float, float]:
        """Return the server's memory in bytes and its processor time in seconds."""
        info = self.server.info()
        used = float(info["used_cpu_sys"]) + float(info["used_cpu_user"])
        return float(info["used_memory"]), used

    def drain(self, jobs: int, concurrency: int, workers: int = 1, job: str = "noop") -> Drain:
        """Enqueue jobs, then have workers run them; every one must have run exactly once."""
        per_job = 2 if job == "nap" else 1
        # Scripts, groups and static keys are no part of a job's memory.
        self.produce("one", 1, "void", 10**9)
        empty, _ = self.numbers()
        seconds = self.produce("bulk", jobs, job)["seconds"]
        full, _ = self.numbers()
        started = [self.work(concurrency) for _ in range(workers)]
        self.wait_rows(1)
        used, server_used = sum(map(_used, started)), self.numbers()[1]
        self.wait_rows(jobs * per_job)
        used, server_used = (
            sum(map(_used, started)) - used,
            self.numbers()[1] - server_used,
        )
        found = [row for row in rows.read(self.record) if row.kind == rows.START]
        if len(found) != jobs or len({row.job for row in found}) != jobs:
            raise RuntimeError(f"{self.library.name}: {len(found)} runs of {jobs} jobs")
        at = sorted(row.at_ns for row in found)
        return Drain(
            rate=(jobs - 1) / (at[-1] - at[0]) * 1e9,
            bulk=jobs / seconds,
            memory=(full - empty) / jobs,
            server_us=server_used / jobs * 1e6,
            worker_us=used / jobs * 1e6,
        )

    def latency(self, jobs: int = 300, mode: str = "latency") -> tuple[float, float]:
        """Return p50 and p99 in ms from before the enqueue call to the handler's first line."""
        self.work()
        warm = "sync" if mode.endswith("sync") else "one"
        for index in range(20):
            self.produce(warm, 1, "noop", 10**8 + index)
        self.wait_rows(20, 60)
        time.sleep(1)
        stamps = self.produce(mode, jobs)["stamps"]
        self.wait_rows(20 + jobs, 60)
        begun = {row.job: row.at_ns for row in rows.read(self.record)}
        waits = sorted((begun[index] - stamp) / 1e6 for index, stamp in enumerate(stamps))
        return waits[len(waits) // 2], waits[int(len(waits) * 0.99)]


def _tree(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _used(worker: subprocess.Popen[bytes]) -> float:
    """Return the processor seconds of a worker and its children."""
    used = 0.0
    for process in _tree(worker.pid):
        times = process.cpu_times()
        used += times.user + times.system
    return used


def middle(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def print_table(heads: Sequence[str], lines: Sequence[Sequence[object]]) -> None:
    """Print a Markdown table."""
    write = sys.stdout.write
    for cells in (heads, ["---"] * len(heads), *lines):
        write("| " + " | ".join(map(str, cells)) + " |\n")
    sys.stdout.flush()


def print_heading(what: str, info: Callable[[], dict[str, str]] | None = None) -> None:
    """Print what is measured, on what, and how busy the machine is."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    version = sys.version.split()[0]
    server = ""
    if info is not None:
        facts = info()
        server = f", server {facts.get('valkey_version', facts['redis_version'])}"
    sys.stdout.write(
        f"\n{what}: Python {version}{server}, {os.cpu_count()} cores, load average {load}\n\n"
    )
    sys.stdout.flush()
