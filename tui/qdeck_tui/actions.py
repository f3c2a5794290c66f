"""The one table of everything a key or the prompt can do; key map, footer, help and prompt are made
from it.

A row says what it is called and, for verbs, what it asks and what it does with `Admin`. Whether a
row is at hand is decided by who can carry it out: a verb by `Admin.actions(target)`, any other by
the method `do_<id>` of the focused pane, the view or the app.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from qdeck.admin import (
    Action,
    Admin,
    Draft,
    ErrorGroup,
    JobRef,
    JobRow,
    Outcome,
    Page,
    QueueRow,
    Selection,
    Skipped,
    Target,
    TaskRow,
    Window,
    WorkerRow,
)
from qdeck.admin.frozen import dataclass

__all__ = ["ROWS", "Ask", "Row", "Subject", "conflicts", "freeze", "remap", "row"]


@dataclass(frozen=True, slots=True)
class Subject:
    """What a verb is to act on: loaded targets, or a whole selection of `total` jobs; `scope` names
    it in words.

    `hidden` counts marks that the view does not show. `refs` are the jobs once they are frozen.
    """

    targets: tuple[Target, ...] = ()
    selection: Selection | None = None
    total: int | None = None
    scope: str = ""
    hidden: int = 0
    refs: tuple[JobRef, ...] | None = None


Result = Outcome | Draft
Ask = Callable[[Admin, Subject, Action], Awaitable[Result]]


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that can be done. Verbs have `verbs` (the first that the target allows is used),
    `on` and `run`.

    `ask` is the sentence of the dialog, empty where the act is reversible and has none. `hint`
    orders the footer, the smallest first; 0 keeps it out. `command` is how the prompt spells it,
    empty where it makes no sense there.
    """

    id: str
    keys: tuple[str, ...]
    label: str
    help: str
    group: str
    hint: int = 0
    command: str = ""
    verbs: tuple[Action, ...] = ()
    on: tuple[type, ...] = ()
    ask: str = ""
    run: Ask | None = None
    fixed: bool = False

    @property
    def key(self) -> str:
        """The key that is shown."""
        return self.keys[0] if self.keys else ""


async def freeze(admin: Admin, subject: Subject) -> tuple[JobRef, ...]:
    """Return the jobs that a subject stands for now, reading whole lists and groups."""
    selection = subject.selection
    if selection is not None:
        chosen = selection
        return await _all(
            lambda window: admin.jobs(chosen.queue, chosen.state, window, chosen.query)
        )
    refs: list[JobRef] = []
    for target in subject.targets:
        if isinstance(target, JobRow):
            refs.append(target.ref)
        elif isinstance(target, ErrorGroup):
            refs += await _all(partial(admin.group, target))
    return tuple(dict.fromkeys(refs))


async def _all(read: Callable[[Window], Awaitable[Page]]) -> tuple[JobRef, ...]:
    """Return the jobs of a whole list, a thousand at a time.

    A page with a query may be empty while more could match: then the scan goes on as long as it
    gets on.
    """
    refs: dict[JobRef, None] = {}
    offset, scanned = 0, -1
    while True:
        page = await read(Window(offset, 1000))
        refs |= dict.fromkeys(job.ref for job in page.rows)
        offset += len(page.rows)
        if page.complete:
            if not page.rows or (page.total is not None and offset >= page.total):
                return tuple(refs)
        elif not page.rows and (page.scanned is None or page.scanned <= scanned):
            return tuple(refs)
        scanned = page.scanned if page.scanned is not None else scanned


async def _pause(admin: Admin, subject: Subject, verb: Action) -> Outcome:
    texts, changed = [], 0
    for target in subject.targets:
        if isinstance(target, TaskRow):
            queue, task = target.queue, target.task
        elif isinstance(target, QueueRow):
            queue, task = target.name, None
        else:
            continue
        call = admin.pause if verb in ("pause", "pause_task") else admin.resume
        outcome = await call(queue, task)
        texts.append(outcome.text)
        changed += outcome.changed
    return Outcome("; ".join(texts), changed)


