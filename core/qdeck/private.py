"""The `memory` server: nothing on disk, private to the process that asked for it, gone with it.

A shell watches a pipe whose other end only the owner holds: when the owner ends, by SIGKILL too,
the read ends, and the shell kills the server and removes its folder. (PR_SET_PDEATHSIG would fire
when the thread that started it ends, and does not exist on macOS.)
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import ClassVar

from qdeck.binary import find_binary, flavour_of
from qdeck.errors import ConnectionFailed
from qdeck.flock import close_fd, close_in_forks
from qdeck.ping import ping

__all__ = ["PrivateServer"]

_WATCH = 'd=$1; shift; "$@" & read -r _; kill -KILL $!; wait; rm -rf -- "$d"'
_PATIENCE = 20.0


class PrivateServer:
    """One server without persistence; a forked child may use it and never ends it."""

    _known: ClassVar[list[PrivateServer]] = []
    _lent: ClassVar[str] = ""

    def __init__(self, binary: Path | None = None) -> None:
        self.binary = binary
        self.path = ""
        self._mutex = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe = -1
        self._owner = 0

    def acquire(self, holder: object) -> str:
        """Starts the server at the first call; returns its socket path."""
        if PrivateServer._lent:
            return PrivateServer._lent
        with self._mutex:
            if self._process is None:
                self._start()
            return self.path

    @classmethod
    def borrow(cls, path: str) -> None:
        """Has this process, a spawned child, use its parent's server and start none."""
        cls._lent = path

    def revive(self, holder: object) -> str:
        """Like `acquire`; raises ConnectionFailed if the server died, since its data is gone."""
        with self._mutex:
            path = self.acquire(holder)
            if ping(path) == "down":
                raise ConnectionFailed(
                    "the memory server of this process has ended, and its jobs with it; "
                    "use embedded:// or REDIS_URL for jobs that must survive"
                )
            return path

    def release(self, holder: object) -> None:
        """Ends the server and waits for its exit; does nothing in a forked child."""
        with self._mutex:
            process, self._process = self._process, None
            if process is None or self._owner != os.getpid():
                return
            PrivateServer._known.remove(self)
            close_fd(self._pipe)
            process.wait()

    def _start(self) -> None:
        binary = find_binary(self.binary)
        flavour_of(binary)
        folder = tempfile.mkdtemp(prefix="qdeck-")
        if len(os.fsencode(folder)) > 80:
            Path(folder).rmdir()
            folder = tempfile.mkdtemp(prefix="qdeck-", dir="/tmp")
        self.path = f"{folder}/qdeck.sock"
        options = {
            "port": "0",
            "unixsocket": self.path,
            "unixsocketperm": "700",
            "dir": folder,
            "appendonly": "no",
            "save": "",
            "logfile": f"{folder}/server.log",
            "maxmemory-policy": "noeviction",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        reading, writing = os.pipe()
        close_in_forks(writing)
        try:
            process = subprocess.Popen(
                ["/bin/sh", "-c", _WATCH, "qdeck", folder, str(binary), *words],
                stdin=reading,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except BaseException:
            close_fd(writing)
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            os.close(reading)
        self._pipe, self._owner, self._process = writing, os.getpid(), process
        PrivateServer._known.append(self)
        end = time.monotonic() + _PATIENCE
        while ping(self.path) != "up":
            if time.monotonic() > end:
                said = ""
                with contextlib.suppress(OSError):
                    said = Path(folder, "server.log").read_text(errors="replace").strip()[-200:]
                self.release(self)
                raise ConnectionFailed(f"the memory server {binary} does not start: {said!r}")
            time.sleep(0.003)


@atexit.register
def _end_all() -> None:
    for server in list(PrivateServer._known):
        server.release(server)


def _forget_children() -> None:
    for server in PrivateServer._known:
        server._mutex = threading.RLock()
        if server._process is not None:
            # The child is not the parent of this process: it must neither wait for it nor warn.
            server._process.returncode = 0


os.register_at_fork(after_in_child=_forget_children)
