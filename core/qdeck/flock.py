"""File locks that a fork drops: shared and exclusive `flock` with a deadline.

Owns the descriptors that must not live on in forked children. A lock belongs to the open file, so
a forked child would keep its parent's alive: every descriptor opened here is closed in forks, and
closed by exec.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

__all__ = ["FileLock", "close_fd", "close_in_forks"]

_open: set[int] = set()


def close_in_forks(descriptor: int) -> int:
    """Has the descriptor closed in every forked child; returns it."""
    _open.add(descriptor)
    return descriptor


def close_fd(descriptor: int) -> None:
    """Closes a descriptor that was given to `close_in_forks`."""
    _open.discard(descriptor)
    os.close(descriptor)


def _drop_in_child() -> None:
    for descriptor in _open:
        os.close(descriptor)
    _open.clear()


os.register_at_fork(after_in_child=_drop_in_child)


class FileLock:
    """One open lock file; not held until `take` says so, and gone with `close`.

    After a fork the child's object is closed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pid = os.getpid()
        self._fd = close_in_forks(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))

    @property
    def closed(self) -> bool:
        """Whether it was closed here, or in the fork that made this process."""
        return self._fd < 0 or self._pid != os.getpid()

    def fileno(self) -> int:
        """The descriptor, to be handed to a child that shall hold the same lock."""
        return self._fd

    def take(self, *, shared: bool = False, timeout: float = 0.0) -> bool:
        """Takes the lock, waiting up to `timeout` seconds; says whether it is held now.

        Turning a shared lock into an exclusive one gives the shared one up, also when it fails.
        """
        mode = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
        end = time.monotonic() + timeout
        pause = 0.002
        while True:
            try:
                fcntl.flock(self._fd, mode)
            except BlockingIOError:
                if time.monotonic() >= end:
                    return False
                time.sleep(pause)
                pause = min(pause * 1.5, 0.05)
            else:
                return True

    def close(self) -> None:
        """Closes the file, which gives the lock up unless another process got the descriptor."""
        if not self.closed:
            close_fd(self._fd)
        self._fd = -1
