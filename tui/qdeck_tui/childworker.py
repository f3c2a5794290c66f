"""A worker as a child of the console: in its own session, without a terminal, its output a pipe.

A lifeline (see `qdeck.lifeline`) ends it with the console, or lets it live on when that was chosen.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime

from qdeck.lifeline import LEAVE, VARIABLE, lifeline_for
from qdeck_tui.local import LocalWorker, StartRequest
from qdeck_tui.output import OutputLog, pump

__all__ = ["ChildWorker"]

STARTING = 10.0
MARGIN = 5.0
SERVES = re.compile(r"worker (\S+) serves ")


class ChildWorker:
    """One worker as a child process."""

    def __init__(self, name: str, request: StartRequest, environ: Mapping[str, str]) -> None:
        self.name = name
        self.request = request
        self.output = OutputLog()
        self._environ = environ
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline = -1
        self._since = datetime.now(UTC)
        self._state = "starting"
        self._left = False
        self._id = ""
        self._lock = threading.Lock()

    @property
    def ended(self) -> bool:
        """Whether it runs no more, or is no more this console's."""
        return self._left or (self._process is not None and self._process.poll() is not None)

    @property
    def pid(self) -> int | None:
        """Its process id; also that of its session."""
        return None if self._process is None else self._process.pid

    def seen(self) -> LocalWorker:
        """Return the worker as it is now."""
        self._serves()
        request = self.request
        return LocalWorker(
            name=self.name,
            kind="process",
            queues=request.queues,
            concurrency=request.concurrency,
            state=self._word(),
            started_at=self._since,
            on_exit=request.on_exit,
            id=self._id,
        )

    def _word(self) -> str:
        if self._left:
            return "left"
        code = None if self._process is None else self._process.poll()
        if code is None:
            return self._state
        return "stopped" if code == 0 else "failed"

    def start(self) -> None:
        """Start the child; raises OSError, or ValueError with its last line if it ends at once."""
        request = self.request
        command = [sys.executable, "-m", "qdeck", "worker", request.app]
        if request.queues:
            command += ["-q", ",".join(request.queues)]
        command += ["-c", str(request.concurrency)]
        watched, self._lifeline = os.pipe()
        reading, writing = os.pipe()
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                start_new_session=True,
                pass_fds=(watched,),
                env={
                    **os.environ,
                    **self._environ,
                    "PYTHONUNBUFFERED": "1",
                    VARIABLE: lifeline_for(watched, leave=request.on_exit == "leave"),
                },
            )
        except OSError:
            os.close(reading)
            self._drop_lifeline()
            self.output.leave_file(request.log)
            raise
        finally:
            os.close(watched)
            os.close(writing)
        reader = threading.Thread(
            target=self._listen, args=(reading,), name=f"qdeck-{self.name}", daemon=True
        )
        reader.start()
        # It says which worker serves what, or why none does and ends.
        end = time.monotonic() + STARTING
        while not self.ended and not self._serves() and time.monotonic() < end:
            time.sleep(0.02)
        if self.ended:
            reader.join(1.0)
            lines = [line.text for line in self.output.after() if line.text.strip()]
            self._drop_lifeline()
            raise ValueError(lines[-1] if lines else "the worker ended at once and said nothing")

    def _listen(self, reading: int) -> None:
        """Take in what it prints until its end."""
        try:
            pump(reading, self.output.add)
        finally:
            self.output.leave_file(self.request.log)

    def _serves(self) -> bool:
        """Whether it said which worker it is; takes note of that."""
        if not self._id:
            found = (SERVES.search(line.text) for line in self.output.after())
            self._id = next((match[1] for match in found if match), "")
            if self._id and self._state == "starting":
                self._state = "running"
        return bool(self._id)

    def stop(self, grace: float) -> None:
        """Ask it to stop, force it after `grace` seconds, kill it 5 s later."""
        process = self._process
        if process is None or self.ended:
            return
        self._state = "stopping"
        for number, patience in (
            (signal.SIGTERM, grace),
            (signal.SIGTERM, MARGIN),
            (signal.SIGKILL, MARGIN),
        ):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
            if self._waited(max(patience, 0.2)):
                break
        self._drop_lifeline()

    def wait(self, patience: float) -> None:
        """Wait for its end."""
        self._waited(patience)

    def leave(self) -> None:
        """Let it live on without this console."""
        with self._lock:
            if self._lifeline < 0:
                return
            with contextlib.suppress(OSError):
                os.write(self._lifeline, LEAVE)
            self._left = True
        self._drop_lifeline()
        if self._process is not None:
            # It is nobody's child then; a Popen that is dropped would complain about it.
            self._process.returncode = 0

    def _waited(self, patience: float) -> bool:
        """Wait for the end without losing it to another thread that waits as well."""
        process = self._process
        end = time.monotonic() + patience
        while process is not None and process.poll() is None:
            if time.monotonic() >= end:
                return False
            time.sleep(0.02)
        return True

    def _drop_lifeline(self) -> None:
        with self._lock:
            if self._lifeline >= 0:
                os.close(self._lifeline)
                self._lifeline = -1