async def _jobs(admin: Admin, subject: Subject, verb: Action) -> Result:
    if verb in ("cancel", "run_now"):
        refs = subject.refs if subject.refs is not None else await freeze(admin, subject)
        return await (admin.cancel(refs) if verb == "cancel" else admin.run_now(refs))
    draft = admin.retry if verb == "retry" else admin.delete
    if subject.selection is not None:
        return await draft(subject.selection)
    if len(subject.targets) == 1 and isinstance(subject.targets[0], ErrorGroup):
        group = subject.targets[0]
        return await draft(Selection("dead", group.queue, group.fingerprint))
    return await draft(await freeze(admin, subject))


async def _worker(admin: Admin, subject: Subject, verb: Action) -> Outcome:
    texts, changed = [], 0
    skipped: list[Skipped] = []
    for target in subject.targets:
        if not isinstance(target, WorkerRow):
            continue
        call = {
            "quiet": admin.quiet,
            "unquiet": admin.unquiet,
            "stop": admin.stop,
            "recover": admin.recover,
        }[verb]
        outcome = await call(target.id)
        texts.append(outcome.text)
        changed += outcome.changed
        skipped += outcome.skipped
    return Outcome("; ".join(texts), changed, tuple(skipped))


def _plain(group: str, table: str) -> tuple[Row, ...]:
    """Return the rows of a group that ask nothing, from lines of `id | keys | label | command |
    hint | help`; the keys of an id with `!` behind it, and those of views, stay as they are.
    """
    rows = []
    for line in table.strip().splitlines():
        name, keys, label, command, hint, told = (part.strip() for part in line.split(" | ", 5))
        fixed = group == "views" or name.endswith("!")
        rows.append(Row(name.rstrip("!"), tuple(keys.split()), label, told, group,
                        int(hint or 0), command, fixed=fixed))  # fmt: skip
    return tuple(rows)


