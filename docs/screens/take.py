"""Take the screens of docs/app.md: `python docs/screens/take.py PROJECT`, on a project that `workbench demo` left.

The first graph of the SAEs is opened, its strongest feature ablated through the worker, and each pane saved as SVG.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from textual.pilot import Pilot

from store.project import Project
from workbench.tui.app import Workbench
from workbench.tui.messages import EditsSent, Went
from workbench.tui.place import Place
from workbench.tui.render.bars import signed

SIZE = (150, 44)
_FOLDER = Path(__file__).parent


async def take(directory: Path) -> None:
    """One SVG a pane."""
    graph, prompt, dictionary, feature = _shown(directory)
    app = Workbench(directory)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause(3.0)
        await app.on_went(Went(Place("baselines", prompt=prompt)))
        await _save(app, pilot, "baselines")
        await app.on_went(Went(Place("features", dictionary=dictionary, feature=feature.split("@")[0])))
        await _save(app, pilot, "features")
        await app.on_went(Went(Place("graph", graph=graph, node=feature)))
        await _save(app, pilot, "graph")
        await app.on_edits_sent(EditsSent((f"ablate {feature}",), prompt, graph, dictionary))
        await pilot.pause(2.0)
        await pilot.press("r")
        await pilot.pause(45.0)  # the worker loads the model first
        await _save(app, pilot, "interventions")


async def _save(app: Workbench, pilot: Pilot[int], name: str) -> None:
    await pilot.pause(2.0)
    (_FOLDER / f"{name}.svg").write_text(app.export_screenshot(title="workbench"), encoding="utf-8")


def _shown(directory: Path) -> tuple[int, str, str, str]:
    """The graph with features of a trained set, its prompt, the set, and the feature with the largest effect."""
    sql = """SELECT graph.id, prompt, dictionary, 'L' || layer || '/' || feature || '@' || position, predicted_effect
        FROM graph JOIN node ON graph_id = graph.id WHERE dictionary != 'neurons' AND kind = 'feature'
        ORDER BY graph.id, abs(predicted_effect) DESC LIMIT 1"""
    with Project.open(directory, write=False) as project:
        graph, prompt, dictionary, feature, effect = project.db.execute(sql).fetchone()
    print(f"graph {graph}, {feature}: {signed(effect)} nats expected", file=sys.stderr)
    return graph, prompt, dictionary, feature


if __name__ == "__main__":
    asyncio.run(take(Path(sys.argv[1])))
