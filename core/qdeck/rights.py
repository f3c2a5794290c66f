"""What may be done to a target now, and why not, as far as its row tells.

A hint for whoever shows it: the scripts check again where the write happens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from qdeck.admin import (
    Action,
    ErrorGroup,
    JobRow,
    Permission,
    QueueRow,
    Target,
    TaskRow,
    WorkerRow,
)
from qdeck.job import MOVES, State

__all__ = ["READ_ONLY", "permissions"]

READ_ONLY: Final = "this door is read-only"
_YES: Final = Permission(True)
_JOB: Final[tuple[Action, ...]] = (
    "cancel", "run_now", "retry", "delete", "discard", "move_in_time", "priority", "patch",
)  # fmt: skip
_WHY: Final[Mapping[Action, str]] = {
    "cancel": "it is {state} already",
    "run_now": "it is {state}; only scheduled and retrying jobs can be made to run now",
    "retry": "it is {state}; only dead and cancelled jobs can be retried",
    "delete": "it is running; cancel it first",
    "discard": "it is {state}; only jobs that wait can be made dead",
    "move_in_time": "it is {state}; only scheduled and retrying jobs can be moved in time",
    "priority": "it is {state}; only jobs that wait have a priority to change",
    "patch": "it is running; its payload is in use",
}


def permissions(target: Target, read_only: bool) -> dict[Action, Permission]:
    """Return the actions that make sense on a target, each allowed or denied with its reason."""
    if isinstance(target, QueueRow):
        found = _paused(target.paused is not None, "pause", "resume", target.name)
    elif isinstance(target, TaskRow):
        name = f"{target.task} in {target.queue}"
        found = _paused(target.paused is not None, "pause_task", "resume_task", name)
    elif isinstance(target, JobRow):
        found = {verb: _job(verb, target) for verb in _JOB}
    elif isinstance(target, ErrorGroup):
        found = {"retry": _YES, "delete": _YES, "patch": _YES}
    else:
        found = _worker(target)
    if read_only:
        return dict.fromkeys(found, Permission(False, READ_ONLY))
    return found


def _paused(paused: bool, stop: Action, go: Action, name: str) -> dict[Action, Permission]:
    return {
        stop: Permission(not paused, f"{name} is paused already" if paused else ""),
        go: Permission(paused, "" if paused else f"{name} is not paused"),
    }


def _job(verb: Action, job: JobRow) -> Permission:
    if State(job.state) not in MOVES[verb][0]:
        return Permission(False, _WHY[verb].format(state=job.state))
    if verb == "cancel" and job.state == "running":
        said = "it was asked to stop already" if job.cancel_requested else "it is asked to stop"
        return Permission(True, said)
    if verb not in ("cancel", "delete") and job.task == "?":
        return Permission(False, "its record is not readable; it can only be deleted")
    return _YES


def _worker(worker: WorkerRow) -> dict[Action, Permission]:
    if worker.state == "lost":
        deaf = Permission(False, "it was not heard of for two leases; it reads no commands")
        held = _YES if worker.holds else Permission(False, "it held no job when it was lost")
        return {"quiet": deaf, "unquiet": deaf, "stop": deaf, "recover": held}
    stopping, quiet = worker.state == "stopping", worker.state == "quiet"
    leaving = "it is stopping already" if stopping else ""
    return {
        "quiet": Permission(
            not quiet and not stopping, leaving or ("it is quiet already" if quiet else "")
        ),
        "unquiet": Permission(quiet, leaving or ("" if quiet else "it is not quiet")),
        "stop": Permission(not stopping, leaving),
        "recover": Permission(False, "it is alive; only what a lost worker held is recovered"),
    }
