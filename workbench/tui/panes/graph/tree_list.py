"""The list that shows the tree: as any list, but Home is left to the pane, which reads from the logits again."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType

from workbench.tui.widgets.line_list import LineList

_LEFT_TO_THE_PANE = {"home", "left", "right"}


class TreeList(LineList, inherit_bindings=False):
    """Lines of a `LensTree`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        binding
        for binding in LineList.BINDINGS
        if not (isinstance(binding, Binding) and _LEFT_TO_THE_PANE & set(binding.key.split(",")))
    ]
