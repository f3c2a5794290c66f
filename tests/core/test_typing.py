"""Type checkers know the arguments of a task."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

CASES = Path(__file__).with_name("typing_cases.py")
ROOT = CASES.parents[2]
MARK = re.compile(r"  # type: ignore\[([a-z-]+)\]$")


def test_mypy_accepts_the_good_lines_and_refuses_exactly_the_marked_ones(tmp_path: Path) -> None:
    lines = CASES.read_text().splitlines()
    marked = {
        (number, found[1]) for number, line in enumerate(lines, 1) if (found := MARK.search(line))
    }
    bare = tmp_path / "bare_typing_cases.py"
    bare.write_text("\n".join(MARK.sub("", line) for line in lines) + "\n")
    words = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--no-pretty"]
    done = subprocess.run(
        [*words, "--show-error-codes", str(bare)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    refused = {
        (int(number), code)
        for number, code in re.findall(
            r"bare_typing_cases\.py:(\d+): error: .*\[([a-z-]+)\]$", done.stdout, re.MULTILINE
        )
    }
    assert refused == marked, done.stdout + done.stderr
    assert len(marked) >= 20
