"""Import: a graph JSON of circuit-tracer, Neuronpedia or another project as a graph of this one."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.errors import BadInput
from tasks.params import Params as _Params
from tasks.params import option

if TYPE_CHECKING:
    from store.files import StoredFile
    from store.graphs import EdgeRecord, EffectRecord, NodeRecord
    from store.project import ModelRecord, Project
    from tasks.context import Context
    from tasks.graphs.formats.neuronpedia_file import FileMetadata, GraphFile
    from tasks.graphs.formats.neuronpedia_import import FileGraph, Numbers

UNKNOWN_RULE = "unknown"
"""Of a graph whose file does not say how gated neurons were shared."""

_KEPT_UNSAID = ("words", "generation_settings")
"""Parts of the summary that exports need and that no person asked for."""


class Params(_Params):
    """The options of `workbench graph import`."""

    file: Path = option(..., "The graph JSON.", argument=True)
    dictionary: str | None = option(None, "The dictionary of its features; default what the file says.")
    same_model: bool = option(False, "It is of this project's model, whatever the file calls that.")


@dataclass(frozen=True)
class Result:
    """A graph from a file, on its way into the store."""

    prompt: str
    tokens: list[int]
    dictionary: str
    targets: list[dict[str, Any]]
    rule: str
    closing_error: float
    arrays: StoredFile
    nodes: list[NodeRecord]
    edges: list[EdgeRecord]
    effects: list[EffectRecord]
    supernodes: dict[str, list[int]]
    pins: list[int]
    summary: dict[str, Any]

    def save(self, project: Project, job_id: int) -> dict[str, Any]:
        """The rows of tables `graph`, `node`, `edge`, `supernode`, `pin` and `effect`."""
        from store import graph_shape, graphs

        summary = self.summary
        row = project.db.table("graph").insert(
            {
                "job_id": job_id,
                "prompt": self.prompt,
                "tokens": json.dumps(self.tokens),
                "dictionary": self.dictionary,
                "targets": json.dumps(self.targets),
                "rule": self.rule,
                "file_id": project.record_file(self.arrays),
                "closing_error": None if math.isnan(self.closing_error) else self.closing_error,
                "replacement_score": summary["replacement_score"],
                "completeness_score": summary["completeness_score"],
                "summary": json.dumps(summary),
            }
        )
        graph = int(row.last_pk or 0)
        graphs.insert_rows(project.db, graph, self.nodes, self.edges)
        for name, members in self.supernodes.items():
            graphs.set_supernode(project.db, graph, name, members)
        graph_shape.pin(project.db, graph, self.pins)
        graphs.insert_effects(project.db, graph, job_id, self.effects)
        said = {key: value for key, value in summary.items() if key not in _KEPT_UNSAID}
        return {"graph": graph, **said, "targets": self.targets}


def run(params: Params, context: Context) -> Result:
    """Read and check the file, number its nodes as a trace does, and find what follows from its links."""
    from tasks.graphs.formats import neuronpedia_import as building
    from tasks.graphs.formats.neuronpedia_file import read_graph_file

    model = context.project.model
    file = read_graph_file(params.file)
    other = None if params.same_model else _other_model(file, model)
    graph = building.file_graph(file, None if other else model.n_layers)
    tokens = building.token_ids(graph)
    if not other:
        _refuse_tokens(params.file, tokens, model)
    numbers = building.numbers_of(graph)
    metadata = file.metadata
    dictionary = params.dictionary or metadata.dictionary or metadata.scan
    if not other:
        _refuse_strangers(context.project, dictionary, graph)
    if other:
        context.progress.note(
            f"the graph is of {other['spec']}, this project of {model.spec}: it can be read, pruned, compared and "
            "exported, not validated (--same-model if it is the same model)"
        )
    return Result(
        prompt=metadata.prompt,
        tokens=tokens,
        dictionary=dictionary,
        targets=building.target_documents(graph),
        rule=metadata.rule or UNKNOWN_RULE,
        closing_error=math.nan if metadata.closing_error is None else metadata.closing_error,
        arrays=_write(context.project, building.arrays_of(graph, numbers)),
        nodes=building.node_records(graph, numbers),
        edges=building.edge_records(graph, numbers.raw),
        effects=building.effect_records(graph),
        supernodes=_supernodes(graph),
        pins=_pins(graph),
        summary=_summary(params, graph, numbers) | _of_model(other, graph),
    )


def _refuse_tokens(file: Path, tokens: list[int], model: ModelRecord) -> None:
    """`BadInput` for a prompt that the project's model cannot be given again."""
    if max(tokens) >= model.vocab_size:
        fault = f"{file} has the token id {max(tokens)}, and {model.spec} has {model.vocab_size} tokens"
        raise BadInput(fault, "it is of another model: leave --same-model away")
    if min(tokens) < 0:
        fault = f"{file} does not tell the id of token {tokens.index(-1)}"
        raise BadInput(fault, "give its token nodes circuit-tracer's names, E_ID_POSITION")


