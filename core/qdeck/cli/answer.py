"""What a write says: a line for people, or one JSON object that is of the same shape for every
write, done, tried or refused.

Owns that shape; see "JSON" in the README.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click

from qdeck.admin import Denied, Diff, JobRef, Outcome, Skipped
from qdeck.cli.show import print_json
from qdeck.errors import QdeckError, WrongState

__all__ = ["Answer", "Told", "answering", "tell"]

Run = Callable[..., Any]
#: Reasons that are shown of jobs that were left alone.
SHOWN = 5


class Told(WrongState):
    """A write changed nothing; what it says as JSON is printed already."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a write did, would do, or why it did nothing (`error`).

    `entry` is for `qdeck undo`, `operation` for `qdeck ops`; `jobs` are those that it made.
    """

    text: str = ""
    dry_run: bool = False
    changed: int = 0
    left: int = 0
    skipped: Sequence[Skipped] = ()
    jobs: Sequence[JobRef] = ()
    entry: str = ""
    operation: str = ""
    undo_until: datetime | None = None
    warning: str = ""
    diffs: Sequence[Diff] = ()
    error: str = ""

    def print(self) -> None:
        """Print it as JSON."""
        print_json(
            {
                "text": self.text or None,
                "dry_run": self.dry_run,
                "changed": self.changed,
                "left": max(self.left, len(self.skipped)),
                "skipped": [
                    {"id": each.ref.id, "queue": each.ref.queue, "reason": each.reason}
                    for each in self.skipped
                ],
                "jobs": [{"id": ref.id, "queue": ref.queue} for ref in self.jobs],
                "entry": self.entry or None,
                "operation": self.operation or None,
                "undo_until": self.undo_until,
                "warning": self.warning or None,
                "diffs": [
                    {
                        "id": each.ref.id,
                        "queue": each.ref.queue,
                        "before": each.before,
                        "after": each.after,
                        "problem": each.problem or None,
                    }
                    for each in self.diffs
                ],
                "error": self.error or None,
            }
        )


def tell(outcome: Outcome, as_json: bool, dry_run: bool = False, *, strict: str = "") -> None:
    """Say what a write did and left alone.

    Raises WrongState where it changed nothing, left jobs alone, and `strict` says what it does
    ("changed").
    """
    shown, error = [f"{each.ref.id}: {each.reason}" for each in outcome.skipped[:SHOWN]], ""
    if strict and shown and not outcome.changed:
        error = f"no job was {strict}: {', '.join(shown)}; `qdeck job ID` tells more"
    if as_json:
        Answer(
            outcome.text,
            dry_run,
            outcome.changed,
            skipped=outcome.skipped,
            jobs=outcome.refs,
            entry=outcome.entry,
            undo_until=outcome.undo_until,
            error=error,
        ).print()
    elif not error:
        click.echo(outcome.text)
        if outcome.undo_until is not None:
            until = f"{outcome.undo_until:%Y-%m-%d %H:%M} UTC"
            click.echo(f"take it back until {until}: qdeck undo {outcome.entry}", err=True)
        for line in shown:
            click.echo(line, err=True)
    if error:
        raise Told(error)


def answering(function: Run) -> Run:
    """Let a write print JSON as well where it is refused; the error goes on as it is."""

    @functools.wraps(function)
    def command(**words: Any) -> Any:
        try:
            return function(**words)
        except (QdeckError, Denied, OSError, click.ClickException, click.Abort) as error:
            if words["as_json"] and not isinstance(error, Told):
                Answer(dry_run=words["dry_run"], error=_line(error)).print()
            raise

    return command


def _line(error: Exception) -> str:
    if isinstance(error, click.Abort):
        return "nothing was done"
    if isinstance(error, click.ClickException):
        return error.format_message()
    return " ".join(str(error).split()) or type(error).__name__
