"""How a run ended, as a value: from a handler's result or error to what is settled.

Owns the wording and size of stored errors and the fingerprint that groups them.
"""

from __future__ import annotations

import hashlib
import os
import re
import sysconfig
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import msgspec

from qdeck.backoff import LONGEST_DELAY
from qdeck.errors import Discard, Retry, Snooze

__all__ = [
    "RESULT_BYTES",
    "Failed",
    "Outcome",
    "clean",
    "encode_result",
    "failed_from",
    "fingerprint",
    "normalise",
    "simple",
]

#: A larger result fails the run.
RESULT_BYTES: Final = 256 * 1024
TRACEBACK_BYTES: Final = 8192
MESSAGE_CHARS: Final = 2000


class Failed(msgspec.Struct, frozen=True):
    """An error as data, as it comes out of a run or a child process.

    `after` is the seconds that the handler asked for, `final` the reason that leaves no retry,
    `snooze` the seconds of a run that does not count.
    """

    type: str
    message: str
    traceback: str = ""
    fingerprint: str = ""
    after: float | None = None
    final: str | None = None
    snooze: float | None = None


Outcome = str | None | Failed


def encode_result(task: str, value: Any) -> Outcome:
    """Return a result as JSON text (None for None), or the failure to store it."""
    if value is None:
        return None
    try:
        raw = msgspec.json.encode(value)
    except Exception as error:
        said = clean(error, 500)
        message = f"the result cannot be written as JSON ({said}); return JSON values or None"
        return _plain(task, "InvalidResult", message)
    if len(raw) > RESULT_BYTES:
        message = (
            f"the result has {len(raw)} bytes, more than the limit of {RESULT_BYTES}; "
            "store it elsewhere and return a reference"
        )
        return _plain(task, "InvalidResult", message)
    return raw.decode("utf-8", "replace")


def _plain(task: str, kind: str, message: str) -> Failed:
    return Failed(kind, message, "", _digest(task, kind, "", normalise(message)))


def simple(task: str, kind: str, message: str, final: str | None = None) -> Failed:
    """Return a failure that has no traceback."""
    made = _plain(task, kind, message)
    return msgspec.structs.replace(made, final=final) if final is not None else made


def failed_from(task: str, error: BaseException) -> Failed:
    """Return an error as data: class, message, traceback text and group."""
    if isinstance(error, Snooze):
        seconds = _seconds(error.seconds)
        if seconds is not None:
            return Failed("Snooze", clean(error), snooze=seconds)
    kind, message = clean(type(error).__name__, 200), clean(error)
    group = fingerprint(task, kind, message, error.__traceback__)
    return Failed(
        kind,
        message,
        format_traceback(error),
        group,
        after=_seconds(error.after) if isinstance(error, Retry) else None,
        final=clean(error.reason) or "discarded" if isinstance(error, Discard) else None,
    )


def clean(value: object, most: int = MESSAGE_CHARS) -> str:
    """Return a value as text that can be stored, whatever a handler gave; at most `most` chars."""
    try:
        text = str(value)
    except BaseException as broken:
        text = f"(its message cannot be read: {type(broken).__name__})"
    return text[:most].encode("utf-8", "replace").decode("utf-8")


def _seconds(value: object) -> float | None:
    """Return seconds from now on, at most ten years; None for what is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        return None
    return float(min(max(value, 0.0), LONGEST_DELAY))


def format_traceback(error: BaseException) -> str:
    """Return the traceback as text of at most 8 KiB; its end, where the error is, is kept."""
    trace = error.__traceback__
    # What stands above the application's own code is qdeck's and the event loop's.
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_ROOTS):
        if trace.tb_frame.f_code.co_filename.startswith(_OWN):
            break
        trace = trace.tb_next
    try:
        shown = error.with_traceback(trace) if trace is not None else error
        text = "".join(traceback.format_exception(shown, limit=-30))
    except Exception as broken:
        text = f"(the traceback cannot be shown: {type(broken).__name__})"
    raw = text.encode("utf-8", "replace")
    if len(raw) <= TRACEBACK_BYTES:
        return raw.decode("utf-8", "replace")
    return "…" + raw[-(TRACEBACK_BYTES - 3) :].decode("utf-8", "ignore")


def fingerprint(task: str, kind: str, message: str, trace: TracebackType | None) -> str:
    """Return 16 hex digits for errors that are alike.

    Made of task, class, file and function of the innermost frame of the application's own code, and
    the message without numbers, ids and quoted values. Line numbers do not count.
    """
    return _digest(task, kind, _own_frame(trace), normalise(message))


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "replace"), digest_size=8).hexdigest()


_QUOTED = re.compile(r"""(['"`])(?:(?!\1).){0,500}?\1|«[^»]{0,500}»|“[^”]{0,500}”""")
_IDS = re.compile(
    r"\b(?:[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|0x[0-9a-fA-F]+|[0-9A-HJKMNP-TV-Z]{26}"
    r"|(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{12,})\b"
)
_NUMBERS = re.compile(r"\d+(?:[.,]\d+)*")


def normalise(message: str) -> str:
    """Return a message without numbers, ids and quoted values, at most 300 characters."""
    text = _QUOTED.sub("'…'", message[:MESSAGE_CHARS])
    text = _IDS.sub("#", text)
    return _NUMBERS.sub("#", text)[:300]


def _library_roots() -> Iterable[str]:
    for name in ("stdlib", "platstdlib", "purelib", "platlib"):
        path = sysconfig.get_paths().get(name)
        if path:
            yield path + os.sep
    yield os.path.dirname(os.path.abspath(__file__)) + os.sep  # noqa: PTH100, PTH120


_ROOTS: Final = tuple(_library_roots())
_OWN: Final = os.path.join(_ROOTS[-1], "demo")  # noqa: PTH118 (the demo's tasks are tasks)


def _own_frame(trace: TracebackType | None) -> str:
    innermost, own = "", ""
    while trace is not None:
        code = trace.tb_frame.f_code
        name = code.co_filename
        shown = f"{Path(*Path(name).parts[-2:])}:{code.co_qualname}"
        innermost = shown
        if not name.startswith(_ROOTS) or name.startswith(_OWN):
            own = shown
        trace = trace.tb_next
    return own or innermost
