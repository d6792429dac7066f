"""Steps that tests of the baselines pane share: the app on it, the worker's part, and rows of fixed numbers."""

import json
import os
from pathlib import Path

from textual.pilot import Pilot

from store import jobs
from store.project import Project
from tasks.baseline import AD_HOC
from tasks.behaviours import load_behaviours
from tasks.context import Context
from tasks.execute import run_claimed
from tests.workbench.tui.app_project import BEHAVIOUR, PROMPT
from tests.workbench.tui.screen_text import until
from workbench.tui.app import Workbench
from workbench.tui.panes.baselines.pane import Baselines

Steps = Pilot[int]
LISTED = f"{BEHAVIOUR}  Wo"
"""On the screen when the board has been read."""


def app_on(directory: Path, **options: bool) -> Workbench:
    return Workbench(directory, starts_worker=False, **options)


def pane_of(app: Workbench) -> Baselines:
    return app.default_screen.query_one(Baselines)


async def at_prompt(pilot: Steps, prompt: str = PROMPT) -> Baselines:
    """The pane with the cursor on a prompt, its card read."""
    await until(pilot, LISTED)
    pane = pane_of(pilot.app)  # type: ignore[arg-type]
    pane.show_prompt(prompt, BEHAVIOUR)
    await until(pilot, f"{BEHAVIOUR}/")
    await pilot.pause(0.3)
    return pane


def queued(directory: Path) -> list[jobs.Job]:
    with Project.open(directory, write=False) as project:
        return jobs.queue(project.db)


def work_off(directory: Path) -> list[jobs.Job]:
    """Run what is queued as the worker does; the jobs as they ended."""
    with Project.open(directory, write=True) as project:
        context, ended = Context(project), []
        while (job_id := jobs.claim(project.db, os.getpid())) is not None:
            try:
                run_claimed(job_id, context, lambda: "cancelled")
            except Exception:
                assert jobs.show(project.db, job_id).state == "failed"
            ended.append(job_id)
        return [jobs.show(project.db, job_id) for job_id in ended]


async def worked_off(pilot: Steps, directory: Path) -> list[jobs.Job]:
    """Run what is queued, and tell the pane as the app does."""
    ended = work_off(directory)
    for job in ended:
        await pane_of(pilot.app).job_ended(job.id, job.kind, job.state)  # type: ignore[arg-type]
    await pilot.pause(0.3)
    return ended


def insert_fixed(directory: Path) -> None:
    """A pair of a behaviour and a prompt of one's own, hostile, with numbers of no model."""
    pair = load_behaviours()["capitals"].pairs[0]
    hostile = "\x1b]0;t\x07[/INST] \u202e日本"
    texts = [("capitals", pair.clean, pair.corrupt, pair.decisive, pair.rival, pair.concept),
             (AD_HOC, f"a {hostile}", None, None, None, None)]  # fmt: skip
    with Project.open(directory, write=True, work=False) as project, project.transaction():
        job = "INSERT INTO job (kind, params, params_hash, state, created_at) VALUES ('baseline', '{}', 'h', ?, ?)"
        project.db.execute(job, ["succeeded", "2026-01-01T00:00:00.000+00:00"])
        for number, (behaviour, *content) in enumerate(texts, 1):
            sql = """INSERT INTO prompt (id, behaviour, name, clean, corrupt, decisive, rival, concept)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
            project.db.execute(sql, [number, behaviour, f"{behaviour}/0", *content])
        for prompt, variant, *scores in (
            (1, "clean", 0.7734375, 0, 7.3125, 1), (1, "corrupt", 0.015625, 11, -6.0, 1), (2, "clean", *[None] * 4)
        ):  # fmt: skip
            top = [[f" t{i}" if i else (hostile if prompt == 2 else " Paris"), 2.0 ** -(i + 1)] for i in range(10)]
            sql = """INSERT INTO baseline (job_id, prompt_id, variant, p_decisive, rank_decisive, logit_difference,
                passed, tokens, top, continuation, seed) VALUES (1, ?, ?, ?, ?, ?, ?, '[1, 2, 3]', ?, ?, 0)"""
            row = project.db.execute(sql, [prompt, variant, *scores, json.dumps(top), f" on {hostile}"]).lastrowid
            bits = [["The", None], [" capital", 9.25], [hostile, 2.5]]
            project.db.execute("INSERT INTO surprise VALUES (?, ?)", [row, json.dumps(bits)])


def insert_fixed_again(directory: Path) -> None:
    """A prompt of one's own, as another process leaves it."""
    with Project.open(directory, write=True, work=False) as project, project.transaction():
        sql = "INSERT INTO prompt (id, behaviour, name, clean) VALUES (99, ?, ?, 'from elsewhere')"
        project.db.execute(sql, [AD_HOC, f"{AD_HOC}/0"])
        project.db.execute(
            """INSERT INTO baseline (job_id, prompt_id, variant, tokens, top, continuation, seed)
            VALUES (1, 99, 'clean', '[1]', '[[" a", 0.5]]', '', 0)"""
        )
