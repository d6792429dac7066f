"""What every pane is and may use: its own part of the screen, the project's store, the worker, and the other panes."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

from rich.console import RenderableType
from textual.containers import Container
from textual.css.query import NoMatches
from textual.worker import WorkType

from store.errors import WorkbenchError
from tasks.params import Params
from workbench.tui.actions import Action, permitted
from workbench.tui.messages import EditsSent, Looked, Told
from workbench.tui.place import Place
from workbench.tui.store_thread import StoreThread
from workbench.tui.worker_thread import WorkerThread

T = TypeVar("T")


@dataclass
class Session:
    """What the panes share."""

    store: StoreThread
    worker: WorkerThread
    read_only: bool = False
    """A follower: nothing is written and no work is given."""


class Pane(Container):
    """One of the four. A subclass has `TITLE`, `ACTIONS`, their `action_` methods, `compose`, and what differs below.

    It posts `Looked`, `Went`, `Asked`, `Kept`, `Told`, `EditsSent` (workbench.tui.messages); the methods here tell it.
    """

    DEFAULT_CSS = "Pane { height: 1fr; }"
    TITLE: ClassVar[str] = ""
    ACTIONS: ClassVar[tuple[Action, ...]] = ()
    HELP: ClassVar[str] = ""
    """A few plain sentences for F1: what is seen here and what the numbers mean."""

    def __init__(self, session: Session, name: str) -> None:
        """The pane `name` (also its id: `baselines`, `features`, `graph`, `interventions`)."""
        super().__init__(id=name)
        self.session = session

    async def open(self) -> None:
        """Come up for the first time: read from the store what is to be seen. Called once, before `go`."""

    async def go(self, place: Place) -> None:
        """Show a place: a person went there. Only the fields that matter to this pane need a look."""

    async def follow(self, place: Place) -> None:
        """Another pane looks at `place`: show what belongs to it without taking the focus. Linked panes only."""

    async def store_changed(self) -> None:
        """Somebody wrote to the project: read again what is on the screen, keeping the cursor where it is."""

    async def job_ended(self, job_id: int, kind: str, state: str) -> None:
        """A job has ended; `state` is succeeded, failed, cancelled or interrupted. Results are in the store by now."""

    async def take_edits(self, sent: EditsSent) -> None:
        """Edits were sent to this pane, which is up: the console's."""

    def state(self) -> Mapping[str, Any]:
        """What must come back after a dropped connection, as JSON: filters, thresholds, half-typed text."""
        return {}

    async def restore(self, state: Mapping[str, Any]) -> None:
        """Bring back an earlier `state()`; fields may be missing or of an older version. Called after `open`."""

    def exported(self, width: int) -> RenderableType:
        """What the pane shows, whole, for a file or a printer: the renderers that the command line uses."""
        return ""

    def finding(self) -> tuple[str, Mapping[str, Any]] | None:
        """What `!` keeps: a sentence with the number under the cursor, and its provenance; None if there is none."""
        return None

    def copied(self) -> str:
        """What `y` copies: the name or text under the cursor."""
        return ""

    def focus_main(self) -> None:
        """Put the focus where the pane is mostly used."""
        for widget in self.query("*"):
            if widget.focusable:
                widget.focus()
                return

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A follower changes nothing."""
        return permitted(self.ACTIONS, action, self.session.read_only)

    def looks(self, place: Place) -> None:
        """Tell the linked panes what the cursor rests on."""
        self.post_message(Looked(replace(place, pane=self.id or "")))

    def soon(self, work: Callable[[], Coroutine[Any, Any, T]], group: str = "pane") -> None:
        """Do something that awaits; a later call with the same group takes its place. Errors become a line."""

        async def told() -> None:
            try:
                await work()
            except WorkbenchError as error:
                self.post_message(Told(str(error), error=True))
            except NoMatches:
                if self.app.is_running:
                    raise  # else the app ended, and the pane's widgets went, while this awaited the store

        work_of_pane: WorkType[None] = told
        self.run_worker(work_of_pane, group=group, exclusive=True)

    async def submitted(self, kind: str, params: Params) -> int:
        """Give the worker a job; its id. Rather post `Asked`, unless the id is needed."""
        return await self.session.worker.submit(kind, params)
