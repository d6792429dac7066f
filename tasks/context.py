"""What a task is handed beside its params: the project, the model, progress, and a way to be stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, Protocol

from store.errors import Cancelled
from tasks.resident_dictionaries import ResidentDictionaries

if TYPE_CHECKING:
    from store.project import Project
    from tasks.dictionaries.dictionary_set import DictionarySet
    from tasks.graphs.view import GraphView
    from tasks.model.language_model import LanguageModel


class ProgressSink(Protocol):
    """Where progress goes: a bar on a terminal, the job row, nothing."""

    def begin(self, label: str, total: float, unit: str) -> None:
        """Start the stage `label` of `total` units of work."""

    def advance(self, amount: float) -> None:
        """Add `amount` units to the current stage."""

    def end(self) -> None:
        """End the current stage."""

    def note(self, text: str) -> None:
        """Say one line of narration."""


class SilentProgress:
    """A sink that drops everything, for tests and libraries."""

    def begin(self, label: str, total: float, unit: str) -> None: ...
    def advance(self, amount: float) -> None: ...
    def end(self) -> None: ...
    def note(self, text: str) -> None: ...


@dataclass
class Context:
    """The surroundings of one running task. `model` loads on first use and then stays."""

    project: Project
    progress: ProgressSink = field(default_factory=SilentProgress)
    cancelled: Event = field(default_factory=Event)
    dictionaries: ResidentDictionaries = field(default_factory=ResidentDictionaries)
    """The dictionary sets that stay in memory; none, unless it was given a budget."""
    draw: Callable[[GraphView], str] | None = None
    """Makes the figure of a graph, as SVG, where there is a face that can; packs and reports have it then."""
    keep_point: Callable[[str, Mapping[str, float | None]], None] | None = None
    """Writes a point of a curve to the job that runs."""
    _model: LanguageModel | None = None
    _before_use: Callable[[LanguageModel], None] | None = None
    _when_saved: list[Callable[[], object]] = field(default_factory=list)

    @property
    def model(self) -> LanguageModel:
        """The project's model, loaded at the revision that the project pins."""
        if self._model is None:
            from tasks.model.sources import load_project_model

            self._model = load_project_model(self.project)
        if self._before_use is not None:
            tell, self._before_use = self._before_use, None
            tell(self._model)
        return self._model

    def dictionary_set(self, name: str) -> DictionarySet:
        """The dictionary set of that name, on the model's device; raises what `load_dictionary_set` raises."""
        return self.dictionaries.get(self.project, name, self.model, self.progress.note)

    @property
    def loaded(self) -> bool:
        """Whether the model is in memory."""
        return self._model is not None

    def unload(self) -> None:
        """Let the model and its dictionaries go; the next use loads them again."""
        self._model = None
        self.dictionaries.clear()

    @contextmanager
    def before_use(self, tell: Callable[[LanguageModel], None]) -> Iterator[None]:
        """Inside, `tell` is handed the model once, loaded and before anything is done with it; if it is used at all."""
        self._before_use = tell
        try:
            yield
        finally:
            self._before_use = None

    def measured(self, curve: str, values: Mapping[str, float | None]) -> None:
        """Add a point to a curve of the running job, for whoever watches it; nothing where there is no job."""
        if self.keep_point is not None:
            self.keep_point(curve, values)

    def when_saved(self, action: Callable[[], object]) -> None:
        """Do this once the result of the running task is stored for good; never if it is not."""
        self._when_saved.append(action)

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Around a task and the transaction that stores its result: afterwards does what `when_saved` was told."""
        self._when_saved.clear()
        yield
        for action in self._when_saved:
            action()

    def check(self) -> None:
        """Raise `Cancelled` if the person asked to stop. Call it between batches (`stage` does)."""
        if self.cancelled.is_set():
            raise Cancelled("stopped on request", "run the same command again to continue")

    @contextmanager
    def stage(self, label: str, total: float, unit: str) -> Iterator[Stage]:
        """A stretch of work with a known total; `stage.advance(n)` reports it and lets a cancel through."""
        self.progress.begin(label, total, unit)
        try:
            yield Stage(self)
        finally:
            self.progress.end()


@dataclass(frozen=True)
class Stage:
    """The handle that `Context.stage` yields."""

    context: Context

    def advance(self, amount: float = 1.0) -> None:
        """Report `amount` more units done, and stop here if a cancel was asked for."""
        self.context.progress.advance(amount)
        self.context.check()
