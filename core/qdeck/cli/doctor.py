"""The word that looks for what is wrong: one line a finding, and what to do about it.

Each look fails alone: what one cannot tell is a finding of its own.
"""

from __future__ import annotations

import asyncio
import locale
import os
import re
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import click

from qdeck.admin import Denied, Failure, QueueRow, WorkerRow
from qdeck.cli.door import Door, json_option, open_deck, place_options
from qdeck.cli.show import print_json
from qdeck.errors import QdeckError, SettingsError
from qdeck.phrase import jobs, some, span

__all__ = ["doctor"]

#: Seconds that the clocks of this machine and the server may differ.
SKEW = 2.0
_BAD_TOML = re.compile(r"(.+?) is not valid TOML: .*\(at (?:line (\d+)|end )")
#: Queues whose causes are asked for.
QUEUES = 50


@dataclass(frozen=True, slots=True)
class Note:
    """One finding: `wrong` is for somebody to act on, `hint` good to know."""

    level: Literal["ok", "hint", "wrong"]
    about: str
    text: str
    step: str = ""


@click.command()
@place_options
@json_option
def doctor(url: str | None, prefix: str | None, app: str | None, as_json: bool) -> int:
    """Look for what is wrong with settings, app, server, workers and terminal; exit code 1 if
    something is.
    """
    notes = asyncio.run(_examine(url, prefix, app))
    wrong = sum(note.level == "wrong" for note in notes)
    if as_json:
        print_json({"wrong": wrong, "findings": notes})
    else:
        for note in notes:
            step = f": {note.step}" if note.step else ""
            click.echo(f"{note.level:6} {note.about:9} {note.text}{step}")
        click.echo(f"{wrong} wrong" if wrong else "nothing is wrong")
    return 1 if wrong else 0


async def _examine(url: str | None, prefix: str | None, app: str | None) -> list[Note]:
    notes = list(_of_terminal())
    try:
        deck = open_deck(url, prefix, app)
    except QdeckError as error:
        return [*notes, _of_settings(_line(error), app)]
    door = Door(deck)
    notes += _of_app(door, app)
    try:
        notes += [note async for note in _of_server(door)]
        notes += [note async for note in _of_queues(door)]
    except (SettingsError, Denied) as error:
        notes.append(Note("wrong", "server", _line(error)))
    except (QdeckError, OSError) as error:
        notes.append(Note("wrong", "server", _line(error), "is it running, and is the URL right?"))
    finally:
        await door.close()
    order = ("wrong", "hint", "ok")
    return sorted(notes, key=lambda note: order.index(note.level))


def _of_terminal() -> Iterator[Note]:
    term, encoding = os.environ.get("TERM", ""), locale.getpreferredencoding(False).lower()
    if term in ("", "dumb", "unknown"):
        shown = term or "not set"
        yield Note("hint", "terminal", f"TERM is {shown}: the console cannot be drawn", "set TERM")
    elif encoding.replace("-", "") != "utf8":
        step = "set LANG to a UTF-8 locale for its signs"
        yield Note("hint", "terminal", f"the locale is {encoding}: the console uses ASCII", step)
    else:
        yield Note("ok", "terminal", f"TERM={term}, UTF-8")


def _of_settings(said: str, app: str | None) -> Note:
    """Return what to mend where there is no deck: nothing else can be looked at before that."""
    if app is not None:
        return Note("wrong", "app", said, "mend it, or name another with --app")
    found = _BAD_TOML.match(said)
    step = "mend it where it is set"
    if found:
        step = f"mend {'line ' + found[2] if found[2] else 'the end'} of {found[1]}"
    return Note("wrong", "settings", said, step)


def _of_app(door: Door, app: str | None) -> Iterator[Note]:
    from qdeck.app import load_app

    for name in (app,) if app else door.deck.settings.app:
        try:
            deck = load_app(name)
        except QdeckError as error:
            yield Note("wrong", "app", _line(error), "mend it, or name another in qdeck.toml")
            continue
        tasks = [spec.name for spec in deck.registry]
        if tasks:
            yield Note("ok", "app", f"{name} has {len(tasks)} tasks ({some(tasks)})")
        else:
            step = "are the modules with its tasks imported?"
            yield Note("wrong", "app", f"{name} has no task", step)


