"""What the server keeps of a job, as bytes: the record that enqueue writes and the settles of runs.

Owns the layout of both sides of the scripts; knows no server. The scripts' headers name the fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from qdeck.job import Job, JobFailure, State, from_ms
from qdeck.links import WAITING, Links, decode_names

__all__ = [
    "Body",
    "Claim",
    "Record",
    "Settle",
    "decode_record",
    "encode_body",
    "encode_settles",
    "is_flat",
    "job_from",
    "read_claim",
]


class Body(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a producer says; times in ms, 0 or -1 where nothing was said (see enqueue.lua).

    `links` is None for most: jobs that wait for none, that none waits for, and that no key limits.

    JSON stands as text: the scripts' msgpack knows no bytes.
    """

    task: str
    payload: str
    priority: int = 4
    delay: int = 0
    at: int = 0
    expires_in: int = 0
    expires_at: int = 0
    max_retries: int = -1
    timeout: int = -1
    unique: str = ""
    unique_for: int = 0
    metadata: str = ""
    links: Links | None = None


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A body with the server's times of creation and first due (0: at once), in ms."""

    created: int
    available: int
    body: Body


class Claim(NamedTuple):
    """The newest claim of a job: `started` in ms, `lease` its length in ms, `place` its score in
    `ready`.
    """

    fence: int = 0
    attempt: int = 0
    started: int = 0
    lease: int = 0
    place: str = ""
    task: str = ""
    worker: str = ""


class Settle(msgspec.Struct, array_like=True, gc=False):
    """How a run ended (see work.lua): kind "c", "p", "f", "s", "b" or "u".

    `final` is the reason of a failure that leaves no retry. `value` is the result (JSON or None),
    a delay in ms, or the grace in ms of an unknown task. `then` names who waits for it.
    """

    id: str
    fence: int
    kind: str
    task: str
    run_ms: float = 0.0
    value: str | int | None = None
    max_retries: int = 0
    final: str | None = None
    type: str = ""
    message: str = ""
    traceback: str = ""
    fingerprint: str = ""
    then: str = ""


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Record).decode
_unpack_error = msgspec.msgpack.Decoder(tuple[str, str, str, str]).decode

encode_body = _pack
decode_record = _unpack


def is_flat(settle: Settle) -> bool:
    """Return whether a settle says so little that it is one of the plain ones of work.lua."""
    return settle.kind == "p" and settle.fence == 1 and not settle.then


def encode_settles(settles: Sequence[Settle]) -> tuple[bytes, bytes]:
    """Return settles as two arguments of work.lua, the plain ones behind; empty bytes for none.

    Most runs complete, and those have nothing to say behind their result but who waits for them.
    """
    told: list[Any] = []
    groups: dict[str, list[Any]] = {}
    for s in settles:
        if is_flat(s):
            group = groups.get(s.task)
            if group is None:
                group = groups[s.task] = [s.task]
            # Lua's lists end at a nil.
            group += (s.id, s.run_ms, False if s.value in (None, "null") else s.value)
        elif s.kind in "cp":
            value = s.value if s.value != "null" else None
            told.append(
                (s.id, s.fence, "c", s.task, s.run_ms, value, *((s.then,) if s.then else ()))
            )
        else:
            told.append(s)
    return _pack(told) if told else b"", _pack([*groups.values()]) if groups else b""


def read_claim(raw: bytes | None) -> Claim:
    """Return what the field `run` of a run says; the empty claim where it is missing or broken."""
    parts = (raw or b"").decode("utf-8", "replace").split(" ", 6)
    try:
        fence, attempt, started, lease = map(int, parts[:4])
        return Claim(fence, attempt, started, lease, *parts[4:])
    except (TypeError, ValueError):
        return Claim()


def decode_error(raw: bytes | None) -> JobFailure | None:
    """Return the error of a job from its bytes; None where there is none or it is unreadable."""
    if not raw:
        return None
    try:
        return JobFailure(*_unpack_error(raw))
    except msgspec.MsgspecError:
        return None


def decode_json(raw: bytes | str | None) -> Any:
    """Return a JSON value; None where there is none or it does not parse."""
    if not raw:
        return None
    try:
        return msgspec.json.decode(raw)
    except msgspec.MsgspecError:
        return None


def decode_map(raw: bytes | str | None) -> dict[str, Any]:
    """Return a JSON object; empty where there is none, or where it is something else."""
    value = decode_json(raw)
    return value if isinstance(value, dict) else {}


def read_record(raw: bytes | None) -> Record | None:
    """Return a record from its bytes; None where it is missing or unreadable."""
    if not raw:
        return None
    try:
        return _unpack(raw)
    except msgspec.MsgspecError:
        return None


def text(raw: bytes | None) -> str | None:
    """Return stored bytes as text, whatever they are."""
    return None if raw is None else raw.decode("utf-8", "replace")


def job_from(
    job_id: str,
    queue: str,
    state: State,
    score: float | None,
    record: Record | None,
    run: dict[bytes, bytes],
    error: bytes | None,
    result: bytes | None,
    default_retries: int,
) -> Job[Any]:
    """Return a job from what the server keeps of it; unreadable parts are empty.

    A completed job has no error: that of an earlier run stands in its attempts. The message of a
    cancelled job is the reason: *expired*, or by whom; that of one that waits for others names
    them.
    """
    claim = read_claim(run.get(b"run"))
    body = record.body if record else Body(text(run.get(b"task")) or claim.task or "?", "{}")
    retries = body.max_retries if body.max_retries >= 0 else default_retries
    base = int(run.get(b"base", b"0"))
    available = score if state in (State.SCHEDULED, State.RETRYING) else None
    waits = "" if available is None or available < WAITING else waiting_for(body)
    if waits:
        available = None
    elif available is None and record:
        available = record.available or record.created
    percent = run.get(b"progress")
    return Job(
        id=job_id,
        task=body.task,
        queue=queue,
        state=state,
        priority=body.priority,
        attempt=claim.attempt,
        max_attempts=base + retries + 1,
        payload=decode_map(body.payload),
        metadata=decode_map(body.metadata),
        created_at=from_ms(record.created) if record else None,
        available_at=from_ms(available),
        started_at=from_ms(claim.started),
        finished_at=from_ms(score) if state.finished else None,
        progress=float(percent) if percent is not None else None,
        message=(state is State.CANCELLED and text(run.get(b"reason")))
        or text(run.get(b"message"))
        or waits
        or None,
        error=None if state is State.COMPLETED else decode_error(error),
        result=decode_json(result),
        worker=claim.worker or None,
    )


def waiting_for(body: Body) -> str:
    """Return in words what a job was enqueued to wait for; "" for a job that waits for none."""
    names = [job_id for _, job_id in decode_names(body.links.after if body.links else "")]
    if not names:
        return ""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"waiting for {', '.join(names[:3])}{more}"


def to_ms(value: datetime) -> int:
    """Return an aware time as ms since the epoch; a naive one is taken as UTC."""
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    return int(value.timestamp() * 1000)
