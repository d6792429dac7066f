"""The app: four panes over one project, linked; what is asked goes to the worker, what is seen comes from the store."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual import events, work
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import BindingType
from textual.css.query import NoMatches
from textual.screen import Screen
from textual.widgets import ContentSwitcher, Footer, Static

from store import findings
from store.errors import BadInput, WorkbenchError
from tasks.registry import task
from workbench.tui.actions import EVERYWHERE, Action, bindings, key_words, permitted
from workbench.tui.copying import copy_text
from workbench.tui.jobs_drawer import JobsDrawer
from workbench.tui.key_help import about_page, key_page
from workbench.tui.messages import Asked, EditsSent, Kept, Looked, StoreChanged, Told, Went, WorkerNews
from workbench.tui.pane import Pane, Session
from workbench.tui.pane_types import PANES, pane_type
from workbench.tui.place import History, Place
from workbench.tui.render.tokens import show_text
from workbench.tui.saved_state import INTERVAL_S, SavedState
from workbench.tui.screens.ledger import Ledger
from workbench.tui.screens.page import Page
from workbench.tui.screens.question import Question
from workbench.tui.store_thread import StoreThread
from workbench.tui.view_export import WIDTH, check_path, save_view
from workbench.tui.widgets.masthead import Masthead, short_spec
from workbench.tui.worker_thread import WorkerThread

SMALLEST = (80, 24)
"""Columns and lines below which the app asks for a larger terminal."""
_HANGUP = 129
_FIRST_PANE_S = 1.0
"""So long after the start the first pane is up, and there is time to import the others."""


class Workbench(App[int]):
    """The app on one project."""

    TITLE = "workbench"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = True
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012  # an instance variable to textual
        (0, "-narrow"),
        (100, "-wide"),
    ]
    ACTIONS: ClassVar[tuple[Action, ...]] = EVERYWHERE
    BINDINGS: ClassVar[list[BindingType]] = bindings(ACTIONS)

    def __init__(
        self, directory: Path, follow: bool = False, low_bandwidth: bool = False, starts_worker: bool = True
    ) -> None:
        """Open on the project in `directory`.

        With `follow` nothing is written and what another terminal's app shows is shown. With `low_bandwidth` nothing is
        animated. With `starts_worker` a worker is started if none runs.
        """
        super().__init__()
        self.directory = directory
        self.follows = follow
        if low_bandwidth:
            self.animation_level = "none"
        self.session = Session(
            StoreThread(directory, lambda: self.post_message(StoreChanged()), read_only=follow),
            WorkerThread(directory, self.post_message, starts=starts_worker and not follow),
            read_only=follow,
        )
        self.history = History()
        self.linked = True
        self.opened: set[str] = set()
        self.saved = SavedState(self.session.store)
        self.fault: WorkbenchError | None = None
        """Why the app ended by itself."""
        self._about = ("", "")

    def compose(self) -> ComposeResult:
        """One screen: the panes' titles, what is wrong, the pane, the jobs, the keys."""
        yield Masthead([(name, name.capitalize()) for name in PANES])
        yield Static("", id="banner")
        with ContentSwitcher(initial="opening"):
            yield Pane(self.session, "opening")
        yield JobsDrawer(self.session)
        yield Static("", id="too-small")
        yield Footer(show_command_palette=False)

    async def on_mount(self) -> None:
        """Paint first, then read: the store and the worker answer later."""
        loop = asyncio.get_running_loop()
        with suppress(NotImplementedError, ValueError, RuntimeError):
            loop.add_signal_handler(signal.SIGHUP, self._leave, _HANGUP)
        self.call_after_refresh(self._begin)

    @work(exclusive=True, group="begin")
    async def _begin(self) -> None:
        """Open the store, bring back where the person was, listen to the worker."""
        store = self.session.store
        try:
            record = await store.read(lambda project: project.model)
            saved = await self.saved.load()
        except WorkbenchError as error:
            self.fault = error
            self.exit(error.exit_code)
            return
        self._say_about(f"{self.directory.resolve().name}  {show_text(short_spec(record.spec))}", "worker …")
        store.start()
        self.session.worker.start()
        if saved.get("theme") in self.available_themes:
            self.theme = saved["theme"]
        self.linked = bool(saved.get("linked", True))
        place = Place.read(saved.get("place"))
        if not self.history.here.pane:  # else a key was faster
            self.history.note(place if place.pane in PANES else Place(pane=PANES[0]))
            self.post_message(Went(self.history.here))
        self.set_interval(INTERVAL_S, self.save_state)
        self.set_timer(_FIRST_PANE_S, self._import_panes)

    @work(thread=True)
    def _import_panes(self) -> None:
        for name in PANES:
            pane_type(name)

    def _leave(self, code: int) -> None:
        """Write down where the person is, and end."""
        self.save_state()
        self.exit(code)

    async def action_quit(self) -> None:
        """Leave; the worker and its jobs go on."""
        self._leave(0)

    async def on_unmount(self) -> None:
        """Hang up."""
        self.session.worker.close()
        self.session.store.close()

    # Where a person is.

    @property
    def pane(self) -> Pane:
        """The pane that is on the screen; one without content until the store has said which."""
        switcher = self.default_screen.query_one(ContentSwitcher)
        return switcher.query_one(f"#{switcher.current}", Pane)

    @property
    def default_screen(self) -> Screen[object]:
        """The screen with the panes, whatever lies over it."""
        return self.screen_stack[0]

    def _open_panes(self) -> Iterator[Pane]:
        """The panes that were opened, as long as they are there: the app may be left while one of them reads."""
        for name in sorted(self.opened):
            if self.screen_stack:
                yield from self.default_screen.query(f"#{name}").results(Pane)

    async def _show(self, place: Place, focus: bool = True) -> None:
        """Bring up a place's pane, opened if it is the first time, and have it show the place."""
        switcher = self.default_screen.query_one(ContentSwitcher)
        if not switcher.query(f"#{place.pane}"):
            await switcher.add_content(pane_type(place.pane)(self.session, place.pane))
        switcher.current = self.default_screen.query_one(Masthead).current = place.pane
        pane = self.pane
        if place.pane not in self.opened:
            await pane.open()
            if isinstance(state := self.saved.panes.get(place.pane), dict):
                await pane.restore(state)
            self.opened.add(place.pane)
        await pane.go(place)
        if focus:
            pane.focus_main()

    async def on_went(self, message: Went) -> None:
        """Somebody goes somewhere: the way back is kept."""
        place = message.place.over(self.history.here)
        self.history.go(place)
        await self._told(self._show(place))

    async def on_looked(self, message: Looked) -> None:
        """A cursor came to rest: linked panes that are open show the same."""
        here = self.history.here
        place = message.place.over(here)
        if place == here or place.pane != here.pane:  # a pane that was left may speak still
            return
        self.history.note(place)
        if self.linked:
            for pane in self._open_panes():
                if pane.id != here.pane:
                    await self._told(pane.follow(place))

    async def on_edits_sent(self, message: EditsSent) -> None:
        """Edits go to the console, which comes up."""
        place = Place("interventions", prompt=message.prompt, graph=message.graph, dictionary=message.dictionary)
        await self.on_went(Went(place))
        await self._told(self.pane.take_edits(message))

    def save_state(self) -> None:
        """Write down where the person is, if that has changed; not while the panes are being taken down."""
        if not self.is_running:
            return
        panes = {
            pane.id or "": dict(pane.state()) for pane in self.default_screen.query(Pane) if pane.id in self.opened
        }
        self.saved.keep(self.history.here.document(), panes, linked=self.linked, theme=self.theme)

    async def _told(self, work: Awaitable[None]) -> None:
        """Await; a fault that a person can mend becomes a line."""
        try:
            await work
        except WorkbenchError as error:
            self.on_told(Told(str(error), error=True))
        except NoMatches:
            if self.is_running:
                raise  # else the app ended, and its widgets went, while this awaited the store

    # What is heard.

    def on_told(self, message: Told) -> None:
        """Show a line."""
        if message.error:
            self.notify(show_text(message.text), severity="error", timeout=10, markup=False)
        else:
            self.notify(show_text(message.text), markup=False)

    async def on_asked(self, message: Asked) -> None:
        """Give the worker a job."""
        await self._told(self._submit(message))

    async def _submit(self, message: Asked) -> None:
        if self.follows:
            raise BadInput("this terminal only follows", "do it in the other one, or open the app without --follow")
        params = task(message.kind).params_type.model_validate(dict(message.params))
        job_id = await self.session.worker.submit(message.kind, params)
        self.on_told(Told(f"job {job_id}: {message.said or message.kind}"))
        await self.default_screen.query_one(JobsDrawer).read()

    async def on_kept(self, message: Kept) -> None:
        """Write a finding."""
        await self._told(self._keep(message))

    async def _keep(self, message: Kept) -> None:
        await self.session.store.note(lambda project: findings.add(project.db, message.text, message.provenance))
        self.on_told(Told(f"kept: {message.text}"))

    async def on_store_changed(self) -> None:
        """Somebody wrote: what is on the screen is read again."""
        if self.follows:
            await self._mirror()
        for pane in self._open_panes():
            await self._told(pane.store_changed())

    async def on_worker_news(self, message: WorkerNews) -> None:
        """The worker came, went, or tells of a job."""
        banner = self.default_screen.query_one("#banner", Static)
        if message.state == "job":
            await self._hear(message.job)
            return
        banner.display = message.state == "down"
        banner.update(Text(f" {show_text(message.reason.replace(str(self.directory), self.directory.name))}"))
        self._say_about(self._about[0], "worker up" if message.state == "up" else "no worker")

    async def _hear(self, announcement: Mapping[str, Any]) -> None:
        """Pass on what happened to a job; a job's end goes to every open pane."""
        drawer = self.default_screen.query_one(JobsDrawer)
        ended = await drawer.hear(announcement)
        self._say_about(self._about[0], drawer.summary)
        if ended is not None:
            for pane in self._open_panes():
                await self._told(pane.job_ended(ended.id, ended.kind, ended.state))
            if ended.state != "succeeded":
                self.on_told(Told(f"job {ended.id} {ended.kind} {ended.state}: {ended.error or ''}", error=True))

    async def _mirror(self) -> None:
        """Show what the other terminal's app shows."""
        document = await self.saved.load()
        place = Place.read(document.get("place"))
        if place.pane in PANES and place != self.history.here:
            self.history.go(place)
            await self._told(self._show(place, focus=False))

    def _say_about(self, project: str, worker: str) -> None:
        self._about = (project, worker)
        self.default_screen.query_one(Masthead).about = f"{project}  {'following  ' if self.follows else ''}{worker}"

    # What keys do.

    async def on_masthead_picked(self, message: Masthead.Picked) -> None:
        """A click on a pane's title."""
        await self.action_pane(message.name)

    async def action_pane(self, name: str) -> None:
        """Show a pane, with what was looked at before."""
        await self.on_went(Went(Place(pane=name)))

    async def action_back(self) -> None:
        """Where the person was before."""
        await self._step(-1)

    async def action_forward(self) -> None:
        """Where the person had gone from here."""
        await self._step(1)

    async def _step(self, by: int) -> None:
        place = self.history.step(by)
        if place is None:
            self.bell()
        else:
            await self._told(self._show(place))

    def action_link(self) -> None:
        """Panes show the same thing, or not."""
        self.linked = not self.linked
        self.on_told(Told("panes are linked" if self.linked else "panes are no longer linked: each stays where it is"))

    async def action_jobs(self) -> None:
        """Open or close the jobs."""
        await self.default_screen.query_one(JobsDrawer).toggle()

    @work
    async def action_ledger(self) -> None:
        """Read the findings."""
        rows = await self.session.store.read(lambda project: findings.listing(project.db))
        place = await self.push_screen_wait(Ledger(rows))
        if place is not None:
            await self.on_went(Went(place))

    async def action_keep(self) -> None:
        """Keep what the pane says is under the cursor."""
        found = self.pane.finding()
        if found is None:
            self.on_told(Told("there is no number under the cursor to keep", error=True))
        else:
            await self.on_kept(Kept(*found))

    @work
    async def action_copy(self) -> None:
        """Copy what is under the cursor, by whatever way this terminal has."""
        text = self.pane.copied()
        if not text:
            self.bell()
            return
        self.on_told(Told(await asyncio.to_thread(copy_text, text, self.directory, self.copy_to_clipboard)))

    @work
    async def action_export(self) -> None:
        """Save the view; the ending says as what."""
        suggested = f"{self.pane.id}.txt"
        path = await self.push_screen_wait(
            Question("Save this view to (.txt, .svg or .md)", suggested, check=check_path)
        )
        if path:
            view = self.pane.exported(WIDTH)
            self.on_told(Told(await asyncio.to_thread(save_view, view, path)))

    def action_keys(self) -> None:
        """Every key, the pane's first."""
        self.push_screen(Page("Keys", key_page(self.pane, self.ACTIONS)))

    def action_about(self) -> None:
        """What this pane shows."""
        self.push_screen(Page(self.pane.TITLE, about_page(self.pane)))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Every action of the app and of every pane, and the themes."""
        for action in self.ACTIONS:
            yield SystemCommand(action.words, key_words(action.keys), partial(self._run_from_palette, "", action.name))
        for name in PANES:
            for action in pane_type(name).ACTIONS:
                words = f"{name.capitalize()}: {action.words}"
                yield SystemCommand(words, key_words(action.keys), partial(self._run_from_palette, name, action.name))
        yield SystemCommand("Change the colours", "theme", self.action_change_theme)

    async def _run_from_palette(self, pane: str, action: str) -> None:
        if pane:
            await self.action_pane(pane)
        await self.run_action(action, default_namespace=self.pane if pane else self)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A follower changes nothing."""
        return permitted(self.ACTIONS, action, self.follows)

    def on_resize(self, event: events.Resize) -> None:
        """Say so where there is no room."""
        columns, lines = event.size
        small = columns < SMALLEST[0] or lines < SMALLEST[1]
        words = f"this terminal is {columns}×{lines}; the workbench needs {SMALLEST[0]}×{SMALLEST[1]}"
        self.default_screen.set_class(small, "-too-small")
        self.default_screen.query_one("#too-small", Static).update(Text(words))