ROWS: tuple[Row, ...] = (
    *_plain("views", """
    overview | 1 | Over   | overview |    | Overview: is anything wrong
    queues   | 2 | Queues | queues   |    | Queues and their tasks and jobs
    running  | 3 | Run    | running  |    | Running jobs, the most overdue first
    later    | 4 | Later  | later    |    | Scheduled and retrying jobs
    cron     | 5 | Cron   | cron     |    | Schedules: next and last runs, edit, off until
    dead     | 6 | Dead   | dead     |    | Dead jobs, grouped by error
    workers  | 7 | Work   | workers  |    | Workers; start a local one
    redis    | 8 | Redis  | redis    |    | The server: memory, disk, nodes, slow commands
    ops      | 9 | Ops    | ops      |    | Ops: bulk operations, the record of acts, undo
    """),
    *_plain("move", """
    open!     | enter     | open      | open           | 10 | open what the cursor is on
    back!     | escape    | back      | back           | 95 | close, unfilter, unmark, then go back
    down      | j down    | down      | down           |    | move the cursor down
    up        | k up      | up        | up             |    | move the cursor up
    top       | g home    | first     | first          |    | go to the first row
    bottom    | G end     | last      | last           |    | go to the last row (a log: follow it)
    page_down | pagedown  | page      | page down      |    | one page down
    page_up   | pageup    | page      | page up        |    | one page up
    half_down | ctrl+d    | half page | half page down |    | half a page down
    half_up   | ctrl+u    | half page | half page up   |    | half a page up
    pane      | tab       | pane      | next pane      | 60 | go to the next pane
    pane_back | shift+tab | pane      | previous pane  |    | go to the pane before
    previous  | [ ,       | switch    | previous       | 55 | previous state, pane or sample
    following | ] .       | switch    | next           |    | next state, pane or sample
    zoom_in   | +         | zoom      | zoom           |    | give this pane the whole screen
    zoom_out  | _         | zoom out  | zoom out       |    | show all panes again
    """),
    *_plain("list", """
    filter   | /     | filter   | filter   | 30 | filter the list
    sort     | s     | sort     | sort     | 35 | sort by the next column or order
    unsort   | S     | reverse  | reverse  |    | reverse the order
    mark     | space | mark     | mark     | 40 | mark the row and go down
    range    | V     | range    | range    |    | mark from here to where V is pressed again
    mark_all | a     | mark all | mark all |    | mark all that match, loaded or not
    copy!    | y     | copy     | copy     | 70 | copy the id, the row or the payload
    why      | w     | why      | why      | 47 | why it waits, and what the verdict means
    log      | l     | log      | log      | 50 | the log of the job or worker
    similar  | =     | group    | similar  | 28 | the dead jobs that failed like this one
    """),
    # verbs
    Row("pause", ("p",), "pause", "pause or resume the queue", "acts", 20, "pause",
        ("resume", "pause"), (QueueRow,), "", _pause),
    Row("pause_task", ("P",), "pause task", "pause or resume one task in its queue", "acts", 21,
        "pause task", ("resume_task", "pause_task"), (TaskRow,), "", _pause),
    Row("retry", ("r",), "retry", "retry dead jobs", "acts", 20, "retry",
        ("retry",), (JobRow, ErrorGroup), "Retry {what}", _jobs),
    Row("patch", ("e",), "patch+retry", "change payloads of dead jobs, then retry them", "acts", 21,
        "patch"),
    Row("run_now", ("r",), "run now", "make waiting jobs run at once", "acts", 20, "run now",
        ("run_now",), (JobRow,), "Run {what} now", _jobs),
    Row("cancel", ("x",), "cancel", "cancel unfinished jobs", "acts", 22, "cancel",
        ("cancel",), (JobRow,), "Cancel {what}", _jobs),
    Row("delete", ("D",), "delete", "delete jobs with their records", "acts", 23, "delete",
        ("delete",), (JobRow, ErrorGroup), "Delete {what}", _jobs),
    Row("quiet", ("Q",), "quiet", "make the worker claim nothing more, or again", "acts", 21,
        "quiet", ("unquiet", "quiet"), (WorkerRow,), "", _worker),
    Row("stop", ("X",), "stop", "stop the worker within its grace", "acts", 22, "stop",
        ("stop",), (WorkerRow,), "Stop {what}", _worker),
    Row("recover", ("r",), "recover", "give back the jobs that a lost worker held", "acts", 18,
        "recover", ("recover",), (WorkerRow,), "Give back the jobs of {what}", _worker),
    Row("start_worker", ("n",), "new worker", "start a local worker", "acts", 15, "start worker"),
    Row("edit", ("e",), "edit", "edit the payload of one job; the old one is kept", "acts", 24,
        "edit payload"),
    Row("move", ("m",), "move", "make waiting jobs due at another time", "acts", 25, "move"),
    Row("move_queue", ("M",), "to queue", "move waiting jobs to another queue", "acts", 0,
        "move queue"),
    Row("new_job", ("n",), "new job", "enqueue a job in this queue", "acts", 27, "new job"),
    Row("again", (), "again", "enqueue a new job like this one", "acts", 0, "again"),
    Row("limits", ("c",), "limits", "limits of the queue, slots of the worker", "acts", 45,
        "limits"),
    Row("clear", ("D",), "clear", "clear the queue; a copy is kept for 24 h", "acts", 46, "clear"),
    Row("abort", ("x",), "abort", "end the bulk operation where it is", "acts", 21, "abort"),
    # schedules
    Row("edit_schedule", ("e",), "edit", "edit the schedule; shows its next runs",
        "acts", 18, "edit"),
    Row("new_schedule", ("n",), "new", "add a schedule", "acts", 19, "new schedule"),
    Row("pause_schedule", ("p",), "off until", "switch schedules off until a time, or on again",
        "acts", 20, "off"),
    Row("trigger_schedule", ("t",), "run now", "run the schedule once, now", "acts", 21, "trigger"),
    Row("remove_schedule", ("D",), "remove", "remove schedules; their jobs stay", "acts", 23,
        "remove"),
    Row("adopt_schedule", (), "adopt", "take what the code declares for the schedule", "acts", 0,
        "adopt"),
    *_plain("log", """
    follow     | f   | follow   | follow         | 20 | follow the end of the log, or stop
    wrap       | W   | wrap     | wrap           | 24 | wrap long lines, or cut them
    times      | T   | times    | times          | 25 | times: off, relative, UTC, local
    level      | L   | level    | level          | 23 | show lines from a level up
    find       | /   | find     | search         | 21 | find text in the log
    find_next  | n   | next     | next hit       | 22 | next hit
    find_back  | N   | previous | previous hit   |    | previous hit
    error_back | { < | error    | previous error |    | the error before
    error_next | } > | error    | next error     |    | the next error
    save       | O   | save     | save log       | 26 | save the log to a file
    """),
    # everywhere
    Row("pause_all", (), "pause all", "pause every queue", "everywhere", 0, "pause all",
        ("pause",), (QueueRow,), "Pause {what}", _pause),
    Row("resume_all", (), "resume all", "resume every paused queue", "everywhere", 0, "resume all",
        ("resume",), (QueueRow,), "Resume {what}", _pause),
    *_plain("everywhere", """
    undo    | u        | undo    | undo    | 75 | take back your newest act (asks; of others: 9)
    prompt  | : ctrl+p | command | prompt  | 80 | type a command or paste a job id
    help    | ?        | help    | help    | 85 | this help
    zone    | Z        | zone    | zone    |    | switch between UTC and local time
    freeze  | F        | freeze  | freeze  |    | hold the screen still, or let it go on
    refresh | ctrl+r   | refresh | refresh |    | read again now
    editor  | ctrl+o   | $EDITOR | editor  |    | edit the field of a form in $VISUAL or $EDITOR
    redraw  | ctrl+l   | redraw  | redraw  |    | draw the whole screen again
    quit    | q        | quit    | quit    | 90 | quit, at the root of a view
    """),
)  # fmt: skip


