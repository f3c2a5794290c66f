"""The embedded server: started by who needs it first, ended by who leaves last.

A client holds a shared lock on `use.lock` from before its first connect. Starting happens under
`start.lock` after a failed PING. Who leaves tries `use.lock` exclusively without waiting, and who
gets it shuts the server down and waits for its exit. The server process itself holds `server.lock`
through an inherited descriptor, so that "does it run" needs no pid: a killed one frees the lock.
One that was started by name (`kept` holds its process id) stays until it is stopped by name.
Limit: if every client dies of SIGKILL the server stays, idle, until the next one comes and leaves.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import signal
import stat
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from qdeck.binary import Flavour, find_binary, flavour_of
from qdeck.errors import ConnectionFailed, SettingsError
from qdeck.flock import FileLock
from qdeck.ping import ask, ping

__all__ = ["ServerStatus", "SharedServer", "server_status", "start_server", "stop_server"]

_PATIENCE = 120.0
"""Seconds that starting, loading or stopping may take before it is an error."""
_LOST = 3.0
"""Seconds after which a living server without a socket file is given up."""
_SOCKET_BYTES = 99
_LOG_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """What is known about the server of a folder; unknown numbers are None."""

    folder: Path
    socket: str
    running: bool
    pid: int | None = None
    version: str | None = None
    clients: int | None = None
    memory: int | None = None
    uptime: int | None = None


class SharedServer:
    """The server of one data folder, shared by every process of this user that asks for it."""

    _known: ClassVar[dict[Path, SharedServer]] = {}

    def __init__(self, folder: Path, binary: Path | None = None) -> None:
        self.folder = folder
        self.binary = binary
        self.path = _socket_path(folder)
        self._mutex = threading.RLock()
        self._use: FileLock | None = None
        self._holders: set[int] = set()

    @classmethod
    def at(cls, folder: Path, binary: Path | None = None) -> SharedServer:
        """Returns this process's one object for the folder."""
        folder = folder.expanduser().resolve()
        server = cls._known.setdefault(folder, cls(folder, binary))
        server.binary = binary or server.binary
        return server

    def acquire(self, holder: object) -> str:
        """Joins the users of the server, starting it if need be; returns its socket path.

        Cheap when this process already joined. Raises SettingsError and ConnectionFailed.
        """
        with self._mutex:
            if self._use is None or self._use.closed:
                self._use = self._enter()
            self._holders.add(id(holder))
            return self.path

    def revive(self, holder: object) -> str:
        """Like `acquire`, but makes sure that the server answers, starting it again if it died."""
        with self._mutex:
            self.acquire(holder)
            self._ensure_running()
            return self.path

    def release(self, holder: object) -> None:
        """Leaves; the last one that leaves ends the server and waits for its exit."""
        with self._mutex:
            self._holders.discard(id(holder))
            if self._holders or self._use is None:
                return
            use, self._use = self._use, None
            if not use.closed:
                try:
                    if use.take() and not self._kept():
                        self._shut_down()
                finally:
                    use.close()

    def keep(self) -> None:
        """Keeps the server that runs now, also when nobody uses it, until `stop`."""
        with contextlib.suppress(FileNotFoundError):
            (self.folder / "kept").write_bytes((self.folder / "server.pid").read_bytes())

    def leave_running(self) -> None:
        """Leaves without ending the server, whoever else uses it."""
        with self._mutex:
            self._holders.clear()
            if self._use is not None:
                self._use.close()
                self._use = None

    def _kept(self) -> bool:
        # A server that came after the kept one has another process id.
        with contextlib.suppress(OSError):
            return (self.folder / "kept").read_bytes() == (self.folder / "server.pid").read_bytes()
        return False

    def stop(self) -> bool:
        """Ends the server if no process uses it; returns False if one does."""
        with self._mutex:
            self._prepare_folder()
            use = FileLock(self.folder / "use.lock")
            try:
                if self._use is not None or not use.take():
                    return False
                self._shut_down()
                return True
            finally:
                use.close()

    def runs(self) -> bool:
        """Whether a server process of this folder exists, answering or not."""
        if not (self.folder / "server.lock").exists():
            return False
        lock = FileLock(self.folder / "server.lock")
        try:
            return not lock.take(shared=True)
        finally:
            lock.close()

    def _enter(self) -> FileLock:
        self._holders.clear()
        self._prepare_folder()
        use = FileLock(self.folder / "use.lock")
        try:
            if not use.take(shared=True, timeout=_PATIENCE):
                raise ConnectionFailed(
                    f"the embedded server in {self.folder} has been shutting down for "
                    f"{_PATIENCE:.0f} s; see {self.folder / 'server.log'}"
                )
            self._ensure_running()
        except BaseException:
            use.close()
            raise
        return use

    def _prepare_folder(self) -> None:
        _private_folder(self.folder)
        if Path(self.path).parent != self.folder:
            _private_folder(Path(self.path).parent)

    def _ensure_running(self) -> None:
        if ping(self.path) == "up":
            return
        start = FileLock(self.folder / "start.lock")
        try:
            if not start.take(timeout=_PATIENCE):
                raise ConnectionFailed(
                    f"another process has been starting the embedded server in {self.folder} for "
                    f"{_PATIENCE:.0f} s; see {self.folder / 'server.log'}"
                )
            self._start_and_wait()
        finally:
            start.close()

    def _start_and_wait(self) -> None:
        launched = False
        end = time.monotonic() + _PATIENCE
        lost = time.monotonic() + _LOST
        while (state := ping(self.path)) != "up":
            now = time.monotonic()
            if now > end:
                raise self._trouble(f"does not answer after {_PATIENCE:.0f} s")
            if state != "down":
                lost = now + _LOST
            elif not self.runs():
                if launched:
                    raise self._trouble("ended while it started")
                launched = self._launch()
                continue
            elif now > lost and not Path(self.path).exists():
                # Somebody deleted the socket of a living server: nobody can reach it any more.
                self._kill()
                lost = now + _LOST
            time.sleep(0.005)

    def _launch(self) -> bool:
        binary = find_binary(self.binary)
        flavour = flavour_of(binary)
        record = self.folder / "server.json"
        wrote = _recorded(record)
        if wrote is not None and not flavour.reads(wrote):
            raise SettingsError(
                f"the data in {self.folder} was written by {wrote}, and {binary} is {flavour}, "
                "which cannot read it; set server_binary to a newer one, or use another folder "
                "(embedded:///path)"
            )
        log = self.folder / "server.log"
        if log.exists() and log.stat().st_size > _LOG_BYTES:
            log.replace(self.folder / "server.log.1")
        lock = FileLock(self.folder / "server.lock")
        try:
            # Whoever looks whether the server runs holds this lock for an instant.
            if not lock.take(timeout=1.0):
                return False
            done = subprocess.run(
                [binary, *_arguments(self.folder, self.path)],
                pass_fds=[lock.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.folder,
                check=False,
                timeout=_PATIENCE,
            )
        finally:
            lock.close()
        if done.returncode:
            said = done.stdout.decode(errors="replace").strip().splitlines()
            raise self._trouble(f"did not start: {said[-1] if said else done.returncode}")
        entry = {"family": flavour.family, "version": list(flavour.version)}
        fresh = record.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(entry), encoding="utf-8")
        fresh.replace(record)
        return True

    def _shut_down(self) -> None:
        end = time.monotonic() + _PATIENCE
        words = ["SHUTDOWN", "NOSAVE"]
        while self.runs():
            with contextlib.suppress(OSError):
                if ask(self.path, *words, timeout=5.0).startswith(b"-ERR"):
                    words = ["SHUTDOWN", "NOSAVE", "NOW", "FORCE"]
            for _ in range(200):
                if not self.runs():
                    break
                time.sleep(0.005)
            if time.monotonic() > end:
                raise self._trouble(f"did not end in {_PATIENCE:.0f} s")
        with contextlib.suppress(OSError):
            Path(self.path).unlink(missing_ok=True)
            (self.folder / "kept").unlink(missing_ok=True)

    def _kill(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.folder / "server.pid").read_text())
            if self.runs():
                os.kill(pid, signal.SIGKILL)

    def _trouble(self, what: str) -> ConnectionFailed:
        log = self.folder / "server.log"
        tail = ""
        with contextlib.suppress(OSError):
            lines = log.read_text(errors="replace").strip().splitlines()
            tail = f" (last: {lines[-1][:200]!r})" if lines else ""
        return ConnectionFailed(
            f"the embedded server in {self.folder} {what}; see {log}{tail}, or set REDIS_URL"
        )


