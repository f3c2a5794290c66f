"""Textual's driver on a terminal of its own.

It reads and writes the descriptor that `Terminal.take` kept, asks for clicks only, and ends the
program when the terminal ends. Where it can it does so on the app's own loop: a thread between a
key and its answer would wait for every CPU-bound thread of a local worker, twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import threading
from codecs import getincrementaldecoder
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from textual import constants, events
from textual._parser import ParseError
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

from qdeck_tui.packets import Packet, Packets

if TYPE_CHECKING:
    from qdeck_tui.lifetime import TerminalMixin

__all__ = ["ConsoleDriver"]

# More than this waiting for a slow line, and frames are left out until it has taken all of it.
BEHIND = 32_768


class ConsoleDriver(LinuxDriver):
    """Draws on the terminal that the app was given and reads its keys; sees clicks, not motion."""

    _file: Any

    def __init__(self, app: TerminalMixin, **options: Any) -> None:
        terminal = app.terminal
        if terminal is None:
            raise RuntimeError("the console's driver needs a terminal that was taken")
        self._terminal = terminal
        options["size"] = options.get("size") or terminal.size()
        super().__init__(app, **options)
        self._console = app
        self._file = terminal.file
        self.fileno = terminal.fd
        self.input_tty = True
        self._begun = False
        self._lent = False
        self._direct = False
        self._waiting = b""
        self._left_out = False
        self._parser = XTermParser()
        self._packets = Packets()
        self._decode = getincrementaldecoder("utf-8")("replace").decode
        self._silence: asyncio.TimerHandle | None = None

    def _get_terminal_size(self) -> tuple[int, int]:
        return self._terminal.size()

    # Modes

    def start_application_mode(self) -> None:
        """Switch the modes on; whatever the terminal showed before is unknown then."""
        self._terminal.drawn = True
        self._console.forget_frame()
        self._direct = self._terminal.own and self._listen()
        cast(Any, super()).start_application_mode()
        if self._console.show_cursor:
            self.write("\x1b[?25h")
        if self._begun:
            self._loop.call_soon_threadsafe(self._console.repaint)
        self._begun = True

    def stop_application_mode(self) -> None:
        """Switch the modes off again, and wait until the terminal has taken that."""
        if self._lent:
            return
        super().stop_application_mode()
        self._finish()
        self._terminal.drawn = False

    @contextlib.contextmanager
    def lend(self) -> Iterator[tuple[int, int, int]]:
        """Leave the terminal to another program, whose standard streams are yielded, and take it
        back as it ends; meanwhile nothing is read or written here.

        The program shares this process's group: keys that interrupt are for it alone, and what
        stops it stops both, so that the shell's job is one.
        """
        self.stop_application_mode()
        self.close()
        self._lent = self._terminal.drawn = True
        meanwhile: dict[int, Any] = {
            signal.SIGINT: _ignore,
            signal.SIGQUIT: _ignore,
            signal.SIGTSTP: signal.SIG_DFL,
            signal.SIGCONT: signal.SIG_DFL,
        }
        before = [(number, signal.signal(number, what)) for number, what in meanwhile.items()]
        try:
            yield self._terminal.streams
        finally:
            for number, handler in before:
                signal.signal(number, handler)
            if not self._terminal.file.gone and not self._console.ending:
                self._terminal.clean()
                self._packets = Packets()
                self._parser = XTermParser()
                self._decode = getincrementaldecoder("utf-8")("replace").decode
                self._lent = False
                self.start_application_mode()

    def disable_input(self) -> None:
        """Read no more keys."""
        if self._direct:
            self._loop.remove_reader(self.fileno)
        super().disable_input()

    def close(self) -> None:
        """Write what is left; should that not end, the terminal's file drops it."""
        self._finish()
        if self._writer_thread is not None and self._writer_thread.is_alive():
            super().close()

    def _enable_mouse_support(self) -> None:
        if self._mouse:
            self.write("\x1b[?1000h\x1b[?1006h")

    def _disable_mouse_support(self) -> None:
        self.write("\x1b[?1000l\x1b[?1006l")

    def set_mouse(self, enabled: bool) -> None:
        """Switch reports of clicks on or off, live."""
        if not enabled:
            self._disable_mouse_support()
        self._mouse = enabled
        self._enable_mouse_support()
        self.flush()

    # Output

    def write(self, data: str) -> None:
        """Write, but no requests for focus reports or a pointer shape, which help nobody here."""
        if self._lent:
            return
        if data in ("\x1b[?1004h", "\x1b[?1004l") or data.startswith("\x1b]22;"):
            return
        if not self._direct:
            super().write(data)
            return
        if not self._waiting:
            self._loop.call_soon(self.flush)
        self._waiting += data.encode("utf-8", "replace")

    def flush(self) -> None:
        """Write what the terminal takes now; the rest follows when it takes more."""
        if not self._direct or not self._waiting:
            return
        try:
            taken = os.write(self.fileno, self._waiting)
        except BlockingIOError:
            taken = 0
        except OSError:
            taken = len(self._waiting)
            self._terminal.file.gone = True
        self._waiting = self._waiting[taken:]
        if self._waiting:
            self._loop.add_writer(self.fileno, self.flush)
            return
        self._loop.remove_writer(self.fileno)
        if self._left_out:
            self._left_out = False
            self._console.repaint()

    def leave_out(self) -> bool:
        """Return whether a frame is better left out, since the line is behind; it comes later."""
        if len(self._waiting) < BEHIND and not self._lent:
            return False
        self._left_out = True
        return True

    def _finish(self) -> None:
        """Write what is waiting, and wait for it."""
        if self._direct and self._waiting:
            with contextlib.suppress(OSError, ValueError):
                self._loop.remove_writer(self.fileno)
            rest, self._waiting = self._waiting, b""
            self._terminal.file.send(rest)

    # Input

    def send_message(self, message: Message) -> None:
        """Hand an event to the app, at once where that is possible."""
        if self._direct and threading.get_ident() == self._console._thread_id:
            self._console.post_message(message)
        else:
            super().send_message(message)

    def _listen(self) -> bool:
        """Read keys on the app's loop; False where the loop cannot wait for a terminal."""
        try:
            self._loop.add_reader(self.fileno, self._on_readable)
        except (NotImplementedError, OSError, ValueError):
            return False
        return True

    def _on_readable(self) -> None:
        """Take what the terminal sent."""
        try:
            data = os.read(self.fileno, 4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self.fileno)
            self._lost()
            return
        self._take(self._packets.feed(self._decode(data)))
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None
        if self._packets.waiting:
            self._silence = self._loop.call_later(constants.ESCAPE_DELAY, self._on_silence)

    def _on_silence(self) -> None:
        """Take what was held back: nothing followed it."""
        self._silence = None
        self._take(self._packets.flush())

    def _take(self, packets: list[Packet]) -> None:
        """Turn packets into events."""
        for packet in packets:
            if packet.kind == "escape":
                self.process_message(events.Key("escape", "\x1b"))
            elif packet.kind == "paste":
                self.process_message(events.Paste(packet.text))
            else:
                for event in self._parser.feed(packet.text):
                    self.process_message(event)
        for event in self._parser.tick():
            self.process_message(event)

    def _lost(self) -> None:
        """End the program: its terminal is gone."""
        self._terminal.file.gone = True
        self._console.end_from_thread(128 + signal.SIGHUP)

    def run_input_thread(self) -> None:
        """Do in a thread what the loop cannot do."""
        if self._direct:
            return
        fd = self.fileno
        try:
            while not self.exit_event.is_set():
                patience = constants.ESCAPE_DELAY if self._packets.waiting else 0.1
                if not select.select([fd], [], [], patience)[0]:
                    self._take(self._packets.flush())
                    continue
                try:
                    data = os.read(fd, 4096)
                except BlockingIOError:
                    continue
                except OSError:
                    data = b""
                if not data:
                    self._lost()
                    return
                self._take(self._packets.feed(self._decode(data)))
        finally:
            with contextlib.suppress(EOFError, ParseError):
                for _ in self._parser.feed(""):
                    pass
            self._parser = XTermParser()


def _ignore(*_: object) -> None:
    """Take a signal that is meant for the program that the terminal is lent to."""
