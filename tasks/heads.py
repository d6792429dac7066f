"""Heads: which attention heads carry an edge of a graph, on demand (METHOD §1; circuit-tracer issue 53)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from store.errors import BadInput
from tasks.params import Params as _Params
from tasks.params import option

if TYPE_CHECKING:
    from store.project import Project
    from tasks.circuits.heads import HeadLoadings
    from tasks.context import Context


class Params(_Params):
    """The options of `workbench graph heads`."""

    graph: int = option(..., "The graph's id, as `workbench graph list` prints it.", argument=True)
    source: str = option(..., "Where the edge begins: L12/345@7, an error L12@7, or a token @7.", argument=True)
    target: str = option(
        ...,
        "Where it ends: a feature, or a target of the graph: logit (its first), logit:1 (its second).",
        argument=True,
    )
    top: int = option(10, "Heads listed.", unit="heads", ge=1)


@dataclass(frozen=True)
class Result:
    """One edge, shared out."""

    document: dict[str, Any]

    def save(self, project: Project, job_id: int) -> dict[str, Any]:
        """No rows: the answer is the job's document."""
        return self.document


def run(params: Params, context: Context) -> Result:
    """Freeze the graph's run again and share the edge out among the heads between its ends."""
    from store import graphs
    from tasks.circuits.heads import head_loadings
    from tasks.circuits.retrace import parse_place, retraced, source_at, target_at

    record = graphs.find(context.project.db, params.graph)
    n_positions = len(record.token_ids)
    source, target = parse_place(params.source, n_positions), parse_place(params.target, n_positions)
    sweep = retraced(context, record)
    begin, end = source_at(sweep, source), target_at(sweep, target, record)
    if begin.layer >= end.layer_in(context.model.n_layers) or begin.position > end.position:
        raise BadInput(
            f"no edge leads from {params.source} to {params.target}",
            "an edge leads to a higher layer, at its own position or a later one",
        )
    found = head_loadings(sweep, begin, end)
    return Result(
        {
            "graph": record.id,
            "source": params.source,
            "target": params.target,
            "tokens": record.summary["tokens"],
            "edge": found.total,
            "direct": found.direct,
            "heads": _head_documents(found, params.top),
            "rest": _rest(found, params.top),
        }
    )


def _ranked(found: HeadLoadings, top: int) -> list[tuple[int, int]]:
    from tasks.circuits.retrace import largest

    n_heads = found.taken_up.shape[1]
    strongest = largest((found.taken_up.abs() + found.written.abs()).flatten(), top)
    return [divmod(place, n_heads) for place in strongest.tolist()]


def _head_documents(found: HeadLoadings, top: int) -> list[dict[str, Any]]:
    """The strongest heads: what each takes up and where it brings most of that, what it writes and where from."""
    return [
        {
            "head": f"L{layer}H{head}",
            "taken_up": float(found.taken_up[layer, head]),
            "to": int(found.destination[layer, head].abs().argmax()),
            "written": float(found.written[layer, head]),
            "from": int(found.origin[layer, head].abs().argmax()),
        }
        for layer, head in _ranked(found, top)
    ]


def _rest(found: HeadLoadings, top: int) -> dict[str, Any]:
    """What the heads that are not listed bring, so that both columns close to the edge."""
    listed = _ranked(found, top)
    taken_up, written = (sum(float(part[place]) for place in listed) for part in (found.taken_up, found.written))
    return {
        "heads": int(((found.taken_up != 0) | (found.written != 0)).sum()) - len(listed),
        "taken_up": float(found.taken_up.sum()) - taken_up,
        "written": float(found.written.sum()) - written,
    }