def server_status(folder: Path) -> ServerStatus:
    """Tells what runs in the folder, without starting anything."""
    server = SharedServer.at(folder)
    if not server.runs():
        return ServerStatus(server.folder, server.path, False)
    info: dict[str, str] = {}
    with contextlib.suppress(OSError):
        text = ask(server.path, "INFO", timeout=5.0).decode(errors="replace")
        info = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    family = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version") or info.get("redis_version")

    def number(name: str) -> int | None:
        return int(info[name]) if info.get(name, "").isdigit() else None

    clients = number("connected_clients")
    return ServerStatus(
        server.folder,
        server.path,
        True,
        number("process_id"),
        f"{family} {version}" if version else None,
        None if clients is None else max(0, clients - 1),
        number("used_memory"),
        number("uptime_in_seconds"),
    )


def start_server(folder: Path, binary: Path | None = None) -> ServerStatus:
    """Starts the server of the folder and keeps it running until `stop_server`."""
    server = SharedServer.at(folder, binary)
    server.revive(server)
    server.keep()
    server.leave_running()
    return server_status(folder)


def stop_server(folder: Path) -> bool:
    """Ends the server of the folder; returns False, and does nothing, if a process uses it."""
    return SharedServer.at(folder).stop()


def _arguments(folder: Path, path: str) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": path,
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "daemonize": "yes",
        "pidfile": str(folder / "server.pid"),
        "logfile": str(folder / "server.log"),
        "maxmemory-policy": "noeviction",
    }
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def _socket_path(folder: Path) -> str:
    """The socket in the folder, or where that is too long for the kernel, one in /tmp.

    /tmp and not the runtime directory of a session, since a cron job of the user has none and must
    meet the same server.
    """
    path = str(folder / "qdeck.sock")
    if len(os.fsencode(path)) <= _SOCKET_BYTES:
        return path
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return f"/tmp/qdeck-{os.getuid()}/{name}.sock"


def _private_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = folder.lstat()
        if stat.S_ISLNK(found.st_mode) and found.st_uid == os.getuid():
            found = folder.stat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise SettingsError(
                f"{folder} belongs to another user; the embedded server needs its own"
            )
        if stat.S_IMODE(found.st_mode) != 0o700:
            folder.chmod(0o700)
    except OSError as error:
        raise SettingsError(
            f"the embedded server's folder {folder} is not usable: {error.strerror}; name another "
            "one (embedded:///path), or set REDIS_URL"
        ) from None


def _recorded(record: Path) -> Flavour | None:
    try:
        entry = json.loads(record.read_text(encoding="utf-8"))
        return Flavour(str(entry["family"]), tuple(int(part) for part in entry["version"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


@atexit.register
def _leave_all() -> None:
    for server in SharedServer._known.values():
        with contextlib.suppress(ConnectionFailed, OSError):
            server._holders.clear()
            server.release(server)


def _fresh_mutexes() -> None:
    # Another thread of the parent may have held one at the moment of the fork.
    for server in SharedServer._known.values():
        server._mutex = threading.RLock()
        server._use = None
        server._holders.clear()


os.register_at_fork(after_in_child=_fresh_mutexes)
