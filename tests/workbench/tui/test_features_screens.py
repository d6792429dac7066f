"""The features pane as it looks: on made-up features, whose numbers are the same on every machine, and on none."""

from pathlib import Path

import pytest
from textual.pilot import Pilot

from store import jobs, labels
from store.contexts import Context, pack_contexts
from store.project import Project
from tests.tasks import feature_project
from tests.workbench.render.test_feature_views import QUALITY
from tests.workbench.tui.screen_text import assert_golden_screen, drive, until
from workbench.tui.app import Workbench

SIZES = [(80, 24), (160, 48)]
FIRST = "L0/0"


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Made-up features: the first is starred, has texts and a histogram, and is kept in a graph."""
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("WORKBENCH_RUNTIME_DIR", str(tmp_path / "run"))
    feature_project.create(tmp_path / "project")
    context = Context(1, 9, 2.0, tuple(range(6)), (0.0, 0.5, 1.0, 2.0, 0.0, float("nan")), 3)
    with Project.open(tmp_path / "project", write=True) as project, project.transaction():
        project.db.execute("UPDATE feature SET histogram = '[0,0,0,0,0,0,0,0,4,9,30,12,1,0]' WHERE id = 1")
        project.db.execute("UPDATE feature SET label = 'words that begin' WHERE id = 2")
        project.db.execute("INSERT INTO context VALUES (1, 'words', ?)", [pack_contexts([context])])
        texts = [" the", " capital", " of", " \x1b[31mFrance", " is", " 東京"]
        project.db.conn.executemany("INSERT INTO token_text VALUES (?, ?)", list(enumerate(texts)))
        project.db.execute("INSERT INTO star VALUES (1, 0, '2026-01-01T00:00:00+00:00')")
        project.db.execute("INSERT INTO node VALUES (1, 0, 'feature', 0, 3, 0, 1.5, 0.2, 0.5, 0.25, 2.0)")
    return tmp_path / "project"


async def begun(pilot: Pilot[int]) -> None:
    """The app has shown where it starts, and then this pane."""
    app = pilot.app
    assert isinstance(app, Workbench)
    for _ in range(400):
        if app.opened and app.pane.id != "features":
            await pilot.press("2")
        if "features" in app.opened:
            break
        await pilot.pause(0.05)


@pytest.mark.parametrize("size", SIZES)
def test_given_features_when_seen_then_list_and_card_are_as_a_person_found_them_right(
    directory: Path, size: tuple[int, int]
) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await begun(pilot)
        await until(pilot, "24 features, by layer")
        await until(pilot, "→ ·word1 ·word2" if size[0] == 80 else "strongest examples")
        await pilot.pause(0.3)
        await assert_golden_screen("features_full", app)

    app = Workbench(directory, starts_worker=False)
    drive(app, steps, size)


def test_given_a_small_terminal_when_the_card_is_read_then_it_has_the_room(directory: Path) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await begun(pilot)
        await until(pilot, "→ ·word1 ·word2")
        await pilot.pause(0.5)
        await pilot.press("space")
        await until(pilot, "promoted and suppressed")
        await pilot.pause(0.3)
        await assert_golden_screen("features_card", app)

    app = Workbench(directory, starts_worker=False)
    drive(app, steps, (80, 24))


@pytest.mark.parametrize("size", SIZES)
def test_given_nothing_when_seen_then_the_screen_says_what_makes_some(directory: Path, size: tuple[int, int]) -> None:
    with Project.open(directory, write=True) as project, project.transaction():
        project.db.execute("DELETE FROM dictionary")

    async def steps(pilot: Pilot[int]) -> None:
        await begun(pilot)
        await until(pilot, "There is no dictionary set")
        await pilot.pause(0.3)
        await assert_golden_screen("features_empty", app)

    app = Workbench(directory, starts_worker=False)
    drive(app, steps, size)


@pytest.fixture
def judged(directory: Path) -> Path:
    """The first feature has a label with scores, and the set a report of its quality."""
    report = QUALITY | {"dictionary": "made"}
    with Project.open(directory, write=True) as project, project.transaction():
        labels.set_label(project.db, 1, "capital cities", "judge at host")
        scores = [labels.LabelScore("detection", "judge at host", 0.85, 10, 10),
                  labels.LabelScore("detection", labels.FLOOR, 0.7, 10, 10),
                  labels.LabelScore("fuzzing", "judge at host", 0.6, 5, 5)]  # fmt: skip
        labels.set_scores(project.db, 1, scores)
        project.db.execute("UPDATE label_change SET created_at = '2026-01-02T03:04:05+00:00'")
        job = jobs.start(project.db, "feature-quality", '{"dictionary": "made"}', "k")
        jobs.succeed(project.db, job, report, 1.0, 1.0)
        project.db.execute("DELETE FROM job WHERE kind = 'index'")
    return directory


@pytest.mark.parametrize("size", SIZES)
def test_given_scored_labels_when_seen_then_score_floor_and_luck_stand_beside_them(
    judged: Path, size: tuple[int, int]
) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await begun(pilot)
        await until(pilot, "0.85 capital cities")
        if size[0] == 80:
            await pilot.press("space")
        await until(pilot, "detection 0.85 on 20 contexts")
        await assert_golden_screen("features_judged", app)

    app = Workbench(judged, starts_worker=False)
    drive(app, steps, size)


@pytest.mark.parametrize("size", SIZES)
def test_given_a_report_when_asked_for_then_it_is_a_page(judged: Path, size: tuple[int, int]) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await begun(pilot)
        await until(pilot, "capital cities")
        await pilot.press("r")
        await until(pilot, "Quality of made")
        await until(pilot, "token-bound")
        await assert_golden_screen("features_quality", app)

    app = Workbench(judged, starts_worker=False)
    drive(app, steps, size)
