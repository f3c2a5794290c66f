"""The words about jobs do what they say, and show shapes that programs can rely on."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import UTC, datetime

from tests.commands import PATIENCE, Program

JOB_FIELDS = {
    "id",
    "task",
    "queue",
    "state",
    "priority",
    "attempt",
    "max_attempts",
    "payload",
    "metadata",
    "created_at",
    "available_at",
    "started_at",
    "finished_at",
    "progress",
    "message",
    "error",
    "result",
    "worker",
    "created",
}


def test_enqueue_reads_values_as_json_where_they_parse(qdeck: Program) -> None:
    made = qdeck.json("enqueue", "send", "to=ann", "n=3", "-q", "mail", "--priority", "critical")
    assert set(made) == {"id", "queue", "state"}
    assert (made["queue"], made["state"]) == ("mail", "pending")
    job = qdeck.json("job", made["id"])
    assert set(job) == JOB_FIELDS
    assert (job["payload"], job["priority"], job["task"]) == ({"to": "ann", "n": 3}, 8, "send")
    assert datetime.fromisoformat(job["created_at"]).utcoffset() is not None
    assert job["error"] is None
    assert job["started_at"] is None
    other = qdeck.json("enqueue", "send", 'to="Infinity"', "n=07", "-q", "mail")["id"]
    assert qdeck.json("job", other)["payload"] == {"to": "Infinity", "n": "07"}


def test_what_is_no_number_is_refused_by_the_name_of_its_field(qdeck: Program) -> None:
    said = qdeck.fails("enqueue", "unknown", "x=NaN")
    assert said == (
        "qdeck: task 'unknown': argument 'x': NaN is no JSON value; give a number, null, or the "
        'text "NaN" in quotes\n'
    )
    assert "'x': Infinity" in qdeck.fails("enqueue", "send", "x=Infinity", "--app", "app.py")
    assert "'x': -Infinity" in qdeck.fails("enqueue", "send", "--payload", '{"x": -Infinity}')
    assert "'a.b[1]': NaN" in qdeck.fails("enqueue", "send", 'a={"b": [0, NaN]}', "--dry-run")
    assert "NaN" in qdeck.fails("enqueue", "send", "--metadata", '{"x": NaN}', code=2)
    made = qdeck.enqueue("send", "x=1")
    assert "'x': NaN" in qdeck.fails("edit", made, "--payload", '{"x": NaN}')
    assert [row["id"] for row in qdeck.json("jobs")] == [made]


def test_enqueue_takes_a_payload_a_time_and_metadata(qdeck: Program) -> None:
    at = "2099-01-02T03:04:05+01:00"
    words = ("--payload", '{"to": "ann", "n": 1}', "n=2", "--at", at, "--metadata", '{"by": "me"}')
    made = qdeck.json("enqueue", "send", *words)
    assert made["state"] == "scheduled"
    job = qdeck.json("job", made["id"])
    assert job["payload"] == {"to": "ann", "n": 2}
    assert job["metadata"] == {"by": "me"}
    assert datetime.fromisoformat(job["available_at"]) == datetime.fromisoformat(at)
    later = qdeck.json("enqueue", "send", "to=x", "--delay", "60", "--max-retries", "7")
    assert later["state"] == "scheduled"
    assert qdeck.json("job", later["id"])["max_attempts"] == 8


def test_a_unique_job_is_enqueued_once(qdeck: Program) -> None:
    first = qdeck.enqueue("send", "to=x", "--unique", "k")
    assert qdeck.enqueue("send", "to=y", "--unique", "k") == first
    assert "already" in qdeck.run("enqueue", "send", "to=y", "--unique", "k").stdout


def test_with_an_app_arguments_are_checked_against_the_task(qdeck: Program) -> None:
    assert "'n'" in qdeck.fails("enqueue", "send", "to=x", "n=many", "--app", "app.py")
    assert "'n'" in qdeck.fails("enqueue", "send", "n=many", "to=x", "--app", "app.py", "--dry-run")
    assert "would enqueue" in qdeck.run("enqueue", "send", "to=x", "--dry-run").stdout
    assert qdeck.json("queues") == []
    made = qdeck.json("enqueue", "send", "to=x", "--app", "app.py")
    assert (made["queue"], qdeck.json("job", made["id"])["priority"]) == ("mail", 6)


def test_a_burst_runs_every_task_and_shows_results(qdeck: Program) -> None:
    sent = qdeck.enqueue("send", "to=ann", "n=2", "-q", "mail")
    paid = qdeck.enqueue("Pay", "order=7", "-q", "bulk")
    talked = qdeck.enqueue("talk", "lines=3", "-q", "bulk")
    qdeck.work()
    assert qdeck.json("job", sent)["result"] == "ann 2"
    assert qdeck.json("job", paid)["state"] == "completed"
    job = qdeck.json("job", talked)
    assert (job["result"], job["progress"], job["message"]) == (3, 50, "half way")
    texts = [line["text"] for line in qdeck.json("logs", talked)]
    assert texts == ["line 0 of 3", "line 1 of 3", "line 2 of 3", "said it"]
    assert "paid 7" in qdeck.run("logs", paid).stdout
    assert "paid 7" in qdeck.run("logs", paid, "-f").stdout
    assert "half way" in qdeck.run("job", talked).stdout
    listed = qdeck.enqueue("send", 'to="é"', "n=2", "-q", "mail", "--metadata", '{"a": [null]}')
    qdeck.work()
    shown = dict(re.split(" {2,}| ", line, maxsplit=1)
                 for line in qdeck.run("job", listed).stdout.splitlines())  # fmt: skip
    assert json.loads(shown["payload"]) == {"to": "é", "n": 2}
    assert json.loads(shown["metadata"])["a"] == [None]
    assert json.loads(shown["result"]) == "é 2"


def test_jobs_can_be_listed_by_queue_state_and_query(qdeck: Program) -> None:
    for number in range(5):
        qdeck.enqueue("send", "to=x", f"n={number}", "-q", "mail")
    late = qdeck.enqueue("send", "to=late", "-q", "bulk", "--delay", "99")
    rows = qdeck.json("jobs", "-q", "mail", "--state", "pending")
    assert [row["payload"]["n"] for row in rows] == [0, 1, 2, 3, 4]
    assert set(rows[0]) == JOB_FIELDS
    assert len(qdeck.json("jobs")) == 6
    assert [row["id"] for row in qdeck.json("jobs", "--state", "scheduled")] == [late]
    paged = qdeck.json("jobs", "-q", "mail", "--limit", "2", "--offset", "3")
    assert [row["payload"]["n"] for row in paged] == [3, 4]
    assert [row["id"] for row in qdeck.json("jobs", "args.to:late")] == [late]
    assert late in qdeck.run("jobs").stdout


def test_a_pause_holds_a_queue_or_a_task_until_it_is_taken_back(qdeck: Program) -> None:
    first = qdeck.enqueue("send", "to=x", "-q", "mail")
    assert "would pause" in qdeck.run("pause", "mail", "--dry-run").stdout
    qdeck.run("pause", "mail")
    assert qdeck.json("queues")[0]["paused"] is True
    qdeck.run("worker", "app.py", "-q", "mail", "--max-time", "1.5")
    assert qdeck.json("job", first)["state"] == "pending"
    qdeck.run("resume", "mail")
    qdeck.run("pause", "mail", "--task", "boom")
    held = qdeck.enqueue("boom", "why=x", "-q", "mail")
    qdeck.run("worker", "app.py", "-q", "mail", "--max-time", "1.5")
    assert qdeck.json("job", first)["state"] == "completed"
    assert qdeck.json("job", held)["state"] == "pending"
    assert any(row["task"] == "boom" and row["paused"] for row in qdeck.json("tasks"))
    qdeck.run("resume", "mail", "--task", "boom", "--yes")
    qdeck.work()
    assert qdeck.json("job", held)["state"] == "dead"


def test_cancel_and_delete_change_what_may_be_changed(qdeck: Program) -> None:
    one, two = (qdeck.enqueue("send", "to=x", "-q", "mail") for _ in range(2))
    assert "would have cancelled 1 job" in qdeck.run("cancel", one, "--dry-run").stdout
    qdeck.run("cancel", one)
    assert qdeck.json("job", one)["state"] == "cancelled"
    assert f"{one}: it has finished already" in qdeck.fails("cancel", one)
    assert "--yes" in qdeck.fails("delete", one, code=2)
    assert "would delete 2 jobs" in qdeck.run("delete", one, two, "--dry-run").stdout
    qdeck.run("delete", one, two, "--yes")
    qdeck.fails("job", one)
    qdeck.fails("job", two)
    assert qdeck.json("jobs") == []


def test_a_program_that_was_started_without_its_streams_asks_for_yes(qdeck: Program) -> None:
    job_id = qdeck.enqueue("send", "to=x", "-q", "mail")

    def closed(streams: str, *words: str) -> tuple[int, str, str]:
        line = ["sh", "-c", f'exec "$@" {streams}', "sh", *qdeck.command(*words)]
        done = subprocess.run(
            line, cwd=qdeck.folder, env=qdeck.environ, capture_output=True, text=True,
            timeout=PATIENCE, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    words: tuple[str, ...]
    for words in (("clear", "mail"), ("delete", job_id)):
        code, out, said = closed("<&-", *words)
        assert (code, out, said.count("\n")) == (2, "", 1), said
        assert "Without a terminal to ask on, give --yes." in said
    code, out, said = closed("<&-", "make", "job", "SendFax")
    assert (code, said.count("\n")) == (2, 1)
    assert "--path" in said
    assert closed("<&-", "schedule", "import") == (0, "", "")
    for words in (("dead", "export"), ("schedule", "export"), ("worker", "app.py", "--burst")):
        assert closed("<&- >&-", *words)[:2] == (0, ""), words
    assert closed("<&- >&- 2>&-", "clear", "mail") == (0, "", "")
    assert qdeck.json("job", job_id)["state"] == "completed"


def test_retry_gives_a_dead_job_another_round(qdeck: Program) -> None:
    dead = qdeck.enqueue("boom", "why=x", "-q", "mail")
    qdeck.work()
    job = qdeck.json("job", dead)
    assert (job["state"], job["error"]["type"], job["error"]["message"]) == (
        "dead",
        "ValueError",
        "x",
    )
    shown = qdeck.run("job", dead).stdout
    assert "run 1" in shown
    assert "ValueError: x" in shown
    assert "would retry 1 job" in qdeck.run("retry", dead, "--dry-run").stdout
    assert qdeck.json("job", dead)["state"] == "dead"
    qdeck.run("queue:retry", dead)
    assert qdeck.json("job", dead)["state"] == "pending"
    assert "another state" in qdeck.fails("retry", dead)


def test_the_dead_are_listed_grouped_retried_exported_and_deleted(qdeck: Program) -> None:
    ids = [qdeck.enqueue("boom", f"why=case {number}", "-q", "mail") for number in range(3)]
    other = qdeck.enqueue("talk", "lines=x", "-q", "bulk")
    qdeck.work()
    rows = qdeck.json("dead", "list", "-q", "mail")
    assert {row["id"] for row in rows} == set(ids)
    assert rows == qdeck.json("queue:dlq", "--queue", "mail")
    assert len(qdeck.json("dead", "list")) == 4
    assert len(qdeck.json("dead", "list", "--limit", "1", "--offset", "3")) == 1
    groups = qdeck.json("dead", "groups")
    assert [group["count"] for group in groups] == [3, 1]
    assert groups[0]["sample"] in ids
    exported = [json.loads(line) for line in qdeck.run("dead", "export").stdout.splitlines()]
    assert {job["id"] for job in exported} == {*ids, other}
    assert set(exported[0]) == JOB_FIELDS
    fingerprint = groups[0]["fingerprint"]
    assert "would retry 3" in qdeck.run("dead", "retry", "--group", fingerprint, "--dry-run").stdout
    assert "--yes" in qdeck.fails("dead", "retry", "--group", fingerprint, code=2)
    assert "3 jobs" in qdeck.run("dead", "retry", "--group", fingerprint, "--yes").stdout
    assert {qdeck.json("job", job_id)["state"] for job_id in ids} == {"pending"}
    assert "--yes" in qdeck.fails("dead", "delete", other, code=2)
    qdeck.run("dead", "delete", "--all", "-q", "bulk", "--yes")
    assert qdeck.json("dead", "list") == []
    assert "group" in qdeck.run("dead", "groups").stdout


def test_times_in_a_job_are_rfc_3339_in_utc(qdeck: Program) -> None:
    job = qdeck.json("job", qdeck.enqueue("send", "to=x"))
    assert (
        datetime.fromisoformat(job["created_at"]).astimezone(UTC).isoformat()[:16]
        == (job["created_at"][:16])
    )