def _refuse_strangers(project: Project, dictionary: str, graph: FileGraph) -> None:
    """`BadInput` for a feature that the dictionary, if it is one of this project, does not have."""
    sql = "SELECT layer, n_features FROM dictionary WHERE name = ?"
    sizes = dict(project.db.execute(sql, [dictionary]).fetchall())
    if dictionary == "neurons":
        sizes = dict.fromkeys(range(project.model.n_layers), project.model.d_mlp)
    if not sizes:
        return
    for node, index in zip(graph.features, graph.index, strict=True):
        if index >= sizes.get(int(node.layer), 0):
            name = f"L{int(node.layer)}/{index}@{node.ctx_idx}"
            raise BadInput(f"{name} is not in {dictionary!r}", "name the dictionary of the file with --dictionary")


def _other_model(file: GraphFile, model: ModelRecord) -> dict[str, Any] | None:
    """What the file says of its model, unless that is the project's."""
    from tasks.graphs.formats.neuronpedia import scan_name
    from tasks.graphs.formats.neuronpedia_import import file_graph

    metadata = file.metadata
    if metadata.model is not None:
        same = (metadata.model.revision, metadata.model.n_layers) == (model.revision, model.n_layers)
        return None if same else metadata.model.model_dump()
    n_layers = file_graph(file).n_layers
    if metadata.scan.lower() in (model.spec.lower(), scan_name(model)) and n_layers <= model.n_layers:
        return None
    return {"spec": metadata.scan, "revision": "", "n_layers": n_layers}


def _of_model(other: dict[str, Any] | None, graph: FileGraph) -> dict[str, Any]:
    return {"n_layers": graph.n_layers} | ({"model": other} if other else {})


def _summary(params: Params, graph: FileGraph, numbers: Numbers) -> dict[str, Any]:
    """What a trace says of itself, as far as the file knows it, and where it came from."""
    from tasks.graphs.formats.neuronpedia_file import FileTrace
    from tasks.graphs.formats.neuronpedia_import import words_of

    metadata, raw = graph.file.metadata, numbers.raw
    trace = metadata.trace or FileTrace()
    layers = sorted({int(node.layer) for node in graph.features})
    types = {node.feature_type for node in graph.features}
    return {
        "tokens": metadata.prompt_tokens,
        "closing_error": metadata.closing_error,
        "replacement_score": numbers.scores.replacement,
        "completeness_score": numbers.scores.completeness,
        "scores_of": "the traced graph" if metadata.replacement_score is not None else "the file's links",
        **trace.model_dump(exclude_none=True),
        "dictionary_layers": layers if trace.dictionary_layers is None else trace.dictionary_layers,
        "nodes": raw.n_nodes,
        "edges": len(raw.source),
        "kept_nodes": len(graph.file.nodes),
        "kept_edges": len(graph.file.links),
        "scan": metadata.scan,
        "feature_type": next(iter(types)) if len(types) == 1 else "cross layer transcoder",
        "imported_from": {"file": params.file.name, "slug": metadata.slug, "generator": _generator(metadata)},
        "generation_settings": metadata.generation_settings or {},
        **{name: value for name, value in (metadata.pruning_settings or {}).items() if name.endswith("_threshold")},
        "words": words_of(graph),
    }


def _generator(metadata: FileMetadata) -> str:
    """Who wrote the file, as it says; nothing if it does not."""
    if metadata.info is None:
        return ""
    return f"{metadata.info.generator.name} {metadata.info.generator.version}".strip()


def _supernodes(graph: FileGraph) -> dict[str, list[int]]:
    """The file's supernodes by name, a second of one name numbered; each node in the first that names it."""
    found: dict[str, list[int]] = {}
    taken: set[int] = set()
    for label, *names in (group for group in graph.file.qParams.supernodes if group):
        members = list(dict.fromkeys(graph.number[name] for name in names if name in graph.number))
        members = [node for node in members if node not in taken]
        taken.update(members)
        name, count = label or "supernode", 1
        while name in found:
            count += 1
            name = f"{label or 'supernode'} {count}"
        if members:
            found[name] = members
    return found


def _pins(graph: FileGraph) -> list[int]:
    """What the file pins beside targets and members of supernodes, which a viewer of such files wants pinned too."""
    nodes = {node.node_id: node for node in graph.file.nodes}
    members = {name for _, *names in (group for group in graph.file.qParams.supernodes if group) for name in names}
    wanted = dict.fromkeys(name for name in graph.file.qParams.pinnedIds if name in graph.number)
    return [graph.number[name] for name in wanted if name not in members and nodes[name].kind != "logit"]


def _write(project: Project, arrays: dict[str, Any]) -> StoredFile:
    from safetensors.numpy import save_file

    return project.files.write("graphs", "graph.safetensors", lambda target: save_file(arrays, target))
