"""Makes the pictures of the README: the console on a shop in trouble, drawn by itself.

`python -m tests.tui.picture tui` makes the shop, which takes a minute, and writes an SVG a view.
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.tui.night import Night

from qdeck import Deck
from qdeck.admin import Admin
from qdeck_tui.app import QdeckApp
from qdeck_tui.options import Options

__all__ = ["pictures"]

SIZE: Final = (100, 30)
#: Seconds that a view is given to be read and drawn.
LOOK: Final = 6.0
#: File -> the keys that lead to what it shows, from the view before.
VIEWS: Final = {
    "console.svg": (),
    "dead.svg": ("6",),
    "patch.svg": ("e", *'args.currency = "EUR"', "ctrl+x"),
    "cron.svg": ("escape", "escape", "5", "slash", *"rep", "enter", "e", *"30 3 * * 1-5"),
}


async def pictures(night: Night, folder: Path) -> None:
    """Open the console on the shop, and write a file for each view."""
    deck = Deck(night.server.url, prefix=night.shop.prefix)
    admin = deck.admin(actor="ana@ops-1")

    async def door() -> Admin:
        return admin

    app = QdeckApp(door, options=Options())
    async with deck, app.run_test(size=SIZE) as pilot:
        for name, keys in VIEWS.items():
            for key in keys:
                if key == "ctrl+x":
                    await asyncio.sleep(1.0)
                await pilot.press(key)
                if len(key) > 1 or key.isdigit():
                    await asyncio.sleep(1.0)
            await asyncio.sleep(LOOK)
            svg = app.export_screenshot(title="qdeck")
            # Fonts of other sites are left out: whoever looks at it has a monospaced one.
            drawn = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
            (folder / name).write_text(drawn, encoding="utf-8")


def main() -> None:
    """Write the pictures to the folder that is given."""
    with tempfile.TemporaryDirectory(prefix="qdeck-picture-") as folder:
        night = Night(Path(folder))
        try:
            night.build()
            asyncio.run(pictures(night, Path(sys.argv[1])))
        finally:
            night.close()


if __name__ == "__main__":
    main()
