"""Count what an idle worker on one queue asks of the server.

    pip install '.[test]'
    python tests/bench/idle.py [--seconds 30]

A client call is a command that came over a connection: every line of MONITOR but those of commands
inside scripts, which the server marks `lua`. At most one a second is asked for.
"""

from __future__ import annotations

import argparse
import socket
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench.rig import Bench, Library, print_heading, print_table


def watch(port: int, seconds: float) -> tuple[Counter[str], int]:
    """Return client calls by command, and how many commands ran inside of scripts."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"MONITOR\r\n")
        connection.settimeout(0.2)
        end = time.monotonic() + seconds
        data = b""
        while time.monotonic() < end:
            try:
                data += connection.recv(65536)
            except TimeoutError:
                continue
    calls: Counter[str] = Counter()
    inside = 0
    # +1700000000.123456 [0 127.0.0.1:4711] "BZPOPMIN" "key" "5", or [0 lua] for one of a script
    for line in data.decode(errors="replace").splitlines()[1:]:
        _, _, rest = line.partition("[")
        source, _, command = rest.partition("] ")
        if source.endswith(" lua"):
            inside += 1
        else:
            calls[command.split('"')[1].upper()] += 1
    return calls, inside


def main() -> None:
    """Start a worker, let it settle, and count."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30.0)
    chosen = parser.parse_args()
    with Bench(Library.own()) as bench:
        bench.work()
        bench.produce("one", 1)
        bench.wait_rows(1)
        time.sleep(3)
        calls, inside = watch(bench.server.port, chosen.seconds)
        print_heading(f"an idle worker for {chosen.seconds:g} s", bench.server.info)
    lines = [[name, count, f"{count / chosen.seconds:.2f}"] for name, count in calls.most_common()]
    lines.append(["all client calls (asked: at most 1 a second)", calls.total(), ""])
    lines[-1][2] = f"{calls.total() / chosen.seconds:.2f}"
    lines.append(["commands inside of scripts", inside, f"{inside / chosen.seconds:.2f}"])
    print_table(["command", "count", "a second"], lines)


if __name__ == "__main__":
    main()
