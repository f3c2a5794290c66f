"""Compare two worker processes with one, on the same server.

    pip install '.[test]'
    python tests/bench/two_workers.py [--runs 3] [--jobs 4000]

Handlers that sleep 5 ms at concurrency 10 are what two workers are for: 1.6 times one is asked for.
No-op handlers show what the one server core allows.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench.rig import Bench, Library, middle, print_heading, print_table


def rate(workers: int, job: str, jobs: int) -> float:
    """Return jobs a second of so many workers with concurrency 10."""
    with Bench(Library.own(), nap=0.005) as bench:
        return bench.drain(jobs, 10, workers, job).rate


def main() -> None:
    """Measure one, two and one again in each run, and print the medians of the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=4000, help="sleeping jobs; no-ops are 5 x")
    chosen = parser.parse_args()
    print_heading("two worker processes against one, concurrency 10")
    lines = []
    for job, jobs, asked in (("nap", chosen.jobs, "1.6"), ("noop", 5 * chosen.jobs, "-")):
        ones, twos, ratios = [], [], []
        for _ in range(chosen.runs):
            before, both, after = rate(1, job, jobs), rate(2, job, jobs), rate(1, job, jobs)
            ones.append((before + after) / 2)
            twos.append(both)
            ratios.append(both / ones[-1])
        what = "handlers that sleep 5 ms" if job == "nap" else "no-op handlers"
        shown = [f"{middle(values):,.0f} jobs/s" for values in (ones, twos)]
        lines.append([what, asked, *shown, f"{middle(ratios):.2f}", f"{min(ratios):.2f}"])
    print_table(["jobs", "asked", "one", "two", "ratio (median)", "worst"], lines)


if __name__ == "__main__":
    main()
