"""The baselines pane: its keys, and what it asks of the worker: running behaviours and prompts, tracing a prompt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.binding import BindingType

from store import jobs
from store.jobs import ENDED, Job
from tasks.baseline import AD_HOC
from tasks.baseline_board import BoardPair, find_pair
from tasks.behaviours import Pair
from tasks.registry import task
from workbench.tui.actions import Action, bindings
from workbench.tui.messages import Told, Went
from workbench.tui.pane import Session
from workbench.tui.panes.baselines.board import BaselineBoard
from workbench.tui.panes.baselines.prompt_form import PromptForm
from workbench.tui.panes.baselines.reading import NEURONS, dictionary_names, prompt_graphs, traced_graph, unended
from workbench.tui.panes.baselines.words import HELP
from workbench.tui.place import Place
from workbench.tui.render.tokens import fit, show_text, show_token
from workbench.tui.screens.choice import Choice

if TYPE_CHECKING:
    from tasks.baseline_board import BoardBehaviour
    from workbench.tui.panes.baselines.lines import Row, RowPlace
    from workbench.tui.render.prompt_card import GraphMention

_LONGEST_PROMPT = 60
"""Cells of a prompt in a sentence."""


class Baselines(BaselineBoard):
    """Behaviours and their prompts; Enter opens a behaviour, or traces a prompt."""

    TITLE: ClassVar[str] = "Baselines"
    ACTIONS: ClassVar[tuple[Action, ...]] = (
        Action("new_prompt", "n", "Run a prompt of your own", "new prompt", changes=True),
        Action("run", "r", "Run the behaviour or prompt under the cursor", "run", changes=True),
        Action("run_all", "R", "Run every behaviour", "run all", changes=True),
        Action("trace", "t", "Open or trace the graph of the prompt under the cursor", "trace", changes=True),
        Action("trace_corrupt", "T", "Trace its corrupt prompt for the same tokens", changes=True),
        Action("filter", "slash", "Show only what holds some words", "filter"),
        Action("fold", "o", "Open every behaviour, or close them", "open all"),
        Action("card", "c", "Give the card all the room, or take it back", "card"),
        Action("leave", "escape", "Take the filter away; leave the whole card"),
    )
    BINDINGS: ClassVar[list[BindingType]] = bindings(ACTIONS)
    HELP: ClassVar[str] = HELP

    def __init__(self, session: Session, name: str) -> None:
        """Nothing has been asked yet."""
        super().__init__(session, name)
        self._runs: dict[int, frozenset[RowPlace]] = {}
        self._own_prompts: dict[int, Pair] = {}
        self._traces: dict[int, tuple[RowPlace, str]] = {}
        self._dictionary = NEURONS
        self._typed: dict[str, str] = {}
        self._form: PromptForm | None = None

    @property
    def _underway(self) -> frozenset[RowPlace]:
        """The lines that are being run or traced."""
        traced = frozenset(place for place, _ in self._traces.values())
        return frozenset().union(traced, *self._runs.values())

    def state(self) -> Mapping[str, Any]:
        """What is seen, the dictionary chosen last, and a prompt that is being typed."""
        typed = self._form.typed if self._form is not None and self._form.is_mounted else self._typed
        return {**super().state(), "dictionary": self._dictionary, "typed": typed}

    async def restore(self, state: Mapping[str, Any]) -> None:
        """Bring it back."""
        self._dictionary = str(state.get("dictionary", NEURONS))
        typed = state.get("typed", {})
        self._typed = {str(name): str(text) for name, text in typed.items()} if isinstance(typed, dict) else {}
        await super().restore(state)

    async def open(self) -> None:
        """Read the board, and mark what is being run or traced already, whoever asked for it."""
        await super().open()
        for job in await self.session.store.read(unended):
            self._take_up(job)
        await self.read()
        self.show_running(self._underway)

    def _take_up(self, job: Job) -> None:
        options, prompt = job.params, str(job.params.get("prompt") or "")
        if job.kind == "trace":
            if (found := find_pair(self.behaviours, prompt)) is not None:
                self._traces[job.id] = (found[0].name, found[1].key), prompt
        elif prompt:
            written = Pair(prompt, options["decisive"], options["corrupt"] or None, options["rival"] or None)
            self._runs[job.id] = frozenset([(AD_HOC, BoardPair(written, None).key)])
            self._own_prompts[job.id] = written
        else:
            names = options["behaviours"] or [behaviour.name for behaviour in self.behaviours]
            self._runs[job.id] = frozenset((name, "") for name in names)

    async def job_ended(self, job_id: int, kind: str, state: str) -> None:
        """Take its marks away; if it was asked for here, show what came of it."""
        self._runs.pop(job_id, None)
        prompt, trace = self._own_prompts.pop(job_id, None), self._traces.pop(job_id, None)
        self.show_running(self._underway)
        await self.read()
        if state != "succeeded":
            return
        if prompt is not None:
            self.show_prompt(prompt.clean, AD_HOC)
        if trace is not None:
            await self._show_graph(job_id, *trace)

    def waiting_prompts(self) -> Iterable[Pair]:
        """Those that were asked for here, the newest first."""
        return [*self._own_prompts.values()][::-1]

    # Running.

    def action_run(self) -> None:
        """Run the behaviour or the prompt under the cursor."""
        if self.row is not None:
            behaviour, pair = self.row.behaviour, self.row.pair
            pairs = behaviour.pairs if pair is None else (pair,)
            if behaviour.name == AD_HOC:
                self.soon(lambda: self._run_own(pairs), group="run")
            else:
                self.soon(lambda: self._run(behaviour.directory, [behaviour]), group="run")

    def action_run_all(self) -> None:
        """Run every behaviour, a job for each directory that they come from."""

        async def run() -> None:
            known = [behaviour for behaviour in self.behaviours if behaviour.name != AD_HOC]
            for directory in sorted({behaviour.directory for behaviour in known}):
                await self._run(directory, [each for each in known if each.directory == directory])

        self.soon(run, group="run")

    def action_new_prompt(self) -> None:
        """Ask for a prompt and run it."""

        async def ask() -> None:
            self._form = PromptForm(self._typed)
            try:
                answer = await self.app.push_screen_wait(self._form)
                self._typed = self._form.typed if answer is None else {}
            finally:
                self._form = None
            if answer is not None:
                written = Pair(answer["prompt"], answer.get("decisive", ""), answer.get("corrupt"), answer.get("rival"))
                await self._run_prompt(written)

        self.soon(ask, group="form")

    async def _run(self, directory: str, chosen: Sequence[BoardBehaviour]) -> None:
        names = tuple(behaviour.name for behaviour in chosen)
        prompts = sum(len(behaviour.pairs) for behaviour in chosen)
        words = names[0] if len(names) == 1 else f"{len(names)} behaviours"
        options = {"behaviours": names, "directory": directory}
        job_id = await self._submit("baseline", options, f"running {words}, {prompts} pairs")
        self._runs[job_id] = frozenset((name, "") for name in names)
        await self._begun(job_id)

    async def _run_own(self, pairs: Iterable[BoardPair]) -> None:
        for pair in pairs:
            await self._run_prompt(replace(pair.pair, concept=None))

    async def _run_prompt(self, written: Pair) -> None:
        options = {"prompt": written.clean, "decisive": written.decisive, "corrupt": written.corrupt or "",
                   "rival": written.rival or ""}  # fmt: skip
        job_id = await self._submit("baseline", options, f"running {_quoted(written.clean)}")
        self._runs[job_id] = frozenset([(AD_HOC, BoardPair(written, None).key)])
        self._own_prompts[job_id] = written
        await self.read()
        self.show_prompt(written.clean, AD_HOC)
        await self._begun(job_id)

    # Tracing.

    def action_trace(self) -> None:
        """Offer the graphs of the clean prompt, and what to trace it with."""
        self._ask_trace("clean")

    def action_trace_corrupt(self) -> None:
        """Offer the graphs of the corrupt prompt, and what to trace it with, for the tokens of the clean one."""
        self._ask_trace("corrupt")

    def _ask_trace(self, variant: str) -> None:
        if self.row is None or self.row.pair is None:
            self.post_message(Told("put the cursor on a prompt to trace it: ⏎ opens a behaviour", error=True))
        elif variant == "corrupt" and self.row.pair.pair.corrupt is None:
            self.post_message(Told("this prompt has no corrupt twin", error=True))
        else:
            row, pair = self.row, self.row.pair
            self.soon(lambda: self._choose_trace(row, pair, variant), group="trace")

    async def _choose_trace(self, row: Row, pair: BoardPair, variant: str) -> None:
        read = self.session.store.read
        graphs = [each for each in await read(lambda project: prompt_graphs(project, pair)) if each.of == variant]
        names = await read(dictionary_names)
        prompt = str(pair.pair.clean if variant == "clean" else pair.pair.corrupt)
        lines = [*map(_graph_line, graphs), *(Text(f"trace with {_dictionary_words(name)}") for name in names)]
        chosen = 0 if graphs else names.index(self._dictionary) if self._dictionary in names else 0
        answer = await self.app.push_screen_wait(Choice(f"{_quoted(prompt)}: {_question(pair)}", lines, chosen))
        if answer is None:
            return
        if answer < len(graphs):
            self.post_message(Went(Place("graph", prompt=prompt, graph=graphs[answer].graph)))
            return
        self._dictionary = names[answer - len(graphs)]
        options = {"prompt": prompt, "dictionary": self._dictionary, "target": pair.pair.decisive or None,
                   "versus": pair.pair.rival if pair.pair.decisive else None,
                   **row.behaviour.form(pair.pair)}  # fmt: skip
        job_id = await self._submit("trace", options, f"tracing {_quoted(prompt)} with {show_text(self._dictionary)}")
        self._traces[job_id] = (row.place, prompt)
        await self._begun(job_id)

    async def _show_graph(self, job_id: int, place: RowPlace, prompt: str) -> None:
        """Go to the graph, if the person is still where they asked for it; else say that it is there."""
        graph = await self.session.store.read(lambda project: traced_graph(project, job_id))
        if graph is None:
            return
        if self.display and self.row_place == place and len(self.app.screen_stack) == 1:
            self.post_message(Went(Place("graph", prompt=prompt, graph=graph)))
        else:
            self.post_message(Told(f"graph {graph} of {_quoted(prompt)} is traced: ⏎ on the prompt opens it"))

    # Jobs.

    async def _submit(self, kind: str, options: Mapping[str, Any], said: str) -> int:
        job_id = await self.submitted(kind, task(kind).params_type.model_validate(dict(options)))
        self.post_message(Told(f"job {job_id}: {said}"))
        return job_id

    async def _begun(self, job_id: int) -> None:
        """Mark its lines; a job may have ended before its id was known here."""
        self.show_running(self._underway)
        state = await self.session.store.read(lambda project: jobs.show(project.db, job_id).state)
        if state in ENDED and (job_id in self._runs or job_id in self._traces):
            await self.job_ended(job_id, "", state)


def _quoted(prompt: str) -> str:
    return f"“{fit(show_text(prompt), _LONGEST_PROMPT)}”"


def _question(pair: BoardPair) -> str:
    """What a trace of the pair explains."""
    if not pair.pair.decisive:
        return "which graph of its next tokens?"
    rival = f" against {show_token(pair.pair.rival)}" if pair.pair.rival else ""
    return f"which graph of {show_token(pair.pair.decisive)}{rival}?"


def _graph_line(mention: GraphMention) -> Text:
    return Text(f"open graph {mention.graph}: {mention.explains}, by {show_text(mention.dictionary)}")


def _dictionary_words(name: str) -> str:
    return f"{NEURONS}: the model's own, no training needed" if name == NEURONS else show_text(name)
