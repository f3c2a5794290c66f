"""The word that prints metrics for Prometheus."""

from __future__ import annotations

import asyncio

import click

from qdeck.admin import Failure
from qdeck.cli.door import Door, with_door
from qdeck.errors import ConnectionFailed

__all__ = ["metrics"]


@click.command()
@with_door
async def metrics(door: Door) -> None:
    """Print metrics as Prometheus text, for a scrape by a text-file collector or a small server."""
    from qdeck.metrics import exposition, read_lifetimes
    from qdeck.reader import Reader

    snapshot, workers, schedules = await asyncio.gather(
        door.admin.snapshot(), door.admin.workers(), door.admin.schedules()
    )
    if isinstance(snapshot.queues, Failure):
        raise ConnectionFailed(f"the queues cannot be read: {snapshot.queues.reason}")
    lifetimes = await read_lifetimes(Reader(door.deck), [row.name for row in snapshot.queues])
    click.echo(exposition(snapshot.queues, lifetimes, workers, schedules), nl=False)
