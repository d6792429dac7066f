"""What the pane reads from the store: plain data, read in the store's thread."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from store import baselines, dictionaries, jobs
from store.baselines import Reading
from store.jobs import ENDED, Job
from workbench.tui.render.prompt_card import GraphMention, Variant
from workbench.tui.render.tokens import show_token

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from store.project import Project
    from tasks.baseline_board import BoardPair

NEURONS = "neurons"
"""The dictionary that every model has."""


@dataclass(frozen=True)
class CardData:
    """What stands on a pair's card beside the pair."""

    readings: Mapping[str, Reading] = field(default_factory=dict)
    graphs: Sequence[GraphMention] = ()


def read_card(project: Project, pair: BoardPair) -> CardData:
    """A pair's latest readings, and the graphs of its prompts, newest first."""
    readings = baselines.readings(project.db, pair.record.id) if pair.record else {}
    return CardData(readings, prompt_graphs(project, pair))


def prompt_graphs(project: Project, pair: BoardPair) -> list[GraphMention]:
    """The graphs of a pair's prompts, newest first; those of the clean prompt before those of the corrupt."""
    sql = "SELECT id, dictionary, targets FROM graph WHERE prompt = ? ORDER BY id DESC"
    found: list[GraphMention] = []
    prompts: dict[Variant, str | None] = {"clean": pair.pair.clean, "corrupt": pair.pair.corrupt}
    for variant, prompt in prompts.items():
        rows = project.db.execute(sql, [prompt]).fetchall() if prompt else []
        found += [GraphMention(graph, name, _explained(targets), variant) for graph, name, targets in rows]
    return found


def dictionary_names(project: Project) -> list[str]:
    """What a prompt can be traced with: neurons, the project's sets, and whatever else its graphs were made with."""
    rows = project.db.execute("SELECT DISTINCT dictionary FROM graph ORDER BY dictionary").fetchall()
    return list(dict.fromkeys([NEURONS, *dictionaries.listing(project.db), *(name for (name,) in rows)]))


def traced_graph(project: Project, job_id: int) -> int | None:
    """The graph that a job left."""
    graph = (jobs.show(project.db, job_id).result or {}).get("graph")
    return graph if isinstance(graph, int) else None


def _explained(targets: str) -> str:
    """`·French − ·Spanish`, `·French +9 more`: what a graph explains."""
    first, *others = json.loads(targets) or [{}]
    text = show_token(str(first.get("token", "")))
    if first.get("rival"):
        text += f" − {show_token(str(first['rival']))}"
    return text + (f" +{len(others)} more" if others else "")


def unended(project: Project) -> list[Job]:
    """The baselines and traces that wait or run, the oldest first."""
    asked = [job for job in jobs.listing(project.db) if job.kind in ("baseline", "trace") and job.state not in ENDED]
    return asked[::-1]
