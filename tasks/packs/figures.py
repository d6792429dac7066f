"""The figures of a pack: every graph, how every set trained, and predicted beside measured effects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from store import graphs
from tasks.packs.plot import Plot, Point

if TYPE_CHECKING:
    from store.jobs import Job
    from store.project import Project
    from tasks.graphs.view import GraphView

FOLDER = "figures"
"""Where they are in the archive."""


def figures_of(project: Project, finished: Sequence[Job], draw: Callable[[GraphView], str] | None) -> dict[str, bytes]:
    """Archive path -> SVG; graphs only if there is something that draws them."""
    made = dict(_plots(project, finished))
    if draw is not None:
        from tasks.graphs.view import load_graph_view

        for record in graphs.listing(project.db):
            view = load_graph_view(project, record.id)
            made[f"{FOLDER}/graph-{record.id}.svg"] = draw(view).encode("utf-8", "replace")
    return made


def _plots(project: Project, finished: Sequence[Job]) -> Iterator[tuple[str, bytes]]:
    for job in finished:
        result = job.result or {}
        if job.kind == "train":
            plot = Plot(f"FVU of {result.get('dictionary')}, held out", "tokens", "FVU", _curves(project, job.id))
            yield f"{FOLDER}/job-{job.id}-fvu.svg", plot.svg()
        elif job.kind == "validate" and (series := _effects(result)):
            title = "Effect of removing a feature: predicted beside measured"
            plot = Plot(title, "predicted, nats", "measured, nats", series, marks=True, diagonal=True)
            yield f"{FOLDER}/job-{job.id}-effects.svg", plot.svg()


def _curves(project: Project, job_id: int) -> dict[str, list[Point]]:
    sql = """SELECT layer, tokens, fvu FROM training_point JOIN dictionary ON dictionary.id = dictionary_id
        WHERE job_id = ? AND split = 'validation' ORDER BY layer, tokens"""
    series: dict[str, list[Point]] = {}
    for layer, tokens, fvu in project.db.execute(sql, [job_id]).fetchall():
        series.setdefault(f"layer {layer}", []).append((float(tokens), float(fvu)))
    return series


def _effects(result: Mapping[str, Any]) -> dict[str, list[Point]]:
    """The kept features' effects, if the document has them (that of a whole behaviour has none)."""
    pairs = [(node.get("predicted_effect"), node.get("measured_effect")) for node in result.get("nodes") or []]
    found = [(float(p), float(m)) for p, m in pairs if isinstance(p, int | float) and isinstance(m, int | float)]
    return {"kept features": found} if found else {}
