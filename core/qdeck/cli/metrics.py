"""The word that prints metrics for Prometheus."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from qdeck.admin import Failure
from qdeck.cli.door import Door, json_option, with_door
from qdeck.cli.show import print_json
from qdeck.errors import ConnectionFailed

__all__ = ["metrics"]


@click.command()
@json_option
@with_door
async def metrics(door: Door, as_json: bool) -> None:
    """Print metrics as Prometheus text, for a scrape by a text-file collector or a small server."""
    from qdeck.metrics import exposition, read_lifetimes
    from qdeck.reader import Reader

    snapshot, workers, schedules = await asyncio.gather(
        door.admin.snapshot(), door.admin.workers(), door.admin.schedules()
    )
    if isinstance(snapshot.queues, Failure):
        raise ConnectionFailed(f"the queues cannot be read: {snapshot.queues.reason}")
    lifetimes = await read_lifetimes(Reader(door.deck), [row.name for row in snapshot.queues])
    text = exposition(snapshot.queues, lifetimes, workers, schedules)
    if as_json:
        print_json(samples(text))
    else:
        click.echo(text, nl=False)


def samples(text: str) -> list[dict[str, Any]]:
    """Return the samples of a Prometheus text as other programs read them."""
    from prometheus_client.parser import text_string_to_metric_families

    return [
        {
            "name": sample.name,
            "type": family.type,
            "labels": dict(sample.labels),
            "value": sample.value,
        }
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]
