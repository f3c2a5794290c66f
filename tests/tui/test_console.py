"""The views and keys of the console on the in-memory twin."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.tui.stage import running
from tests.tui.stock import filled
from tests.tui.twin import START, Twin

from qdeck.admin import JobRef, JobRow


async def test_the_first_screen_shows_verdict_queues_and_failures() -> None:
    async with running(filled()) as desk:
        text = await desk.until("KeyError")
        assert "VERDICT" in text
        assert "250 dead jobs" in text
        assert "emails" in text


async def test_unknown_ages_and_rates_are_question_marks() -> None:
    async with running(filled()) as desk:
        text = await desk.until("emails")
        row = next(line for line in text.splitlines() if "> emails" in line)
        assert row.split()[2:5] == ["40", "?", "0"]


@pytest.mark.parametrize(
    ("key", "seen"),
    [
        ("2", "QUEUES"),
        ("3", "build_report"),
        ("4", "SCHEDULED"),
        ("5", "no schedules: n adds one"),
        ("6", "DEAD in"),
        ("7", "host-a:11"),
        ("9", "nothing on record yet"),
    ],
)
async def test_each_digit_opens_its_view(key: str, seen: str) -> None:
    async with running(filled()) as desk:
        await desk.press(key)
        await desk.until(seen)


@pytest.mark.parametrize("key", ["e", "m", "t"])
async def test_keys_of_views_that_do_not_exist_do_nothing_and_are_not_shown(key: str) -> None:
    async with running(filled()) as desk:
        before = await desk.until("KeyError")
        await desk.press(key)
        assert desk.app.current_mode == "overview"
        assert desk.app.sheet is None
        assert f" {key} " not in before.splitlines()[-1]


async def test_the_cursor_stays_on_its_job_when_rows_arrive_before_it() -> None:
    twin = filled()
    async with running(twin) as desk:
        await desk.press("2", "enter")
        await desk.until("send_invoice")
        await desk.press("tab", "j", "j", "j")
        view = desk.app.view_now()
        assert view is not None
        table = view.jobs  # type: ignore[attr-defined]
        chosen = table.current_id()
        old = dict(twin.records)
        twin.records.clear()
        for at in range(7):
            twin.add(JobRow(JobRef(f"01NEW{at}", "emails"), "send_invoice", "pending"))
        twin.records.update(old)
        await desk.until("of 47")
        assert table.current_id() == chosen


async def test_a_filter_narrows_queues_while_it_is_typed_and_escape_takes_it_away() -> None:
    async with running(filled()) as desk:
        await desk.until("webhooks")
        await desk.press("2", "slash", "i", "m", "a")
        await desk.until(lambda text: "images" in text and "> emails" not in text)
        await desk.press("enter")
        await desk.until("filter: ima")
        await desk.press("escape")
        await desk.until("emails")


async def test_brackets_switch_the_states_of_a_queue() -> None:
    async with running(filled()) as desk:
        await desk.press("2", "enter")
        await desk.until("PENDING 40")
        await desk.press("left_square_bracket")
        await desk.until("DEAD 125")


async def test_the_most_overdue_job_is_the_first_of_the_running_ones() -> None:
    async with running(filled()) as desk:
        await desk.press("3")
        text = await desk.until("build_report")
        rows = [line for line in text.splitlines() if "build_report" in line]
        assert "20s" in rows[0]


async def test_a_job_opens_on_its_log_and_brackets_show_the_other_sections() -> None:
    async with running(filled()) as desk:
        await desk.press("3", "enter")
        await desk.until("step 79 of build_report")
        await desk.press("right_square_bracket")
        await desk.until("no error: it has not failed")
        await desk.press("right_square_bracket", "right_square_bracket")
        await desk.until('{"invoice":')


async def test_a_new_log_line_is_followed_until_the_operator_moves() -> None:
    twin = filled()
    async with running(twin) as desk:
        await desk.press("3", "enter")
        await desk.until("step 79")
        job = desk.app.view_now().ref.id  # type: ignore[union-attr]
        last = twin.logs[job][-1]
        twin.logs[job].append(replace(last, cursor="80", text="a fresh line"))
        await desk.until("a fresh line")
        await desk.press("g")
        await desk.until("step 0 of")
        twin.logs[job].append(replace(last, cursor="81", text="another line"))
        await desk.until("82 lines")
        assert "another line" not in desk.text()
        await desk.press("G")
        await desk.until("another line")


async def test_a_search_in_the_log_goes_from_hit_to_hit() -> None:
    async with running(filled()) as desk:
        await desk.press("3", "enter")
        await desk.until("step 79")
        await desk.press("slash", *"currency", "equals_sign", *"7")
        await desk.press("enter")
        await desk.until("step 7 of")
        await desk.press("n")
        await desk.until("step 70 of")
        assert "follow off" in desk.text()


async def test_the_log_shows_errors_only_and_saves_to_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with running(filled()) as desk:
        await desk.press("3", "enter")
        await desk.until("step 79")
        await desk.press("L", "L", "L")
        await desk.until(lambda text: "ERROR" in text and "INFO " not in text)
        await desk.press("O")
        await desk.until("saved to")


async def test_dead_jobs_are_grouped_and_show_a_sample() -> None:
    async with running(filled()) as desk:
        await desk.press("6")
        text = await desk.until("billing/mail.py:88")
        assert "250 DEAD in 4 groups" in text
        await desk.press("right_square_bracket")
        await desk.until("2/84")


async def test_groups_that_are_still_being_found_say_so() -> None:
    async with running(filled(dead=5000)) as desk:
        await desk.press("6")
        await desk.until("looked at so far")
        await desk.until(lambda text: "looked at so far" not in text and "5,000 DEAD" in text)


async def test_a_filter_on_dead_jobs_opens_the_flat_list() -> None:
    async with running(filled()) as desk:
        await desk.press("6")
        await desk.until("DEAD in")
        await desk.press("slash", *"88121", "enter")
        text = await desk.until("filter: 88121")
        await desk.until("scanned")
        assert "88121" in text


async def test_a_pasted_job_id_opens_the_job() -> None:
    twin = filled()
    twin.add(JobRow(JobRef("01ABCDEFGHJKMNPQRSTVWXYZ01", "emails"), "lonely", "completed"))
    async with running(twin) as desk:
        await desk.press("colon")
        desk.paste("  01ABCDEFGHJKMNPQRSTVWXYZ01 \n")
        await desk.until("open job STVWXYZ01"[:8])
        await desk.press("enter")
        await desk.until("lonely")


async def test_a_prompt_that_matches_nothing_runs_nothing() -> None:
    async with running(filled()) as desk:
        await desk.press("colon", *"quite", "enter")
        await desk.until("nothing was run")
        assert desk.app.is_running


async def test_tab_completes_a_prompt_and_enter_runs_it() -> None:
    async with running(filled()) as desk:
        await desk.press("colon", *"wor", "tab")
        await desk.until(":workers")
        await desk.press("enter")
        await desk.until("host-a:11")


async def test_help_lists_only_what_works_here() -> None:
    async with running(filled()) as desk:
        await desk.press("6")
        await desk.until("DEAD in")
        await desk.press("question_mark")
        text = await desk.until("HELP")
        assert "retry dead jobs" in text
        assert "pause" not in text
        await desk.press("escape")
        await desk.until(lambda text: "HELP" not in text)


async def test_one_broken_part_leaves_the_others_alone() -> None:
    twin = filled()
    twin.failing.add("errors")
    async with running(twin) as desk:
        text = await desk.until("errors is broken here")
        assert "emails" in text
        assert "build_report" in text


async def test_with_the_server_gone_data_stays_and_writes_are_refused() -> None:
    twin = filled()
    async with running(twin) as desk:
        await desk.press("6")
        await desk.until("DEAD in")
        twin.failing |= {"snapshot", "errors", "workers", "job"}
        await desk.until("snapshot is broken")
        await desk.press("r")
        text = await desk.until("refused")
        assert "KeyError" in text
        assert desk.app.sheet is None
        twin.failing.clear()
        await desk.until("live")


async def test_hostile_text_is_shown_and_never_obeyed() -> None:
    twin = filled()
    name = "\x1b[31mred\x1b]52;c;AAAA\x07[bold]x[/]\u202e\u200d\ud83d\ude00".encode(
        "utf-16", "surrogatepass"
    ).decode("utf-16")
    twin.add(
        JobRow(
            JobRef("01HOSTILE", "emails"),
            name,
            "running",
            started_at=START - timedelta(days=9),
            args=name * 1000,
            message=name,
        )
    )
    async with running(twin, size=(200, 40)) as desk:
        await desk.press("3")
        text = await desk.until("[bold]x[/]")
        assert "\x1b" not in text
        assert "\x07" not in text
        assert "\u202e" not in text


async def test_ascii_draws_nothing_else() -> None:
    async with running(filled(), ascii=True) as desk:
        text = await desk.until("KeyError")
        assert text.isascii()


async def test_without_colour_no_style_has_a_colour() -> None:
    async with running(filled(), colour=False) as desk:
        await desk.until("KeyError")
        styles = [desk.app.palette.style(word) for word in ("", "bad", "good", "cursor", "dim")]
        assert all(style.color is None and style.bgcolor is None for style in styles)


async def test_plain_has_no_boxes_and_the_cursor_stands_on_the_row() -> None:
    async with running(filled(), plain=True) as desk:
        text = await desk.until("KeyError")
        assert "─" not in text
        assert "30 MIN" not in text
        row = next(at for at, line in enumerate(text.splitlines()) if "> emails" in line)
        assert desk.app.cursor_position.y == row


async def test_a_tiny_screen_says_so_and_takes_only_quit() -> None:
    async with running(filled()) as desk:
        await desk.press("6")
        await desk.until("DEAD in")
        await desk.press("r")
        await desk.until("y yes")
        await desk.pilot.resize_terminal(50, 12)
        await desk.until("too small")
        assert desk.app.sheet is None
        await desk.press("3", "x", "y")
        assert desk.app.current_mode == "dead"
        await desk.pilot.resize_terminal(80, 24)
        await desk.until("DEAD in")
        assert "retry" not in desk.twin.started


async def test_marks_end_with_the_list() -> None:
    async with running(filled()) as desk:
        await desk.press("6", "enter")
        await desk.until("send_invoice in")
        await desk.press("space", "space")
        await desk.until("2 marked")
        await desk.press("escape")
        await desk.until(lambda text: "marked" not in text)


async def test_quitting_deeper_says_where_escape_leads() -> None:
    async with running(filled()) as desk:
        await desk.press("2", "enter")
        await desk.until("TASKS")
        await desk.press("q")
        await desk.until("Esc goes back to Queues")


async def test_a_frozen_screen_reads_nothing() -> None:
    async with running(filled()) as desk:
        await desk.press("F")
        await desk.until("frozen")
        await desk.pilot.pause(0.3)
        before = len(desk.twin.calls)
        await desk.pilot.pause(0.5)
        assert len(desk.twin.calls) == before


async def test_only_what_the_view_on_screen_shows_is_read() -> None:
    async with running(filled()) as desk:
        await desk.press("7")
        await desk.until("when it was lost")
        await desk.until(lambda text: {"snapshot", "workers", "job"} <= set(desk.twin.calls))
        await desk.press("down")
        await desk.until(lambda text: "> host-a:11" in text and "when it was lost" not in text)
        await desk.pilot.pause(0.3)
        desk.twin.calls.clear()
        await desk.pilot.pause(0.5)
        assert set(desk.twin.calls) <= {"snapshot", "workers"}


async def test_an_empty_view_says_why_and_which_key_helps() -> None:
    async with running(Twin()) as desk:
        await desk.press("3")
        await desk.until("n there starts a local one")


async def test_a_filter_within_a_group_shows_jobs_like_it_only() -> None:
    async with running(filled()) as desk:
        await desk.press("6", "j", "j", "enter")
        await desk.until("post_hook in emails")
        await desk.press("slash", *"invoice", "enter")
        text = await desk.until("filter: invoice")
        text = await desk.until("F3000186")
        assert "send_invoice " not in text


async def test_a_click_selects_a_row_and_a_tab() -> None:
    async with running(filled()) as desk:
        text = await desk.until("webhooks")
        row = next(at for at, line in enumerate(text.splitlines()) if " webhooks " in line)
        await desk.pilot.click(offset=(6, row))
        await desk.until("> webhooks")
        await desk.pilot.click(offset=(8, 1))
        await desk.until("IN/M")
        assert desk.app.current_mode == "queues"


async def test_a_theme_is_previewed_while_its_name_is_typed_and_kept_on_enter(
    tmp_path: Path,
) -> None:
    config = tmp_path / "config.toml"
    async with running(filled(), config=config) as desk:
        await desk.press("colon", *"theme", "space", *"light")
        while desk.app.theme != "light":
            await desk.pilot.pause(0.02)
        assert not config.exists()
        await desk.press("escape")
        assert desk.app.theme == "dark"
        await desk.press("colon", *"theme", "space", *"light", "enter")
        await desk.until("theme light")
        assert 'theme = "light"' in config.read_text()


async def test_the_zone_is_switched_and_kept(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    async with running(filled(), config=config) as desk:
        await desk.press("Z")
        await desk.until("times in local")
        assert 'zone = "local"' in config.read_text()
