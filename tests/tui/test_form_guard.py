"""Ctrl+X that was typed ahead of a form is dropped and said, in every form there is."""

from __future__ import annotations

import pytest
from tests.tui.plans import planned
from tests.tui.stage import running
from tests.tui.stock import filled
from textual.events import Key

from qdeck_tui.widgets import guarded
from qdeck_tui.widgets.form import Form, Text

#: The keys to a form: those to its view with what is seen there, the one that opens it, its title,
#: and the question after it.
FORMS = {
    "patch": ([("6", "KeyError")], "e", "PATCH AND RETRY", "dead jobs of"),
    "enqueue": ([("2", "emails"), ("enter", "TASKS")], "n", "NEW JOB IN", "Enqueue "),
    "limits": ([("2", "emails"), ("enter", "TASKS")], "c", "LIMITS OF", "Set the limits"),
    "schedule": ([("5", "nightly_report")], "e", "EDIT ", "Save "),
    "new schedule": ([("5", "nightly_report")], "n", "NEW SCHEDULE", "Add schedule"),
}


class Clock:
    """The time that the form sees."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("form", FORMS)
async def test_a_packet_that_opens_a_form_and_submits_it_only_opens_it(form: str) -> None:
    way, key, title, question = FORMS[form]
    twin = filled()
    twin.plans = planned().plans
    async with running(twin, size=(120, 40)) as desk:
        for pressed, seen in way:
            await desk.press(pressed)
            await desk.until(seen)
        calls = len(twin.acts)
        desk.burst(key)
        desk.app.post_message(Key("ctrl+x", None))
        text = await desk.until("Ctrl+X was typed too early, dropped")
        assert title in text
        assert question not in text
        assert isinstance(desk.app.sheet, Form)
        await desk.armed()
        await desk.until(lambda text: "Ctrl+X wait" not in text)
        assert len(twin.acts) == calls


async def test_the_footer_says_when_a_form_takes_its_key() -> None:
    async with running(filled()) as desk:
        await desk.press("2")
        await desk.until("emails")
        await desk.press("c")
        await desk.until("Ctrl+X wait")
        await desk.until("Ctrl+X go")


def test_a_pause_after_it_was_painted_is_enough_however_fast_the_rest_is_typed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, done = Clock(), list[dict[str, str]]()
    monkeypatch.setattr(guarded, "monotonic", clock)
    form = Form("F", [Text("a", "a")], lambda values: (), changed=lambda: None,
                done=done.append, closed=lambda: None)  # fmt: skip
    form.begin()
    clock.now += 9
    form.press("ctrl+x", None)
    form.painted()
    clock.now += 0.2
    form.press("x", "x")
    clock.now += 0.2
    form.press("ctrl+x", None)
    assert not done
    assert form.hints()[0] == ("Ctrl+X", "wait")
    clock.now += 0.3
    assert form.hints()[0] == ("Ctrl+X", "go")
    for key in ("y", "ctrl+x"):
        form.press(key, key if len(key) == 1 else None)
    assert done == [{"a": "xy"}]
    # A form that comes back over the view is to be seen again.
    form.begin()
    form.press("ctrl+x", None)
    assert len(done) == 1
    form.painted()
    clock.now += 0.3
    form.press("ctrl+x", None)
    assert len(done) == 2
