"""The workers of the shop: real processes, each started as its user would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from qdeck.lifeline import VARIABLE, lifeline_for

__all__ = ["APP", "BRISK", "STILL", "Staff"]

APP: Final = "tests.tui.shop.app:deck"
#: Seconds of a mail where nothing is to drain, and where it is.
STILL, BRISK = 3600.0, 0.5


@dataclass(frozen=True, slots=True)
class Crew:
    """One worker: its queues and slots, and the seconds of its leases."""

    name: str
    queues: tuple[str, ...]
    slots: int
    lease: int = 15


_CREW: Final = (
    Crew("mails", ("emails",), 40),
    Crew("rest", ("billing", "webhooks", "search", "push", "mail_in", "audit", "low"), 10),
    Crew("thumbnails", ("thumbnails",), 4),
    Crew("reports", ("reports", "import"), 4),
    Crew("lost", ("exports",), 3, lease=2),
)


class Staff:
    """The workers that run now, by name."""

    def __init__(self, environ: Mapping[str, str], folder: Path) -> None:
        self._folder = folder
        # They end with this process, also where that is killed.
        self._watched, self._held = os.pipe()
        self._environ = {**environ, VARIABLE: lifeline_for(self._watched, leave=False)}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.brisk = False

    def hire(self, name: str, pace: float = STILL) -> None:
        """Start a worker, in place of the one of that name; `pace` is the seconds of a mail."""
        self.dismiss(name)
        if name == "mails":
            self.brisk = pace < STILL
        crew = next(each for each in _CREW if each.name == name)
        words = ["worker", APP, "-q", ",".join(crew.queues), "-c", str(crew.slots), "--grace", "1"]
        self.processes[name] = subprocess.Popen(
            [sys.executable, "-m", "qdeck", *words],
            env={**self._environ, "QUEUE_LEASE": str(crew.lease), "SHOP_PACE": str(pace)},
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=(self._watched,),
        )

    def pid(self, name: str) -> int:
        """Return the process id of a worker."""
        return self.processes[name].pid

    def lose(self, name: str) -> None:
        """Kill a worker without a goodbye."""
        lost = self.processes.pop(name)
        lost.kill()
        lost.wait()

    def dismiss(self, *names: str) -> None:
        """End workers, which give back what they hold."""
        leaving = [self.processes.pop(name) for name in names if name in self.processes]
        for process in leaving:
            process.send_signal(signal.SIGTERM)
        for process in leaving:
            process.wait()

    def close(self) -> None:
        """End all."""
        self.dismiss(*self.processes)
        for number in (self._watched, self._held):
            os.close(number)
