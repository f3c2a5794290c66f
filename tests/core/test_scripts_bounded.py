"""The work of a script does not grow with the jobs that a queue holds."""

from __future__ import annotations

from tests.core.crowd import Crowd
from tests.servers import Server

SMALL, LARGE = 2_000, 50_000


def test_no_script_does_more_with_50000_jobs_in_each_state_than_with_2000() -> None:
    with Server(unix=True) as own:
        client = own.client()
        small = Crowd(client, "small", SMALL).costs()
        large = Crowd(client, "large", LARGE).costs()
        client.close()
    assert small.keys() == large.keys()
    for name, (commands, _) in large.items():
        assert commands <= small[name][0] * 1.02 + 5, name
        assert commands <= 4_000, name
