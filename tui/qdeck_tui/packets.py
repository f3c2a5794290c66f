"""Divides what a terminal sends into keys that are sure, Esc keys and pastes.

One packet may hold Esc and the next key, which looks like Alt with that key: here it is always Esc
and the key. A paste is taken as one text, whatever is in it.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

__all__ = ["Packet", "Packets"]

PASTE_BEGIN = "\x1b[200~"
PASTE_END = "\x1b[201~"
# Function and cursor keys (SS3), and control sequences: parameters, intermediates, a final byte.
SEQUENCE = re.compile(r"\x1b(?:O[A-Za-z]|\[(?:M[\x20-\xff]{3}|[0-?]*[ -/]*[@-LN-~]|[0-?]+M))")
UNFINISHED = re.compile(r"\x1b(?:O|\[(?:M[\x20-\xff]{0,2}|[0-?]*[ -/]*))?\Z")
CONTROLS = dict.fromkeys([*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), *range(0x7F, 0xA0)])


class Packet(NamedTuple):
    """Something typed: `keys` are for the parser, `escape` is the Esc key, `paste` a text."""

    kind: Literal["keys", "escape", "paste"]
    text: str = ""


class Packets:
    """Holds back what cannot be told yet; `flush` after a short silence decides it."""

    def __init__(self) -> None:
        self._rest = ""
        self._pasting = False

    @property
    def waiting(self) -> bool:
        """Whether something is held back that silence would decide."""
        return bool(self._rest) and not self._pasting

    def feed(self, data: str) -> list[Packet]:
        """Return what is certain in what came so far."""
        text, self._rest = self._rest + data, ""
        found: list[Packet] = []
        while text:
            if self._pasting:
                body, end, after = text.partition(PASTE_END)
                if not end:
                    self._rest = text
                    break
                found.append(Packet("paste", body.translate(CONTROLS)))
                self._pasting = False
                text = after
                continue
            plain, escape, _ = text.partition("\x1b")
            if plain:
                found.append(Packet("keys", plain))
                text = text[len(plain) :]
            if not escape:
                break
            if UNFINISHED.match(text):
                self._rest = text
                break
            if text.startswith(PASTE_BEGIN):
                self._pasting = True
                text = text[len(PASTE_BEGIN) :]
            elif sequence := SEQUENCE.match(text):
                found.append(Packet("keys", sequence[0]))
                text = text[sequence.end() :]
            else:
                found.append(Packet("escape"))
                text = text[1:]
        return found

    def flush(self) -> list[Packet]:
        """Return what was held back, now that nothing follows: Esc and what came with it."""
        if not self.waiting:
            return []
        rest, self._rest = self._rest, ""
        found = [Packet("escape")]
        return [*found, Packet("keys", rest[1:])] if rest[1:] else found
