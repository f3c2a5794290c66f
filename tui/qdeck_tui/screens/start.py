"""The form that starts a local worker; it keeps what was entered last."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from qdeck_tui.desk import Console
from qdeck_tui.local import Kind, LocalWorker, OnExit, StartRequest, Supervisor
from qdeck_tui.widgets.field import Field
from qdeck_tui.widgets.form import Choice, Form, Text

__all__ = ["open_start_form"]

KINDS = (("thread", "in this process"), ("process", "child process"))
EXITS = (("stop", "stop it"), ("leave", "leave it running"))


def open_start_form(
    desk: Console, supervisor: Supervisor, started: Callable[[LocalWorker], None]
) -> None:
    """Open the form; Ctrl+X starts the worker without a further question."""
    last = desk.last_start or StartRequest("")
    kind = Choice("kind", "runs", KINDS, 0 if last.kind == "thread" else 1)
    leaving = Choice("on_exit", "at exit", EXITS, 0 if last.on_exit == "stop" else 1)
    fields = (
        Text("app", "app", _field(last.app), _app),
        Text("queues", "queues", _field(",".join(last.queues))),
        Text("slots", "slots", _field(str(last.concurrency)), _slots),
        kind,
        leaving,
    )

    def done(values: dict[str, str]) -> None:
        if values["kind"] == "thread" and values["on_exit"] == "leave":
            form.fail("at exit: only a child process can be left running")
            return
        request = StartRequest(
            values["app"],
            tuple(name.strip() for name in values["queues"].split(",") if name.strip()),
            int(values["slots"]),
            cast("Kind", values["kind"]),
            cast("OnExit", values["on_exit"]),
        )
        desk.last_start = request
        form.fail("starting…")

        async def start() -> None:
            try:
                worker = await supervisor.start(request)
            except Exception as error:
                form.fail(str(error) or type(error).__name__)
                return
            desk.close_sheet()
            desk.say(f"local worker {worker.name} is starting", "good")
            started(worker)
            desk.poll()

        desk.begin_work(start(), "starting the worker failed")

    form = Form(
        "START A LOCAL WORKER", fields, _notes,
        changed=desk.update_sheet, done=done, closed=desk.close_sheet,
    )  # fmt: skip
    desk.open_sheet(form)


def _field(text: str) -> Field:
    made = Field()
    made.put(text, fresh=True)
    return made


def _app(text: str) -> str:
    return "" if text else "module:deck or path/to/file.py[:deck]"


def _slots(text: str) -> str:
    return "" if text.isdecimal() and 1 <= int(text) <= 10_000 else "a number from 1 to 10,000"


def _notes(values: dict[str, str]) -> tuple[str, ...]:
    queues = "Queues: names with commas, empty for the default ones."
    if values["kind"] == "process":
        names = values["queues"].replace(" ", "")
        asked = f" -q {names}" if names else ""
        queues += f" Runs: qdeck worker {values['app']}{asked} -c {values['slots']}"
    if values["kind"] == "thread":
        return (
            queues,
            "In this process: its own thread and loop. A job that calls os._exit, crashes the "
            "interpreter or keeps the GIL in C code takes this console with it. Handlers that "
            "compute in threads slow its keys; for more than 2 slots take a child process.",
        )
    if values["on_exit"] == "leave":
        return (queues, "A child process that goes on when the console exits; 7 still shows it.")
    return (queues, "A child process without a terminal; it stops when the console exits.")
