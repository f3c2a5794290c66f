"""The word for monitoring: one line and an exit code as Nagios wants them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import click

from qdeck.admin import Failure
from qdeck.checkup import CODES, DEFAULTS, Finding, Late, examine, worst
from qdeck.cli.door import Door, json_option, with_door
from qdeck.cli.show import print_json
from qdeck.errors import SettingsError
from qdeck.options import CHECKS

__all__ = ["check"]

#: Runs of a task within the hour from which its failure share is compared.
LEAST_RUNS = 5


def thresholds(function: Any) -> Any:
    """Add a flag for each threshold; those that say nothing leave it to `[check]`."""
    rows = (
        (("--paused",), click.Choice(["ok", "warning", "critical"]), "What a paused queue is."),
        (("--warn-failing",), float, "Share of a task's runs within the hour."),
        (("--failing", "--max-failing"), float, "Share of a task's runs within the hour."),
        (("--warn-pending",), int, "Pending jobs of a queue."),
        (("--pending", "--max-pending"), int, "Pending jobs of a queue."),
        (("--warn-late",), float, "Seconds that a schedule is late."),
        (("--late", "--max-late"), float, "Seconds that a schedule is late."),
        (("--warn-lost",), int, "Lost workers."),
        (("--lost", "--lost-workers", "--max-lost"), int, "Lost workers."),
        (("--warn-dead",), int, "Dead jobs of all queues."),
        (("--dead", "--max-dead"), int, "Dead jobs of all queues."),
        (("--warn-age",), float, "Seconds that the oldest pending job of a queue waits."),
        (("--age", "--oldest-age", "--max-age"), float, "Seconds that the oldest job waits."),
    )
    for names, kind, text in rows:
        name = names[0].removeprefix("--").replace("-", "_")
        default = DEFAULTS[name]
        shown = "none" if default is None else f"{default:g}" if name != "paused" else default
        function = click.option(*names, name, type=kind, help=f"{text} (default {shown})")(function)
    return function


@click.command()
@click.option("-q", "--queue", help="Look at one queue only.")
@thresholds
@json_option
@with_door
async def check(door: Door, /, queue: str | None, as_json: bool, **flags: Any) -> int:
    """Compare with thresholds, for monitoring: exit code 0 ok, 1 warning, 2 critical, 3 unknown.

    Beyond a `--warn-…` value is a warning, beyond the other critical. `[check]` of qdeck.toml
    sets the same by the same names (`warn_age = 60`).
    """
    given = {name: _checked(name, value) for name, value in flags.items() if value is not None}
    terms = {**DEFAULTS, **door.deck.settings.check, **given}
    try:
        findings = await _look(door, queue, terms)
    except OSError as error:
        findings = [Finding("critical", "server", " ".join(str(error).split()))]
    status = worst(findings)
    if as_json:
        print_json({"status": status, "code": CODES[status], "findings": findings})
    else:
        said = "; ".join(finding.text for finding in findings) or "nothing is beyond its limit"
        click.echo(f"QDECK {status.upper()} - {said}")
    return CODES[status]


async def _look(door: Door, queue: str | None, terms: dict[str, Any]) -> list[Finding]:
    snapshot, workers = await asyncio.gather(door.admin.snapshot(), door.admin.workers())
    if isinstance(snapshot.queues, Failure):
        return examine(snapshot, workers, (), (), terms)
    rows = tuple(row for row in snapshot.queues if queue in (None, row.name))
    if queue is not None and not rows:
        return [Finding("unknown", "queues", f"there is no queue {queue}", queue)]
    groups = await asyncio.gather(*(door.admin.tasks(row.name) for row in rows))
    past = await asyncio.gather(*(door.admin.history(row.name) for row in rows))
    runs = {
        (each.queue, times.task): sum(times.counts)
        for each in past
        for times in each.times
        if times.kind == "run"
    }
    schedules = await door.admin.schedules()
    late = [
        Late(each.name, each.late_s)
        for each in schedules
        if each.late_s is not None and queue in (None, each.queue)
    ]
    # Few runs say nothing about a task.
    tasks = [
        task
        for group in groups
        for task in group
        if runs.get((task.queue, task.task), 0) >= LEAST_RUNS
    ]
    return examine(replace(snapshot, queues=rows), workers, tasks, late, terms)


def _checked(name: str, value: Any) -> Any:
    try:
        return CHECKS[name](f"--{name.replace('_', '-')}", value)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
