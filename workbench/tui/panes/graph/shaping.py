"""Shaping a graph: pins, selection, supernodes, labels, undo; kept views; the present thresholds as a new graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from textual import work

from store import graph_shape
from store.errors import BadInput, WorkbenchError
from store.graph_shape import Parts
from store.labels import check_label
from store.project import Project
from tasks.graphs.supernodes import refuse_grouping, refuse_name
from workbench.tui.actions import Action
from workbench.tui.messages import Asked, Told
from workbench.tui.panes.graph.reading import Reading
from workbench.tui.panes.graph.screen import told
from workbench.tui.screens.question import Question


class Shaping(Reading):
    """What keys do that changes a graph's shape."""

    SHAPING: ClassVar[tuple[Action, ...]] = (
        Action(
            "pin", "p", "Pin the node under the cursor, or all that are selected; again unpins", "pin", changes=True
        ),
        Action("select", "v,space", "Select the node under the cursor, or let it go", "select"),
        Action("group", "g", "Group the selected nodes into a named supernode", changes=True),
        Action("rename", "e", "Rename the supernode under the cursor, or label the feature", changes=True),
        Action("ungroup", "u", "Dissolve the supernode of the node under the cursor", changes=True),
        Action("undo", "ctrl+z", "Undo the last edit of this graph", changes=True),
        Action("redo", "ctrl+y", "Redo what was undone", changes=True),
        Action("keep_view", "S", "Keep this view under a name", changes=True),
        Action("write", "w", "Write the graph at these thresholds as a new one", changes=True),
    )

    @told
    def action_select(self) -> None:
        """Select or let go, and step down."""
        shown, node = self.here(), self.line().node
        if node is None:
            return
        shown.selected.symmetric_difference_update({node.node})
        self.tree_list.redraw()
        self.want_scores()

    def _subjects(self) -> list[int]:
        """The graph's nodes that an edit is of: those selected, else that under the cursor; groups by member."""
        shown, node = self.here(), self.line().node
        chosen = sorted(shown.selected) or ([] if node is None else [node.node])
        subjects = [member for each in chosen for member in shown.members(each)]
        if not subjects:
            raise BadInput("no node is under the cursor", "go to one, or select some with v")
        return subjects

    @told
    def action_pin(self) -> None:
        """Pin all, or unpin if all are pinned."""
        shown, subjects = self.here(), self._subjects()
        pinned = not shown.shape.pinned.issuperset(subjects)
        count = f"{len(subjects)} nodes" if len(subjects) > 1 else shown.graph.node(subjects[0]).name or "the logit"
        words = f"{'pin' if pinned else 'unpin'} {count}"
        after = Parts(pins={str(node): pinned for node in subjects})
        now = shown.shape.pinned.union(subjects) if pinned else shown.shape.pinned.difference(subjects)
        self.want(pinned=now, only_pinned=shown.shape.only_pinned and bool(now))
        self.want_scores()
        self._note(lambda project, graph_id: graph_shape.change(project.db, graph_id, words, after))

    def _note(self, change: Callable[[Project, int], object], then: str = "") -> None:
        """Write to the store, then read the marks as they are; what is refused becomes a line."""
        graph_id = self.graph_id

        async def write() -> None:
            try:
                words = await self.session.store.note(lambda project: change(project, graph_id))
                if then:
                    self.post_message(Told(f"{then}{words or ''}"))
            finally:
                if graph_id == self.graph_id:
                    await self.read_marks()

        self.run_worker(self._tell(write), group="note", exclusive=False)

    async def _tell(self, work: Callable[[], Any]) -> None:
        try:
            await work()
        except WorkbenchError as error:
            self.post_message(Told(str(error), error=True))

    @work
    async def action_group(self) -> None:
        """Ask for a name and group what is selected."""
        try:
            shown = self.here()
            if not shown.selected:
                raise BadInput("nothing is selected", "v selects the node under the cursor")
            chosen = sorted({member for node in shown.selected for member in shown.members(node)})
            kinds = {node: row.kind for node, row in shown.graph.rows.items()}
            refuse_grouping(chosen, kinds, shown.groups)
        except BadInput as error:
            self.post_message(Told(str(error), error=True))
            return
        name = await self.app.push_screen_wait(
            Question(
                f"Name of the supernode of {len(chosen)} nodes", check=lambda text: refuse_name(text, shown.groups)
            )
        )
        if name is None:
            return
        shown.selected.clear()
        after = Parts(supernodes={name: chosen})
        words = f"group {name}"
        self._note(lambda project, graph_id: graph_shape.change(project.db, graph_id, words, after), f"grouped: {name}")
        self.tree_list.redraw()
        self.want_scores()

    @told
    def action_ungroup(self) -> None:
        """Dissolve the supernode that the node under the cursor is in."""
        name = self._group_here()
        after = Parts(supernodes={name: None})
        self._note(lambda project, graph_id: graph_shape.change(project.db, graph_id, f"ungroup {name}", after))

    def _group_here(self) -> str:
        node = self.line().node
        name = "" if node is None else self.here().group_of(node.node)
        if not name:
            raise BadInput("the node under the cursor is in no supernode", "v selects nodes, g groups them")
        return name

    @work
    async def action_rename(self) -> None:
        """Another name for a group; another label for a feature that is not in one."""
        try:
            node = self.line().node
            group = "" if node is None else self.here().group_of(node.node)
        except BadInput as error:
            self.post_message(Told(str(error), error=True))
            return
        if node is not None and node.kind == "feature" and not (node.members or (group and self.here().shape.grouped)):
            await self.label(node.layer, node.feature, node.label)
        elif group:
            await self._rename_group(group)
        else:
            self.post_message(Told("only features have labels and supernodes names", error=True))

    async def _rename_group(self, old: str) -> None:
        groups = self.here().groups
        others = [name for name in groups if name != old]
        name = await self.app.push_screen_wait(
            Question("New name of the supernode", old, check=lambda text: refuse_name(text, others))
        )
        if name is not None and name != old:
            after = Parts(supernodes={old: None, name: groups[old]})
            self._note(lambda project, graph_id: graph_shape.change(project.db, graph_id, f"rename {old}", after))

    async def label(self, layer: int, feature: int, label: str) -> None:
        """Ask for a feature's label and write it."""
        name = f"L{layer}/{feature}"
        shown = self.here()
        text = await self.app.push_screen_wait(Question(f"Label of {name}", label, check=check_label))
        if text is None or check_label(text) == label:
            return
        after = Parts(labels={f"{shown.graph.record.dictionary} {name}": check_label(text)})

        def change(project: Project, graph_id: int) -> None:
            graph_shape.change(project.db, graph_id, f"label {name}", after)

        self._note(change)

    @told
    def action_undo(self) -> None:
        """Take the last edit back."""
        self.here()
        self._note(lambda project, graph_id: graph_shape.undo(project.db, graph_id), "undone: ")

    @told
    def action_redo(self) -> None:
        """Make it again."""
        self.here()
        self._note(lambda project, graph_id: graph_shape.redo(project.db, graph_id), "redone: ")

    @work
    async def action_keep_view(self) -> None:
        """Ask for a name and keep thresholds, root, direction, what is open, and pins."""
        if self.shown is None or self.mode == "list":
            self.post_message(Told("no graph is open: choose one with ⏎", error=True))
            return
        view = {**self.state(), "pins": sorted(self.shown.shape.pinned)}
        name = await self.app.push_screen_wait(
            Question("Keep this view as", hint="a name", check=graph_shape.refuse_view_name)
        )
        if name is not None:
            self._note(
                lambda project, graph_id: graph_shape.keep_view(project.db, graph_id, name, view), "kept: " + name
            )

    async def bring_view(self, view: tuple[str, Mapping[str, Any]]) -> None:
        """The view's pins too, as an edit that can be undone."""
        name, document = view
        graph_id, pins = self.graph_id, {node for node in document.get("pins") or [] if isinstance(node, int)}
        if not self.session.read_only:

            def pin(project: Project) -> None:
                parts = graph_shape.pinned_as(project.db, graph_id, pins)
                graph_shape.change(project.db, graph_id, f"return to {name}", parts)

            await self.session.store.note(pin)
        await super().bring_view(view)

    @told
    def action_write(self) -> None:
        """Hand the thresholds to the worker."""
        self.here()
        node, edge = self._thresholds()
        params = {"graph": self.graph_id, "node_threshold": node, "edge_threshold": edge}
        self.post_message(Asked("prune", params, f"graph {self.graph_id} at {node:g} {edge:g} as a new one"))
