"""How an act that asks for words is written: the refusal, the question, the form, and the write
beside the screen.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from qdeck.admin import Admin, Denied, Outcome
from qdeck_tui.desk import Console
from qdeck_tui.format import prose, safe
from qdeck_tui.screens.question import question
from qdeck_tui.widgets.canvas import Line
from qdeck_tui.widgets.dialog import Dialog
from qdeck_tui.widgets.field import Field
from qdeck_tui.widgets.form import Choice, Form, Text

__all__ = [
    "CELLS",
    "Write",
    "ask",
    "ask_after",
    "bold",
    "change_line",
    "field_of",
    "open_form",
    "positive",
    "prepare_ask",
    "refused",
    "whole",
    "write_now",
]

Write = Callable[[Admin], Awaitable[Outcome]]
#: Cells of a line in a question.
CELLS = 66


def refused(desk: Console, what: str) -> bool:
    """Say why nothing may be written now; whether there was a reason."""
    admin = desk.admin
    why = desk.refusal
    if not why and admin is not None and admin.read_only:
        why = "this door is read-only"
    if why or admin is None:
        desk.say(f"{what} refused: {why or 'not connected'}", "warn")
    return bool(why) or admin is None


def write_now(desk: Console, what: str, write: Write) -> None:
    """Write beside the screen, and say what came of it."""

    async def work() -> None:
        admin = desk.admin
        if admin is None:
            raise OSError(desk.refusal or "not connected")
        outcome = await write(admin)
        text, skipped = outcome.text, outcome.skipped
        if skipped:
            text += f" ({len(skipped):,} skipped: {safe(skipped[0].reason)})"
        desk.say(text, "good" if outcome.changed or not skipped else "warn")
        desk.poll()

    desk.begin_work(work(), f"{what} failed")


def ask(desk: Console, title: str, write: Write) -> Dialog:
    """Open a question at once, still to be filled, that writes on yes."""

    def answer(yes: bool) -> None:
        if yes:
            write_now(desk, title.lower(), write)
        else:
            desk.say(f"{title.lower()}: no, nothing was done")

    return question(desk, title, answer)


def prepare_ask(
    desk: Console, dialog: Dialog, prepare: Callable[[Admin], Awaitable[None]], what: str
) -> None:
    """Fill a question beside the screen; what goes wrong is said in it."""

    async def work() -> None:
        admin = desk.admin
        try:
            if admin is None:
                raise Denied(desk.refusal or "not connected")
            await prepare(admin)
        except Exception as error:
            dialog.fail(f"{what}: {error}")

    desk.begin_work(work(), f"{what} failed")


def ask_after(
    desk: Console,
    form: Form,
    title: str,
    prepare: Callable[[Admin], Awaitable[list[Line]]],
    write: Write,
) -> None:
    """Ask the question after a form; what is wrong with its values opens the form again."""
    desk.close_sheet()
    back: list[bool] = []

    def answer(yes: bool) -> None:
        if yes:
            write_now(desk, title.lower(), write)
        elif not back:
            desk.open_sheet(form)

    dialog = question(desk, title, answer)

    async def work() -> None:
        admin = desk.admin
        try:
            if admin is None:
                raise Denied(desk.refusal or "not connected")
            lines = await prepare(admin)
        except Exception as error:
            back.append(True)
            dialog.cancel()
            desk.open_sheet(form)
            form.fail(str(error))
            return
        dialog.fill(lines, 1)

    desk.begin_work(work(), f"{title.lower()} failed")


def open_form(
    desk: Console,
    title: str,
    fields: Sequence[Text | Choice],
    note: str,
    done: Callable[[dict[str, str]], None],
) -> Form:
    """Open a form with one note below it."""
    form = Form(
        safe(title), fields, lambda values: (note,),
        changed=desk.update_sheet, done=done, closed=desk.close_sheet,
    )  # fmt: skip
    desk.open_sheet(form)
    return form


def bold(text: str) -> list[Line]:
    """Return a sentence as lines."""
    return [((part, "bold"),) for part in prose(safe(text), CELLS)]


def change_line(name: str, before: object, after: object) -> Line:
    """Return one line of what was and what will be."""
    old, new = ("none" if value is None else f"{value:g}" if isinstance(value, float) else
                str(value) for value in (before, after))  # fmt: skip
    return ((f"  {name:<10} ", "dim"), (old, "bad" if old != new else "dim"), (" → ", "dim"),
            (new, "good" if old != new else "dim"))  # fmt: skip


def field_of(text: str) -> Field:
    """Return a field with a text that the next character replaces."""
    made = Field()
    made.put(text, fresh=True)
    return made


def whole(text: str) -> str:
    """Return what is wrong with a number from 1 up, empty for none."""
    return "" if not text or (text.isdecimal() and int(text)) else f"{text!r} is no whole number"


def positive(text: str) -> str:
    """Return what is wrong with a number above 0, empty for none."""
    try:
        return "" if not text or float(text) > 0 else f"{text!r} is not above 0"
    except ValueError:
        return f"{text!r} is no number"
