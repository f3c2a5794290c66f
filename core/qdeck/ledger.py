"""The verbs that stand on record and can be taken back, as commands, and what their answers mean.

Pure, as `queue` is: makes commands and reads answers. Owns the layout of audit entries, of the
copies that clearing keeps, and of what is asked of workers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from qdeck.keys import QueueKeys, SharedKeys
from qdeck.scripts import Command, script

__all__ = [
    "KEPT_MS",
    "NOTED",
    "STEP",
    "Act",
    "Departed",
    "Entry",
    "Recleared",
    "Restored",
    "Retracted",
    "read_entry",
]

#: Milliseconds for which a cleared job can be restored and most acts can be taken back.
KEPT_MS: Final = 86_400_000
#: Jobs of a copy up to which a restore notes which they are, so that it can be taken back.
NOTED: Final = 10_000
#: Jobs that one step of restoring or sweeping handles.
STEP: Final = 100
_RETRACT: Final = "ready scheduled meta tasks wake audit"
_DEPART: Final = "ready scheduled retrying lease meta tasks moving audit wake logs"
_COPY: Final = "tasks meta wake cleared audit errors"


@dataclass(frozen=True, slots=True)
class Act:
    """Who does something to what, in words; `of` is the id of the audit entry that it takes back,
    `mark` what must still stand for that.
    """

    actor: str
    target: str = ""
    of: str = ""
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One audit entry as stored; times in ms, `undo` the way back or empty."""

    id: str
    actor: str
    verb: str
    target: str
    count: int | None
    outcome: str
    until: int | None
    of: str
    undo: Mapping[str, Any]

    @property
    def at(self) -> int:
        """When it was written."""
        return int(self.id.partition("-")[0])


@dataclass(frozen=True, slots=True)
class Restored:
    """How far a restore is; `moved` is -1 where there is no such copy."""

    moved: int
    left: int
    total: int
    entry: str


@dataclass(frozen=True, slots=True)
class Recleared:
    """How far a clearing once more is: jobs in the copy (-1: what was restored is not known), left
    alone, and still to look at.
    """

    total: int
    alone: int
    ahead: int
    entry: str


@dataclass(frozen=True, slots=True)
class Departed:
    """What became of jobs that were to leave: a word for each id, the audit entry, and the state
    of the operation.
    """

    entry: str
    state: str
    words: Mapping[str, str]

    @property
    def moved(self) -> list[str]:
        """The jobs that are on their way."""
        return [job_id for job_id, word in self.words.items() if word == "moved"]


@dataclass(frozen=True, slots=True)
class Retracted:
    """How many jobs that an act had made are deleted, had begun, and are left for another reason;
    and how many are still to look at.
    """

    taken: int
    begun: int
    left: int
    ahead: int


def read_entry(entry_id: bytes, flat: Sequence[bytes]) -> Entry:
    """Return an audit entry from a reply of XRANGE, whatever is missing in it."""
    words = [part.decode("utf-8", "replace") for part in flat]
    fields = dict(zip(words[::2], words[1::2], strict=False))

    def whole(name: str) -> int | None:
        digits = fields.get(name, "")
        return int(digits) if digits.isascii() and digits.isdigit() else None

    try:
        undo = msgspec.json.decode(fields.get("undo", "{}"), type=dict[str, Any])
    except msgspec.MsgspecError:
        undo = {}
    until, entry = whole("until"), entry_id.decode()
    kind, _, job_id = fields.get("target", "").partition(" ")
    if not undo and fields.get("verb") == "enqueue" and kind == "job":
        # An enqueue of one job names it, which is its way back.
        undo, until = {"do": "made", "id": job_id}, int(entry.partition("-")[0]) + KEPT_MS
    return Entry(
        entry,
        fields.get("actor", "?"),
        fields.get("verb", "?"),
        fields.get("target", ""),
        whole("count"),
        fields.get("outcome", ""),
        until,
        fields.get("of", ""),
        undo,
    )


def read_act(answer: Sequence[Any]) -> tuple[int, str]:
    """Return how an act ended (1 done, 0 stood so already, -1 changed since) and its entry."""
    return answer[0], answer[1].decode()