def row(identifier: str) -> Row:
    """Return the row of an id."""
    return _BY_ID[identifier]


_BY_ID: Mapping[str, Row] = {each.id: each for each in ROWS}
_NEVER = ("y", "escape", "enter", *"0123456789")


def remap(rows: Sequence[Row], keys: Mapping[str, str]) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """Return the rows with other keys put in, and one sentence for each change that was refused."""
    refused: list[str] = []
    changed: dict[str, Row] = {}
    for identifier, key in keys.items():
        known = _BY_ID.get(identifier)
        if known is None:
            refused.append(f"keys: there is no action {identifier!r}")
        elif known.fixed or key in _NEVER or not key:
            refused.append(f"keys: {identifier} cannot be put on {key!r}")
        else:
            changed[identifier] = replace(known, keys=(key,))
    result = tuple(changed.get(each.id, each) for each in rows)
    for clash in conflicts(result):
        if clash[0].id in changed or clash[1].id in changed:
            refused.append(f"keys: {clash[2]!r} is both {clash[0].id} and {clash[1].id}")
            result = tuple(
                _BY_ID[each.id] if each.id in (clash[0].id, clash[1].id) else each
                for each in result
            )
    return result, tuple(refused)


# Rows that share a key on purpose: they are never at hand on one screen.
_APART = (
    {"patch", "edit_schedule"},
    {"patch", "edit"},
    {"retry", "run_now"},
    {"retry", "recover"},
    {"run_now", "recover"},
    {"filter", "find"},
    {"start_worker", "find_next"},
    {"start_worker", "new_schedule"},
    {"pause", "pause_schedule"},
    {"delete", "remove_schedule"},
    {"delete", "clear"},
    {"clear", "remove_schedule"},
    {"cancel", "abort"},
    {"edit", "edit_schedule"},
    {"new_job", "start_worker"},
    {"new_job", "find_next"},
    {"new_job", "new_schedule"},
)


def conflicts(rows: Sequence[Row]) -> list[tuple[Row, Row, str]]:
    """Return the pairs of rows that one key means both of."""
    seen: dict[str, Row] = {}
    found = []
    for each in rows:
        for key in each.keys:
            other = seen.setdefault(key, each)
            if other is not each and {other.id, each.id} not in _APART:
                found.append((other, each, key))
    return found
