"""What edits can be about, read from the store without a model: a prompt, a dictionary, a graph's features and groups.

It says before anything is run what would be refused, and to first order what an edit would do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from store import graphs
from store.errors import BadInput
from store.graphs import FeatureWords, GraphRecord, NodeRecord
from store.project import Project
from tasks.graphs.active_effects import ActiveEffects, effects_of_nodes, read_active_effects
from tasks.graphs.edit import Edit, Operation, Supernode
from tasks.graphs.feature_name import FeatureName
from tasks.graphs.graph_edits import refuse_other_dictionary, refuse_other_model, spelled_out

NEURONS = "neurons"


@dataclass(frozen=True)
class EditGround:
    """The ground that edits stand on. Without a graph there are no supernodes and no predictions."""

    prompt: str = ""
    dictionary: str = NEURONS
    sizes: Mapping[int, int] | None = None
    """Layer -> number of features; None where only the model's process knows (transcoder files)."""
    graph: int | None = None
    n_positions: int | None = None
    """Tokens of the prompt; None where they were not counted yet."""
    decisive: str = ""
    """The token that the graph explains after its prompt; empty if it explains something else."""
    rival: str = ""
    """The token whose logit is taken away from it; empty if it is the mean of all logits."""
    nodes: tuple[NodeRecord, ...] = ()
    """The features that the graph kept."""
    words: Mapping[tuple[int, int], FeatureWords] = field(default_factory=dict)
    """(layer, feature) -> what is known of a feature that the graph kept."""
    supernodes: Mapping[str, tuple[FeatureName, ...]] = field(default_factory=dict)
    """Groups of features by name."""
    active: ActiveEffects | None = None
    """Activation and effect of every active feature."""
    leaves_first_out: bool = False
    """Whether nothing is known of the features at position 0."""
    maxima: Mapping[tuple[int, int], float] = field(default_factory=dict)
    """(layer, feature) -> its largest activation over the corpus, of features that the graph kept."""
    fault: str = ""
    """Why the graph's dictionary is not to be edited: it was trained again, or is gone."""

    def refuse(self, edit: Edit) -> None:
        """`BadInput` for a feature, layer, position or supernode that there is not."""
        if self.fault:
            raise BadInput(self.fault, "trace the prompt again, or choose another dictionary")
        if isinstance(edit.subject, Supernode):
            self._refuse_supernode(edit.subject)
        else:
            self._refuse_feature(edit.subject)

    def _refuse_supernode(self, supernode: Supernode) -> None:
        if supernode.name in self.supernodes:
            return
        if self.graph is None:
            raise BadInput(f"{supernode} is no feature, and without a graph there are no supernodes", "write L12/345@7")
        there = ", ".join(self.supernodes) or "none of features"
        raise BadInput(f"graph {self.graph} has no supernode {supernode}", f"its supernodes are: {there}")

    def _refuse_feature(self, name: FeatureName) -> None:
        if self.sizes is not None:
            absent = [layer for layer in name.layers if layer not in self.sizes]
            if absent:
                there = ", ".join(map(str, sorted(self.sizes))) or "none"
                raise BadInput(f"layer {absent[0]} is not in {self.dictionary}", f"its layers are {there}")
            small = [layer for layer in name.layers if name.feature is not None and name.feature >= self.sizes[layer]]
            if small:
                size = self.sizes[small[0]]
                raise BadInput(f"L{small[0]}/{name.feature} does not exist", f"the last one is L{small[0]}/{size - 1}")
        n = self.n_positions
        outside = [at for at in name.positions or () if n is not None and not -n <= at < n]
        if outside:
            raise BadInput(f"the prompt has no position {outside[0]}", f"it has {n} tokens, 0 to {(n or 0) - 1}")

    def predicted(self, edit: Edit) -> float | None:
        """First-order change (after - before) of what the graph explains, in nats: what its effects say.

        That is the decisive token's logit less its rival's, or less the mean of all logits where there is no rival.

        A feature is worth z · ∂target/∂z, so moving it to z' changes the target by (z' - z)/z of that. None where the
        graph does not know all of it: swaps, features that are not active, a first position that was left out.
        """
        names = self.supernodes.get(edit.subject.name, ()) if isinstance(edit.subject, Supernode) else (edit.subject,)
        if self.active is None or not names or not (self.decisive and self.n_positions):
            return None
        if edit.operation is Operation.SWAP or (self.leaves_first_out and any(map(self._reaches_first, names))):
            return None
        chosen = self.active.named(names, self.n_positions)
        if edit.operation is Operation.STEER:
            return self._steered(edit, names, chosen)
        lost = self.active.lost(chosen)
        return None if lost is None else (edit.multiply - 1) * lost

    def _steered(self, edit: Edit, names: Sequence[FeatureName], chosen: NDArray[np.bool_]) -> float | None:
        active = self.active
        wanted = sum(len(name.layers) * len(self._places(name)) for name in names if name.feature is not None)
        if active is None or chosen.sum() != wanted:
            return None
        slopes = active.slopes(chosen)
        places = zip(active.layer[chosen].tolist(), active.index[chosen].tolist(), strict=True)
        largest = [self.maxima.get(place) if edit.in_maxima else 1.0 for place in places]
        if slopes is None or None in largest:
            return None
        return edit.add * float(np.dot(slopes.astype(np.float64), np.array(largest, np.float64)))

    def _places(self, name: FeatureName) -> set[int]:
        n = self.n_positions or 0
        return set(range(n)) if name.positions is None else {at % n for at in name.positions}

    def _reaches_first(self, name: FeatureName) -> bool:
        return 0 in self._places(name)


