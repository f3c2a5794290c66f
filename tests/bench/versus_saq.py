"""Run SAQ and qdeck in turn through the same jobs, and print the ratios as a table.

    pip install '.[test]'
    python tests/bench/versus_saq.py [--runs 3] [--jobs 20000] [--json FILE] [--peers FOLDER]

Makes an environment with SAQ, and one with WakaQ where that installs, from the package index (kept
in FOLDER if one is named), and starts servers of its own. SAQ runs before and after qdeck; a ratio
is taken within one run against the mean of both. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench.rig import Bench, Library, middle, print_heading, print_table

# SAQ spends a fifth less of a processor with redis-py 7 than with 8.
_SAQ = ("saq", "typing_extensions", "redis<8", "hiredis", "uvloop")
_WAKAQ = ("WakaQ", "redis", "hiredis")
#: Name of a figure -> (what is asked, unit, digits, whether less is better).
FIGURES: dict[str, tuple[str, str, int, bool]] = {
    "drain of no-op jobs, concurrency 100": ("8, aim 15", "jobs/s", 0, False),
    "drain of no-op jobs, concurrency 10": ("4, aim 8", "jobs/s", 0, False),
    "bulk enqueue": ("8", "jobs/s", 0, False),
    "one-at-a-time enqueue, async": ("1.1", "jobs/s", 0, False),
    "one-at-a-time enqueue, sync (against WakaQ)": ("0.7", "jobs/s", 0, False),
    "idle start latency, p50": ("below 1", "ms", 2, True),
    "idle start latency, p99": ("below 1", "ms", 2, True),
    "idle start latency, p50 (against WakaQ)": ("aim 1", "ms", 2, True),
    "server CPU a job, concurrency 100": ("0.25", "µs", 1, True),
    "worker CPU a job, concurrency 100": ("0.2", "µs", 1, True),
    "memory a pending job, 100-byte payload": ("below 400 bytes", "bytes", 0, True),
}
Found = dict[str, tuple[float, float]]


def environment(folder: Path, name: str, packages: tuple[str, ...]) -> str | None:
    """Return the interpreter of an environment with packages; None where they do not install."""
    place = folder / name
    python = place / "bin" / "python"
    if not python.exists():
        venv.create(place, with_pip=True)
    done = subprocess.run(
        [str(python), "-m", "pip", "install", "-q", *packages],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.stdout.write(f"{packages[0]} does not install here: {done.stderr[-300:].strip()}\n")
        return None
    return str(python)


def between(peer: Callable[[], float], own: Callable[[], float]) -> tuple[float, float]:
    """Return the peer's mean of before and after, and our own value."""
    before, mine = peer(), own()
    return (before + peer()) / 2, mine


def one_run(saq: Library, waka: Library | None, jobs: int) -> Found:
    """Measure every figure once: (the peer's value, ours)."""
    own = Library.own()

    def drained(library: Library, concurrency: int) -> dict[str, float]:
        with Bench(library) as bench:
            return asdict(bench.drain(jobs, concurrency))

    def rate(library: Library, mode: str) -> Callable[[], float]:
        def measure() -> float:
            with Bench(library) as bench:
                return 5000 / float(bench.produce(mode, 5000)["seconds"])

        return measure

    def waited(library: Library, mode: str = "latency") -> tuple[float, float]:
        with Bench(library) as bench:
            return bench.latency(mode=mode)

    found: Found = {}
    # SAQ is as fast with 10 as with 100: it keeps a blocked connection for each slot.
    before = drained(saq, 10)
    wide, narrow = drained(own, 100), drained(own, 10)
    after = drained(saq, 10)
    peer = {name: (before[name] + after[name]) / 2 for name in before}
    found["drain of no-op jobs, concurrency 100"] = peer["rate"], wide["rate"]
    found["drain of no-op jobs, concurrency 10"] = peer["rate"], narrow["rate"]
    found["bulk enqueue"] = peer["bulk"], (wide["bulk"] + narrow["bulk"]) / 2
    found["server CPU a job, concurrency 100"] = peer["server_us"], wide["server_us"]
    found["worker CPU a job, concurrency 100"] = peer["worker_us"], wide["worker_us"]
    found["memory a pending job, 100-byte payload"] = peer["memory"], wide["memory"]
    found["one-at-a-time enqueue, async"] = between(rate(saq, "one"), rate(own, "one"))
    first, mine, last = waited(saq), waited(own), waited(saq)
    found["idle start latency, p50"] = (first[0] + last[0]) / 2, mine[0]
    found["idle start latency, p99"] = (first[1] + last[1]) / 2, mine[1]
    if waka is not None:
        name = "one-at-a-time enqueue, sync (against WakaQ)"
        found[name] = between(rate(waka, "sync"), rate(own, "sync"))
        theirs = waited(waka, "latency-sync")[0]
        found["idle start latency, p50 (against WakaQ)"] = theirs, waited(own, "latency-sync")[0]
    return found


def show(runs: list[Found]) -> None:
    """Print the medians of all runs, and of the ratios taken within each run."""
    lines = []
    for name, (asked, unit, digits, less) in FIGURES.items():
        pairs = [run[name] for run in runs if name in run]
        if not pairs:
            continue
        ratios = [mine / peer for peer, mine in pairs]
        worst = max(ratios) if less else min(ratios)
        peer, mine = (middle([pair[side] for pair in pairs]) for side in (0, 1))
        shown = [f"{value:,.{digits}f} {unit}" for value in (peer, mine)]
        lines.append([name, asked, *shown, f"{middle(ratios):.2f}", f"{worst:.2f}"])
    print_table(["figure", "asked", "peer", "qdeck", "ratio (median)", "worst"], lines)


def main() -> None:
    """Make the environments, measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=20_000, help="jobs in a drain")
    parser.add_argument("--json", type=Path, help="write every measured pair to this file")
    parser.add_argument("--peers", type=Path, help="keep the environments of SAQ and WakaQ here")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="qdeck-peers-") as made:
        folder: Path = chosen.peers.absolute() if chosen.peers else Path(made)
        python = environment(folder, "saq", _SAQ)
        if python is None:
            sys.exit("without SAQ there is nothing to compare with")
        saq = Library("saq", python, "side_saq.py")
        python = environment(folder, "wakaq", _WAKAQ)
        waka = Library("wakaq", python, "side_wakaq.py") if python else None
        runs: list[Found] = []
        loads: list[Any] = []
        for number in range(chosen.runs):
            print_heading(f"run {number + 1} of {chosen.runs}")
            loads.append(os.getloadavg())
            runs.append(one_run(saq, waka, chosen.jobs))
            show(runs)
        if chosen.json:
            chosen.json.write_text(json.dumps({"runs": runs, "load": loads}, indent=1) + "\n")


if __name__ == "__main__":
    main()
