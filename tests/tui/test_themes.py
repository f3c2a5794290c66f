"""Themes: the bundled ones can be read by everybody, and a user's bad file is a notice."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from tests.tui.stage import running
from tests.tui.stock import filled
from textual.color import Color
from textual.theme import Theme

from qdeck_tui.palette import Palette
from qdeck_tui.themes import load_themes, read_theme

BUNDLED = ("colour-safe", "dark", "high-contrast", "light", "mono", "terminal")
WORDS = ("", "dim", "bold", "good", "warn", "bad", "accent", "title", "key", "mark")
OVER = ("", "cursor", "bar", "found")

GOOD = """\
title = "Mine"
dark = true

[colours]
background = "#000000"
surface = "#000000"
panel = "#101010"
foreground = "#ffffff"
primary = "#80c0ff"
secondary = "#80ffc0"
accent = "#ffff80"
success = "#80ff80"
warning = "#ffc080"
error = "#ff8080"

[text]
dim = "#b0b0b0"
"""


def luminance(colour: Color) -> float:
    parts = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (value / 255 for value in colour.rgb)
    ]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(one: Color, other: Color) -> float:
    """Return the contrast of two colours as WCAG 2 defines it, 1 to 21."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def bundled(name: str) -> Theme:
    return load_themes().themes[name]


def test_six_themes_come_along() -> None:
    found = load_themes()
    assert found.notices == ()
    assert tuple(found.themes) == BUNDLED


@pytest.mark.parametrize("name", [name for name in BUNDLED if name != "terminal"])
def test_every_text_on_every_ground_can_be_read(name: str) -> None:
    theme = bundled(name)
    palette = Palette(theme, colour=True)
    assert theme.background is not None
    paper = Color.parse(theme.background)
    least = 7.0 if name == "high-contrast" else 4.5
    for word, over in product(WORDS, OVER):
        style = palette.style(f"{word} {over}")
        ink = style.color
        ground = Color.from_rich_color(style.bgcolor) if style.bgcolor else paper
        assert ink is not None
        found = contrast(Color.from_rich_color(ink), ground)
        assert found >= least, f"{word or 'text'} on {over or 'the ground'}: {found:.2f}"


async def test_the_console_can_be_switched_to_every_theme() -> None:
    async with running(filled()) as desk:
        for name in (*BUNDLED, "dark"):
            word = ("minus" if each == "-" else each for each in name)
            await desk.press("colon", *"theme", "space", *word, "enter")
            await desk.until(f"theme {name}")
            assert desk.app.theme == name


async def test_the_console_starts_in_the_colours_of_the_terminal_itself() -> None:
    async with running(filled(), theme="terminal") as desk:
        await desk.until("KeyError")
        assert desk.app.theme == "terminal"


@pytest.mark.parametrize("name", BUNDLED)
def test_a_selected_row_differs_without_reading_its_colours(name: str) -> None:
    style = Palette(bundled(name), colour=True).style("cursor")
    assert style.bold or style.reverse


def test_the_terminal_theme_names_only_the_terminals_own_colours() -> None:
    palette = Palette(bundled("terminal"), colour=True)
    for word, over in product(WORDS, OVER):
        style = palette.style(f"{word} {over}")
        for colour in (style.color, style.bgcolor):
            assert colour is None or colour.is_default or colour.is_system_defined


def test_the_monochrome_theme_has_no_hue() -> None:
    palette = Palette(bundled("mono"), colour=True)
    for word, over in product(WORDS, OVER):
        style = palette.style(f"{word} {over}")
        for colour in (style.color, style.bgcolor):
            if colour is not None:
                assert len(set(Color.from_rich_color(colour).rgb)) == 1


def test_states_differ_for_any_colour_vision() -> None:
    theme = bundled("colour-safe")
    assert len({theme.success, theme.warning, theme.error}) == 3
    for value in (theme.success, theme.warning, theme.error):
        assert value is not None
        red, green, blue = Color.parse(value).rgb
        assert abs(red - green) > 20 or blue > red + 60 or red > blue + 60


def test_a_users_theme_is_added_and_replaces_one_of_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(GOOD)
    (tmp_path / "light.toml").write_text(GOOD)
    (tmp_path / "notes.txt").write_text("not a theme")
    found = load_themes([tmp_path / "missing", tmp_path])
    assert found.notices == ()
    assert set(found.themes) == {*BUNDLED, "mine"}
    assert found.themes["light"].background == "#000000"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (GOOD.replace('"#101010"', '"#10101"'), "line 7: panel is not a colour: '#10101'"),
        (GOOD.replace('panel = "#101010"\n', ""), "line 4: [colours] lacks panel"),
        (GOOD + 'dimm = "#000000"\n', "line 18: unknown colour 'dimm' in [text]"),
        (GOOD.replace("dark = true", "dark = 1"), "line 2: dark is true or false"),
        (GOOD.replace("dark = true", "dark = "), "line 2: Invalid value"),
        (GOOD.replace("dark = true", "drak = true"), "line 2: unknown key 'drak'"),
        (GOOD.replace('"#b0b0b0"', "7"), "line 17: dim is a colour as text, not 7"),
        (GOOD.replace('"#b0b0b0"', '"ansi_red"'), "line 17: dim is to be no ansi_"),
        ("", "line 1: [colours] lacks background"),
        ("colours = 3", "line 1: [colours] is a table of colours"),
    ],
)
def test_a_bad_theme_names_its_line(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r"^line") as caught:
        read_theme("mine", text)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_files_are_notices_and_the_others_still_load(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"# ok\n# \xff\n")
    (tmp_path / "b.toml").write_text("x" * 70_000)
    (tmp_path / "Bad Name.toml").write_text(GOOD)
    (tmp_path / "c.toml").mkdir()
    (tmp_path / "mine.toml").write_text(GOOD)
    found = load_themes([tmp_path])
    assert "mine" in found.themes
    assert len(found.notices) == 4
    assert any("a.toml, line 2: not UTF-8" in notice for notice in found.notices)
    assert all("\n" not in notice for notice in found.notices)
