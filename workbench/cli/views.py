"""Which view a task's document is printed with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

    from store.project import Project


def task_view(kind: str, document: dict[str, Any], project: Project, width: int) -> RenderableType:
    """The view of one task's document on `width` columns; tasks without one of their own get every value listed."""
    from workbench.tui.render.baseline import baseline_view
    from workbench.tui.render.document import document_view
    from workbench.tui.render.evaluation import evaluation_view
    from workbench.tui.render.feature_quality import quality_view
    from workbench.tui.render.heads import heads_view, query_key_view
    from workbench.tui.render.intervention import intervention_view
    from workbench.tui.render.label_scores import label_report
    from workbench.tui.render.reproduction import reproduction_view
    from workbench.tui.render.training import training_view
    from workbench.tui.render.validation import validation_view

    if kind == "baseline":
        return baseline_view(document)
    if kind == "trace" and "behaviour" in document:
        return _prompt_set_view(document, project, width)
    if kind in ("trace", "prune", "import"):
        return _trace_view(document, project, width)
    if kind == "train":
        return training_view(document, width)
    if kind == "evaluate":
        return evaluation_view(document)
    if kind == "validate":
        return validation_view(document)
    if kind == "intervene":
        return intervention_view(document, width)
    if kind == "label":
        return label_report(document, width)
    if kind == "feature-quality":
        return quality_view(document, width)
    if kind == "reproduce":
        return reproduction_view(document)
    if kind == "heads":
        return heads_view(document)
    if kind == "qk":
        return query_key_view(document)
    return document_view(document)


def _trace_view(document: dict[str, Any], project: Project, width: int) -> RenderableType:
    """What the trace came to, and its pruned tree from the decisive logit."""
    from rich.console import Group
    from rich.text import Text

    from tasks.graphs.view import load_graph_view
    from workbench.tui.render.document import heading, value_text
    from workbench.tui.render.facts import facts
    from workbench.tui.render.graph_tree import graph_tree
    from workbench.tui.render.tree_lines import TreeLimits

    left_out = {"tokens", "targets"}
    single = {heading(key): value_text(key, value) for key, value in document.items() if key not in left_out}
    tree = graph_tree(load_graph_view(project, document["graph"]), TreeLimits(depth=2), width)
    return Group(facts(single), Text(""), tree)


def _prompt_set_view(document: dict[str, Any], project: Project, width: int) -> RenderableType:
    """The graphs of a behaviour, and what recurs among them in the words of the feature index."""
    from store import graphs
    from workbench.tui.render.features import about
    from workbench.tui.render.prompt_set import prompt_set_view

    features = {(f["layer"], f["index"]) for f in document["recurrence"]["anywhere"]["features"]}
    dictionary = graphs.find(project.db, document["graphs"][0]["graph"]).dictionary
    known = graphs.feature_words(project.db, dictionary, features)
    words = {
        place: said.label or about(said.fires_on, [token for token, _ in said.promoted])
        for place, said in known.items()
    }
    return prompt_set_view(document, width, words)
