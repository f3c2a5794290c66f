"""Reads why a job waits for others or for its key, and who waits for it, without scripts.

Owns the sentences about chains, groups and keys; `explain` puts them among the other causes.
"""

from __future__ import annotations

from typing import Final

from qdeck.admin import Cause, JobRef
from qdeck.keys import queue_keys
from qdeck.links import WAITING, Links, decode_names
from qdeck.phrase import jobs, some
from qdeck.reader import Reader, count, number, text
from qdeck.record import read_record

__all__ = ["read_links", "why_held", "why_stopped", "why_waiting"]

#: Jobs of which the states are looked at.
_MOST: Final = 1000
_SETS: Final = ("dead", "cancelled", "lease", "retrying", "completed", "ready", "scheduled")
_WORDS: Final = {"lease": "running", "ready": "pending"}


async def read_links(reader: Reader, ref: JobRef) -> Links | None:
    """Return what ties a job to others; None where nothing does, or its record is not readable."""
    raw = await reader.one("GET", queue_keys(reader.deck.settings.prefix, ref.queue).job(ref.id))
    record = read_record(raw) if isinstance(raw, bytes) else None
    return record.body.links if record is not None else None


async def why_waiting(reader: Reader, ref: JobRef, links: Links) -> Cause:
    """Return for which jobs a job waits, and whether it can ever start."""
    names = decode_names(links.after)
    done = await reader.one(
        "SMEMBERS", queue_keys(reader.deck.settings.prefix, ref.queue).done(ref.id)
    )
    told = {text(raw) for raw in (done if isinstance(done, (list, set)) else ())}
    left = [(queue, job_id) for queue, job_id in names if f"{queue} {job_id}" not in told]
    states = await _states(reader, left[:_MOST])
    of = f"{len(left)} of {jobs(len(names))}: " if len(names) > 1 else "job "
    for stopped, next_step in (
        ("dead", "retry it to go on"),
        ("cancelled", "retry it to go on"),
        ("not on record", "nothing will start this one by itself"),
    ):
        found = [job_id for (_, job_id), state in states.items() if state == stopped]
        if found:
            said = f"{len(found)} of these {_are(found)}" if len(names) > 1 else "it is"
            which = f" ({some(found)})" if len(names) > 1 else ""
            return Cause(
                "waiting",
                f"it is waiting for {of}{some([job_id for _, job_id in left])}, and the chain has "
                f"stopped: {said} {stopped}{which}",
                f"{next_step}; or run this one now, or cancel it",
            )
    shown = [f"{job_id} ({state} in {queue})" for (queue, job_id), state in states.items()]
    return Cause("waiting", f"it is waiting for {of}{some(shown)}")


async def _states(reader: Reader, names: list[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return the states of jobs by (queue, id), "not on record" where there is none."""
    prefix = reader.deck.settings.prefix
    replies = await reader.read(
        [
            command
            for queue, job_id in names
            for keys in (queue_keys(prefix, queue),)
            for command in (
                *(("ZSCORE", getattr(keys, name), job_id) for name in _SETS),
                ("EXISTS", keys.job(job_id)),
            )
        ]
    )
    width, found = len(_SETS) + 1, {}
    for at, name in enumerate(names):
        part = replies[at * width : (at + 1) * width]
        state = next((s for s, reply in zip(_SETS, part, strict=False) if _is_in(reply)), "")
        if state == "scheduled" and (number(part[_SETS.index(state)]) or 0) >= WAITING:
            state = "waiting"
        if not state:
            state = "held" if count(part[-1]) else "not on record"
        found[name] = _WORDS.get(state, state)
    return found


def _are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _is_in(reply: object) -> bool:
    return reply is not None and not isinstance(reply, BaseException)


async def why_held(reader: Reader, ref: JobRef, task: str, links: Links) -> Cause | None:
    """Return which jobs have the places of a job's key; None where it is not held for its key."""
    keys = queue_keys(reader.deck.settings.prefix, ref.queue)
    members, held, place = await reader.read(
        [
            ("SMEMBERS", keys.key(links.key)),
            ("ZSCORE", keys.held(task), ref.id),
            ("ZRANK", keys.wait(links.key), f"{links.most} {task} {ref.id}"),
        ]
    )
    if not _is_in(held) or count(place) is None:
        return None
    names = sorted(text(raw) for raw in (members if isinstance(members, (list, set)) else ()))
    ahead = count(place) or 0
    before = f"; {ahead} that wait for it come first" if ahead else ""
    return Cause(
        "key limit",
        f"it is waiting for its key {links.key!r}, of which at most {links.most} run at once: "
        f"{some(names) or 'nothing'} has its places{before}",
        "wait, or cancel what runs",
    )


async def why_stopped(reader: Reader, ref: JobRef, links: Links) -> Cause | None:
    """Return which jobs wait in vain for one that is dead or cancelled; None where none does."""
    names = decode_names(links.then)
    states = await _states(reader, names[:_MOST])
    waiting = [job_id for (_, job_id), state in states.items() if state == "waiting"]
    if not waiting:
        return None
    wait = "waits" if len(waiting) == 1 else "wait"
    return Cause(
        "waiting",
        f"its chain has stopped with it: {some(waiting)} {wait} for it",
        "retry it to go on, or cancel what waits",
    )
