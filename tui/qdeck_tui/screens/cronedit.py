"""Editing a schedule: the form, its previews while typing, the question before saving, and what
happens when somebody else saved first.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from qdeck.admin import Admin, Conflict, Misfire, Overlap, Preview, ScheduleRow, ScheduleSpec
from qdeck_tui.desk import Console
from qdeck_tui.format import cut, prose, safe
from qdeck_tui.screens.question import question
from qdeck_tui.widgets.canvas import Line
from qdeck_tui.widgets.cronform import CronForm, load_zones
from qdeck_tui.widgets.cronmeaning import run_lines

__all__ = ["Editing"]

#: Seconds of rest before an expression that is typed is looked at.
REST = 0.08
PARTS = ("expression", "zone", "task", "queue", "payload", "misfire", "overlap")


class Editing:
    """The edit of one schedule, or of a new one; it is kept until it is saved or dropped.

    `room` is the cells and lines that the form has, `beside` is told when it opens and closes.
    """

    def __init__(
        self,
        desk: Console,
        row: ScheduleRow | None,
        *,
        room: Callable[[], tuple[int, int]],
        beside: Callable[[bool], None],
        ended: Callable[[bool], None],
    ) -> None:
        self._desk = desk
        self._row = row
        self._ended = ended
        self._room, self._beside = room, beside
        self._looking = False
        self._stale = False
        spec = ScheduleSpec("", "", "") if row is None else row.spec
        title = "NEW SCHEDULE" if row is None else f"EDIT {safe(row.name)}"
        self.form = CronForm(
            title,
            spec,
            json.dumps(dict(spec.payload), ensure_ascii=False),
            new=row is None,
            now=lambda: desk.now,
            here=lambda: desk.zone,
            rows=lambda: room()[1],
            typed=self._look,
            changed=desk.update_sheet,
            done=self._submit,
            closed=self._close,
        )

    def open(self) -> None:
        """Lay the form beside the list."""
        self._beside(True)
        self._desk.open_sheet(self.form)
        self._desk.begin_work(asyncio.to_thread(load_zones), "the zones were not read")
        self._look()

    def _close(self) -> None:
        self._desk.close_sheet()
        self._beside(False)
        self._ended(True)

    # What it would do

    def _look(self) -> None:
        """Ask what the expression means, one question at a time, the last one last."""
        self._stale = True
        if not self._looking:
            self._looking = True
            self._desk.begin_work(self._preview(), "the preview failed")

    async def _preview(self) -> None:
        try:
            while self._stale:
                await asyncio.sleep(REST)
                self._stale = False
                values = self.form.values()
                self.form.show(await self._asked(values))
        except Exception as error:
            unread = f"not read: {error}"
            self.form.show(Preview(False, self.form.values()["when"], "", unread))
        finally:
            self._looking = False

    async def _asked(self, values: dict[str, str]) -> Preview:
        name = values.get("name", "") if self._row is None else self._row.name
        schedules = self._door()
        return await schedules.preview(values["when"], values["zone"] or "UTC", name, 8)

    def _door(self) -> Admin:
        admin = self._desk.admin
        if admin is None:
            raise OSError("not connected")
        return admin

    # Saving

    def _submit(self, values: dict[str, str]) -> None:
        """Ask before saving; the question opens at once and is filled when it is known."""
        refused = self._desk.refusal
        if refused:
            self.form.fail(f"save refused: {refused}")
            return
        try:
            spec = self._spec(values)
        except ValueError as error:
            self.form.fail(str(error))
            return
        self._desk.close_sheet()
        kept: list[ScheduleSpec] = []

        def answer(yes: bool) -> None:
            if yes and kept:
                self._beside(False)
                self._desk.begin_work(self._save(kept[0]), "saving failed")
            else:
                self.form.problem = "not saved"
                self.open()

        dialog = question(self._desk, "SAVE", answer)

        async def prepare() -> None:
            try:
                shown = await self._asked(values)
                self.form.preview = shown
                if not shown.ok:
                    dialog.fail(shown.error)
                    return
                whole = replace(spec, expression=shown.expression)
                await self._write(whole, dry_run=True)
            except Conflict as conflict:
                dialog.fail(self._meet(conflict))
                return
            except Exception as error:
                dialog.fail(f"save: {error}")
                return
            kept.append(whole)
            dialog.fill(self._sentences(whole, shown), 1)

        self._desk.begin_work(prepare(), "save failed")

    def _spec(self, values: dict[str, str]) -> ScheduleSpec:
        """Return what the form says; raises `ValueError` with a sentence."""
        payload = _payload(values["args"])
        base = ScheduleSpec(values.get("name", ""), "", "") if self._row is None else self._row.spec
        return replace(
            base,
            expression=values["when"],
            zone=values["zone"] or "UTC",
            task=values["task"],
            queue=values["queue"],
            payload=payload,
            misfire=cast("Misfire", values["misfire"]),
            overlap=cast("Overlap", values["overlap"]),
        )

    def _sentences(self, spec: ScheduleSpec, shown: Preview) -> list[Line]:
        """Return old → new, and the next runs."""
        if self._row is None:
            lines: list[Line] = [((f"Add schedule {cut(spec.name, 36)}?", "bold"),)]
            changes = [
                ("", f"{spec.expression}   {spec.zone}"),
                ("", f"{spec.task} in {spec.queue or 'the queue of its task'}"),
            ]
        else:
            lines = [((f"Save {cut(spec.name, 40)}?", "bold"),)]
            old, new = _said(self._row.spec), _said(spec)
            changes = [(old[part], new[part]) for part in new if old[part] != new[part]]
            if not changes:
                lines.append((("nothing is changed", "warn"),))
        room = min(68, self._room()[0] - 2)
        for before, after in changes:
            lines += _arrow(before, after, room)
        lines.append(((f"  {cut(shown.words, room)}", ""),))
        runs = run_lines(shown, self._desk.now, self._desk.zone, 5)
        lines += [(("  ", ""), *line) for line in runs]
        for each in shown.lint:
            if each.level == "warn":
                lines += [((f"  ! {part}", "warn"),) for part in prose(each.text, 64)]
        return lines

    async def _write(self, spec: ScheduleSpec, *, dry_run: bool = False) -> str:
        """Save, a changed queue last; return what was done."""
        schedules, row = self._door(), self._row
        if row is None:
            return (await schedules.add_schedule(spec, dry_run=dry_run)).text
        moved = spec.queue != row.queue
        stays = replace(spec, queue=row.queue)
        texts = []
        if stays != row.spec or not moved:
            done = await schedules.edit_schedule(stays, row.revision or 0, dry_run=dry_run)
            texts.append(done.text)
        if moved:
            done = await schedules.move_schedule(row.name, spec.queue, dry_run=dry_run)
            texts.append(done.text)
        return "; ".join(texts)

    async def _save(self, spec: ScheduleSpec) -> None:
        try:
            text = await self._write(spec)
        except Conflict as conflict:
            self._desk.say(f"not saved: {self._meet(conflict)}; e opens your edit again", "bad")
            self._ended(False)
            return
        except Exception:
            self._ended(False)
            raise
        self._ended(True)
        self._desk.say(text, "good")
        self._desk.poll()

    def _meet(self, conflict: Conflict) -> str:
        """Take what somebody else saved as the base from now on; return it in a sentence."""
        row = conflict.row
        if row is None:
            return f"{conflict}; it was removed meanwhile"
        self._row = row
        self.form.was = row.spec
        by = f" by {row.edited_by}" if row.edited_by else ""
        return f"changed meanwhile{by}: now {row.expression} {row.zone}, task {row.task}"


def _arrow(before: str, after: str, room: int) -> list[Line]:
    """Return what was and what is to be, on one line where there is room."""
    if not before:
        return [((f"  {cut(after, room)}", "good"),)]
    if len(before) + len(after) + 5 <= room:
        return [((f"  {before} ", "bad"), ("→ ", "dim"), (after, "good"))]
    return [((f"  {cut(before, room)}", "bad"),),
            (("  → ", "dim"), (cut(after, room - 2), "good"))]  # fmt: skip


def _payload(text: str) -> dict[str, Any]:
    """Return the arguments that a text of JSON holds; raises `ValueError` with a sentence."""
    if not text:
        return {}
    try:
        payload = json.loads(text)
    except ValueError as error:
        raise ValueError(f"args: no JSON: {error}") from None
    if not isinstance(payload, dict):
        raise ValueError('args: write an object, such as {"scope": "all"}')
    return payload


def _said(spec: ScheduleSpec) -> dict[str, str]:
    """Return each part of a schedule in words."""
    said = {name: str(getattr(spec, name)) for name in PARTS}
    said["expression"] = f"{spec.expression}   {spec.zone}"
    said["payload"] = json.dumps(dict(spec.payload), ensure_ascii=False)
    del said["zone"]
    return said
