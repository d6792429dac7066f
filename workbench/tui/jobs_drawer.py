"""The jobs, at the bottom of the screen: how far each is, how long it will take, its log; cancel and retry."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rich.console import Group
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.widgets import Static

from store import jobs
from store.errors import WorkbenchError
from store.job_curves import POINT
from store.jobs import ENDED, Job
from workbench.tui.actions import Action, bindings, permitted
from workbench.tui.messages import Told
from workbench.tui.pane import Session
from workbench.tui.render.bars import percent
from workbench.tui.render.job_list import job_curves, job_line, job_view
from workbench.tui.render.tokens import show_text
from workbench.tui.screens.page import Page
from workbench.tui.widgets.line_list import LineList

if TYPE_CHECKING:
    from store.project import Project

LISTED = 200
"""Jobs in the list, the newest first."""
LOG_BYTES, LOG_LINES, PAGE_LOG_LINES = 65536, 4, 200


class JobsDrawer(Container):
    """Closed until a person opens it; it listens all the time."""

    ACTIONS: ClassVar[tuple[Action, ...]] = (
        Action("details", "enter", "Read everything about the job under the cursor, with its log", "details"),
        Action("cancel", "c", "Cancel the job under the cursor", "cancel", changes=True),
        Action("first", "f", "Take the queued job under the cursor before all others that wait", "first", changes=True),
        Action("retry", "r", "Run the job under the cursor again", "retry", changes=True),
    )
    BINDINGS: ClassVar[list[BindingType]] = bindings(ACTIONS)
    DEFAULT_CSS = """
    JobsDrawer { display: none; height: 40%; min-height: 8; border-top: solid $primary; }
    JobsDrawer #jobs-log { height: 4; color: $text-muted; }
    JobsDrawer #jobs-log.-curve { height: 6; }
    """

    def __init__(self, session: Session) -> None:
        """Jobs of the session's project."""
        super().__init__(id="jobs")
        self._session = session
        self._jobs: list[Job] = []
        self._stages: list[dict[str, Any]] = []
        self._running_since = 0.0
        self.summary = "worker up"
        """A few words for the first line of the app."""

    def compose(self) -> ComposeResult:
        """The list, and of the job under the cursor the curve that it draws, or the end of its log."""
        yield LineList(empty="no job has been run in this project", id="jobs-list")
        yield Static("", id="jobs-log")

    def __len__(self) -> int:
        """How many jobs are listed."""
        return len(self._jobs)

    def line(self, index: int, width: int) -> Text:
        """One job."""
        job = self._jobs[index]
        running = job.state in ("running", "cancelling")
        return job_line(job, self._stages if running else [], self._left_s() if running else None, width)

    async def toggle(self) -> None:
        """Open with the focus on the list, or close."""
        self.display = not self.display
        if self.display:
            await self.read()
            self.query_one(LineList).show(self)
            self.query_one(LineList).focus()

    async def read(self) -> None:
        """Read the list anew."""
        self._jobs = await self._session.store.read(lambda project: jobs.listing(project.db, LISTED))
        running = [job for job in self._jobs if job.state in ("running", "cancelling")]
        waiting = sum(job.state == "queued" for job in self._jobs)
        self.summary = " ".join(
            [f"{running[0].kind} {running[0].state}" if running else "worker idle", f"+{waiting}" if waiting else ""]
        ).strip()
        if self.display:
            self.query_one(LineList).redraw()

    async def hear(self, announcement: Mapping[str, Any]) -> Job | None:
        """Take in what the worker announces; the job that has just ended, if one has."""
        if "progress" in announcement:
            self._stages = list(announcement["progress"])
            self.summary = f"{self._kind(announcement['job'])} {self._percent()}"
            self.query_one(LineList).redraw()
            return None
        event = announcement.get("event", {})
        if "started" in announcement or event.get("text") == "running":
            self._running_since, self._stages = time.monotonic(), []
        chosen = self._chosen()
        if event.get("kind") == POINT and self.display and chosen is not None and chosen.id == event["job"]:
            await self._show_log(chosen)
        if event.get("kind") != "state":
            return None
        await self.read()
        if event["text"] not in ENDED:
            return None
        self._stages = []
        job_id = event["job"]
        return await self._session.store.read(lambda project: jobs.show(project.db, job_id))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A follower changes nothing."""
        return permitted(self.ACTIONS, action, self._session.read_only)

    @on(LineList.Chosen)
    async def action_details(self) -> None:
        """Params, events, curve and log of the job under the cursor."""
        job = self._chosen()
        if job is None:
            return
        page = await self._session.store.read(lambda project: _page(project, job.id))
        self.app.push_screen(Page(f"job {job.id}", page))

    @on(LineList.Moved)
    async def _moved(self, message: LineList.Moved) -> None:
        """Another job is under the cursor."""
        message.stop()
        await self._show_log(self._jobs[message.index])

    async def _show_log(self, job: Job) -> None:
        """What a running job draws; of others the end of the log."""
        log = self.query_one("#jobs-log", Static)
        drawn: list[Text] = []
        if job.finished_at is None:
            events = await self._session.store.read(lambda project: jobs.events(project.db, job.id))
            drawn = job_curves([event for _, event in events], self.size.width)
        log.set_class(bool(drawn), "-curve")
        lines = _tail(_log(self._session.store.directory, job.id), LOG_LINES)
        log.update(drawn[-1] if drawn else Text("\n".join(map(show_text, lines))))

    async def action_cancel(self) -> None:
        """Ask the job under the cursor to stop."""
        job = self._chosen()
        if job is not None:
            self.run_worker(self._told(self._session.worker.cancel(job.id), f"job {job.id} is being cancelled"))

    async def action_first(self) -> None:
        """Move the job under the cursor to the head of the queue."""
        job = self._chosen()
        if job is not None:
            self.run_worker(self._told(self._session.worker.take_next(job.id), f"job {job.id} is taken next"))

    async def action_retry(self) -> None:
        """Queue the job under the cursor once more."""
        job = self._chosen()
        if job is not None:
            self.run_worker(self._told(self._session.worker.retry(job.id), f"job {job.id} is queued again"))

    async def _told(self, order: Awaitable[object], said: str) -> None:
        try:
            await order
            await self.read()
            self.post_message(Told(said))
        except WorkbenchError as error:
            self.post_message(Told(str(error), error=True))

    def _chosen(self) -> Job | None:
        at = self.query_one(LineList).cursor
        return self._jobs[at] if at < len(self._jobs) else None

    def _kind(self, job_id: int) -> str:
        return next((job.kind for job in self._jobs if job.id == job_id), f"job {job_id}")

    def _percent(self) -> str:
        return percent(self._share_done(), 0)

    def _share_done(self) -> float:
        outermost = self._stages[0] if self._stages else {"done": 0.0, "total": 0.0}
        return outermost["done"] / outermost["total"] if outermost["total"] else 0.0

    def _left_s(self) -> float | None:
        done = self._share_done()
        return (time.monotonic() - self._running_since) * (1 - done) / done if done else None


def _page(project: Project, job_id: int) -> Group:
    """The job's page: what the command line shows of it, and the end of its log."""
    job = jobs.show(project.db, job_id)
    view = job_view(job, [event for _, event in jobs.events(project.db, job_id)])
    log = _tail(_log(project.directory, job_id), PAGE_LOG_LINES)
    return Group(view, Text("\nlog", style="dim"), Text("\n".join(map(show_text, log))))


def _log(directory: Path, job_id: int) -> Path:
    return directory / "logs" / f"job-{job_id}.log"


def _tail(path: Path, lines: int) -> list[str]:
    """The last lines of a log; nothing where there is none yet."""
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - LOG_BYTES, 0))
            return file.read().decode("utf-8", "replace").splitlines()[-lines:]
    except OSError:
        return []
