"""What can go wrong between a client and a server: which errors may be repeated, and their wording.

Owns the mapping from errors of redis-py and the system to qdeck's, and the one loop that repeats a
call. Whether a call may be repeated at all is its caller's to know.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis import exceptions as errors

from qdeck.errors import ConnectionFailed, QdeckError, ReadOnly, ServerFull

__all__ = ["RETRYABLE", "Backoff", "repeat", "repeat_sync", "retryable", "translate"]

T = TypeVar("T")

RETRYABLE: tuple[type[BaseException], ...] = (
    errors.ConnectionError,
    errors.TimeoutError,
    errors.ReadOnlyError,
    errors.ClusterDownError,
    errors.MasterDownError,
    errors.TryAgainError,
    errors.MovedError,
    errors.AskError,
    errors.RedisClusterException,
    OSError,
    EOFError,
)
"""Errors that pass: after one of these a call that may be repeated is worth repeating."""

_HOPELESS = (errors.AuthenticationError, errors.AuthorizationError)
_UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"
_PASSING = ("BUSY ", "UNBLOCKED", "NOREPLICAS", "NOGOODSLAVE", "MASTERDOWN", "LOADING")


def retryable(error: BaseException) -> bool:
    """Whether the same call may succeed a little later."""
    if isinstance(error, _HOPELESS) or _UNTRUSTED in str(error):
        return False
    if isinstance(error, RETRYABLE):
        return True
    return isinstance(error, errors.ResponseError) and str(error).startswith(_PASSING)


class Backoff:
    """Pauses of one series of attempts: 50 ms doubling up to 2 s, each between half and whole."""

    def __init__(self, first: float = 0.05, cap: float = 2.0) -> None:
        self._first = first
        self._cap = cap
        self._next = first

    def reset(self) -> None:
        """Starts a new series, after a success."""
        self._next = self._first

    def pause(self) -> float:
        """Returns the seconds to wait before the next attempt."""
        pause = self._next
        self._next = min(self._cap, pause * 2)
        return pause * random.uniform(0.5, 1.0)


async def repeat(call: Callable[[], Awaitable[T]], *, limit: float = 20.0) -> T:
    """Awaits `call()` until it succeeds; raises its last error `limit` seconds after the first.

    For calls only whose repetition changes nothing.
    """
    end = time.monotonic() + limit
    backoff = Backoff()
    while True:
        try:
            return await call()
        except Exception as error:
            pause = backoff.pause()
            if not retryable(error) or time.monotonic() + pause > end:
                raise
        await asyncio.sleep(pause)


def repeat_sync(call: Callable[[], T], *, limit: float = 20.0) -> T:
    """Like `repeat`, for a plain function."""
    end = time.monotonic() + limit
    backoff = Backoff()
    while True:
        try:
            return call()
        except Exception as error:
            pause = backoff.pause()
            if not retryable(error) or time.monotonic() + pause > end:
                raise
        time.sleep(pause)


def translate(error: BaseException, address: str, secrets: tuple[str, ...] = ()) -> QdeckError:
    """Returns the error as one of qdeck's: one line, no password, and the next step.

    `address` is the masked one; `secrets` are texts that must not appear.
    """
    if isinstance(error, QdeckError):
        return error
    said = " ".join((str(error) or type(error).__name__).split())[:300]
    for secret in secrets:
        said = said.replace(secret, "***")
    if isinstance(error, errors.NoPermissionError) or "ACL failure" in said:
        return ReadOnly(
            f"{address} does not permit this to the user of the URL ({said}); "
            "use a user whose ACL allows it"
        )
    if _UNTRUSTED in said:
        return ConnectionFailed(
            f"the certificate of {address} is not trusted ({said}); name its authority with "
            "ssl_ca_certs in the URL"
        )
    if isinstance(error, errors.InvalidResponse):
        return ConnectionFailed(
            f"{address} does not speak the Redis protocol ({said}); check host and port, and "
            "rediss:// for TLS"
        )
    if isinstance(error, errors.AuthenticationError) or "AUTH <password> called" in said:
        return ConnectionFailed(f"{address} refused the login ({said}); check user and password")
    if isinstance(error, errors.OutOfMemoryError):
        return ServerFull(
            f"{address} has reached its maxmemory and takes no new jobs; raise maxmemory or "
            "delete finished jobs"
        )
    if said.startswith("MISCONF"):
        return ServerFull(f"{address} cannot write to its disk ({said}); free space there")
    if isinstance(error, errors.ReadOnlyError):
        return ReadOnly(f"{address} is a replica that takes no writes; name the primary")
    if isinstance(error, errors.BusyLoadingError):
        return ConnectionFailed(f"{address} is still loading its data; try again later")
    if isinstance(error, errors.MaxConnectionsError) or "max number of clients" in said:
        return ConnectionFailed(f"{address} takes no more connections ({said}); raise maxclients")
    if isinstance(error, (errors.TimeoutError, TimeoutError)):
        hint = "its load, and whether TLS is spoken there" if "rediss:" in address else "its load"
        return ConnectionFailed(f"{address} did not answer in time ({said}); check {hint}")
    if "Master" in type(error).__name__:
        told = said.partition(" : ")[0]  # what follows are the clients that were asked, as code
        return ConnectionFailed(f"the sentinels of {address} name no primary ({told}); check them")
    if isinstance(error, RETRYABLE):
        return ConnectionFailed(
            f"cannot reach {address} ({said}); check that the server runs, or set REDIS_URL"
        )
    return QdeckError(f"{address} answered with an error: {said}")
