"""Which view a task's document is printed with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

    from store.project import Project


def task_view(kind: str, document: dict[str, Any], project: Project, width: int) -> RenderableType:
    """The view of one task's document on `width` columns; tasks without one of their own get every value listed."""
    from workbench.tui.render.document import document_view
    from workbench.tui.render.evaluation import evaluation_view
    from workbench.tui.render.training import training_view
    from workbench.tui.render.validation import validation_view

    if kind == "train":
        return training_view(document)
    if kind == "evaluate":
        return evaluation_view(document)
    if kind == "validate":
        return validation_view(document)
    return document_view(document)
