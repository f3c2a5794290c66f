"""A small console on a taken terminal, for the tests of what stands around it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from qdeck_tui.output import OutputLog
from qdeck_tui.terminal import Terminal, prepare_environment

prepare_environment(os.environ)

from textual.app import ComposeResult  # noqa: E402
from textual.events import Click, Key, Paste  # noqa: E402
from textual.widgets import Static  # noqa: E402

from qdeck_tui.delta import DeltaMixin  # noqa: E402  # Textual reads the environment on import
from qdeck_tui.lifetime import TerminalMixin  # noqa: E402

LOG = OutputLog()


class Small(DeltaMixin, TerminalMixin):
    """Shows what it is told, and does on keys what a console must survive."""

    CSS = "#seen { background: red; color: white; } #printed { height: 6; }"
    ENABLE_COMMAND_PALETTE = False

    def compose(self) -> ComposeResult:
        yield Static("ready", id="state")
        yield Static("", id="seen")
        yield Static("", id="printed", markup=False)

    def on_mount(self) -> None:
        self.keys: list[str] = []
        self.flood = 0
        self.set_interval(0.05, self.show)

    def show(self) -> None:
        if self.flood:
            self.flood -= 1
            rows = "\n".join(f"{self.flood % 10}漢" * 26 for _ in range(20))
            self.query_one("#printed", Static).update(f"{rows}\nflood {self.flood}")
            return
        lines = [line.text for line in LOG.after()][-6:]
        self.query_one("#printed", Static).update("\n".join(lines))
        self.query_one("#state", Static).update(f"ready {self.size.width}x{self.size.height}")

    def on_key(self, event: Key) -> None:
        self.keys.append(event.key)
        self.query_one("#seen", Static).update(" ".join(self.keys[-8:]))
        match event.key:
            case "q":
                self.exit()
            case "x":
                secret = "redis://user:hunter2@host/0"
                raise RuntimeError(f"cannot reach {secret}")
            case "p":
                print("printed by python")  # noqa: T201  # what a job does
                os.write(1, b"written to 1\nwritten to 2 without an end")
            case "c":
                code = "import sys; print('child read', repr(sys.stdin.read()))"
                subprocess.run([sys.executable, "-c", code], check=True)
            case "i":
                signal.signal(signal.SIGHUP, signal.SIG_IGN)
            case "f":
                self.query_one("#printed").styles.height = 22
                self.set_interval(0.002, self.show)
                self.flood = 300
            case "m":
                self.set_mouse(not self.mouse_enabled)

    def on_click(self, event: Click) -> None:
        self.keys.append(f"click@{event.screen_x},{event.screen_y}")
        self.query_one("#seen", Static).update(" ".join(self.keys[-8:]))

    def on_paste(self, event: Paste) -> None:
        self.keys.append(f"paste{event.text!r}")
        self.query_one("#seen", Static).update(" ".join(self.keys[-8:]), layout=False)


def main() -> int:
    terminal = Terminal(LOG.add)
    terminal.take()
    app = Small(terminal=terminal)
    try:
        app.run()
    finally:
        terminal.give_back()
    for text in app.farewell:
        sys.stderr.write(text)
    return app.return_code or 0


if __name__ == "__main__":
    sys.exit(main())
