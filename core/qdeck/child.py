"""What happens inside the child process of a `run="process"` task.

The child imports the app, finds the task by its name and runs it; what it logs, prints and reports
goes out as datagrams to the worker's socket, so that killing a child at any moment tears nothing.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import socket
import sys
import threading
import time
from typing import Any, Final, NoReturn

import msgspec

from qdeck.app import load_app
from qdeck.context import Context
from qdeck.errors import InvalidPayload, SettingsError
from qdeck.handle import TaskHandle
from qdeck.logs import LogBuffer, current_log, install
from qdeck.outcome import Failed, Outcome, encode_result, failed_from, simple
from qdeck.private import PrivateServer
from qdeck.task import Registry, TaskSpec

__all__ = ["Order", "Report", "enter", "run_in_child"]


class Order(msgspec.Struct, frozen=True, array_like=True):
    """A run for a child: where the task is, its arguments, and what its context says."""

    app: str
    module: str
    file: str
    task: str
    payload: bytes
    job_id: str
    fence: int
    queue: str
    attempt: int
    max_attempts: int
    metadata: dict[str, Any]
    after: tuple[str, ...] = ()


class Report(msgspec.Struct, frozen=True, array_like=True):
    """A datagram: progress of a run, or lines of its log as (level, text)."""

    job_id: str
    fence: int
    percent: float | None = None
    message: str | None = None
    lines: list[tuple[str, str]] = []


_encode = msgspec.msgpack.Encoder().encode
_socket: socket.socket | None = None
#: What a child exits with instead of 0 in the middle of a run: the pool takes 0 for a child that
#: had nothing to do, and would wait for its run until the timeout.
_ENDED_WITH_0: Final = 199
_leave = os._exit
_running = 0


def enter(path: str, parent: int, server: str) -> None:
    """Prepare a new child: its way to the worker, and its end when the worker has vanished."""
    global _socket
    _socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    _socket.connect(path)
    if server:
        PrivateServer.borrow(server)
    install()
    vars(os)["_exit"] = _exit
    threading.Thread(target=_watch, args=(parent,), name="qdeck-parent", daemon=True).start()


def _exit(code: int) -> NoReturn:
    # In a fork of the child no run is at stake.
    _leave(_ENDED_WITH_0 if code == 0 and _running == os.getpid() else code)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(70)


def _send(report: Report) -> None:
    if _socket is None:
        return
    try:
        _socket.send(_encode(report))
    except OSError:
        # The worker is gone or going; what it would have shown goes with it.
        return


class _Sink:
    """Sends progress at most ten times a second, the last one always."""

    cancelled = False

    def __init__(self, order: Order) -> None:
        self._order = order
        self._sent = 0.0
        self._waiting: tuple[float | None, str | None] | None = None

    def progress(self, percent: float | None, message: str | None) -> None:
        last = self._waiting or (None, None)
        self._waiting = (
            percent if percent is not None else last[0],
            message if message is not None else last[1],
        )
        if time.monotonic() - self._sent >= 0.1:
            self.flush()

    def flush(self) -> None:
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            self._sent = time.monotonic()
            _send(Report(self._order.job_id, self._order.fence, *waiting))


def run_in_child(raw: bytes) -> Outcome:
    """Run one order to its end and return its outcome; raises nothing that a handler can raise."""
    global _running
    order = msgspec.msgpack.decode(raw, type=Order)
    _running = os.getpid()
    sink = _Sink(order)
    outcome: Outcome
    buffer = LogBuffer(order.job_id, order.attempt, lambda _: None)
    stop = threading.Event()
    flusher = threading.Thread(
        target=_flush_often, args=(buffer, order, stop), name="qdeck-log", daemon=True
    )
    token = current_log.set(buffer)
    flusher.start()
    try:
        try:
            spec = _find(order)
            args, kwargs = spec.decode(order.payload)
        except (InvalidPayload, SettingsError) as error:
            return simple(order.task, type(error).__name__, str(error), final=str(error))
        ctx = Context(
            job_id=order.job_id,
            task=order.task,
            queue=order.queue,
            attempt=order.attempt,
            max_attempts=order.max_attempts,
            metadata=order.metadata,
            log=logging.getLogger(f"qdeck.job.{order.task}"),
            sink=sink,
            after=order.after,
        )
        try:
            value = spec.fn(*((ctx, *args) if spec.wants_ctx else args), **kwargs)
            if asyncio.iscoroutine(value):
                value = asyncio.run(value)
        except BaseException as error:
            # Asked here: the error itself does not leave this process.
            outcome = failed_from(order.task, error)
            if outcome.snooze is None and not spec.retries(error, args):
                said = outcome.final or "should_retry said no"
                outcome = msgspec.structs.replace(outcome, final=said)
        else:
            outcome = encode_result(order.task, value)
    except BaseException as error:
        outcome = failed_from(order.task, error)
    finally:
        current_log.reset(token)
        stop.set()
        flusher.join(1.0)
        buffer.finish()
        _flush(buffer, order)
        sink.flush()
        _running = 0
    return outcome


def _flush_often(buffer: LogBuffer, order: Order, stop: threading.Event) -> None:
    while not stop.wait(0.1):
        _flush(buffer, order)


def _flush(buffer: LogBuffer, order: Order) -> None:
    # A datagram holds a few lines: with more it could exceed what a socket takes at once.
    while (part := buffer.take(10)) is not None:
        flat = msgspec.msgpack.decode(part)[2]
        lines = [(flat[i], flat[i + 2]) for i in range(0, len(flat), 3)]
        _send(Report(order.job_id, order.fence, lines=lines))


_found: dict[tuple[str, str, str], TaskSpec] = {}


def _find(order: Order) -> TaskSpec:
    key = (order.app, order.module, order.task)
    if key not in _found:
        _found[key] = _load(order)
    return _found[key]


def _load(order: Order) -> TaskSpec:
    if order.app:
        found = load_app(order.app).registry.find(order.task)
        if found is not None:
            return found
    module = _import(order)
    for value in list(vars(module).values()):
        if isinstance(value, TaskHandle) and value.name == order.task:
            return value.spec
        registry = getattr(value, "registry", None)
        if isinstance(registry, Registry) and order.task in registry:
            return registry.get(order.task)
    raise SettingsError(
        f"process task {order.task!r} is not found when {order.module!r} is imported; register "
        "process tasks at the top level of a module"
    )


def _import(order: Order) -> Any:
    if order.module == "__main__":
        for name in ("__mp_main__", "__main__"):
            if getattr(sys.modules.get(name), "__file__", None) == order.file:
                return sys.modules[name]
    try:
        return importlib.import_module(order.module)
    except Exception as error:
        raise SettingsError(
            f"process task {order.task!r}: its module {order.module!r} cannot be imported in a "
            f"child process ({type(error).__name__}: {error})"
        ) from error


def failed_child(task: str, code: object) -> Failed:
    """Return the failure of a run whose child process ended by itself."""
    said = 0 if code == _ENDED_WITH_0 else code
    return simple(task, "ChildExited", f"the child process ended with exit code {said}")
