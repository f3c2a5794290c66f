"""Makes the picture of the README: the console on the running demo, drawn by itself.

`python -m tests.tui.picture tui/console.svg` runs the demo for half a minute and writes an SVG.
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

from qdeck.admin import Admin
from qdeck_tui.app import QdeckApp
from qdeck_tui.options import Options
from qdeck_tui.supervisor import LocalWorkers
from qdeck_tui.tour import Tour

SECONDS = 30.0
SIZE = (110, 34)


async def picture() -> str:
    """Return the first screen of the demo as SVG."""
    workers, tour = LocalWorkers(), Tour(1)

    async def door() -> Admin:
        return await asyncio.to_thread(tour.begin, workers, read_only=False)

    app = QdeckApp(door, supervisor=workers, options=Options())
    try:
        async with app.run_test(size=SIZE):
            await asyncio.sleep(SECONDS)
            svg = app.export_screenshot(title="qdeck demo")
            # Fonts of other sites are left out: whoever looks at it has a monospaced one.
            return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    finally:
        tour.stop_feeding()
        await workers.close("give back")
        await asyncio.to_thread(tour.end)


def main() -> None:
    """Write the picture to the path that is given."""
    Path(sys.argv[1]).write_text(asyncio.run(picture()), encoding="utf-8")


if __name__ == "__main__":
    main()
