"""Measure the server's memory of a pending job.

    pip install '.[test]'
    python tests/bench/memory.py [--jobs 100000]

Payloads of about 100 bytes; below 400 bytes a job is asked for. The server's tables grow by
doubling, so the figure is taken at several sizes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench.rig import Bench, Library, print_heading, print_table


def main() -> None:
    """Fill a queue step by step and print the bytes of a job."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=100_000)
    most = parser.parse_args().jobs
    lines, held = [], 0
    with Bench(Library.own()) as bench:
        bench.produce("one", 1, "void", 10**9)
        empty, _ = bench.numbers()
        print_heading("server memory of pending jobs", bench.server.info)
        for size in (most // 10, most // 4, most // 2, most):
            bench.produce("bulk", size - held, "noop", held)
            held = size
            full, _ = bench.numbers()
            lines.append([f"{size:,}", "below 400", f"{(full - empty) / size:.0f}"])
    print_table(["pending jobs", "asked (bytes a job)", "found"], lines)


if __name__ == "__main__":
    main()
