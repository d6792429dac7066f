"""QK: why a head attends from one position to another: the pairs of sources that make its query-key score."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from store.errors import BadInput
from tasks.params import Params as _Params
from tasks.params import option

if TYPE_CHECKING:
    from torch import Tensor

    from store.project import Project
    from tasks.circuits.query_key import QueryKeyScore
    from tasks.circuits.sweep import Sweep
    from tasks.context import Context


class Params(_Params):
    """The options of `workbench graph qk`."""

    graph: int = option(..., "The graph's id, as `workbench graph list` prints it.", argument=True)
    head: str = option(..., "The head, as L5H3.", argument=True)
    query: int = option(-1, "The position that attends; -1 is the last.")
    key: int | None = option(None, "The position that it attends to; default: where most of its attention goes.")
    top: int = option(10, "Sources and pairs listed.", ge=1)


@dataclass(frozen=True)
class Result:
    """One score, split."""

    document: dict[str, Any]

    def save(self, project: Project, job_id: int) -> dict[str, Any]:
        """No rows: the answer is the job's document."""
        return self.document


def run(params: Params, context: Context) -> Result:
    """Freeze the graph's run again and split the score by the sources of the query and of the key."""
    from store import graphs
    from tasks.circuits.query_key import query_key_score
    from tasks.circuits.retrace import prompt_position, retraced

    match = re.fullmatch(r"L([0-9]{1,4})H([0-9]{1,4})", params.head)
    if match is None:
        raise BadInput(f"{params.head!r} is not a head", "write it as L5H3")
    layer, head = int(match[1]), int(match[2])
    record = graphs.find(context.project.db, params.graph)
    if layer >= context.model.n_layers:
        raise BadInput(f"there is no layer {layer}", f"its layers are 0 to {context.model.n_layers - 1}")
    query = prompt_position(params.query, len(record.token_ids))
    sweep = retraced(context, record)
    key = _most_attended(sweep, layer, head, query) if params.key is None else params.key
    key = prompt_position(key, len(record.token_ids))
    found = query_key_score(sweep, layer, head, query, key)
    return Result(
        {
            "graph": record.id,
            "head": params.head,
            "tokens": record.summary["tokens"],
            "query": query,
            "key": key,
            "score": found.score,
            "attention": found.attention,
            "by_query_source": _side(sweep, found.by_query_source, params.top),
            "by_key_source": _side(sweep, found.by_key_source, params.top),
            "pairs": _pairs(sweep, found, params.top),
        }
    )


def _most_attended(sweep: Sweep, layer: int, head: int, query: int) -> int:
    """Where most of the attention goes, the first position (the sink) left out if there is another."""
    pattern = sweep.run.layers[layer].attention_pattern
    if head >= len(pattern):
        raise BadInput(f"layer {layer} has no head {head}", f"its heads are 0 to {len(pattern) - 1}")
    return int(pattern[head, query, 1:].argmax()) + 1 if query else 0


def _side(sweep: Sweep, parts: Tensor, top: int) -> list[dict[str, Any]]:
    from tasks.circuits.retrace import column_names, largest

    rows = largest(parts, top)
    names = column_names(sweep.sources, rows)
    listed = [{"source": name, "score": score} for name, score in zip(names, parts[rows].tolist(), strict=True)]
    return [*listed, {"source": "the rest", "score": float(parts.sum() - parts[rows].sum())}]


def _pairs(sweep: Sweep, found: QueryKeyScore, top: int) -> list[dict[str, Any]]:
    """The strongest pairs among the strongest sources of both sides."""
    from tasks.circuits.retrace import column_names, largest

    n_considered = max(200, top)
    sides = [largest(parts, n_considered) for parts in (found.by_query_source, found.by_key_source)]
    scores = found.pairs(*sides)
    strongest = largest(scores.flatten(), top)
    queries, keys = sides[0][strongest // scores.shape[1]], sides[1][strongest % scores.shape[1]]
    names = zip(column_names(sweep.sources, queries), column_names(sweep.sources, keys), strict=True)
    values = scores.flatten()[strongest].tolist()
    return [{"query": a, "key": b, "score": score} for (a, b), score in zip(names, values, strict=True)]
