"""How the text of a field stands in the file of an editor, and the lines of a file in a field.

Only blanks between words differ: what is a value stays what it is, byte for byte.
"""

from __future__ import annotations

import json
import re
from typing import Literal

__all__ = ["Shape", "field_text", "file_text", "flaw"]

#: How a field is written down: `line` is one line, `json` may be spread over many, `parts` stand
#: in lines of their own and with ` ; ` between them in the field.
Shape = Literal["line", "json", "parts"]

SIGNS = ("{", "}", "[", "]", ",", ":")
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"?|[][{},:]|[^\s"\][{},:]+', re.DOTALL)


def file_text(shape: Shape, text: str) -> str:
    """Return what stands in a field as the lines of a file."""
    if shape == "json":
        return _spread(text) + "\n"
    return (text.replace(" ; ", "\n") if shape == "parts" else text) + "\n"


def field_text(shape: Shape, text: str) -> str:
    """Return the lines of a file as what stands in a field; only blanks between words differ."""
    if shape == "json":
        return _joined(text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (" ; " if shape == "parts" else " ").join(lines)


def flaw(shape: Shape, text: str) -> str:
    """Return what is wrong with the lines of a file, by their own numbers; empty for nothing."""
    if shape == "json" and text.strip():
        try:
            json.loads(text)
        except ValueError as error:
            return f"no JSON: {error}"
    lines = [line for line in text.splitlines() if line.strip()]
    return f"one line is wanted, not {len(lines)}" if shape == "line" and len(lines) > 1 else ""


def _spread(text: str) -> str:
    """Return JSON with a line for each of its entries; nothing but blanks is added or left out."""
    lines, line, depth = [], "", 0
    tokens = _tokens(text)
    for at, token in enumerate(tokens):
        after = tokens[at + 1 : at + 2]
        if token in "]}":
            if tokens[at - 1 : at] not in (["{"], ["["]):
                lines.append(line)
                depth = max(0, depth - 1)
                line = "  " * depth
            line += token
        elif token in "{[" and after not in (["}"], ["]"]):
            depth += 1
            lines.append(line + token)
            line = "  " * depth
        elif token == ",":
            lines.append(line + token)
            line = "  " * depth
        else:
            line += token
    return "\n".join([*lines, line])


def _joined(text: str) -> str:
    """Return JSON in one line."""
    words = (token + " " if token == "," else token for token in _tokens(text))
    return " ".join("".join(words).splitlines()).strip()


def _tokens(text: str) -> list[str]:
    """Return the tokens of JSON: a blank follows a colon, and parts what would else be one word."""
    found: list[str] = []
    for token in TOKEN.findall(text):
        apart = found and token not in SIGNS and found[-1].strip() not in SIGNS
        found.append(f" {token}" if apart else f"{token} " if token == ":" else token)
    return found
