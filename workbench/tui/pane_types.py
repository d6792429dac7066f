"""The four panes by name, imported when they are first shown: with all of them the app would come up a third later."""

from __future__ import annotations

from importlib import import_module

from workbench.tui.pane import Pane

PANES = ("baselines", "features", "graph", "interventions")
"""In the order of their number keys."""


def pane_type(name: str) -> type[Pane]:
    """The class of the pane `name`."""
    kind: type[Pane] = getattr(import_module(f"workbench.tui.panes.{name}.pane"), name.capitalize())
    return kind
