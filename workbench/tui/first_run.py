"""Where there is no project yet: what there is to begin with, and the beginning made from here."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Footer, Static

from store.errors import BadInput
from store.location import DATABASE_NAME
from workbench.tui.render.tokens import show_text
from workbench.tui.screens.question import Question
from workbench.tui.widgets.line_list import LineList, TextLines

EMBEDDED, QWEN = "builtin:smollm2-135m", "Qwen/Qwen3-4B-Instruct-2507"
_LINES_KEPT = 30


@dataclass(frozen=True)
class Beginning:
    """One way to begin: what it says, and the command that does it (`{directory}` and `{model}` are asked for)."""

    words: str
    command: tuple[str, ...]
    directory: str
    model: str = ""


BEGINNINGS = (
    Beginning(
        "the demonstration: the embedded model, dictionaries, a validated circuit (about ten minutes)",
        ("demo", "{directory}"),
        "demo",
    ),
    Beginning(
        "a new project on the embedded model, SmolLM2-135M-Instruct (runs on any machine)",
        ("init", "{directory}", "--model", "{model}"),
        "project",
        EMBEDDED,
    ),
    Beginning(
        "a new project on Qwen3-4B-Instruct (a GPU with 24 GB or more)",
        ("init", "{directory}", "--model", "{model}", "--dtype", "bfloat16"),
        "qwen3",
        QWEN,
    ),
    Beginning(
        "a new project on another model: a hub id, a directory, a .gguf file",
        ("init", "{directory}", "--model", "{model}"),
        "project",
    ),
    Beginning("open a project that is somewhere else", (), ""),
)


class FirstRun(App[Path]):
    """Asks how to begin, runs the command, and ends with the directory of a project, or with nothing."""

    TITLE = "workbench"
    ENABLE_COMMAND_PALETTE = False
    DEFAULT_CSS = """
    #welcome { height: 5; padding: 1 2; }
    FirstRun LineList { height: 7; }
    #output { height: 1fr; padding: 0 2; color: $text-muted; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "stop what runs"),
        Binding("ctrl+q,q", "quit", "quit"),
    ]

    def __init__(self, beginnings: tuple[Beginning, ...] = BEGINNINGS) -> None:
        """Offer these ways to begin."""
        super().__init__()
        self._beginnings = beginnings
        self._process: Process | None = None
        self._said: deque[str] = deque(maxlen=_LINES_KEPT)

    def compose(self) -> ComposeResult:
        """A welcome, the ways to begin, and what the command that runs says."""
        welcome = "There is no project here yet. A project holds one model and everything measured on it.\n"
        yield Static(Text(welcome + "Arrows choose, ⏎ begins."), id="welcome")
        yield LineList(TextLines([Text(beginning.words) for beginning in self._beginnings]))
        yield Static("", id="output")
        yield Footer()

    @on(LineList.Chosen)
    @work(exclusive=True)
    async def _begin(self, message: LineList.Chosen) -> None:
        """Ask what is open, run the command, and end with the project if it came to be."""
        beginning = self._beginnings[message.index]
        directory = await self._asked(beginning)
        if directory is None:
            return
        model: str | None = beginning.model
        if "{model}" in beginning.command and not model:
            model = await self.push_screen_wait(Question("Which model?", hint=QWEN))
            if not model:
                return
        if not beginning.command or await self._run(
            [word.format(directory=directory, model=model) for word in beginning.command]
        ):
            self.exit(Path(directory).expanduser())

    async def action_stop(self) -> None:
        """Ask the command that runs to stop, as Ctrl-C does."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()

    async def action_quit(self) -> None:
        """Leave, and stop what runs."""
        await self.action_stop()
        self.exit(None)

    async def _asked(self, beginning: Beginning) -> str | None:
        """The directory of the project: one that exists already to open, any other to make."""
        if beginning.command:
            return await self.push_screen_wait(Question("In which directory?", beginning.directory))
        return await self.push_screen_wait(Question("Which directory is the project in?", check=_refuse_no_project))

    async def _run(self, words: list[str]) -> bool:
        """Run `workbench words…` and show what it says; whether it did what it should."""
        self._said.clear()
        self._say(f"$ workbench {' '.join(words)}")
        command = [sys.executable, "-m", "workbench", *words]
        self._process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT, stdin=PIPE)
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self._say(line.decode("utf-8", "replace").rstrip())
        return await self._process.wait() == 0

    def _say(self, line: str) -> None:
        self._said.append(show_text(line))
        self.query_one("#output", Static).update(Text("\n".join(self._said)))


def _refuse_no_project(text: str) -> None:
    directory = Path(text).expanduser()
    if not (directory / DATABASE_NAME).is_file():
        raise BadInput(f"there is no project in {directory}", "name the directory that holds project.db")
