"""The word logs: what a job has logged, at once or as it comes."""

from __future__ import annotations

import click

from qdeck.admin import LogLine, LogTrail
from qdeck.cli.door import Door, json_option, references, with_door
from qdeck.cli.show import print_json, print_line

__all__ = ["logs"]


@click.command()
@click.argument("job_id", metavar="ID")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has finished.")
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(min=0),
    default=1000,
    show_default=True,
    help="Lines at most, without --follow.",
)
@click.option("--offset", type=click.IntRange(min=0), default=0, help="Lines to leave out.")
@json_option
@with_door
async def logs(
    door: Door, job_id: str, follow: bool, limit: int, offset: int, as_json: bool
) -> None:
    """Show the log of one job. With --follow and --json, one object a line."""
    (ref,) = await references(door, [job_id])
    if not follow:
        found = (await door.admin.log(ref, limit=limit + offset)).lines[offset:]
        if as_json:
            print_json([_object(line) for line in found])
        else:
            for line in found:
                click.echo(_text(line))
        return
    cursor, trail = "", LogTrail()
    while True:
        chunk = await door.admin.log(ref, after=cursor, follow=True)
        if missed := trail.missed(chunk):
            click.echo(f"{missed:,} lines were trimmed by the server", err=True)
        for line in chunk.lines:
            if as_json:
                print_line(_object(line))
            else:
                click.echo(_text(line))
        cursor = chunk.cursor or cursor
        if chunk.ended:
            return


def _object(line: LogLine) -> dict[str, object]:
    return {"at": line.at, "level": line.level, "attempt": line.attempt, "text": line.text}


def _text(line: LogLine) -> str:
    at = line.at.astimezone().strftime("%H:%M:%S.%f")[:-3]
    return f"{at} {line.level:8} {line.text}"
