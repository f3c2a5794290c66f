"""Takes every key and paste, in order, and gives it to the typed line, the sheet, or its row."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from textual import events

from qdeck_tui.actions import Row
from qdeck_tui.dispatch import Typing
from qdeck_tui.format import plural
from qdeck_tui.framing import Framing
from qdeck_tui.typeahead import PATIENCE, Held, TypeAhead
from qdeck_tui.widgets.chrome import Tabs
from qdeck_tui.widgets.dialog import Dialog

if TYPE_CHECKING:
    from qdeck_tui.widgets.form import Form

__all__ = ["Keyboard"]

SMALLEST = (60, 16)
# What needs no rows, by group or by row.
ROWLESS = ("views", "everywhere", "back", "pane", "pane_back", "filter", "zoom_in", "zoom_out")


class Keyboard(Framing):
    """The app as far as what is typed goes."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.ahead = TypeAhead()
        self.lent = False
        self._dropped = 0

    async def on_event(self, event: events.Event) -> None:
        """Take keys and pastes before Textual does: the action table says what they mean."""
        if self.lent and isinstance(event, events.Key | events.Paste):
            # Typed before the editor was there: it is neither for the form nor for the view.
            self._dropped += 1
            return
        if isinstance(event, events.Key):
            self.press(event.key, event.character, event.time)
            return
        if isinstance(event, events.Paste):
            self._paste(event.text)
            return
        await super().on_event(event)

    def on_tabs_chosen(self, message: Tabs.Chosen) -> None:
        """Show the view whose tab was clicked, unless something lies over it."""
        if self.sheet is None and self.typing is None:
            self._act(message.key)

    def on_resize(self, event: events.Resize) -> None:
        """Say when the screen is too small; an open dialog is answered No then."""
        small = event.size.width < SMALLEST[0] or event.size.height < SMALLEST[1]
        if small and not self.too_small:
            if self.typing is not None:
                self._type("escape", None)
            if isinstance(self.sheet, Dialog):
                self.sheet.cancel()
            elif self.sheet is not None:
                self.close_sheet()
        self.too_small = small
        view = self.view_now()
        if view is not None:
            view.show_too_small(small)

    def press(self, key: str, character: str | None, at: float | None = None) -> None:
        """Give a key to whoever it is for, now or when the rows that it is about have come.

        `at` is when it came, by the monotonic clock; what it waited for others is not a pause.
        """
        printable = character is not None and character.isprintable()
        name = character if printable and character is not None else key
        name = "space" if name == " " else name
        self._key_at = monotonic() if at is None else at
        if key.startswith("alt+") and not printable:
            # Esc and the next key in one packet: Esc it is.
            self.press("escape", None, at)
            return
        if key == "ctrl+c":
            self._interrupt()
        elif self.too_small:
            if name == "q":
                self.exit()
        elif self.ahead or self._is_early(name):
            self._hold(key, character)
        else:
            self._give(key, character, name)
        if printable:
            self.last_printable = self._key_at

    def _give(self, key: str, character: str | None, name: str) -> None:
        """Give a key to the line that is typed, the sheet, or the row that it means here."""
        if len(name) == 1 or name == "space":
            self.verbs.disturb()
        if self.typing is not None:
            if self._asks_editor(name):
                self.say("Ctrl+O opens $EDITOR in forms; Enter ends this line", "warn")
            else:
                self._type(key, character)
        elif self.sheet is not None:
            if hasattr(self.sheet, "to_edit") and self._asks_editor(name):
                self._edit_field(cast("Form", self.sheet))
            else:
                self.sheet.press(key, character)
        else:
            self._act(name)

    # The user's own editor

    def do_editor(self) -> None:
        """Say where the user's own editor helps: a form takes the key before a view does."""
        self.say("Ctrl+O opens $EDITOR on the field of a form; no form is open here", "warn")

    def _asks_editor(self, name: str) -> bool:
        """Return whether a key that types nothing asks for the editor."""
        return len(name) > 1 and any(row.id == "editor" for row in self.dispatch.meant(name))

    def _edit_field(self, form: Form) -> None:
        """Open the field that has the focus in the user's own editor; keys wait for nobody."""
        text = form.to_edit()
        if text is None:
            form.fail("Ctrl+O edits text; here Space chooses")
            return
        self.lent = True
        self.begin_work(self._edited(form, text), "the editor failed")

    async def _edited(self, form: Form, text: str) -> None:
        from qdeck_tui.editor import edited, program

        suffix = ".json" if getattr(form.here, "shape", "") == "json" else ".txt"
        try:
            words = program(self.options.editor)
            form.take_edited(await edited(words, text, suffix, self.lend))
        except OSError as error:
            form.fail(str(error))
        finally:
            self.lent = False
            dropped, self._dropped = self._dropped, 0
            if dropped:
                self.say(f"{plural(dropped, 'key')} typed before the editor dropped", "warn")

    # Typed ahead of the rows

    def _is_early(self, name: str) -> bool:
        """Return whether a key is about rows that have not come yet."""
        view = self.view_now()
        if view is None or self.typing is not None or self.sheet is not None or not view.awaiting:
            return False
        return any(
            row.group not in ROWLESS and row.id not in ROWLESS for row in self.dispatch.meant(name)
        )

    def _hold(self, key: str, character: str | None) -> None:
        """Keep a key until the rows come; Esc forgets what was kept."""
        if key == "escape":
            self.say(f"{plural(self.ahead.drop(), 'key')} typed ahead dropped", "warn")
            return
        hasty = self.hasty
        if not self.ahead:
            self.later(PATIENCE + 0.05, self._expire)
        if self.ahead.add(Held(key, character, hasty)):
            self.say(f"{plural(len(self.ahead), 'key')} typed ahead of the rows: reading…")

    def _expire(self) -> None:
        """Drop what waited too long."""
        if not self.ahead:
            return
        if self.ahead.left > 0:
            self.later(self.ahead.left + 0.05, self._expire)
            return
        dropped = plural(self.ahead.drop(), "key")
        self.say(f"{dropped} dropped: the rows did not come within {PATIENCE:g} s", "warn")

    def rows_came(self) -> None:
        """Give the keys that waited for rows to what they are about, until they wait again."""
        if self.ahead:
            self.say("")
        while self.ahead:
            view = self.view_now()
            if view is None or (self.typing is None and self.sheet is None and view.awaiting):
                return
            held = self.ahead.next()
            if held is None:
                return
            self.last_printable = self._key_at - (0.0 if held.hasty else 1.0)
            printable = held.character is not None and held.character.isprintable()
            name = held.character if printable and held.character is not None else held.key
            self._give(held.key, held.character, "space" if name == " " else name)

    def _act(self, key: str) -> None:
        view = self.view_now()
        if view is None:
            return
        row = self.dispatch.find(key, view, self.verbs.find)
        if row is None:
            return
        self.use(row)

    def use(self, row: Row, *, typed: bool = False) -> None:
        """Carry out a row of the table."""
        view = self.view_now()
        if view is None:
            return
        if row.group == "views":
            self.show_root(row.id)
        elif row.verbs:
            self.verbs.use(row, typed=typed)
        else:
            handler = self.dispatch.handler(row, view)
            if handler is not None:
                handler()
        self.changed()

    def _interrupt(self) -> None:
        if monotonic() - self._ctrl_c_at < 2.0:
            self.exit(return_code=130)
            return
        self._ctrl_c_at = monotonic()
        self.say("Ctrl+C again within 2 s quits", "warn")

    def _type(self, key: str, character: str | None) -> None:
        typing = self.typing
        if typing is None:
            return
        if key == "enter":
            self.typing = None
            typing.done(typing.field.text)
        elif key == "escape" or (key == "backspace" and not typing.field.text):
            self.typing = None
            typing.cancelled()
        elif key == "tab" and typing.complete is not None:
            typing.field.put(typing.complete(typing.field.text))
            typing.changed(typing.field.text)
        elif typing.field.press(key, character):
            typing.changed(typing.field.text)
        self.changed()

    def _paste(self, text: str) -> None:
        if self.typing is not None:
            self.typing.field.insert(text)
            self.typing.changed(self.typing.field.text)
            self.changed()
        elif self.sheet is not None:
            self.sheet.paste(text)
        else:
            self.say("pasted text dropped: open : for a job id, / for a filter", "warn")

    def ask(
        self,
        prefix: str,
        text: str,
        changed: Callable[[str], None],
        done: Callable[[str], None],
        cancelled: Callable[[], None],
        complete: Callable[[str], str] | None = None,
    ) -> None:
        """Type one line at the bottom of the screen."""
        self.typing = Typing(prefix, changed, done, cancelled, complete)
        self.typing.field.put(text, fresh=True)
        self.changed()
