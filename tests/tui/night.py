"""An operator at a console over a slow line, whose key presses and typed characters are counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from tests.proxies import FarProxy
from tests.servers import Server
from tests.tui.fixture import Shop
from tests.tui.pty import KEYS, Pty

__all__ = ["ROUND_TRIP", "Night", "Operator"]

#: Seconds to the server and back.
ROUND_TRIP = 0.15
#: Seconds from one key to the next; what comes faster may be a paste.
HAND = 0.1


class Operator:
    """One person at one console. `keys` are presses, `typed` the characters of texts."""

    def __init__(self, pty: Pty) -> None:
        self.pty = pty
        self.keys = 0
        self.typed = 0

    def press(self, *keys: str) -> None:
        """Press keys one after the other; a chord is one."""
        for key in keys:
            assert key in KEYS or len(key) == 1, key
            self.keys += 1
            self.pause()
            self.pty.press(key)

    def type(self, text: str) -> None:
        """Type a text."""
        self.typed += len(text)
        self.pause()
        for character in text:
            self.pty.send(character)

    def pause(self, seconds: float = HAND) -> None:
        """Let time pass, while the screen goes on."""
        self.pty.rest(seconds)

    def paste(self, text: str) -> None:
        """Paste a text, as a terminal hands it over."""
        self.pty.send(f"\x1b[200~{text}\x1b[201~")

    def sees(self, *texts: str) -> None:
        """Wait until all of the texts are on the screen."""
        self.pty.wait(lambda: all(text in self.screen for text in texts), f"{texts}")

    def until(self, what: Callable[[], object], name: str) -> None:
        """Wait until something is true, while the screen goes on."""
        self.pty.wait(lambda: bool(what()), name)

    def reads(self, *texts: str) -> None:
        """Wait for a dialog with these texts, until it takes an answer."""
        self.pty.wait(
            lambda: all(text in self.screen for text in texts) and self.pty.takes_answer,
            f"question with {texts}",
        )

    @property
    def screen(self) -> str:
        """What is on the screen."""
        return self.pty.text

    def row(self, text: str) -> str:
        """Return the first row of the screen with a text, empty without one."""
        return next((row for row in self.screen.split("\n") if text in row), "")

    def within(self, keys: int, typed: int = 0) -> None:
        """Hold the presses and characters so far to what they may be at most."""
        assert (self.keys <= keys, self.typed <= typed) == (True, True), (self.keys, self.typed)


class Night:
    """The shop on a server of its own, and consoles at the far end of a line."""

    def __init__(self, folder: Path, scale: float = 0.02) -> None:
        self.server = Server()
        self.shop = Shop(self.server.url, folder, scale=scale)
        self.line = FarProxy(self.server.port, ROUND_TRIP)

    def build(self) -> None:
        """Make the shop."""
        self.shop.build()

    @classmethod
    @contextmanager
    def made(cls, folder: Path) -> Iterator[Self]:
        """Make a shop, and end it."""
        night = cls(folder)
        try:
            night.build()
            yield night
        finally:
            night.close()

    @contextmanager
    def operator(
        self, *words: str, size: tuple[int, int] = (80, 24), **changes: str
    ) -> Iterator[Operator]:
        """Open a console and wait for what it has read first."""
        environ = {**self.shop.environ, "REDIS_URL": self.line.url, "TERM": "screen-256color"}
        environ.pop("COLORTERM")
        environ |= changes
        arguments = ("-m", "qdeck_tui", *words)
        with Pty.python(*arguments, size=size, env=environ, cwd=self.shop.folder) as pty:
            one = Operator(pty)
            one.sees("VERDICT", "live", "emails")
            try:
                yield one
            finally:
                # Those who come next find the server there, whatever came in between.
                self.line.listen()

    def close(self) -> None:
        """End everything."""
        self.line.close()
        self.shop.close()
        self.server.close()
