"""Where a person was, written through soon after each change, so that a dropped connection costs nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from workbench.tui.store_thread import StoreThread

if TYPE_CHECKING:
    from store.project import Project

KEY = "app"
"""The row of table `ui_state`."""
INTERVAL_S = 0.5
"""How often the app looks for something to write."""


class SavedState:
    """The app's row of table `ui_state`."""

    def __init__(self, store: StoreThread) -> None:
        """Nothing is read or written yet."""
        self._store = store
        self._document: dict[str, Any] = {}
        self._written = ""

    @property
    def panes(self) -> Mapping[str, Mapping[str, Any]]:
        """The state of each pane by name, as it was left."""
        panes = self._document.get("panes", {})
        return panes if isinstance(panes, dict) else {}

    async def load(self) -> Mapping[str, Any]:
        """What was written last; nothing where there is nothing that can be read."""
        self._document = await self._store.read(_stored)
        self._written = json.dumps(self._document, sort_keys=True)
        return self._document

    def keep(self, place: Mapping[str, Any], panes: Mapping[str, Mapping[str, Any]], **rest: object) -> None:
        """Write this if it differs from what was written last; panes that are not named stay as they are."""
        self._document = {"place": dict(place), "panes": {**self.panes, **panes}, **rest}
        text = json.dumps(self._document, sort_keys=True)
        if text == self._written:
            return
        self._written = text

        def insert(project: Project) -> None:
            project.db.execute("INSERT OR REPLACE INTO ui_state (key, value) VALUES (?, ?)", [KEY, text])

        self._store.note_soon(insert)


def _stored(project: Project) -> dict[str, Any]:
    row = project.db.execute("SELECT value FROM ui_state WHERE key = ?", [KEY]).fetchone()
    try:
        document = json.loads(row[0]) if row else {}
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
