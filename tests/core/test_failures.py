"""The wording of failures, and the loop that repeats a call."""

from __future__ import annotations

import time

import pytest
from redis import exceptions as errors
from redis import sentinel

from qdeck.errors import ConnectionFailed, QdeckError, ReadOnly, ServerFull, SettingsError
from qdeck.failures import Backoff, repeat, repeat_sync, retryable, translate
from qdeck.wire import reply_error

ADDRESS = "redis://:***@h:6379/0"


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (errors.ConnectionError("Error 111"), ConnectionFailed, "check that the server runs"),
        (ConnectionRefusedError(111, "refused"), ConnectionFailed, "cannot reach"),
        (errors.TimeoutError("no answer"), ConnectionFailed, "in time"),
        (TimeoutError(), ConnectionFailed, "in time"),
        (reply_error("OOM command not allowed"), ServerFull, "maxmemory"),
        (reply_error("MISCONF Errors writing"), ServerFull, "disk"),
        (reply_error("READONLY You can't write"), ReadOnly, "replica"),
        (reply_error("NOPERM User x has no"), ReadOnly, "ACL"),
        (reply_error("WRONGPASS invalid"), ConnectionFailed, "user and password"),
        (reply_error("NOAUTH Authentication required"), ConnectionFailed, "user and password"),
        (
            reply_error("ERR AUTH <password> called without any"),
            ConnectionFailed,
            "user and password",
        ),
        (reply_error("LOADING dataset"), ConnectionFailed, "loading"),
        (reply_error("ERR max number of clients reached"), ConnectionFailed, "maxclients"),
        (reply_error("CLUSTERDOWN Hash slot"), ConnectionFailed, "cannot reach"),
        (reply_error("WRONGTYPE Operation"), QdeckError, "WRONGTYPE Operation"),
        (errors.InvalidResponse("H"), ConnectionFailed, "does not speak"),
        (errors.ConnectionError("CERTIFICATE_VERIFY_FAILED"), ConnectionFailed, "ssl_ca_certs"),
    ],
)
def test_each_failure_names_the_address_and_the_next_step(
    error: Exception, kind: type[QdeckError], said: str
) -> None:
    told = translate(error, ADDRESS)
    assert type(told) is kind
    assert ADDRESS in str(told)
    assert said in str(told)
    assert "\n" not in str(told)


def test_a_password_inside_an_error_is_masked() -> None:
    told = translate(errors.ConnectionError("bad\nuser:geheim"), ADDRESS, ("geheim",))
    assert "geheim" not in str(told)
    assert "bad user:***" in str(told)


def test_sentinels_without_a_primary_are_told_without_the_clients_that_asked() -> None:
    error = sentinel.MasterNotFoundError("No master found for 's' : <redis.Redis(db=0)> - gone")
    assert str(translate(error, ADDRESS)).endswith("(No master found for 's'); check them")


def test_an_error_of_ours_stays_itself() -> None:
    error = SettingsError("x")
    assert translate(error, ADDRESS) is error


@pytest.mark.parametrize(
    "text",
    [
        "LOADING x",
        "READONLY x",
        "CLUSTERDOWN x",
        "TRYAGAIN x",
        "MASTERDOWN x",
        "BUSY x",
        "MOVED 1 h:1",
    ],
)
def test_what_passes_by_itself_is_retryable(text: str) -> None:
    assert retryable(reply_error(text))


@pytest.mark.parametrize(
    "text", ["WRONGPASS x", "NOAUTH x", "NOPERM x", "OOM x", "WRONGTYPE x", "ERR x", "NOSCRIPT x"]
)
def test_what_stays_is_not_retryable(text: str) -> None:
    assert not retryable(reply_error(text))


async def test_a_repeated_call_ends_with_its_success() -> None:
    left = [errors.ConnectionError("one"), TimeoutError("two")]

    async def call() -> str:
        if left:
            raise left.pop()
        return "done"

    assert await repeat(call) == "done"


async def test_a_repeated_call_gives_up_with_its_last_error() -> None:
    count = 0

    async def call() -> None:
        nonlocal count
        count += 1
        raise errors.ConnectionError(str(count))

    with pytest.raises(errors.ConnectionError) as caught:
        await repeat(call, limit=0.3)
    assert str(caught.value) == str(count)
    assert count > 1


async def test_an_error_that_stays_is_raised_at_once() -> None:
    count = 0

    async def call() -> None:
        nonlocal count
        count += 1
        raise errors.AuthenticationError("no")

    with pytest.raises(errors.AuthenticationError):
        await repeat(call)
    assert count == 1


def test_the_blocking_loop_does_the_same() -> None:
    left = [errors.ConnectionError("one")]

    def call() -> str:
        if left:
            raise left.pop()
        return "done"

    assert repeat_sync(call) == "done"
    started = time.monotonic()
    with pytest.raises(errors.ResponseError):
        repeat_sync(lambda: (_ for _ in ()).throw(errors.ResponseError("no")))
    assert time.monotonic() - started < 10
    with pytest.raises(errors.ConnectionError):
        repeat_sync(lambda: (_ for _ in ()).throw(errors.ConnectionError("no")), limit=0.1)


def test_pauses_grow_to_a_cap_and_vary() -> None:
    backoff = Backoff(first=0.05, cap=0.4)
    pauses = [backoff.pause() for _ in range(8)]
    assert 0.025 <= pauses[0] <= 0.05
    assert all(0.2 <= pause <= 0.4 for pause in pauses[4:])
    backoff.reset()
    assert backoff.pause() <= 0.05
