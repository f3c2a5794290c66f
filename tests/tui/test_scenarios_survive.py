"""What the operator's scenarios survive: a stalled line, a read-only console without colour, other
sizes of the screen, and a server that is away for a while.

Each hazard is played where it bites:

| hazard | scenarios | where |
|---|---|---|
| terminal taken away in the middle | 17, 18, 19 | `test_scenarios_dead`; local jobs: `test_e2e` |
| 200 rows/s under the cursor | 4, every list | `test_crowded`, `test_hands`, `test_listing` |
| keys ahead over a stalled line | 5, 6, 10, 18, 21 | here, `test_typeahead`, `test_hands` |
| other sizes | 8, 13, 17, 22 | here; every view: `test_terminals` |
| server away | 8, 18 | here; killed, frozen, refused, TLS: `test_server_away` |
| a million jobs in one state | 2, 11 | `test_crowded`; times: `tests/bench/console.py` |
| read-only | 3, 5, 6, 10, 17, 18, 21 to 24 | here; rights on the server: `test_server_away` |
| hostile text | all views and dialogs | `test_hostile`, `test_e2e`, `test_random_keys` |
| a second operator | 10, 18, 22 | `test_crowded`, `test_scenarios_change`, `test_e2e_cron` |
| no colour | as read-only | here; on old terminals: `test_terminals` |
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import wait_until
from tests.tui.fixture import GROUPS
from tests.tui.night import ROUND_TRIP, Night, Operator

from qdeck.admin import Operation
from qdeck.job import State

COUNT = GROUPS[0]
SGR = re.compile(r"\x1b\[([0-9;]*)m")


def acts(night: Night) -> tuple[object, ...]:
    """Return what was done to the shop so far: acts on record, operations, running jobs."""
    known = night.shop.operate(lambda admin: admin.audit())
    started = night.shop.operate(lambda admin: admin.operations())
    return known, [each.id for each in started], night.shop.count("emails", "dead")


def newest(night: Night) -> Operation:
    """Return the bulk operation that was started last."""
    return night.shop.operate(lambda admin: admin.operations())[0]


@contextmanager
def stalled(night: Night, seconds: float) -> Iterator[None]:
    """Let everything on the line come so much later."""
    night.line.one_way = seconds
    try:
        yield
    finally:
        night.line.one_way = ROUND_TRIP / 2


#: The keys of scenarios that write, and what their dialogs ask.
AHEAD = {
    "3xy": "Cancel job",
    ":pause all\ry": "Pause 1",
    "6r1204\r": f"Retry {COUNT:,} dead jobs of send_invoice",
    "4ryy": "Run job",
    "2/thu\rD10\r": "Clear 10 pending jobs of thumbnails",
}


def test_what_was_typed_ahead_over_a_stalled_line_answers_nothing(
    night: Night, operator: Operator
) -> None:
    night.shop.top_up()
    night.shop.overdue_job()
    before = acts(night)
    for keys, question in AHEAD.items():
        with stalled(night, 0.25):
            operator.pty.send(keys)
            operator.until(
                lambda question=question: (  # type: ignore[misc]
                    question in operator.screen and "typed too early, dropped" in operator.screen
                ) or "the rows did not come within" in operator.screen,
                f"{question} or that its keys were dropped",
            )  # fmt: skip
        operator.press("escape")
        operator.until(lambda question=question: question not in operator.screen, "it is closed")  # type: ignore[misc]
        if operator.row("filter: "):
            operator.press("escape")
            operator.until(lambda: not operator.row("filter: "), "all rows")
    assert acts(night) == before


#: From view to view, what is pressed there, and what is said.
REFUSED = (
    ("1", (("p", "pause refused"), ("D", "clear refused"), ("c", "limits refused"))),
    ("3", (("x", "cancel refused"),)),
    ("4", (("m", "move refused"), ("x", "cancel refused"))),
    ("5", (("p", "off refused"), ("e", "edit refused"), ("t", "trigger refused"))),
    ("6", (("r", "retry refused"), ("e", "patch refused"), ("D", "delete refused"))),
    ("7", (("Q", "quiet refused"), ("r", "recover refused"), ("X", "stop refused"))),
)


def test_a_read_only_console_says_so_to_every_key_that_writes_and_shows_no_colour(
    night: Night,
) -> None:
    night.shop.overdue_job()
    before = acts(night)
    with night.operator("--read-only", NO_COLOR="1") as operator:
        for view, keys in REFUSED:
            operator.press(view)
            operator.until(lambda: operator.row("> "), f"rows of view {view}")
            for key, said in keys:
                operator.press(key)
                operator.sees(said, "read-only")
        operator.press(":")
        operator.type("pause all")
        operator.press("enter")
        operator.sees("pause all refused", "read-only")
        codes = {code for found in SGR.findall(operator.pty.raw) for code in found.split(";")}
        assert codes <= {"", "0", "1", "4", "7"}
    assert acts(night) == before


SIZES = ((80, 24), (60, 16), (200, 60))


def test_whatever_is_open_stays_open_at_every_size(night: Night) -> None:
    night.shop.top_up()
    job = night.shop.overdue_job()
    before = acts(night)
    with night.operator(size=(200, 60)) as operator:

        def at_all_sizes(*texts: str) -> None:
            for size in SIZES:
                operator.pty.resize(*size)
                operator.until(
                    lambda size=size: (  # type: ignore[misc]
                        all(text in operator.screen for text in texts)
                        and operator.screen.startswith(" qdeck")
                        and operator.screen.split("\n")[size[1] - 1].strip() != ""
                    ),
                    f"{texts} at {size}",
                )

        operator.press("6")
        operator.sees("> ", "KeyError: 'currency'")
        at_all_sizes("KeyError: 'curr", "> ")
        operator.press("e")
        operator.sees("PATCH AND RETRY", "stop after")
        operator.type('args.currency = "EUR"')
        at_all_sizes("PATCH AND RETRY", 'args.currency = "EUR"')
        operator.press("ctrl+x")
        operator.reads(f"type {COUNT}")
        operator.type("12")
        at_all_sizes(f"type {COUNT}", "[12")
        operator.press("escape")
        operator.sees("nothing was done")
        operator.press("5", "/")
        operator.type("rep")
        operator.press("enter")
        operator.sees("filter: rep", "> nightly_report")
        operator.press("e")
        operator.sees("EDIT nightly_report", "Monday to Friday")
        operator.type("45 4 * * 1-5")
        at_all_sizes("EDIT nightly_report", "45 4 * * 1-5", "At 04:45")
        operator.press("escape")
        operator.sees("Esc again drops it")
        operator.press("escape")
        operator.until(lambda: "EDIT " not in operator.screen, "the editor is closed")
        operator.press("3")
        operator.sees("▸─ RUNNING ─", f"> {job.id[-8:]}")
        operator.press("enter")
        operator.sees("follow ON")
        at_all_sizes("follow ON", job.id[-8:])
    assert acts(night) == before


def numbers(text: str) -> list[int]:
    """Return the numbers of the rows in a log."""
    return [int(line.split(" row ")[1].split()[0]) for line in text.splitlines()]


def test_a_log_that_was_followed_lacks_no_line_after_the_server_was_away(
    night: Night, operator: Operator
) -> None:
    job = night.shop.overdue_job()
    keys = night.shop.deck.keys(job.queue)

    def stored() -> int:
        return int(night.shop.deck.call_sync("XLEN", keys.log(job.id)))

    wait_until(lambda: stored() > 5)
    operator.press("3")
    operator.sees("▸─ RUNNING ─", f"> {job.id[-8:]}")
    operator.press("enter")
    operator.sees("follow ON", " row ")
    night.line.refuse()
    operator.until(lambda: "stale" in operator.screen.split("\n")[0], "mark of stale data")
    then = stored()
    operator.until(lambda: stored() > then + 20, "lines that nobody saw")
    night.line.listen()
    last = stored()
    operator.until(lambda: "● live" in operator.screen.split("\n")[0], "recovery")
    operator.until(lambda: max(seen(operator), default=0) >= last, "the newest line")
    # While the server is away its error stands there instead.
    operator.sees("follow ON")
    operator.press("O")
    operator.sees("saved to", ".log")
    saved = next(Path(night.shop.folder).glob(f"*{job.id[-8:]}*.log"))
    found = numbers(saved.read_text())
    saved.unlink()
    assert found == list(range(len(found)))
    assert len(found) > last


def seen(operator: Operator) -> list[int]:
    """Return the numbers of the rows of a log that are on the screen."""
    return [int(number) for number in re.findall(r"row (\d+) ", operator.screen)]


def test_what_was_started_goes_on_while_the_server_is_away_and_is_seen_again(
    night: Night, operator: Operator
) -> None:
    dead = night.shop.top_up()
    operator.press("6")
    operator.sees("> ", "KeyError: 'currency'", f"{COUNT:,}")
    operator.press("r")
    operator.reads(f"Retry {COUNT:,} dead jobs")
    known = len(night.shop.operate(lambda admin: admin.operations()))
    night.line.refuse()
    operator.type(str(COUNT))
    operator.press("enter")
    operator.sees("retry failed")
    operator.until(lambda: "stale" in operator.screen.split("\n")[0], "mark of stale data")
    operator.press("r")
    operator.sees("retry refused: the server is away")
    assert len(night.shop.operate(lambda admin: admin.operations())) == known
    night.line.listen()
    operator.until(lambda: "● live" in operator.screen.split("\n")[0], "recovery")
    operator.press("r")
    operator.reads(f"Retry {COUNT:,} dead jobs")
    operator.type(str(COUNT))
    operator.press("enter")
    operator.until(
        lambda: len(night.shop.operate(lambda admin: admin.operations())) > known, "it is started"
    )
    night.line.refuse()
    done = newest(night).done
    operator.until(lambda: newest(night).done > done + 20, "it goes on")
    night.line.listen()
    operator.until(lambda: "● live" in operator.screen.split("\n")[0], "recovery")
    operator.sees("OPERATIONS")
    operator.press("x")
    operator.reads(f"Abort retry of {COUNT:,} jobs?")
    operator.press("y")
    operator.sees("aborted retry after")
    aborted = newest(night)
    assert (aborted.state, aborted.done == aborted.ok) == ("aborted", True)
    night.shop.operate(lambda admin: admin.undo_operation(aborted.id))
    assert set(night.shop.dead()) == set(dead)
    assert night.shop.found(dead[0], "emails").state is State.DEAD
