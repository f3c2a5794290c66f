"""Client processes of a local server, for tests that start and kill them."""

from __future__ import annotations

import os
import subprocess
import sys

__all__ = ["spawn"]

CLIENT = """
import sys, time
from pathlib import Path
from qdeck.connection import Connector
from qdeck.settings import load_settings
url, rounds, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
for number in range(rounds):
    connector = Connector(load_settings(url, environ={}))
    connector.ensure_sync()
    connector.sync_lane().call("INCR", "count")
    print("in", flush=True)
    time.sleep(pause)
    connector.close()
"""


def spawn(url: str, rounds: int = 1, pause: float = 0.0) -> subprocess.Popen[str]:
    """Starts a client process that enters and leaves `rounds` times, saying `in` each time.

    It stays `pause` seconds each time, in a session of its own.
    """
    return subprocess.Popen(
        [sys.executable, "-c", CLIENT, url, str(rounds), str(pause)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
