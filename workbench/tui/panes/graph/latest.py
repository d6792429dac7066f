"""Work of which only the latest wish counts: done in a thread, and wishes made meanwhile take each other's place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from store.errors import WorkbenchError

Wish = TypeVar("Wish")
Result = TypeVar("Result")


class Latest(Generic[Wish, Result]):
    """One kind of work with one thread."""

    def __init__(
        self,
        work: Callable[[Wish], Result],
        take: Callable[[Wish, Result], None],
        refuse: Callable[[WorkbenchError], object],
    ) -> None:
        """`work` runs in the thread; `take` gets what came of a wish, `refuse` why nothing did, both in the loop."""
        self._work, self._take, self._refuse = work, take, refuse
        self._wish: Wish | None = None
        self._working = False
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="graph")
        self._task: asyncio.Task[None] | None = None

    @property
    def pending(self) -> bool:
        """Whether something is wanted that has not been taken."""
        return self._working or self._wish is not None

    def want(self, wish: Wish) -> None:
        """Do this as soon as what is being done is done."""
        self._wish = wish
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    def prepare(self, work: Callable[[], object]) -> None:
        """Do this in the thread before what is wanted next."""
        self._pool.submit(work)

    def drop(self) -> None:
        """Whatever is being done, its result is not wanted any more."""
        self._wish, self._working = None, False
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def close(self) -> None:
        """End the thread when it has done what it does."""
        self.drop()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _run(self) -> None:
        while (wish := self._wish) is not None:
            self._wish, self._working = None, True
            try:
                result = await asyncio.get_running_loop().run_in_executor(self._pool, self._work, wish)
            except WorkbenchError as error:
                self._working = False
                self._refuse(error)
            else:
                self._working = False
                self._take(wish, result)
