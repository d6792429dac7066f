"""What tests of the console need: jobs that are worked off without a worker, and stored runs with fixed numbers."""

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from store import jobs
from store.project import Project
from tasks.context import Context
from tasks.execute import run_claimed
from tasks.intervene import Params
from tests.workbench.tui.screen_text import drive, screen_text, until
from workbench.tui.app import Workbench
from workbench.tui.panes.interventions.pane import Interventions

PROMPT = "The official language of the country whose capital is Paris is"
LARGE = (160, 48)
Steps = Callable[[Pilot[int]], Any]
HOSTILE = "\x1b]0;title\x07[/INST]\u202e"


def work_off(directory: Path) -> int:
    """Run every queued job of the project, as a worker would; how many."""
    done = 0
    with Project.open(directory, write=True) as project:
        context = Context(project)
        while (job_id := jobs.claim(project.db, os.getpid())) is not None:
            run_claimed(job_id, context, lambda: "cancelled")
            done += 1
    return done


async def worked_off(pilot: Pilot[int], directory: Path, count: int = 1) -> int:
    """Wait until `count` jobs are queued, run them, and return how many there were."""
    for _ in range(400):
        with Project.open(directory, write=False) as project:
            if len(jobs.queue(project.db)) >= count:
                break
        await pilot.pause(0.05)
    return await asyncio.to_thread(work_off, directory)


async def typed(pilot: Pilot[int], text: str) -> None:
    """Type a line, key by key."""
    names = {" ": "space", "/": "slash", "@": "at", "=": "equals_sign", "+": "plus", "-": "minus", "*": "asterisk",
             ".": "full_stop", "|": "vertical_line", '"': "quotation_mark", ",": "comma"}  # fmt: skip
    await pilot.press(*(names.get(character, character) for character in text))


def side(logit: float, rival: float, p: float, rank: int, text: str, top: list[list[Any]]) -> dict[str, Any]:
    """One side of an intervention."""
    return {"logit": logit, "rival_logit": rival, "logit_difference": logit - rival, "probability": p, "rank": rank,
            "mean_logit": 1.0, "top": top, "continuation": text}  # fmt: skip


def document(edits: list[str], change: float, predicted: float | None, sweep: bool = False) -> dict[str, Any]:
    """What `workbench intervene` would end with, of fixed numbers."""
    before = side(
        18.0, 15.0, 0.435, 0, " French.\nThe official", [[" French", 0.435], [" the", 0.051], [HOSTILE, 0.04]]
    )
    after = side(18.0 + change, 15.0, 0.2, 1, HOSTILE, [[" Latin", 0.25], [" French", 0.2], [" the", 0.06]])
    mover = {"token": " Latin", "before": 12.0, "after": 12.5}
    points = [
        {"dose": dose, "logit_difference": 3 + change * dose - 0.05 * dose * dose, "delta_logit": change * dose,
         "delta_logit_difference": change * dose, "predicted_delta": None if predicted is None else predicted * dose,
         "probability": 0.4, "rank": 0, "kl": 0.1 * dose * dose}
        for dose in (-1.0, 0.0, 1.0, 2.0, 3.0)
    ]  # fmt: skip
    return {
        "tokens": PROMPT.split(), "decisive": " French", "rival": " Spanish", "edits": edits, "places": len(edits),
        "dictionary": "neurons", "graph": None, "spelling": "delta", "freeze": "none", "positions": "generated",
        "baseline": before, "outcome": after, "delta_logit": change, "delta_rival": 0.0,
        "delta_logit_difference": change, "logit_difference": {"before": 3.0, "after": 3.0 + change}, "kl": 0.123,
        "top": {"before": before["top"], "after": after["top"]},
        "movers": {"logit": {"up": [mover], "down": []}, "probability": {"up": [mover], "down": []}},
        "saturated": False, "predicted_delta": predicted,
        "sweep": {"points": points, "monotone": True} if sweep else None,
    }  # fmt: skip


def insert_run(directory: Path, params: Params, found: dict[str, Any], minute: int = 0) -> int:
    """A run that was made at 14:MINUTE; the intervention's id."""
    with Project.open(directory, write=True) as project:
        text = json.dumps(params.model_dump(mode="json"), sort_keys=True)
        key = jobs.params_hash("intervene", text, project.model.revision)
        job_id = jobs.start(project.db, "intervene", text, key)
        asked = {name: found[name] for name in ("edits", "dictionary", "graph", "spelling", "freeze", "positions")}
        asked |= {"from": params.from_, "sweep": params.sweep}
        outcome = {name: found[name] for name in ("delta_logit_difference", "predicted_delta", "kl")}
        with project.transaction():
            cursor = project.db.execute(
                "INSERT INTO intervention (job_id, prompt, edits, baseline, outcome) VALUES (?, ?, ?, '{}', ?)",
                [job_id, params.prompt, json.dumps(asked), json.dumps(outcome)],
            )
            number = int(cursor.lastrowid or 0)
            jobs.succeed(project.db, job_id, {"intervention": number, "job": job_id, **found}, 1, 1)
            at = f"2026-11-22T14:{minute:02d}:00.000+00:00"
            project.db.execute("UPDATE job SET finished_at = ? WHERE id = ?", [at, job_id])
    return number


def console(pilot: Pilot[int]) -> Interventions:
    """The pane under test."""
    return pilot.app.screen_stack[0].query_one("#interventions", Interventions)


def run(directory: Path, steps: Steps, size: tuple[int, int] = LARGE, follow: bool = False) -> None:
    """Open the app on the console and take the steps."""
    app = Workbench(directory, starts_worker=False, follow=follow)

    async def all_steps(pilot: Pilot[int]) -> None:
        await until(pilot, "no worker")
        for _ in range(100):
            if app.opened:
                break
            await pilot.pause(0.05)
        for _ in range(20):  # a key that comes while the app brings back its first pane goes to that
            await pilot.press("4")
            await pilot.pause(0.5)
            if "edit ›" in screen_text(pilot.app):
                break
        await until(pilot, "edit ›")
        await steps(pilot)

    drive(app, all_steps, size)
