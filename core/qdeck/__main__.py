"""`python -m qdeck`: the command line, for children that must not depend on a script's place."""

from __future__ import annotations

import os
import sys

from qdeck.cli import main
from qdeck.ending import leave
from qdeck.lifeline import hold

if __name__ == "__main__":
    hold(os.environ)
    sys.exit(leave(main()))
