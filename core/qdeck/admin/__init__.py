"""The operator's door as a protocol: what a console or a command line may see and do, in plain
frozen values.

It imports neither redis nor the engine, so that other queues can stand behind it. A number, an age
or a time that an implementation cannot know is None and is shown as `?`, never as 0. A part that
failed is a `Failure` in its place. References are opaque: only the implementation that gave one out
can read more from it than its label. What may be done to a target is said by `Admin.actions`, and
checked again where the write happens.
"""

from qdeck.admin.jobs import (
    FINISHED,
    LATER,
    STATES,
    Attempt,
    ErrorDetail,
    ErrorGroup,
    ErrorGroups,
    JobDetail,
    JobRef,
    JobRow,
    LogChunk,
    LogLine,
    Page,
    Skipped,
    StateName,
    Window,
)
from qdeck.admin.protocol import Admin
from qdeck.admin.values import (
    ACTIONS,
    Action,
    Denied,
    Draft,
    Failure,
    Operation,
    Outcome,
    Pause,
    Permission,
    QueueRow,
    Selection,
    ServerInfo,
    Snapshot,
    Target,
    TaskRow,
    Verdict,
    VerdictWord,
    WorkerRow,
    WorkerState,
)

__all__ = [
    "ACTIONS",
    "FINISHED",
    "LATER",
    "STATES",
    "Action",
    "Admin",
    "Attempt",
    "Denied",
    "Draft",
    "ErrorDetail",
    "ErrorGroup",
    "ErrorGroups",
    "Failure",
    "JobDetail",
    "JobRef",
    "JobRow",
    "LogChunk",
    "LogLine",
    "Operation",
    "Outcome",
    "Page",
    "Pause",
    "Permission",
    "QueueRow",
    "Selection",
    "ServerInfo",
    "Skipped",
    "Snapshot",
    "StateName",
    "Target",
    "TaskRow",
    "Verdict",
    "VerdictWord",
    "Window",
    "WorkerRow",
    "WorkerState",
]
