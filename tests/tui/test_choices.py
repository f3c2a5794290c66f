"""Choices are written whole or not at all, and a bad file is a notice."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from qdeck_tui.choices import Choices, read_choices, save_choices


def test_choices_survive_and_leave_the_settings_beside_them(tmp_path: Path) -> None:
    path = tmp_path / "qdeck" / "config.toml"
    save_choices(path, {"theme": "light", "zone": "local"})
    path.write_text(path.read_text() + 'max_retries = 7\n[keys]\nretry = "R"\n')
    save_choices(path, {"theme": "mono", "zone": None})
    assert read_choices(path) == Choices("mono", None, {"retry": "R"})
    assert "max_retries = 7" in path.read_text()
    assert [each.name for each in path.parent.iterdir()] == ["config.toml"]


def test_comments_stay_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(
        "# mine\ntheme = 'dark'\nmax_retries = 7  # enough\n\n# keys of mine\n[keys]\nretry = 'R'\n"
    )
    save_choices(path, {"theme": "light", "zone": "local"})
    assert path.read_text() == (
        '# mine\ntheme = "light"\nmax_retries = 7  # enough\n\n# keys of mine\nzone = "local"\n\n'
        "[keys]\nretry = 'R'\n"
    )
    save_choices(path, {"theme": None})
    assert read_choices(path) == Choices(None, "local", {"retry": "R"})
    assert path.read_text().startswith("# mine\nmax_retries")


@pytest.mark.parametrize(
    "text",
    ['theme = """\na\nb"""\n', '"theme" = "x"\n', 'note = """\ntheme = 1\n[a]"""\n', "[a.b]"],
)
def test_a_file_of_another_form_says_the_same_afterwards(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    before = tomllib.loads(text)
    save_choices(path, {"theme": "light"})
    assert tomllib.loads(path.read_text()) == {**before, "theme": "light"}


def test_no_file_holds_no_choices(tmp_path: Path) -> None:
    assert read_choices(tmp_path / "config.toml") == Choices()


def test_bad_values_are_notices(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('theme = 3\nzone = "mars"\n[keys]\nretry = 1\nopen = "o"\n')
    found = read_choices(path)
    assert (found.theme, found.zone, found.keys) == (None, None, {"open": "o"})
    assert len(found.notices) == 3


def test_a_file_that_is_not_toml_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("theme = \n")
    assert "not valid TOML" in read_choices(path).notices[0]
    with pytest.raises(ValueError, match="not valid TOML"):
        save_choices(path, {"theme": "dark"})
    assert path.read_text() == "theme = \n"


def test_the_mode_of_the_file_and_a_link_to_it_are_kept(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.toml"
    real.write_text('theme = "dark"\n')
    real.chmod(0o640)
    link = tmp_path / "config.toml"
    link.symlink_to(real)
    save_choices(link, {"theme": "light"})
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert read_choices(link).theme == "light"
