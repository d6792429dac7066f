"""The app in a real terminal: what it loads, a dropped connection, tmux, and a hostile vocabulary."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from store.project import Project
from tests.workbench.tui.terminal import Terminal, without_own_sequences, workbench
from workbench.tui.copying import copy_text

_CONTROLS = {*range(0x20), *range(0x7F, 0xA0)}
_BIDI = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F}


def test_given_a_project_when_the_app_is_opened_then_no_torch_is_loaded(project_directory: Path) -> None:
    script = """
import asyncio, sys
from pathlib import Path
from workbench.tui.app import Workbench
from workbench.tui.pane_types import PANES
async def look():
    app = Workbench(Path(sys.argv[1]), starts_worker=False)
    async with app.run_test() as pilot:
        await pilot.pause(0.5)
        for name in PANES:
            await app.action_pane(name)
            await pilot.pause(0.3)
asyncio.run(look())
print([name for name in ("torch", "transformers", "nnsight") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(project_directory)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_given_the_app_when_it_is_imported_then_no_pane_is_yet() -> None:
    loaded = "[name for name in sys.modules if name.startswith(('workbench.tui.panes', 'numpy'))]"
    script = f"import sys, workbench.tui.app; print({loaded})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_given_no_command_on_a_terminal_then_the_app_opens_and_ctrl_q_ends_it(project_directory: Path) -> None:
    with Terminal(workbench("--project", str(project_directory), "open", "--follow")) as terminal:
        terminal.until("Baselines", "following")
        terminal.press("\x11")
        assert terminal.ended() == 0


@pytest.mark.parametrize(("environment", "options"), [({"NO_COLOR": "1"}, []), ({}, ["--low-bandwidth"])])
def test_given_no_colour_or_a_slow_line_when_opened_then_all_is_there(
    project_directory: Path, environment: dict[str, str], options: list[str]
) -> None:
    words = workbench("--project", str(project_directory), "open", "--no-worker", *options)
    with Terminal(words, environment=environment) as terminal:
        terminal.until("4 Interventions", "no worker runs on project")
        colours = re.findall(rb"[34]8;2;(\d+);(\d+);(\d+)", terminal.received)
        assert all(red == green == blue for red, green, blue in colours) is bool(environment)
        terminal.press("\x11")
        assert terminal.ended() == 0


def test_given_a_dropped_connection_when_the_app_gets_sighup_then_it_ends_and_is_where_it_was_next_time(
    project_directory: Path,
) -> None:
    with Terminal(workbench("--project", str(project_directory))) as terminal:
        terminal.until("4 Interventions", "project")
        terminal.press("\x1bOS")  # F4
        time.sleep(1.5)
        terminal.read()
        terminal.process.send_signal(signal.SIGHUP)
        assert terminal.ended() == 129
    with Project.open(project_directory, write=False) as project:
        state = json.loads(project.db.execute("SELECT value FROM ui_state WHERE key = 'app'").fetchone()[0])
    assert state["place"]["pane"] == "graph"
    stop = subprocess.run(workbench("--project", str(project_directory), "worker", "stop"), check=False)
    assert stop.returncode == 0  # the app had started one, and it outlived the terminal


def test_given_output_that_is_no_terminal_when_the_app_is_asked_for_then_one_line_says_so(
    project_directory: Path,
) -> None:
    done = subprocess.run(
        workbench("--project", str(project_directory), "open"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert (
        done.stderr == "workbench: the app needs a terminal; run it in one; `workbench --help` lists what needs none\n"
    )


_VOCABULARY = """
import sys
from rich.text import Text
from textual.app import App
from tests.workbench.tui.vocabulary import hostile_texts
from workbench.tui.render.tokens import show_text, show_token
from workbench.tui.screens.page import Page
from workbench.tui.widgets.line_list import LineList, TextLines
texts = hostile_texts()
class Shown(App):
    def compose(self):
        starts = range(0, len(texts), 12)
        yield LineList(TextLines([Text(" ".join(map(show_token, texts[i : i + 12]))) for i in starts]))
    def on_mount(self):
        self.query_one(LineList).focus()
        self.set_interval(0.05, self.turn)
    def turn(self):
        lines = self.query_one(LineList)
        if lines.cursor == len(lines.lines) - 1:
            self.notify(show_text("".join(texts[:64])), markup=False)
            self.set_timer(0.5, self.exit)
        lines.action_page(1)
Shown().run()
"""


def test_given_a_hostile_vocabulary_when_drawn_in_a_terminal_then_no_control_character_gets_through() -> None:
    words = [sys.executable, "-c", _VOCABULARY]
    with Terminal(words, columns=400, lines=300) as terminal:
        assert terminal.ended() == 0
        drawn = without_own_sequences(terminal.received).decode("utf-8")
    got_through = {ord(character) for character in drawn} & (_CONTROLS | _BIDI)
    assert got_through <= {0x0A, 0x0D}
    assert "[/INST]" in drawn and "[@click=app.quit]x[/]" in drawn


@pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux on this machine")
def test_given_tmux_when_text_is_copied_then_its_buffer_has_it(
    tmp_path: Path, project_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = str(tmp_path / "tmux")
    tmux = ["tmux", "-S", socket]
    subprocess.run([*tmux, "new-session", "-d", "-s", "copy", "sleep 60"], check=True)
    try:
        pid = subprocess.run(
            [*tmux, "display-message", "-p", "#{pid}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        monkeypatch.setenv("TMUX", f"{socket},{pid},0")
        sent: list[str] = []
        said = copy_text("L12/345@7 ·Paris", project_directory, sent.append)
        shown = subprocess.run([*tmux, "show-buffer"], capture_output=True, text=True, check=True).stdout
    finally:
        subprocess.run([*tmux, "kill-server"], check=False)
    assert shown == "L12/345@7 ·Paris" and sent == [] and "tmux" in said


def test_given_no_tmux_when_text_is_copied_then_the_terminal_gets_it_and_a_file_keeps_it(
    project_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TMUX", raising=False)
    sent: list[str] = []
    said = copy_text("L12/345", project_directory, sent.append)
    kept = Path(os.environ["WORKBENCH_RUNTIME_DIR"]) / "copied.txt"
    assert sent == ["L12/345"] and kept.read_text() == "L12/345" and str(kept) in said
