"""The word enqueue: one job by the name of its task."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from qdeck.cli.door import Door, with_door, write_options
from qdeck.cli.show import print_json

__all__ = ["enqueue"]


@click.command()
@click.argument("task")
@click.argument("arguments", metavar="[NAME=VALUE]...", nargs=-1)
@click.option("--payload", metavar="JSON", help="All arguments as one JSON object.")
@click.option("-q", "--queue", help="Instead of the task's own.")
@click.option("--delay", type=float, metavar="SECONDS", help="Due that many seconds from now.")
@click.option("--at", metavar="TIME", help="Due at that time: RFC 3339; local without a zone.")
@click.option("--priority", help="0 to 9, or low, normal, high, critical.")
@click.option("--expires", type=float, metavar="SECONDS", help="Cancelled unless started by then.")
@click.option("--unique", metavar="KEY", help="Once only while such a job is unfinished.")
@click.option("--unique-for", type=float, metavar="SECONDS", help="Keep the key at least so long.")
@click.option("--metadata", metavar="JSON", help="An object that is kept with the job.")
@click.option("--max-retries", type=int, help="More runs after a failed one.")
@click.option("--timeout", type=float, metavar="SECONDS", help="The longest that a run may take.")
@write_options
@with_door
async def enqueue(
    door: Door,
    /,
    task: str,
    arguments: Sequence[str],
    payload: str | None,
    at: str | None,
    metadata: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Enqueue a job of TASK. A value is JSON where it parses as JSON, else text: n=3 to=ann."""
    values = _object("--payload", payload) if payload is not None else {}
    for word in arguments:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{word!r} is no argument; write NAME=VALUE")
        values[name] = _value(value)
    chosen = {name: value for name, value in options.items() if value is not None}
    if at is not None:
        chosen["at"] = _time(at)
    if metadata is not None:
        chosen["metadata"] = _object("--metadata", metadata)
    if dry_run:
        entry = await door.deck.try_enqueue(task, values, **chosen)
        if as_json:
            later = entry.body.delay > 0 or entry.body.at > time.time() * 1000
            state = "scheduled" if later else "pending"
            print_json({"id": None, "queue": entry.queue, "state": state})
        else:
            click.echo(f"would enqueue {task} in queue {entry.queue} with {json.dumps(values)}")
        return
    door.deck.actor = door.actor
    job = await door.deck.enqueue(task, values, **chosen)
    if as_json:
        print_json({"id": job.id, "queue": job.queue, "state": job.state})
        return
    verb = "enqueued" if job.created else "there is already"
    click.echo(f"{verb} {job.id} in queue {job.queue} ({job.state})")


def _value(text: str) -> Any:
    # Python reads NaN and Infinity, which are no JSON: the deck refuses them by their names.
    try:
        return json.loads(text)
    except ValueError:
        return text


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is no JSON value")


def _object(option: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text, parse_constant=float if option == "--payload" else _refuse)
    except ValueError as error:
        raise click.UsageError(f"{option} is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise click.UsageError(f'{option} is no JSON object; write {{"name": value}}')
    return value


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(
            f"--at {text!r} is no time; write 2026-03-01T09:00:00+01:00 or 2026-03-01T09:00"
        ) from None
    return at if at.tzinfo else at.astimezone()
