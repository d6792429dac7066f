"""The jobs drawer on the real app."""

import json
import re
from pathlib import Path

from store import job_curves, jobs
from store.project import Project
from tests.workbench.tui.app_steps import Steps, app_on, opened
from tests.workbench.tui.screen_text import drive, until
from workbench.tui.jobs_drawer import JobsDrawer
from workbench.tui.messages import WorkerNews


def test_given_a_running_job_that_draws_a_curve_when_a_point_comes_then_the_drawer_draws_it(
    project_directory: Path,
) -> None:
    def point(tokens: int, fvu: float) -> int:
        with Project.open(project_directory, write=True, work=False) as project, project.transaction():
            job_curves.add_point(project.db, job_id, "layer 7 [/]", {"tokens": tokens, "fvu": fvu})
            return jobs.last_event_id(project.db)

    with Project.open(project_directory, write=True, work=False) as project:
        job_id = jobs.start(project.db, "train", "{}", "key")
    point(100, 0.75)
    app = app_on(project_directory)

    async def steps(pilot: Steps) -> None:
        await opened(pilot)
        await pilot.press("f6")
        await until(pilot, "against 100 tokens seen")
        event = {"id": point(200, 0.25), "job": job_id, "kind": job_curves.POINT, "text": ""}
        await app.on_worker_news(WorkerNews("job", job={"event": event, "about": {}}))
        text = await until(pilot, "against 200 tokens seen")
        assert "layer 7 [/], held out" in text and re.search(r"FVU █▁ +0.750 → 0.250", text)
        await pilot.press("enter")
        text = await until(pilot, f"job {job_id}")
        assert "0.750 → 0.250" in text and job_curves.POINT not in text.split("events")[-1]

    drive(app, steps)


def test_given_jobs_when_the_drawer_opens_then_they_are_listed_and_one_can_be_cancelled_and_retried(
    project_directory: Path,
) -> None:
    with Project.open(project_directory, write=True, work=False) as project:
        waiting = jobs.submit(project.db, "trace", json.dumps({"prompt": "w1 w2"}), "key")
    app = app_on(project_directory)

    async def steps(pilot: Steps) -> None:
        await opened(pilot)
        await pilot.press("f6")
        text = await until(pilot, "queued")
        assert re.search(r"validate +✓ succeeded", text)
        await pilot.press("c")
        await until(pilot, "– cancelled")
        await pilot.press("r")
        text = await until(pilot, "… queued")
        assert text.count("trace") >= 3
        await pilot.press("enter")
        text = await until(pilot, f"job {waiting + 1}")
        assert "w1 w2" in text
        await pilot.press("escape", "f6")
        await pilot.pause()
        assert not app.query_one(JobsDrawer).display

    drive(app, steps)
