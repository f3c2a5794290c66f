"""Every key name that qdeck uses on a server, and nothing else.

Two tags exist: `{prefix:queue}` for all that belongs to one queue, so that each script stays within
one hash slot, and `{prefix}` for what belongs to none. Names that depend on an id, a task, an error
group or the time are built in the scripts from the tag and the suffixes of `SUFFIXES`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

__all__ = ["FIXED", "SUFFIXES", "QueueKeys", "SharedKeys", "kind_of", "queue_keys", "shared_keys"]

#: Fixed keys of a queue and the type that scripts expect them to have.
FIXED: Final = {
    "ready": "zset",
    "scheduled": "zset",
    "retrying": "zset",
    "lease": "zset",
    "completed": "zset",
    "cancelled": "zset",
    "dead": "zset",
    "errors": "hash",
    "tasks": "hash",
    "meta": "hash",
    "totals": "hash",
    "life": "hash",
    "wake": "zset",
    "logs": "zset",
    "ops": "zset",
    "outbox": "hash",
    "audit": "stream",
    "cleared": "zset",
    "moving": "hash",
    "cron": "hash",
    "cron:due": "zset",
}

#: A fixed key as an attribute: `cron:due` is `cron_due`.
_ATTRIBUTES: Final = {name: name.replace(":", "_") for name in FIXED}

#: What follows the tag of a queue in names that end in an id, a task, a fingerprint or a time.
SUFFIXES: Final = {
    "job": "j:",
    "run": "r:",
    "result": "res:",
    "error": "err:",
    "attempts": "at:",
    "log": "log:",
    "held": "held:",
    "group": "errors:",
    "unique": "unique:",
    "minute": "m:",
    "hour": "h:",
    "last": "last:",
    "operation": "op:",
    "trash": "trash:",
    "moved": "moved:",
    "done": "done:",
    "key": "key:",
    "wait": "wait:",
    "keyed": "keyed:",
    "turn": "turn:",
}


class QueueKeys:
    """The names of one queue; attributes are the fixed keys, methods the rest."""

    __slots__ = (*_ATTRIBUTES.values(), "_lists", "queue", "tag")

    ready: str
    scheduled: str
    retrying: str
    lease: str
    completed: str
    cancelled: str
    dead: str
    errors: str
    tasks: str
    meta: str
    totals: str
    life: str
    wake: str
    logs: str
    ops: str
    outbox: str
    audit: str
    cleared: str
    moving: str
    cron: str
    cron_due: str

    def __init__(self, prefix: str, queue: str) -> None:
        self.queue = queue
        self.tag = f"{{{prefix}:{queue}}}:"
        for name, attribute in _ATTRIBUTES.items():
            setattr(self, attribute, self.tag + name)
        self._lists: dict[str, tuple[str, ...]] = {}

    def of(self, names: str) -> tuple[str, ...]:
        """Return the fixed keys of some names (joined by spaces), made once for each such text."""
        made = self._lists.get(names)
        if made is None:
            made = self._lists[names] = tuple(
                getattr(self, _ATTRIBUTES[name]) for name in names.split()
            )
        return made

    def job(self, job_id: str) -> str:
        """Return what enqueue wrote (string)."""
        return f"{self.tag}j:{job_id}"

    def run(self, job_id: str) -> str:
        """Return the run (hash), made by the first claim."""
        return f"{self.tag}r:{job_id}"

    def result(self, job_id: str) -> str:
        """Return the result (string, JSON)."""
        return f"{self.tag}res:{job_id}"

    def error(self, job_id: str) -> str:
        """Return the last error (string, msgpack)."""
        return f"{self.tag}err:{job_id}"

    def attempts(self, job_id: str) -> str:
        """Return the last 20 attempts (list, msgpack)."""
        return f"{self.tag}at:{job_id}"

    def log(self, job_id: str) -> str:
        """Return a job's log (stream)."""
        return f"{self.tag}log:{job_id}"

    def held(self, task: str) -> str:
        """Return the pending jobs of a paused task (zset)."""
        return f"{self.tag}held:{task}"

    def done(self, job_id: str) -> str:
        """Return which of the jobs that a job waits for have completed (set)."""
        return f"{self.tag}done:{job_id}"

    def key(self, key: str) -> str:
        """Return the running jobs of a key that limits them (set)."""
        return f"{self.tag}key:{key}"

    def wait(self, key: str) -> str:
        """Return the held jobs of a key that is full, as "limit task id" (zset)."""
        return f"{self.tag}wait:{key}"

    def keyed(self, task: str) -> str:
        """Return the keys that jobs of a task are held for (zset)."""
        return f"{self.tag}keyed:{task}"

    def turn(self, work: str) -> str:
        """Return whose turn it is to do work that one worker in a while is enough for (string)."""
        return f"{self.tag}turn:{work}"

    def group(self, fingerprint: str) -> str:
        """Return the dead ids of an error group (zset)."""
        return f"{self.tag}errors:{fingerprint}"

    def unique(self, digest: str) -> str:
        """Return the holder of a unique key (string)."""
        return f"{self.tag}unique:{digest}"

    def minute(self, number: int) -> str:
        """Return the counters of a minute since the epoch (hash, kept 3 h)."""
        return f"{self.tag}m:{number}"

    def hour(self, number: int) -> str:
        """Return the counters of an hour since the epoch (hash, kept 48 h, and until `life` has
        them).
        """
        return f"{self.tag}h:{number}"

    def last(self, worker: str) -> str:
        """Return a worker's last claim (string, kept 60 s), for a repeat after a lost reply."""
        return f"{self.tag}last:{worker}"

    def operation(self, operation: str) -> str:
        """Return a bulk operation (hash)."""
        return f"{self.tag}op:{operation}"

    def operation_ids(self, operation: str) -> str:
        """Return the frozen ids of a bulk operation (zset)."""
        return f"{self.tag}op:{operation}:ids"

    def operation_copy(self, operation: str) -> str:
        """Return what a bulk operation keeps of its jobs for an undo (hash, kept 24 h)."""
        return f"{self.tag}op:{operation}:copy"

    def operation_kept(self, operation: str) -> str:
        """Return how names of records begin that a bulk delete keeps for an undo (25 h); what
        follows is the name of each without its tag.
        """
        return f"{self.tag}op:{operation}:"

    def operation_out(self, operation: str) -> str:
        """Return the jobs of a bulk operation that nothing is known of yet (zset)."""
        return f"{self.tag}op:{operation}:out"

    def moved(self, job_id: str) -> str:
        """Return the mark of a job that came from another queue (string, kept a week)."""
        return f"{self.tag}moved:{job_id}"

    def trash(self, copy: str) -> str:
        """Return the copy of what a clear took away (hash); its sets follow with a number."""
        return f"{self.tag}trash:{copy}"

    def restored(self, copy: str) -> str:
        """Return what was restored of a copy (hash, kept 25 h)."""
        return f"{self.tag}trash:{copy}:was"

    def trash_set(self, copy: str, number: int) -> str:
        """Return one set of a copy (zset, or hash of error groups)."""
        return f"{self.tag}trash:{copy}:{number}"


class SharedKeys:
    """The names that belong to no queue."""

    __slots__ = ("audit", "queues", "schedules", "tag", "tasks", "workers")

    def __init__(self, prefix: str) -> None:
        self.tag = f"{{{prefix}}}:"
        self.queues = self.tag + "queues"
        self.workers = self.tag + "workers"
        self.tasks = self.tag + "tasks"
        self.audit = self.tag + "audit"
        self.schedules = self.tag + "schedules"

    def worker(self, worker: str) -> str:
        """Return a worker's own record (hash, kept 24 h after its last beat)."""
        return f"{self.tag}w:{worker}"

    def control(self, worker: str) -> str:
        """Return the commands that wait for a worker (list)."""
        return f"{self.tag}ctl:{worker}"


def kind_of(key: str) -> str | None:
    """Return the type that a fixed key has; None for other keys."""
    return FIXED.get(key.partition("}:")[2])


@lru_cache(maxsize=4096)
def queue_keys(prefix: str, queue: str) -> QueueKeys:
    """Return the names of one queue, made once."""
    return QueueKeys(prefix, queue)


@lru_cache(maxsize=64)
def shared_keys(prefix: str) -> SharedKeys:
    """Return the names that belong to no queue, made once."""
    return SharedKeys(prefix)