async def _of_server(door: Door) -> AsyncIterator[Note]:
    before = time.time()
    clock = await door.deck.call("TIME")
    after = time.time()
    found = await door.admin.server()
    name = f"{found.product or 'a server'} {found.version or 'of unknown version'}"
    yield Note("ok", "server", f"{name} at {found.address}, {found.persistence or '?'} on disk")
    for warning in found.warnings:
        text, _, step = warning.partition("; ")
        yield Note("wrong", "server", text, step)
    if isinstance(found.slow, tuple):
        slow = [each for each in found.slow if each.ms >= 50 and each.command.startswith("script")]
        if slow:
            longest = max(slow, key=lambda each: each.ms)
            text = f"{longest.command} took {longest.ms:.0f} ms at {longest.at:%H:%M} UTC"
            yield Note("hint", "server", text, "is the machine short of processor time?")
    told = _seconds(clock)
    if told is not None:
        skew = max(before - told, told - after, 0.0)
        if skew > SKEW:
            text = f"this machine's clock and the server's differ by {span(skew)}"
            yield Note("wrong", "clock", text, "set both by NTP")
        else:
            yield Note("ok", "clock", "this machine and the server agree on the time")


async def _of_queues(door: Door) -> AsyncIterator[Note]:
    snapshot, workers = await asyncio.gather(door.admin.snapshot(), door.admin.workers())
    if isinstance(snapshot.queues, Failure):
        yield Note("wrong", "queues", snapshot.queues.reason)
        return
    for note in _of_workers(workers):
        yield note
    for note in _of_limits(door, snapshot.queues):
        yield note
    busy = [row for row in snapshot.queues if row.pending or row.retrying]
    for row in busy[:QUEUES]:
        explained = await door.admin.explain(row.name)
        for cause in explained.causes:
            if cause.word in ("no worker", "unknown task", "failing", "slow"):
                yield Note("wrong", "queues", cause.text, cause.next_step)
            elif cause.word in ("paused", "held"):
                yield Note("hint", "queues", cause.text, cause.next_step)
    async for note in _of_later(door, busy, workers):
        yield note


async def _of_later(
    door: Door, rows: Sequence[QueueRow], workers: Sequence[WorkerRow]
) -> AsyncIterator[Note]:
    """Yield the tasks of jobs that were given back since no worker knows them."""
    from qdeck.admin import Window

    for row in rows[:QUEUES]:
        if not row.retrying:
            continue
        page = await door.admin.jobs(row.name, "retrying", Window(0, 50))
        for task in {job.task: job for job in page.rows}.values():
            explained = await door.admin.explain(task.ref)
            for cause in explained.causes:
                if cause.word == "unknown task":
                    yield Note("wrong", "queues", cause.text, cause.next_step)


def _of_workers(workers: Sequence[WorkerRow]) -> Iterator[Note]:
    alive = [worker for worker in workers if worker.state != "lost"]
    said = "no worker runs" if not alive else f"{len(alive)} workers run"
    yield Note("ok" if alive else "hint", "workers", said if len(alive) != 1 else "1 worker runs")
    for worker in workers:
        name = f"worker {worker.host or '?'}:{worker.pid or worker.id}"
        if worker.state == "lost" and worker.holds:
            text = f"{name} was lost {span(worker.beat_age_s or 0)} ago, held {_held(worker)}"
            yield Note("wrong", "workers", text, "its jobs run again where a worker serves them")
        elif worker.state == "stuck":
            text = f"{name} is stuck: its event loop is blocked"
            yield Note("wrong", "workers", text, "make the blocking task a def or run='process'")


def _of_limits(door: Door, rows: Sequence[QueueRow]) -> Iterator[Note]:
    """Yield limits of the settings that the server does not have, or not as they say."""
    known = {row.name: row for row in rows}
    for queue, wanted in door.deck.settings.limits.items():
        row = known.get(queue)
        if row is None:
            text = f"[limits.{queue}] is set, but there is no queue {queue} yet"
            yield Note("hint", "settings", text, "is its name right?")
        elif (row.limit, row.rate) != (wanted.limit, wanted.rate):
            text = (
                f"{queue} has limit {row.limit or 'none'} and rate {row.rate or 'none'} on the "
                f"server, the settings say {wanted.limit or 'none'} and {wanted.rate or 'none'}"
            )
            yield Note(
                "hint", "settings", text, "a worker that starts sets them as the settings say"
            )


def _held(worker: WorkerRow) -> str:
    return jobs(len(worker.holds))


def _seconds(clock: Any) -> float | None:
    if isinstance(clock, (list, tuple)) and len(clock) == 2:
        return int(clock[0]) + int(clock[1]) / 1_000_000
    return None


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
