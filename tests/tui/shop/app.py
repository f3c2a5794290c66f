"""The app that workers of the shop serve."""

from __future__ import annotations

from tests.tui.shop.tasks import with_tasks

from qdeck import Deck

deck = with_tasks(Deck())
