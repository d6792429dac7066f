"""How a graph is being looked at: its thresholds and what they keep, the scores of what was chosen, in two lines."""

from __future__ import annotations

from dataclasses import dataclass

from rich.text import Text

from tasks.graphs.subgraph import PartScores
from workbench.tui.render.bars import number
from workbench.tui.render.tokens import fit


@dataclass(frozen=True)
class ShapeFacts:
    """What the two lines say."""

    n_nodes: int
    of_nodes: int
    n_edges: int
    of_edges: int
    node_threshold: float | None
    """None: not known, of an imported graph."""
    edge_threshold: float | None
    direction: str
    by: str
    replacement: float
    completeness: float
    n_pinned: int = 0
    n_selected: int = 0
    only_pinned: bool = False
    grouped: bool = False
    changed: bool = False
    """Whether the thresholds are others than the stored graph's."""
    pending: bool = False
    """Whether other thresholds are on their way."""
    chosen: PartScores | None = None
    """The scores of what is pinned or selected; None while they are computed, or of nothing."""


def shape_line(facts: ShapeFacts, width: int) -> Text:
    """`397 of 1342 nodes [0.80]  35571 of 406288 edges {0.98}  causes, by effect  w writes it`."""
    dots, of = "…" if facts.pending else "", " of " if width >= _WIDE else "/"
    nodes = f"{facts.n_nodes}{of}{facts.of_nodes} nodes [{_threshold(facts.node_threshold)}]"
    edges = f"{facts.n_edges}{of}{facts.of_edges} edges {{{_threshold(facts.edge_threshold)}}}"
    how = "causes" if facts.direction == "in" else "consequences"
    extras = [
        *(["pinned only"] if facts.only_pinned else []),
        *(["grouped"] if facts.grouped else []),
        *(["w writes it as a graph"] if facts.changed else []),
    ]
    return Text(fit("  ".join([f"{nodes}{dots}", edges, f"{how}, by {facts.by}", *extras]), width))


def score_line(facts: ShapeFacts, width: int) -> Text:
    """`graph repl. 0.655 compl. 0.850  chosen 3 (2 pinned, 1 selected) repl. 0.276 compl. 0.641`."""
    whole = f"graph: replacement {facts.replacement:.3f} completeness {facts.completeness:.3f}"
    if width < _WIDE:
        whole = f"graph: repl. {facts.replacement:.2f} compl. {facts.completeness:.2f}"
    if not facts.n_pinned and not facts.n_selected:
        return Text(fit(f"{whole}  p pins, v selects: their own scores stand here", width))
    counts = f"{facts.n_pinned} pinned, {facts.n_selected} selected"
    if facts.chosen is None:
        return Text(fit(f"{whole}  {counts}: …", width))
    part = facts.chosen
    if width < _WIDE:
        scores = f"repl. {part.scores.replacement:.2f} compl. {part.scores.completeness:.2f}"
        return Text(fit(f"{whole}  {counts}: {scores}", width))
    scores = f"replacement {part.scores.replacement:.3f} completeness {part.scores.completeness:.3f}"
    renormalised = f"(renormalised {part.renormalised.replacement:.3f} {part.renormalised.completeness:.3f})"
    return Text(fit(f"{whole}  {counts}: {scores} {renormalised}", width))


def _threshold(value: float | None) -> str:
    """Two digits, three where the steps are finer."""
    return number(value, 2 if value is None or abs(value * 100 - round(value * 100)) < 1e-6 else 3)


_WIDE = 110
