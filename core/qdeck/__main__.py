"""`python -m qdeck`: the command line, for children that must not depend on a script's place."""

from __future__ import annotations

import sys

from qdeck.cli import main

if __name__ == "__main__":
    sys.exit(main())
