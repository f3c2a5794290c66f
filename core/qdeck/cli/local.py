"""The words about this machine: config, server, completion."""

from __future__ import annotations

from pathlib import Path

import click

from qdeck.admin import Outcome
from qdeck.cli.answer import tell
from qdeck.cli.door import json_option, local_options
from qdeck.cli.show import print_json, print_table, seconds
from qdeck.errors import QdeckError, SettingsError

__all__ = ["completion", "config", "server"]


@click.command()
@click.option("--url", help="Server, instead of REDIS_URL and qdeck.toml.")
@click.option("--prefix", help="Key prefix, instead of QUEUE_PREFIX.")
@json_option
def config(url: str | None, prefix: str | None, as_json: bool) -> None:
    """Show each setting and where it comes from; passwords are masked."""
    from qdeck.settings import load_settings

    rows = load_settings(url, prefix=prefix).describe()
    if as_json:
        print_json(
            [
                {"name": name, "value": None if value == "-" else value, "source": source}
                for name, value, source in rows
            ]
        )
        return
    print_table(("name", "value", "from"), rows)


@click.group()
def server() -> None:
    """Start, stop or show the embedded server of this user."""


@server.command()
@local_options
def start(dry_run: bool, yes: bool, as_json: bool) -> None:
    """Start the embedded server and keep it running until `qdeck server stop`."""
    from qdeck.server import server_status, start_server

    folder, binary = _place()
    if dry_run:
        running = server_status(folder).running
        said = "it runs already" if running else f"would start a server in {folder}"
        tell(Outcome(said, 0 if running else 1), as_json, dry_run)
        return
    status = start_server(folder, binary)
    said = f"{status.version or 'the server'} runs in {status.folder} (pid {status.pid})"
    tell(Outcome(said, 1), as_json)


@server.command()
@json_option
def status(as_json: bool) -> None:
    """Show the embedded server without starting it; exit code 1 when it does not run."""
    from qdeck.server import server_status

    found = server_status(_place()[0])
    if as_json:
        print_json(found)
    elif found.running:
        memory = "?" if found.memory is None else f"{found.memory / 1_000_000:.1f} MB"
        click.echo(
            f"{found.version} runs in {found.folder}: pid {found.pid}, {found.clients} clients, "
            f"{memory}, up {seconds(found.uptime)}"
        )
    else:
        click.echo(f"no server runs in {found.folder}")
    if not found.running:
        click.get_current_context().exit(1)


@server.command()
@local_options
def stop(dry_run: bool, yes: bool, as_json: bool) -> None:
    """Stop the embedded server, unless a process uses it."""
    from qdeck.server import server_status, stop_server

    folder, _ = _place()
    if not server_status(folder).running:
        tell(Outcome(f"no server runs in {folder}"), as_json, dry_run)
        return
    if dry_run:
        tell(Outcome(f"would stop the server in {folder}", 1), as_json, dry_run)
        return
    if not stop_server(folder):
        raise QdeckError(
            f"the server in {folder} is in use; stop its workers and consoles, then it ends itself"
        )
    tell(Outcome(f"stopped the server in {folder}", 1), as_json)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell: `eval "$(qdeck completion bash)"`."""
    from click.shell_completion import get_completion_class

    from qdeck.cli.program import program

    found = get_completion_class(shell)
    if found is None:
        raise SettingsError(f"shell {shell!r} is not known; use bash, zsh or fish")
    click.echo(found(program, {}, "qdeck", "_QDECK_COMPLETE").source())


def _place() -> tuple[Path, Path | None]:
    from qdeck.settings import load_settings

    settings = load_settings()
    if settings.connection != "embedded" or settings.folder is None:
        raise SettingsError(
            f"the connection is {settings.connection!r}, not 'embedded'; qdeck runs a server of "
            "its own only for that"
        )
    return settings.folder, settings.server_binary
