"""The demo's plan and its summary, before anything runs."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from qdeck.demo.plan import ROUND, plan, source_files, stream
from qdeck.demo.summary import misfits, summarise, table
from qdeck.demo.tasks import QUEUES, deck
from qdeck.errors import SettingsError
from qdeck.job import Job, JobFailure, State

FILES = tuple(Path(f"/tree/{number}.py") for number in range(50))
FOLDER = Path("/out")
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_same_numbers_and_seed_give_the_same_plan() -> None:
    assert plan(200, 7, FOLDER, FILES) == plan(200, 7, FOLDER, FILES)
    assert plan(200, 7, FOLDER, FILES) != plan(200, 8, FOLDER, FILES)
    endless = stream(7, FOLDER, FILES)
    for planned, streamed in zip(plan(60, 7, FOLDER, FILES), endless, strict=False):
        assert (streamed.number, streamed.task) == (planned.number, planned.task)
        assert planned.arguments.items() <= streamed.arguments.items()


def test_every_round_has_every_kind() -> None:
    jobs = plan(500, 1, FOLDER, FILES)
    for start in range(0, 500, len(ROUND)):
        kinds = Counter(one.task for one in jobs[start : start + len(ROUND)])
        assert kinds["parse_as_json"] == kinds["build_report"] == 1
        assert kinds["compress_file"] == 2
        assert set(kinds) == set(deck.registry.names())
    assert {one.options["priority"] for one in jobs} == {"low", "normal", "high", "critical"}
    assert any("delay" in one.options for one in jobs)
    assert any(one.failures == 2 and one.expected is State.COMPLETED for one in jobs)
    assert {one.expected for one in jobs if one.task == "parse_as_json"} == {State.DEAD}


def test_a_report_reads_jobs_before_it_in_its_round() -> None:
    reports = [one for one in plan(500, 1, FOLDER, FILES) if one.task == "build_report"]
    for one in reports:
        assert one.inputs
        assert all(one.number - len(ROUND) < number < one.number for number in one.inputs)
        call = one.call({number: f"id-{number}" for number in one.inputs})
        assert call.payload.startswith(b'{"ids":["id-')


def test_every_planned_call_fits_its_task_and_a_queue_of_the_demo() -> None:
    for one in plan(50, 3, FOLDER, FILES):
        call = one.call({number: str(number) for number in range(50)})
        assert call.spec.name == one.task
        assert call.spec.queue in QUEUES
        call.spec.decode(call.payload)


def test_the_tree_is_sources_only_and_never_empty(tmp_path: Path) -> None:
    assert len(source_files()) > 100
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "a.py").write_text("1")
    (tmp_path / "b.txt").write_text("1")
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(SettingsError, match=str(tmp_path)):
        source_files(tmp_path)
    (tmp_path / "c.py").write_text("1")
    assert source_files(tmp_path) == (tmp_path / "c.py",)


def finished(task: str, state: State, wait: float, run: float, attempt: int = 1) -> Job[None]:
    """Return a job that was due at once."""
    started = BEGAN + timedelta(seconds=wait)
    return Job(
        id=f"{task}-{wait}",
        task=task,
        queue="files",
        state=state,
        attempt=attempt,
        created_at=BEGAN,
        available_at=BEGAN,
        started_at=started,
        finished_at=started + timedelta(seconds=run),
        error=JobFailure("ValueError", "no") if state is State.DEAD else None,
    )


def test_a_summary_has_counts_and_percentiles_for_each_task() -> None:
    jobs = [finished("a", State.COMPLETED, n / 10, n / 100) for n in range(1, 21)]
    jobs += [finished("b", State.DEAD, 1, 1, attempt=3)]
    first, second = summarise(jobs)
    assert (first.enqueued, first.completed, first.retried, first.dead) == (20, 20, 0, 0)
    assert (first.wait_p50, first.wait_p95, first.run_p95) == (1.0, 1.9, 0.19)
    assert (second.completed, second.retried, second.dead, second.wait_p50) == (0, 2, 1, None)
    begun = jobs[-1].created_at
    assert begun is not None
    (second,) = summarise(jobs[-1:], {jobs[-1].id: begun + timedelta(seconds=7)})
    assert second.wait_p50 == 7
    lines = table([first, second]).splitlines()
    assert [line.split()[:5] for line in lines[1:]] == [
        ["a", "20", "20", "0", "0"],
        ["b", "1", "0", "2", "1"],
    ]
    assert len({len(line) for line in lines}) == 1


def test_a_job_in_another_state_than_planned_is_named() -> None:
    jobs = plan(25, 1, FOLDER, FILES)
    dead = next(one for one in jobs if one.expected is State.DEAD)
    flaky = next(one for one in jobs if one.failures and one.expected is State.COMPLETED)
    good = {one.number: finished(one.task, one.expected, 1, 1, one.failures + 1) for one in jobs}
    assert misfits(jobs, good) == []
    bad: dict[int, Job[None] | None] = {**good}
    bad[0] = None
    bad[dead.number] = finished(dead.task, State.COMPLETED, 1, 1)
    bad[flaky.number] = finished(flaky.task, State.COMPLETED, 1, 1)
    sentences = misfits(jobs, bad)
    assert len(sentences) == 3
    assert "has no record" in sentences[0]
