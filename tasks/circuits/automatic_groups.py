"""Automatic supernodes of a stored graph: the model's dictionaries say how alike its features write."""

import torch

from store import graphs
from store.project import Project
from tasks.circuits.retrace import refuse_imported
from tasks.circuits.similarity import write_similarity
from tasks.context import Context
from tasks.graphs.grouping import FoundGroup, find_groups
from tasks.graphs.view import load_graph_view


def group_automatically(
    project: Project, graph_id: int, at_least: float, context: Context | None = None
) -> list[FoundGroup]:
    """Find groups among the kept features that are in no supernode yet, and store them.

    Loads the model, unless a context of the project is given that has it.
    """
    view, record = load_graph_view(project, graph_id), graphs.find(project.db, graph_id)
    known = graphs.supernodes(project.db, graph_id)
    taken = {node for members in known.values() for node in members} | set(view.roots)
    features = [node for node, shown in view.nodes.items() if shown.kind == "feature" and node not in taken]
    if len(features) < 2:
        return []
    context = context or Context(project)
    model = context.model
    refuse_imported(record, model)
    dictionaries = context.dictionary_set(record.dictionary)
    places = torch.tensor([(view.nodes[node].layer, view.nodes[node].feature) for node in features])
    similarity = write_similarity(model, dictionaries, *places.to(model.device).T).double().cpu().numpy()
    found = find_groups(view, features, similarity, at_least, taken_names=known)
    with project.transaction():
        for group in found:
            graphs.set_supernode(project.db, graph_id, group.name, group.nodes)
    return found
