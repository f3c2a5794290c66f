"""The shop of the operator's scenarios: made once a process of pytest, when first used."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.tui.night import Night, Operator


@pytest.fixture(scope="session")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    """The shop in trouble; a test leaves of it what others need."""
    with Night.made(tmp_path_factory.mktemp("shop")) as made:
        yield made


@pytest.fixture
def operator(night: Night) -> Iterator[Operator]:
    """Somebody who has just opened the console."""
    with night.operator() as one:
        yield one
