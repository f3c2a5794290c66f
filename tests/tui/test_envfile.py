"""The file of variables of a local worker: what it may hold, and how a bad line is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from qdeck_tui.envfile import read_env


def written(tmp_path: Path, text: bytes) -> str:
    """Return the path of a file with a text."""
    path = tmp_path / ".env"
    path.write_bytes(text)
    return str(path)


def test_names_and_values_are_read_and_nothing_in_them_is_replaced(tmp_path: Path) -> None:
    text = (
        b"# a comment\r\n\nA=1\n  export B = two words  \nC=\"x # y\"\nD='$A'\nE=\nF=a=b#c\nA=2\n"
    )
    assert read_env(written(tmp_path, text)) == {
        "A": "2", "B": "two words", "C": "x # y", "D": "$A", "E": "", "F": "a=b#c",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"A=1\nsecret words\n", "line 2 is no NAME=value"),
        (b"2A=secret", "line 1 is no NAME=value"),
        (b"=secret", "line 1 is no NAME=value"),
        (b"A-B=secret", "line 1 is no NAME=value"),
        (b'\nA="secret', "line 2: the quotes of A do not close"),
        (b"A='secret\"", "line 1: the quotes of A do not close"),
        (b"A=secret\0", "line 1: A holds a NUL"),
        (b"A=secret\xff", "is no UTF-8 text: byte 9"),
        (b"secret" * 200_000, "is larger than 1 MiB"),
    ],
)
def test_a_bad_line_is_named_and_its_value_is_not(tmp_path: Path, text: bytes, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match=r"^env ") as caught:
        read_env(path)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        read_env(str(tmp_path / "missing"))
    with pytest.raises(ValueError, match="cannot be read: Is a directory"):
        read_env(str(tmp_path))
