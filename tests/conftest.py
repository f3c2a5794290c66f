"""Fixtures that start real servers: one of each kind a process of pytest, when first used."""

from __future__ import annotations

import os
import shutil
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.proxies import CuttingProxy, TlsProxy
from tests.servers import Cluster, Sentinels, Server

from qdeck.server import SharedServer

KINDS = ["embedded", "memory", "valkey", "unix", "sentinel", "cluster", "tls"]
"""Every way to a server; Debian's redis-server where it is installed."""
if shutil.which("redis-server"):
    KINDS.append("redis")


#: Files of few tests that take long each.
_LONG = ("test_scenarios_dead.py", "test_scenarios_survive.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts files of long and of many tests first, so that no process works alone at the end."""
    sizes = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path.name not in _LONG, -sizes[item.path], item.path))


@pytest.fixture(autouse=True)
def _own_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Keeps the settings and the embedded server of who runs the tests out of them."""
    for name in list(os.environ):
        if name.startswith(("QUEUE_", "REDIS_")):
            monkeypatch.delenv(name)
    home = tmp_path_factory.getbasetemp()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))


@pytest.fixture
def prefix() -> str:
    """A prefix that no other test uses."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def valkey() -> Iterator[Server]:
    """A plain Valkey over TCP, shared by the tests of this process: use a fresh prefix."""
    with Server() as server:
        yield server


@pytest.fixture(scope="session")
def unix_valkey() -> Iterator[Server]:
    """A Valkey on a Unix socket."""
    with Server(unix=True) as server:
        yield server


@pytest.fixture(scope="session")
def debian_redis() -> Iterator[Server]:
    """Debian's redis-server over TCP."""
    with Server(binary=shutil.which("redis-server")) as server:
        yield server


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Three cluster nodes."""
    nodes = Cluster()
    yield nodes
    nodes.close()


@pytest.fixture(scope="session")
def sentinels() -> Iterator[Sentinels]:
    """A primary, a replica and a sentinel; a test that fails over starts its own."""
    three = Sentinels()
    yield three
    three.close()


@pytest.fixture(scope="session")
def tls(valkey: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsProxy]:
    """A TLS door to the plain Valkey."""
    with TlsProxy(valkey.port, tmp_path_factory.mktemp("tls")) as proxy:
        yield proxy


@pytest.fixture
def proxy(valkey: Server) -> Iterator[CuttingProxy]:
    """A proxy before the plain Valkey that can lose replies, fall silent and be down."""
    with CuttingProxy(valkey.port) as one:
        yield one


@pytest.fixture
def embedded_url(tmp_path: Path) -> Iterator[str]:
    """The URL of an embedded server in a folder of its own; it is ended after the test."""
    folder = tmp_path / "embedded"
    yield f"embedded://{folder}"
    server = SharedServer.at(folder)
    server.leave_running()
    assert server.stop()


@pytest.fixture(params=KINDS)
def deck_url(request: pytest.FixtureRequest) -> str:
    """The URL of every kind of server in turn."""
    kind = request.param
    if kind == "memory":
        return "memory://"
    if kind == "embedded":
        return str(request.getfixturevalue("embedded_url"))
    name = {"unix": "unix_valkey", "redis": "debian_redis", "sentinel": "sentinels"}.get(kind, kind)
    return str(request.getfixturevalue(name).url)
