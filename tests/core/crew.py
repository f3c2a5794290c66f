"""Worker processes that a test starts and kills."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.core.apps import steady
from tests.servers import Server

__all__ = ["Crew", "crew"]

FOLDER = Path(steady.__file__).parent


class Crew:
    """Worker processes of one app; those that still live are ended at the end."""

    def __init__(
        self, server: Server, prefix: str, logs: Path, lease: float, app: str, **env: str
    ) -> None:
        self._app = str(FOLDER / f"{app}.py")
        self._logs = logs
        self._number = 0
        self._env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "APP_URL": server.url,
            "APP_PREFIX": prefix,
            "APP_LEASE": str(lease),
            **env,
        }
        self.living: list[subprocess.Popen[bytes]] = []

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Starts one more worker."""
        self._number += 1
        with (self._logs / f"worker{self._number}.log").open("wb") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "qdeck", "worker", self._app, *words],
                env=self._env,
                stdout=log,
                stderr=log,
                cwd=self._logs,
            )
        self.living.append(child)
        return child

    def end(self, child: subprocess.Popen[bytes], number: int = signal.SIGKILL) -> int:
        """Sends a signal to a worker and waits for its end; returns its exit code."""
        child.send_signal(number)
        code = child.wait(60)
        self.living.remove(child)
        return code

    def close(self) -> None:
        """Kills what lives."""
        for child in list(self.living):
            self.end(child)

    def log(self) -> str:
        """Returns what all workers have logged."""
        files = sorted(self._logs.glob("worker*.log"))
        return "\n".join(file.read_text(errors="replace") for file in files)


@contextlib.contextmanager
def crew(
    server: Server, prefix: str, logs: Path, lease: float, app: str = "steady", **env: str
) -> Iterator[Crew]:
    """Opens a crew and closes it."""
    one = Crew(server, prefix, logs, lease, app, **env)
    try:
        yield one
    finally:
        one.close()
