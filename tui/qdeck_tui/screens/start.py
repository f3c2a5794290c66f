"""Starting local workers: what the form asks, what is wrong with it, and the start of as many as
were asked for. It keeps what was entered last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from qdeck_tui.desk import Console
from qdeck_tui.format import plural
from qdeck_tui.local import Kind, LocalWorker, OnExit, StartRequest, Supervisor
from qdeck_tui.screens.writing import field_of
from qdeck_tui.widgets.form import Choice, Text
from qdeck_tui.widgets.startform import StartForm

__all__ = ["open_start_form"]

KINDS = (("thread", "in this process"), ("process", "child process"))
EXITS = (("stop", "stop it"), ("leave", "leave it running"))
MOST = 16
#: What stands for no file in the field of the log.
MEMORY = "memory"


def open_start_form(
    desk: Console, supervisor: Supervisor, started: Callable[[LocalWorker], None]
) -> None:
    """Open the form; Ctrl+X starts the workers without a further question."""
    last = desk.last_start or StartRequest("")
    fields = (
        Text("app", "app", field_of(last.app), _app),
        Text("queues", "queues", field_of(",".join(last.queues))),
        Text("slots", "slots", field_of(str(last.concurrency)), _slots),
        Text("count", "count", field_of(str(last.count)), _count),
        Choice("kind", "", KINDS, 0 if last.kind == "thread" else 1),
        Text("env", "env", field_of(last.env)),
        Text("log", "log to", field_of(last.log or MEMORY)),
        Choice("on_exit", "at exit", EXITS, 0 if last.on_exit == "stop" else 1),
    )
    begun: list[bool] = []
    left: list[bool] = []

    def closed() -> None:
        left.append(True)
        desk.close_sheet()

    def done(values: dict[str, str]) -> None:
        if begun:
            return
        if values["kind"] == "thread" and values["on_exit"] == "leave":
            form.fail("at exit: only a child process can be left running")
            return
        if values["kind"] == "thread" and values["env"]:
            form.fail("env: only a child process gets one of its own; empty it, or choose one")
            return
        request = _request(values)
        desk.last_start = request
        begun.append(True)
        desk.begin_work(start(request), "starting the worker failed")

    async def start(request: StartRequest) -> None:
        made: list[LocalWorker] = []
        problem = ""
        while len(made) < request.count and not problem:
            place = f" {len(made) + 1} of {request.count}" if request.count > 1 else ""
            form.fail(f"starting{place}…")
            try:
                made.append(await supervisor.start(request))
            except Exception as error:
                problem = str(error) or type(error).__name__
        begun.clear()
        if not made:
            form.fail(problem)
            return
        if not left:
            desk.close_sheet()
        _say(desk, made, request.count, problem)
        started(made[-1])
        desk.poll()

    form = StartForm(fields, _means, changed=desk.update_sheet, done=done, closed=closed)
    desk.open_sheet(form)


def _request(values: dict[str, str]) -> StartRequest:
    """Return what the form says, once nothing is wrong with it."""
    return StartRequest(
        values["app"],
        tuple(name.strip() for name in values["queues"].split(",") if name.strip()),
        int(values["slots"]),
        cast("Kind", values["kind"]),
        cast("OnExit", values["on_exit"]),
        int(values["count"]),
        values["env"],
        "" if values["log"] == MEMORY else values["log"].removeprefix(f"{MEMORY} + "),
    )


def _say(desk: Console, made: list[LocalWorker], count: int, problem: str) -> None:
    if problem:
        desk.say(f"{plural(len(made), 'worker')} of {count} started, then: {problem}", "warn")
    elif count == 1:
        desk.say(f"local worker {made[0].name} is starting", "good")
    else:
        desk.say(f"local workers {made[0].name} to {made[-1].name} are starting", "good")


def _app(text: str) -> str:
    return "" if text else "module:deck or path/to/file.py[:deck]"


def _slots(text: str) -> str:
    return "" if text.isdecimal() and 1 <= int(text) <= 10_000 else "a number from 1 to 10,000"


def _count(text: str) -> str:
    return "" if text.isdecimal() and 1 <= int(text) <= MOST else f"a number from 1 to {MOST}"


def _means(values: dict[str, str]) -> str:
    """Return what the choices lead to."""
    if values["kind"] == "thread":
        return (
            "In this process, with its environment: a job that calls os._exit, crashes the "
            "interpreter or keeps the GIL ends the console too, one that computes slows its "
            "keys. For more than 2 slots take a child process."
        )
    if values["on_exit"] == "leave":
        return (
            "A child process that goes on when the console exits; 7 still shows it, but its log "
            "ends with the console."
        )
    return "A child process without a terminal; it stops when the console exits."
