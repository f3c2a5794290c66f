"""The words about schedules, each run as a process of its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.commands import Program

from qdeck.cli import main

FIELDS = {
    "name", "expression", "zone", "task", "queue", "payload", "options", "misfire", "overlap",
    "jitter", "catch_up", "enabled", "disabled_until", "revision", "next_slot", "last_slot",
    "last_job", "last_outcome", "late_s", "declared", "drifted", "edited_by", "edited_at", "fault",
    "history",
}  # fmt: skip
ADD = ("schedule", "add", "nightly", "--cron", "0 2 * * 1-5", "--task", "send")


def add(qdeck: Program, *words: str) -> None:
    """Add the schedule of these tests."""
    qdeck.run(*ADD, "--payload", '{"to": "a"}', "--queue", "mail", *words)


def test_a_schedule_is_added_listed_shown_edited_and_removed(qdeck: Program) -> None:
    assert qdeck.json("schedule", "list") == []
    assert "would add" in qdeck.run(*ADD, "--dry-run").stdout
    assert qdeck.json("schedule", "list") == []
    add(qdeck, "--tz", "Europe/Berlin", "--misfire", "latest", "--overlap", "allow",
        "--option", "priority=high", "--option", "unique=true", "--as", "ana@here")  # fmt: skip
    (found,) = qdeck.json("schedule", "list")
    assert set(found) == FIELDS
    assert found["edited_by"] == "ana@here"
    assert (found["queue"], found["zone"], found["payload"], found["options"]) == (
        "mail", "Europe/Berlin", {"to": "a"}, {"priority": 6, "unique": True},
    )  # fmt: skip
    assert qdeck.json("schedule", "show", "nightly") == found
    assert "0 2 * * 1-5" in qdeck.run("schedule", "list").stdout
    assert "Europe/Berlin" in qdeck.run("schedule", "show", "nightly").stdout
    assert "already" in qdeck.fails(*ADD)
    qdeck.run("schedule", "edit", "nightly", "--cron", "mon 9:00", "--revision", "1")
    assert "revision 2" in qdeck.fails("schedule", "edit", "nightly", "--jitter", "5",
                                       "--revision", "1")  # fmt: skip
    found = qdeck.json("schedule", "show", "nightly")
    assert (found["revision"], found["expression"], found["payload"]) == (
        2, "0 9 * * mon", {"to": "a"},
    )  # fmt: skip
    assert "--yes" in qdeck.fails("schedule", "remove", "nightly", code=2)
    assert "would remove" in qdeck.run("schedule", "remove", "nightly", "--dry-run").stdout
    qdeck.run("schedule", "remove", "nightly", "--yes")
    assert "no schedule 'nightly'" in qdeck.fails("schedule", "show", "nightly")
    verbs = [row["verb"] for row in qdeck.json("audit")]
    assert sorted(verbs) == ["add schedule", "edit schedule", "remove schedule"]


def test_a_schedule_is_stopped_and_comes_back(qdeck: Program) -> None:
    add(qdeck)
    qdeck.run("schedule", "disable", "nightly", "--until", "+2h")
    found = qdeck.json("schedule", "show", "nightly")
    until = datetime.fromisoformat(found["disabled_until"])
    assert timedelta(hours=1) < until - datetime.now(UTC) <= timedelta(hours=2)
    assert "off until" in qdeck.run("schedule", "list").stdout
    qdeck.run("schedule", "disable", "nightly")
    assert qdeck.json("schedule", "show", "nightly")["disabled_until"] is None
    qdeck.run("schedule", "enable", "nightly")
    assert qdeck.json("schedule", "show", "nightly")["enabled"] is True
    assert "no time" in qdeck.fails("schedule", "disable", "nightly", "--until", "soonish", code=2)


def test_a_schedule_is_run_now_and_its_past_made_up_for(qdeck: Program) -> None:
    add(qdeck)
    assert "would enqueue" in qdeck.run("schedule", "run", "nightly", "--dry-run").stdout
    qdeck.run("schedule", "run", "nightly", "--as", "ana@here")
    (job,) = qdeck.json("jobs", "-q", "mail")
    assert job["metadata"] == {"schedule": "nightly", "triggered_by": "ana@here"}
    span = ("--from", "2026-03-02T00:00:00Z", "--to", "2026-03-07T00:00:00Z")
    planned = qdeck.json("schedule", "backfill", "nightly", *span, "--dry-run")
    assert planned == {
        "name": "nightly",
        "total": 5,
        "created": 0,
        "existing": 0,
        "slots": [f"2026-03-0{day}T02:00:00Z" for day in range(2, 7)],
        "dry_run": True,
    }
    assert "--yes" in qdeck.fails("schedule", "backfill", "nightly", *span, code=2)
    assert "enqueued 5" in qdeck.run("schedule", "backfill", "nightly", *span, "--yes").stdout
    assert "5 had" in qdeck.run("schedule", "backfill", "nightly", *span, "--yes").stdout
    qdeck.run("worker", "app.py", "-q", "mail", "--burst")
    jobs = qdeck.json("jobs", "-q", "mail", "--state", "completed")
    slots = sorted(job["metadata"].get("slot", "") for job in jobs)
    assert slots == ["", *(f"2026-03-0{day}T02:00:00Z" for day in range(2, 7))]


def test_an_export_imports_as_the_same_bytes(qdeck: Program, tmp_path: Path) -> None:
    add(qdeck, "--jitter", "5", "--catch-up", "60")
    qdeck.run("schedule", "add", "hourly", "--cron", "@hourly", "--task", "boom")
    qdeck.run("schedule", "move", "hourly", "bulk")
    text = qdeck.run("schedule", "export").stdout
    file = tmp_path / "plans.toml"
    qdeck.run("schedule", "export", "-o", str(file))
    assert file.read_text(encoding="utf-8") == text
    assert qdeck.json("schedule", "import", str(file))["unchanged"] == ["hourly", "nightly"]
    for name in ("hourly", "nightly"):
        qdeck.run("schedule", "remove", name, "--yes")
    assert qdeck.run("schedule", "export").stdout == ""
    shown = qdeck.run("schedule", "import", str(file), "--dry-run").stdout
    assert "add    hourly, nightly" in shown
    assert qdeck.json("schedule", "list") == []
    assert qdeck.json("schedule", "import", str(file))["added"] == ["hourly", "nightly"]
    assert qdeck.run("schedule", "export").stdout == text
    file.write_text(text.replace("@hourly", "@daily"), encoding="utf-8")
    assert "--yes" in qdeck.fails("schedule", "import", str(file), code=2)
    assert qdeck.json("schedule", "import", str(file), "--yes")["changed"] == ["hourly"]


def test_what_an_app_declares_is_created_by_its_worker_and_adopted_by_hand(qdeck: Program) -> None:
    app = qdeck.folder / "app.py"
    app.write_text(
        app.read_text(encoding="utf-8") + '\n\nsend.cron("@daily", payload={"to": "x"})\n',
        encoding="utf-8",
    )
    qdeck.work()
    (found,) = qdeck.json("schedule", "list")
    assert (found["name"], found["declared"], found["drifted"]) == ("send", True, None)
    app.write_text(app.read_text(encoding="utf-8").replace("@daily", "@weekly"), encoding="utf-8")
    qdeck.work()
    assert qdeck.json("schedule", "show", "send")["drifted"] == "@weekly"
    assert "code says @weekly" in qdeck.run("schedule", "list").stdout
    qdeck.run("schedule", "adopt", "send")
    assert qdeck.json("schedule", "show", "send")["expression"] == "@weekly"


def test_the_next_slots_of_an_expression_need_no_server(qdeck: Program) -> None:
    words = ("schedule", "next", "0 9 * * mon-fri", "--tz", "Europe/Berlin", "-n", "2")
    start = ("--from", "2026-03-27T09:00:00Z")
    assert qdeck.json(*words, *start) == ["2026-03-30T07:00:00Z", "2026-03-31T07:00:00Z"]
    said = qdeck.run(*words, *start).stdout
    assert "Mon 2026-03-30 09:00:00 CEST" in said
    assert "ok    fires 5 times a week" in said
    assert len(qdeck.json("schedule", "next", "0 0 0 * * 0", "--tz", "UTC")) == 5


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("add", "x", "--cron", "61 * * * *", "--task", "t"), 1, "minute"),
        (("add", "x", "--cron", "0 0 30 2 *", "--task", "t"), 1, "never fires"),
        (("add", "x", "--cron", "* * * * *"), 2, "--task"),
        (("add", "x", "--cron", "* * * * *", "--task", "t", "--payload", "{"), 2, "JSON"),
        (("add", "x", "--cron", "* * * * *", "--task", "t", "--payload", "[]"), 2, "object"),
        (("add", "x", "--cron", "* * * * *", "--task", "t", "--misfire", "x"), 2, "latest"),
        (("add", "x", "--cron", "* * * * *", "--task", "t", "--tz", "Mars"), 1, "Mars"),
        (("add", "x", "--cron", "* * * * *", "--task", "t", "--option", "x"), 2, "NAME=VALUE"),
        (("add", "a b", "--cron", "* * * * *", "--task", "t"), 1, "schedule name"),
        (("edit", "x"), 2, "--cron"),
        (("edit", "x", "--jitter", "1"), 1, "no schedule"),
        (("enable", "x"), 1, "no schedule"),
        (("run", "x"), 1, "no schedule"),
        (("next", "0 25 * * *"), 1, "hour"),
        (("next", "* * * * *", "--tz", "Mars"), 1, "Mars"),
        (("next", "* * * * *", "--from", "soon"), 2, "--from"),
    ],
)
def test_what_is_not_usable_is_said_in_one_line(
    qdeck: Program, words: tuple[str, ...], code: int, said: str
) -> None:
    assert said in qdeck.fails("schedule", *words, code=code)


def test_what_is_no_number_is_refused_in_the_payload_of_a_schedule(qdeck: Program) -> None:
    add(qdeck)
    before = qdeck.json("schedule", "show", "nightly")
    every = ("schedule", "add", "x", "--cron", "* * * * *", "--task", "t")
    edit = ("schedule", "edit", "nightly")
    assert "'a[1]': NaN is no JSON" in qdeck.fails(*every, "--payload", '{"a": [0, NaN]}')
    assert "'a': -Infinity" in qdeck.fails(*edit, "--payload", '{"a": -Infinity}', "--dry-run")
    assert "metadata 'a': NaN" in qdeck.fails(*edit, "--option", 'metadata={"a": NaN}')
    assert [row["name"] for row in qdeck.json("schedule", "list")] == ["nightly"]
    assert qdeck.json("schedule", "show", "nightly") == before


def test_every_word_about_schedules_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("list", "show", "add", "edit", "remove", "enable", "disable", "run", "next",
                 "backfill", "adopt", "move", "export", "import"):  # fmt: skip
        assert main(["schedule", word, "--help"]) == 0
        assert "Usage: qdeck schedule" in capsys.readouterr().out
