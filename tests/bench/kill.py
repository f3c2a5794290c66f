"""Kill one of two workers with SIGKILL in the middle of its jobs.

    pip install '.[test]'
    python tests/bench/kill.py [--jobs 2000]

Default settings (a lease of 15 s), jobs of 50 ms, and the kill when 40 % have ended. Asked: nothing
lost, all done within 25 s of the kill, and a job runs twice only where its settle had not arrived:
then the first run was one of the killed worker's.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench import rows
from tests.bench.rig import Bench, Library, print_heading, print_table

_TAG = "{bench:default}:"


def ended(bench: Bench) -> set[int]:
    """Return the jobs whose handler came to its end."""
    return {row.job for row in rows.read(bench.record) if row.kind == rows.FINISH}


def main() -> None:
    """Measure once and print what became of the jobs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=2000)
    jobs = parser.parse_args().jobs
    with Bench(Library.own(), nap=0.05) as bench:
        bench.produce("bulk", jobs, "nap")
        victim, _ = bench.work(), bench.work()
        while len(ended(bench)) < 0.4 * jobs:
            time.sleep(0.02)
        bench.kill(victim)
        killed = time.monotonic_ns()
        held = bench.server.ask("ZCARD", f"{_TAG}lease")
        while len(ended(bench)) < jobs and time.monotonic_ns() - killed < 120e9:
            time.sleep(0.1)
        # The last settles are on their way.
        time.sleep(1)
        found = rows.read(bench.record)
        left = sum(bench.server.ask("ZCARD", _TAG + name) for name in ("ready", "lease", "dead"))
        completed = bench.server.ask("ZCARD", f"{_TAG}completed")
        print_heading("kill -9 of one of two workers", bench.server.info)
    begins: dict[int, list[int]] = {}
    for row in found:
        if row.kind == rows.START:
            begins.setdefault(row.job, []).append(row.pid)
    finishes = [row for row in found if row.kind == rows.FINISH]
    last = max(row.at_ns for row in finishes)
    again = [pids for pids in begins.values() if len(pids) > 1]
    print_table(
        ["figure", "asked", "found"],
        [
            ["all done after the kill", "25 s", f"{(last - killed) / 1e9:.1f} s"],
            ["jobs that never ended", 0, jobs - len({row.job for row in finishes})],
            ["jobs completed on the server", f"{jobs} + 1", completed],
            ["jobs pending, running or dead at the end", 0, left],
            ["jobs that were running when it was killed (both workers)", "", held],
            ["jobs begun twice, first by the killed worker", "at most 10", len(again)],
            [
                "jobs begun twice by a worker that lived",
                0,
                sum(pids[0] != victim.pid for pids in again),
            ],
            ["jobs ended twice", "at most 10", len(finishes) - len({row.job for row in finishes})],
        ],
    )


if __name__ == "__main__":
    main()
