"""What a schedule is said to be on the command line: the options, and the values of a spec."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click

from qdeck.cronwords import parse_words

__all__ = ["changes", "terms"]

Run = Callable[..., Any]


def terms(required: bool) -> Callable[[Run], Run]:
    """Add the options that say what a schedule is."""

    def decorate(function: Run) -> Run:
        for option in (
            click.option("--catch-up", type=float, help="Seconds that misfire all goes back."),
            click.option("--jitter", type=float, help="Seconds that a job is late at most."),
            click.option(
                "--overlap",
                type=click.Choice(["allow", "skip"]),
                help="Whether a slot is dropped while the last job is unfinished.",
            ),
            click.option(
                "--misfire",
                type=click.Choice(["skip", "latest", "all"]),
                help="Which slots fire that no worker was there for.",
            ),
            click.option("--option", "options", multiple=True, metavar="NAME=VALUE",
                         help="Such as priority=high, timeout=60, unique=true, expires=300."),
            click.option("--tz", "zone", metavar="ZONE", help="Time zone, such as Europe/Berlin."),
            click.option("--payload", metavar="JSON", help="Arguments of the task."),
            click.option("--task", required=required, help="What to enqueue."),
            click.option("--cron", "expression", metavar="EXPR", required=required,
                         help="When; see `qdeck schedule --help`."),
        ):  # fmt: skip
            function = option(function)
        return function

    return decorate


def changes(given: dict[str, Any]) -> dict[str, Any]:
    """Return what was given of a schedule, ready for its values."""
    found = {name: value for name, value in given.items() if value not in (None, ())}
    if "expression" in found:
        found["expression"] = parse_words(found["expression"]) or found["expression"]
    if "payload" in found:
        found["payload"] = _object(found["payload"])
    if "options" in found:
        found["options"] = dict(_pair(text) for text in found["options"])
    return found


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"--payload is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise click.UsageError('--payload is no JSON object; write {"name": value}')
    return value


def _pair(text: str) -> tuple[str, Any]:
    name, equals, raw = text.partition("=")
    if not equals:
        raise click.UsageError(f"--option {text!r} is no NAME=VALUE")
    try:
        return name, json.loads(raw)
    except ValueError:
        return name, raw