def command(
    keys: SharedKeys,
    worker: str,
    line: str,
    verb: str,
    said: str,
    act: Act,
    undo: Mapping[str, Any] | None = None,
    group: str = "",
) -> Command:
    """Leave a worker a command; `group` names verbs that undo each other."""
    way_back = msgspec.json.encode(undo) if undo else b""
    return Command(
        script("command"),
        (keys.workers, keys.audit),
        (
            keys.tag,
            worker,
            line,
            verb,
            act.actor,
            said,
            way_back,
            act.of,
            group or verb,
            act.mark,
        ),
    )


def clear(keys: QueueKeys, source: str, state: str, copy: str, act: Act) -> Command:
    """Take all jobs of a state into a copy; `source` is the set of the state."""
    return Command(
        script("clear"),
        (keys.ready, keys.lease, source, *keys.of(_COPY)),
        (keys.tag, state, act.actor, copy, act.target, KEPT_MS),
    )


def restore(
    keys: QueueKeys, source: str, copy: str, act: Act, most: int = STEP, keep: bool = True
) -> Command:
    """Bring jobs of a copy back, at most `most` where as many stand in their way; with `keep` it is
    noted which they are, for an undo.
    """
    return Command(
        script("restore"),
        (keys.ready, keys.lease, source, *keys.of(_COPY)),
        (keys.tag, copy, act.actor, act.target, most, act.of, int(keep)),
    )


def reclear(keys: QueueKeys, source: str, copy: str, act: Act) -> Command:
    """Take jobs that a restore brought back into their copy again, at most `STEP`."""
    return Command(
        script("reclear"),
        (keys.ready, source, *keys.of(_COPY)),
        (keys.tag, copy, act.actor, act.target, STEP, act.of, KEPT_MS),
    )


def read_recleared(answer: Sequence[Any]) -> Recleared:
    """Read the answer to `reclear`."""
    return Recleared(answer[0], answer[1], answer[2], answer[3].decode())


def read_restored(answer: Sequence[Any]) -> Restored:
    """Read the answer to `restore`."""
    return Restored(answer[0], answer[1], answer[2], answer[3].decode())


def depart(
    keys: QueueKeys, queue: str, ids: Sequence[str], act: Act, operation: str = ""
) -> Command:
    """Take waiting jobs out for another queue, at most `STEP`; under the name of an operation those
    that it has frozen, or a copy is kept for an undo.
    """
    return Command(
        script("depart"),
        keys.of(_DEPART),
        (keys.tag, act.actor, act.target, queue, operation, *ids),
    )


def read_departed(answer: Sequence[bytes]) -> Departed:
    """Read the answer to `depart`."""
    entry, state, *rest = (part.decode() for part in answer)
    return Departed(entry, state, dict(zip(rest[::2], rest[1::2], strict=True)))


def arrive(keys: QueueKeys, job_id: str, way: bytes) -> Command:
    """Forget a job that has arrived where it was going; the answer is 1 for who does so first."""
    return Command(script("arrive"), (keys.moving,), (keys.tag, job_id, way))


def retract(keys: QueueKeys, job_id: str, made: str, act: Act) -> Command:
    """Delete a job that an act has made, or up to `STEP` of those that are kept under the name
    `made`, where nothing has begun them.
    """
    return Command(
        script("retract"),
        keys.of(_RETRACT),
        (keys.tag, act.actor, act.target, act.of, job_id, made, STEP),
    )


def read_retracted(answer: Sequence[int]) -> Retracted:
    """Read the answer to `retract`."""
    return Retracted(*answer)


def sweep(keys: QueueKeys) -> Command:
    """Delete cleared jobs whose time is over; the answer is [jobs, copies]."""
    return Command(script("sweep"), (keys.cleared, keys.meta, keys.logs), (keys.tag, STEP))


def edit(
    keys: QueueKeys,
    job_id: str,
    sha: str,
    record: bytes,
    payload: str,
    digests: tuple[str, str],
    act: Act,
) -> Command:
    """Replace the record of a job that had this SHA-1; `payload` is the one it had."""
    return Command(
        script("edit"),
        (keys.lease, keys.audit),
        (
            keys.tag,
            job_id,
            act.actor,
            act.target,
            sha,
            record,
            payload,
            *digests,
            act.of,
            act.mark,
        ),
    )
