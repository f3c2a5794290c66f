"""The console while its server is away, cannot be reached, or refuses it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.proxies import TlsProxy
from tests.servers import Server
from tests.tui.desk import Desk
from tests.tui.pty import Pty


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[Server, Desk]]:
    """A server of the test's own, which it may freeze and kill, and a project on it."""
    with Server() as server:
        desk = Desk(server, tmp_path)
        yield server, desk
        desk.close()


def header(pty: Pty) -> str:
    """Return the first line of the screen."""
    return pty.text.split("\n")[0]


@pytest.mark.parametrize("how", ["frozen", "killed"])
def test_with_the_server_away_the_data_stays_and_it_comes_back_by_itself(
    own: tuple[Server, Desk], how: str
) -> None:
    server, desk = own
    dead = [desk.enqueue("fail", code="currency") for _ in range(3)]
    desk.work("default")
    with desk.opened(size=(100, 24)) as pty:
        pty.press("6")
        pty.wait_for("3 DEAD in 1 group")
        desk.workers.end("give back")
        server.freeze() if how == "frozen" else server.kill()
        pty.wait(lambda: "stale" in header(pty), "mark of stale data")
        assert "KeyError" in pty.text
        pty.press("r")
        pty.wait_for("retry refused: the server is away")
        pty.press("2")
        pty.wait_for("QUEUES")
        if how == "frozen":
            server.thaw()
        else:
            server.start()
        pty.wait(lambda: "● live" in header(pty), "recovery")
        pty.press("q")
        assert pty.ended() == 0
    if how == "frozen":
        assert {desk.state(job).value for job in dead} == {"dead"}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://127.0.0.1:1/0", "127.0.0.1:1"),
        ("redis://no-such-host.invalid:6379/0", "no-such-host.invalid"),
        ("redis://:wrong-secret@{address}/0", "AUTH"),
        ("rediss://{address}/0", "TLS"),
    ],
    ids=["refused", "unknown host", "wrong password", "no TLS there"],
)
def test_a_server_that_cannot_be_used_is_one_clear_line(
    valkey: Server, tmp_path: Path, url: str, said: str
) -> None:
    desk = Desk(valkey, tmp_path)
    desk.environ["REDIS_URL"] = url.format(address=f"127.0.0.1:{valkey.port}")
    with desk.console(size=(140, 24)) as pty:
        pty.wait(lambda: said.lower() in pty.text.lower(), said)
        assert "wrong-secret" not in pty.raw
        assert "Traceback" not in pty.raw
        pty.press("p")
        pty.press("q")
        assert pty.ended() == 0
        assert "wrong-secret" not in pty.raw
    desk.close()


def test_a_certificate_that_nobody_vouches_for_is_one_line(
    valkey: Server, tls: TlsProxy, tmp_path: Path
) -> None:
    desk = Desk(valkey, tmp_path)
    desk.environ["REDIS_URL"] = f"rediss://127.0.0.1:{tls.port}/0"
    with desk.console(size=(140, 24)) as pty:
        pty.wait(lambda: "certificate" in pty.text.lower(), "words about the certificate")
        pty.press("q")
        assert pty.ended() == 0
    desk.close()


@pytest.mark.parametrize(
    ("url", "step"),
    [
        ("redis://127.0.0.1:1/0", "check that the server runs, or set REDIS_URL"),
        ("redis://:wrong-secret@127.0.0.1:{port}/0", "check user and password"),
        ("rediss://127.0.0.1:{tls}/0", "name its authority with ssl_ca_certs in the URL"),
    ],
    ids=["refused", "wrong password", "unknown certificate"],
)
def test_the_next_step_is_readable_to_its_end_on_small_screens(
    valkey: Server, tls: TlsProxy, tmp_path: Path, url: str, step: str
) -> None:
    desk = Desk(valkey, tmp_path)
    desk.environ["REDIS_URL"] = url.format(port=valkey.port, tls=tls.port)
    with desk.console(size=(80, 24)) as pty:
        pty.wait(lambda: step in " ".join(pty.text.split()), "the next step")
        pty.resize(60, 16)
        pty.wait(
            lambda: "too small" not in pty.text and step in " ".join(pty.text.split()),
            "the next step at 60x16",
        )
        pty.press("6")
        pty.wait(lambda: step in " ".join(pty.text.split()), "the next step among the dead")
        pty.press("q")
        assert pty.ended() == 0
    desk.close()


def test_a_url_that_is_none_is_refused_before_the_screen(valkey: Server, tmp_path: Path) -> None:
    desk = Desk(valkey, tmp_path)
    desk.environ["REDIS_URL"] = "http://somewhere"
    with desk.console() as pty:
        assert pty.ended() == 1
        assert "http" in pty.text
        assert pty.text.strip().count("Traceback") == 0
    desk.close()


def test_a_user_who_may_only_read_sees_everything_and_is_told_why_no_key_writes(
    own: tuple[Server, Desk],
) -> None:
    server, desk = own
    job = desk.enqueue("wait", "alpha", seconds=600)
    rights = ["-@all", "+@read", "+@connection", "+info", "+time", "+multi", "+exec"]
    keys = [f"%R~{{{desk.prefix}}}:*", f"%R~{{{desk.prefix}:*}}:*"]
    assert server.ask("ACL", "SETUSER", "viewer", "on", ">secret", *rights, *keys) == b"OK"
    desk.environ["REDIS_URL"] = server.url.replace("redis://", "redis://viewer:secret@")
    with desk.opened(size=(140, 24)) as pty:
        pty.wait_for("> alpha")
        pty.press("p")
        pty.wait(lambda: "viewer" in last(pty) or "NOPERM" in last(pty), "why it is not paused")
        assert "PAUSED" not in pty.text
        pty.press("enter")
        pty.wait_for("JOBS PENDING 1")
        pty.press("tab", "tab", "x")
        pty.wait_to_answer("Cancel job")
        pty.press("y")
        pty.wait(lambda: "viewer" in last(pty) or "NOPERM" in last(pty), "why it goes on")
        pty.press("escape", "3", "4", "5", "6", "7", "8")
        pty.wait_for("SERVER valkey")
        pty.press("q")
        assert pty.ended() == 0
        assert "Traceback" not in pty.raw
        assert "secret" not in pty.raw
    assert desk.state(job).value == "pending"


def last(pty: Pty) -> str:
    """Return the status line."""
    return pty.text.split("\n")[-2]
