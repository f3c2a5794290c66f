"""The word demo: the demo without a terminal, and its table."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
import msgspec

from qdeck.cli.show import print_json
from qdeck.errors import QdeckError

__all__ = ["demo"]


@click.command()
@click.option("--headless", is_flag=True, help="Run to the end and print a table; no console.")
@click.option(
    "--jobs", type=click.IntRange(min=1), default=500, show_default=True, help="How many jobs."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Decides which jobs.")
@click.option(
    "--root", type=click.Path(path_type=Path), help="A tree of Python sources to work on."
)
@click.option("-c", "--concurrency", type=click.IntRange(min=1), default=10, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def demo(
    headless: bool, jobs: int, seed: int, root: Path | None, concurrency: int, as_json: bool
) -> int:
    """Run real jobs over a tree of files on the embedded server, and leave nothing behind.

    Exits 0 when every job reached the state it had to.
    """
    if not headless:
        raise click.UsageError("without --headless the demo needs the console: `qdeck demo`")
    from qdeck.demo.headless import run_headless
    from qdeck.demo.summary import table

    report = asyncio.run(run_headless(jobs, seed, root, concurrency))
    if as_json:
        print_json({"tasks": msgspec.to_builtins(report.rows), "misfits": report.misfits})
    else:
        click.echo(table(report.rows))
        click.echo(f"\n{jobs} jobs in {report.seconds:.1f} s")
    if report.misfits:
        for line in report.misfits[:10]:
            click.echo(line, err=True)
        raise QdeckError(
            f"{len(report.misfits)} of {jobs} jobs did not reach the state they had to"
        )
    return 0