def load_edit_ground(project: Project, prompt: str, graph: int | None, dictionary: str | None) -> EditGround:
    """The ground of a prompt, or of a graph and its prompt. `Missing` if there is no such graph."""
    if graph is None:
        name = dictionary or NEURONS
        return EditGround(prompt=prompt, dictionary=name, sizes=_sizes(project, name))
    record = graphs.find(project.db, graph)
    nodes = tuple(node for node in graphs.nodes(project.db, graph) if node.kind == "feature" and node.feature >= 0)
    features = {(node.layer, node.feature) for node in nodes}
    decisive, rival = explained(record)
    return EditGround(
        prompt=record.prompt,
        dictionary=record.dictionary,
        sizes=_sizes(project, record.dictionary, record.summary.get("dictionary_layers")),
        graph=graph,
        n_positions=len(record.token_ids),
        decisive=decisive,
        rival=rival,
        nodes=nodes,
        words=graphs.feature_words(project.db, record.dictionary, features),
        supernodes=_supernodes(project, graph),
        active=_active(project, record, nodes),
        leaves_first_out=record.summary.get("first_position") is False,
        maxima=_maxima(project, record.dictionary, features),
        fault=_fault(project, record, dictionary),
    )


def explained(record: GraphRecord) -> tuple[str, str]:
    """The token that a graph explains after its prompt, and its rival; empty for what it has not."""
    first = record.targets[0] if record.targets else {}
    if first.get("kind") != "logit" or first.get("position") != len(record.token_ids) - 1:
        return "", ""
    return str(first.get("token") or ""), str(first.get("rival") or "")


def dictionary_names(project: Project) -> list[str]:
    """What can be edited: the neurons, and every trained or imported set by age."""
    sql = "SELECT name FROM dictionary WHERE file_id IS NOT NULL GROUP BY name ORDER BY min(id)"
    rows = project.db.execute(sql).fetchall()
    return [NEURONS, *(name for (name,) in rows)]


def _active(project: Project, record: GraphRecord, nodes: Sequence[NodeRecord]) -> ActiveEffects:
    try:
        stored = graphs.arrays(project, record.id)
        found = read_active_effects(project.directory / stored.path)
    except (OSError, SafetensorError):  # the file is gone or damaged: whoever needs it says so
        found = None
    return effects_of_nodes(nodes) if found is None else found


def _sizes(project: Project, name: str, layers: Iterable[int] | None = None) -> dict[int, int] | None:
    """Layer -> number of features, of `layers` alone where they are given."""
    if name == NEURONS:
        sizes = dict.fromkeys(range(project.model.n_layers), project.model.d_mlp)
    elif ":" in name:  # files beside the project, such as transcoder:DIRECTORY
        return None
    else:
        sql = "SELECT layer, n_features FROM dictionary WHERE name = ?"
        sizes = dict(project.db.execute(sql, [name]).fetchall())
    return sizes if layers is None else {layer: sizes[layer] for layer in layers if layer in sizes}


def _supernodes(project: Project, graph: int) -> dict[str, tuple[FeatureName, ...]]:
    """Those groups that can be edited."""
    found = {}
    for name in graphs.supernodes(project.db, graph):
        try:
            spelled = spelled_out([Edit(Operation.ABLATE, Supernode(name))], project, graph)
        except BadInput:  # a group of tokens, or of nodes that were pruned away
            continue
        found[name] = tuple(edit.subject for edit in spelled if isinstance(edit.subject, FeatureName))
    return found


def _maxima(project: Project, dictionary: str, features: set[tuple[int, int]]) -> dict[tuple[int, int], float]:
    sql = """SELECT maximum FROM feature JOIN dictionary ON dictionary.id = dictionary_id
        WHERE name = ? AND layer = ? AND feature = ?"""
    rows = {place: project.db.execute(sql, [dictionary, *place]).fetchone() for place in sorted(features)}
    return {place: float(row[0]) for place, row in rows.items() if row}


def _fault(project: Project, record: GraphRecord, dictionary: str | None) -> str:
    try:
        refuse_other_model(project, record)
        refuse_other_dictionary(project, record, dictionary)
    except BadInput as error:
        return error.fault
    return ""
