"""A question takes an answer only after it was seen: painted, and then 300 ms without any key."""

from __future__ import annotations

import pytest

from qdeck_tui.widgets import guarded as module
from qdeck_tui.widgets.dialog import Dialog


class Clock:
    """The time that the dialog sees."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "monotonic", made)
    return made


def asked(answers: list[bool], number: int = 1) -> Dialog:
    """Return a question that knows what it asks, and is not painted yet."""
    dialog = Dialog("RETRY", changed=lambda: None, answer=answers.append)
    dialog.fill([(("Retry?", ""),)], number)
    return dialog


def style_of(dialog: Dialog, text: str) -> str:
    """Return the style of the piece that begins with a text."""
    return next(
        style for line in dialog.lines(70) for piece, style in line if piece.startswith(text)
    )


def test_a_yes_that_comes_with_the_content_is_too_early(clock: Clock) -> None:
    answers: list[bool] = []
    dialog = asked(answers)
    clock.now += 5
    dialog.press("y", "y")
    dialog.painted()
    dialog.press("y", "y")
    assert answers == []
    clock.now += 0.29
    dialog.press("y", "y")
    assert answers == []
    clock.now += 0.31
    dialog.press("y", "y")
    assert answers == [True]


def test_counting_for_long_is_no_time_to_look(clock: Clock) -> None:
    answers: list[bool] = []
    dialog = asked(answers)
    clock.now += 60
    dialog.painted()
    clock.now += 0.1
    dialog.press("y", "y")
    assert answers == []


def test_what_is_asked_for_is_dim_until_it_is_taken(clock: Clock) -> None:
    dialog = asked([])
    dialog.painted()
    assert style_of(dialog, "y") == "dim"
    clock.now += 0.3
    assert style_of(dialog, "y") == "key"
    dialog.press("z", "z")
    assert style_of(dialog, "y") == "dim"
    many = asked([], 1204)
    many.painted()
    assert style_of(many, "type 1204") == "dim"
    clock.now += 0.3
    assert style_of(many, "type 1204") == "bold"
    many.press("1", "1")
    assert style_of(many, "type 1204") == "bold"


@pytest.mark.parametrize("typed", ["1204", "1,204"])
def test_a_number_is_typed_with_or_without_its_comma(clock: Clock, typed: str) -> None:
    answers: list[bool] = []
    dialog = asked(answers, 1204)
    dialog.painted()
    dialog.press("1", "1")
    clock.now += 0.3
    for key in ("y", "enter", "backspace", *typed[:-1], "enter"):
        dialog.press(key, key if len(key) == 1 else None)
    assert answers == []
    dialog.press(typed[-1], typed[-1])
    dialog.press("enter", None)
    assert answers == [True]


def test_on_a_small_screen_samples_go_first_and_the_answer_never() -> None:
    dialog = Dialog("RETRY", changed=lambda: None, answer=lambda yes: None)
    text = [(("Retry?", ""),), *((("  job", "dim"), (str(at), "")) for at in range(5))]
    dialog.fill([*text, (("20 a second", ""),)], 7)
    lines = dialog.lines(40)
    for rows, samples in ((9, 5), (6, 2), (4, 0)):
        shown = ["".join(part for part, _ in line) for line in dialog.fitted(lines, rows)]
        assert shown[0] == "Retry?"
        assert shown[-3:] == ["20 a second", "", "y yes   n no (Esc)"]
        assert len(shown) == 4 + samples
    assert len(dialog.fitted(lines, 2)) == 2
