"""What is looked after while a job uses the model: its memory, beside an estimate; and that it can be stopped."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from mmap import PAGESIZE
from typing import TYPE_CHECKING

from store import job_memory
from tasks.memory_estimates import estimated_bytes
from tasks.memory_use import MemoryUse

if TYPE_CHECKING:
    from store.project import Project
    from tasks.context import Context
    from tasks.model.language_model import LanguageModel
    from tasks.params import Params


@dataclass
class JobWatch:
    """One job's. Nothing happens until the job uses the model."""

    project: Project
    job_id: int
    estimated_bytes: int | None = None
    """What its work is expected to take beside the loaded model; None before that is used, or without a formula."""
    _use: MemoryUse | None = None
    _undo: ExitStack = field(default_factory=ExitStack)

    @contextmanager
    def over(self, kind: str, params: Params, context: Context) -> Iterator[None]:
        """For as long as the block lasts: as soon as the model is loaded, estimate, begin to measure, and let a request
        to stop through at every decoder block."""

        def begin(model: LanguageModel) -> None:
            from tasks.model.stopping import stopping_at_blocks

            self.estimated_bytes = estimated_bytes(kind, params, context.project, model)
            job_memory.expect(self.project.db, self.job_id, self.estimated_bytes)
            _touch(model)
            self._undo.enter_context(stopping_at_blocks(model, context.check))
            self._use = MemoryUse()

        with self._undo, _narrated(context), context.before_use(begin):
            yield

    def write_peak(self) -> None:
        """Write what the job took so far beside the estimate."""
        if self._use is not None:
            job_memory.took(self.project.db, self.job_id, self._use.host_bytes(), self._use.device_bytes())


def _touch(model: LanguageModel) -> None:
    """Read something of every page of the weights: those mapped from a file come into memory at their first use, which
    is no job's."""
    for weight in model.hf.parameters():
        if weight.device.type == "cpu":
            weight.detach().view(-1)[:: PAGESIZE // weight.element_size()].sum()


class _Narration(logging.Handler):
    """Passes warnings on to the person, each text once."""

    def __init__(self, context: Context) -> None:
        super().__init__(logging.WARNING)
        self._context = context
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Say it, if it was not said before."""
        if (text := record.getMessage()) not in self._said:
            self._said.add(text)
            self._context.progress.note(text)


@contextmanager
def _narrated(context: Context) -> Iterator[None]:
    """What the rooms below say of their work is narrated."""
    logger, handler = logging.getLogger("workbench.tasks"), _Narration(context)
    logger.addHandler(handler)
    propagates, logger.propagate = logger.propagate, False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates
