"""Every error that qdeck raises on purpose, in one tree; a message says what, which value, and what
next.

    QdeckError
    ├── SettingsError            a setting, a URL or a name is not usable
    ├── ConnectionFailed         the server could not be reached, or its answer got lost
    ├── ServerFull               the server has reached maxmemory
    ├── NotDurable               the write exists, but not yet as safely as was asked for
    ├── ReadOnly                 this connection or this operator may only look
    ├── TaskError
    │   ├── UnknownTask          no task of this name is registered here
    │   ├── InvalidTask          a handler that cannot be a task
    │   └── InvalidPayload       arguments that do not fit the handler's signature
    ├── QueueFull                max_size of the queue is reached
    ├── InvalidQuery             a filter that does not parse
    ├── InvalidCron              a cron expression that does not parse or never fires
    ├── RevisionConflict         somebody else changed it first
    ├── JobError
    │   ├── JobNotFound          no record of this id
    │   ├── JobDead              the job ended dead
    │   ├── JobCancelled         the job was cancelled
    │   ├── WrongState           the job's state does not allow this verb
    │   └── StaleLease           a result came from a run that no longer owns the job
    ├── Timeout                  waited long enough
    └── Control                  raised by a handler to say how its run ends
        ├── Retry                again later, counted as a failed run
        ├── Discard              dead now
        └── Snooze               again later, not counted
"""

from __future__ import annotations

__all__ = [
    "ConnectionFailed",
    "Control",
    "Discard",
    "InvalidCron",
    "InvalidPayload",
    "InvalidQuery",
    "InvalidTask",
    "JobCancelled",
    "JobDead",
    "JobError",
    "JobNotFound",
    "NotDurable",
    "QdeckError",
    "QueueFull",
    "ReadOnly",
    "Retry",
    "RevisionConflict",
    "ServerFull",
    "SettingsError",
    "Snooze",
    "StaleLease",
    "TaskError",
    "Timeout",
    "UnknownTask",
    "WrongState",
]


class QdeckError(Exception):
    """Any error that qdeck raises on purpose."""


class SettingsError(QdeckError):
    """A setting, a URL or a name is not usable; the message names it and what is allowed."""


class ConnectionFailed(QdeckError):
    """The server could not be reached, or its answer got lost.

    `job_id` is set when an enqueue's outcome is unknown: enqueueing again with that id creates no
    second job.
    """

    def __init__(self, message: str, *, job_id: str | None = None) -> None:
        super().__init__(message)
        self.job_id = job_id


class ServerFull(QdeckError):
    """The server has reached `maxmemory`; nothing was written."""


class NotDurable(QdeckError):
    """The job exists, but fewer replicas or disks than asked for have confirmed it."""

    def __init__(self, message: str, *, job: object = None) -> None:
        super().__init__(message)
        self.job = job


class ReadOnly(QdeckError):
    """This connection or this operator may only look."""


class TaskError(QdeckError):
    """Something about a task, before it ever runs."""


class UnknownTask(TaskError):
    """No task of this name is registered here."""


class InvalidTask(TaskError):
    """A handler or a class that cannot be a task; raised where it is registered."""


class InvalidPayload(TaskError):
    """Arguments that do not fit the handler's signature, or a payload that is too large."""


class QueueFull(QdeckError):
    """The queue holds `max_size` unfinished jobs; nothing was written."""


class InvalidQuery(QdeckError):
    """A filter that does not parse; the message names the word."""


class InvalidCron(QdeckError):
    """A cron expression that does not parse, or that never fires; the message names the field.

    `field` is its name, from `second` to `weekday`; "" when the whole is meant.
    """

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class RevisionConflict(QdeckError):
    """Somebody else changed it since it was read; nothing was written."""


class JobError(QdeckError):
    """Something about one job."""


class JobNotFound(JobError):
    """No record of this id: never enqueued here, deleted, or trimmed after its retention."""


class JobDead(JobError):
    """The job ended dead; `error` holds its last error."""

    def __init__(self, message: str, *, error: object = None) -> None:
        super().__init__(message)
        self.error = error


class JobCancelled(JobError):
    """The job was cancelled before it completed."""


class WrongState(JobError):
    """The job's state does not allow this verb; nothing was written."""


class StaleLease(JobError):
    """A result came from a run that no longer owns the job; it was refused and counted."""


class Timeout(QdeckError, TimeoutError):
    """Waited as long as asked for; the job goes on."""


class Control(QdeckError):
    """Raised by a handler to say how its run ends."""


class Retry(Control):
    """Ends the run as failed, to run again after `after` seconds (None: the task's backoff)."""

    def __init__(self, message: str = "", *, after: float | None = None) -> None:
        super().__init__(message or "retry asked for by the handler")
        self.after = after


class Discard(Control):
    """Makes the job dead now, whatever retries are left."""

    def __init__(self, reason: str = "discarded by the handler") -> None:
        super().__init__(reason)
        self.reason = reason


class Snooze(Control):
    """Ends the run uncounted, to run again after `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"snoozed for {seconds} s")
        self.seconds = seconds
