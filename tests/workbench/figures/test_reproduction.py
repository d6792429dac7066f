"""The report of a reproduction: every verdict with its numbers, nothing alive in it, and the last one is found."""

import copy
import hashlib
import json
import re
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from store import jobs
from store.project import ModelRecord, Project
from tasks.reproduction.verdict import Outcome, Verdict
from tests.workbench.command_line import workbench
from workbench.figures.reproduction import report_markdown, report_page
from workbench.figures.strips import control_strip, faithfulness_chart
from workbench.tui.render.reproduction import MARKS

MODEL = ModelRecord("builtin:none", "r1", "llama", 3, 4, 6, 96, "cpu", "float32")
HOSTILE = "<script>alert(1)</script> | \x1b[31m **x** \u202e"
PAIR = {
    "pair": 0, "usable": True, "reason": None, "clean": "the capital near dallas is", "corrupt": "near oakland is",
    "decisive": " Austin", "rival": " Sacramento", "concept": "Texas", "rival_concept": "California", "prefill": "",
    "group": "", "probability": 0.75, "rank": 0, "logit_difference": 4.5, "corrupt_logit_difference": -3.25,
    "passed": True,
}  # fmt: skip
HYPOTHESIS: dict[str, Any] = {
    "kind": "swap", "claim": "a state lies between", "where": "between", "depth": [0.1, 0.8], "probe": None,
    "outcome": "partly", "because": "it moves 0.31 of the way", "value": 0.31, "controls": [0.02, 0.05],
    "unit": "of the way", "evidence": {},
}  # fmt: skip
VALIDATION = {
    "graph": 7, "job": 3, "spearman_predicted": 0.941, "faithfulness": 0.12, "sizes": [0.001, 0.01, 0.1, 1.0],
    "supernodes": [
        {"features": 3, "predicted_effect": 0.61, "measured_effect": 0.58, "control_effect": -0.02},
        {"features": 0, "predicted_effect": None, "measured_effect": None, "control_effect": None},
    ],
    "verdicts": {"confirmed": 23, "weak": 1, "contradicted": 0, "untested": 5},
    "curves": {"predicted_effect": {"faithfulness": [0.0, 0.1, 0.5, 1.0]}, "random": {"faithfulness": [0, 0, 0, 1]}},
}  # fmt: skip
RECURRENCE = {"mean_jaccard": 0.17, "expected_jaccard": 0.001, "features": [{"feature": "L1/2@-1", "prompts": 4}]}


def behaviour(name: str, verdict: str, **own: Any) -> dict[str, Any]:
    return {
        "name": name, "title": f"Title of {name}", "paper_section": "Multi-step reasoning", "claimed_circuit": "a -> b",
        "chat": False, "accuracy": 0.75, "verdict": verdict, "because": f"because of {name}", "pairs": [PAIR],
        "graphs": [{"graph": 7}], "recurrence": {"by_offset": RECURRENCE}, "supernodes": [{"graph": 7, "found": 2}],
        "hypotheses": [HYPOTHESIS], "validations": [VALIDATION],
    } | own  # fmt: skip


def document() -> dict[str, Any]:
    lacking = behaviour(
        "lacking", "model can't", graphs=[], recurrence=None, supernodes=[], hypotheses=[], validations=[]
    )
    return {
        "model": "builtin:none", "revision": "r1", "dictionary": "neurons", "options": {},
        "bounds": {"flipped": 0.5, "moved": 0.5, "above_controls": 0.1, "lost": 0.69, "lost_partly": 0.35, "p": 0.05,
                   "p_partly": 0.2},
        "verdicts": {"partly": 1, "model can't": 1, "supported": 0},
        "behaviours": [behaviour("states", "partly"), lacking],
    }  # fmt: skip


def test_given_every_outcome_and_verdict_when_marked_then_each_has_a_mark() -> None:
    assert MARKS.keys() == {str(each) for each in Verdict} | {str(each) for each in Outcome}


def test_given_a_document_when_reported_then_every_verdict_stands_with_its_numbers() -> None:
    for text in (report_markdown(document()), report_page(document(), {7: "<svg/>"})):
        for word in ("3 features, predicted +0.61, measured +0.58, as many others −0.02.", "partly", "model can",
                     "because of lacking", "0.750", "+4.50", "−3.25", "0.31 of the way",
                     "a state lies between", "23 confirmed", "0.941", "0.17", "L1/2@-1", "75 %"):  # fmt: skip
            assert word in text, word
    assert report_page(document(), {7: "<svg/>"}).count("data:image/svg+xml;base64,") == 1


def test_given_hostile_text_when_reported_then_nothing_of_it_is_alive() -> None:
    made = document()
    made["behaviours"][0] |= {"title": HOSTILE, "claimed_circuit": HOSTILE, "because": HOSTILE}
    made["behaviours"][0]["pairs"] = [PAIR | {"clean": HOSTILE, "decisive": HOSTILE, "reason": HOSTILE}]
    made["behaviours"][0]["hypotheses"] = [HYPOTHESIS | {"claim": HOSTILE, "because": HOSTILE, "probe": HOSTILE}]
    made["model"] = HOSTILE
    page, markdown = report_page(made, {}), report_markdown(made)
    assert "<script" not in page and "http" not in page.replace("http-equiv", "")
    for text in (page, markdown):
        assert "\x1b" not in text and "\u202e" not in text
    row = next(line for line in markdown.splitlines() if line.startswith("| ✓"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 8


def test_given_the_page_when_its_policy_is_read_then_it_allows_its_own_style_and_images_alone() -> None:
    page = report_page(document(), {})
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    digest = b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:" in page
    assert not re.search(r"<(script|link|iframe|object)|style=|\son[a-z]+=", page)


def test_given_a_number_and_its_controls_when_drawn_then_places_are_in_proportion() -> None:
    svg = control_strip(0.5, [0.0, 0.25, -0.5])
    dot = re.search(r'<circle cx="([0-9.]+)" cy="16" r="5"', svg)
    rings = [float(x) for x in re.findall(r'<circle cx="([0-9.]+)" cy="16" r="4"', svg)]
    assert dot is not None
    low, middle = rings[2], rings[0]
    assert float(dot[1]) - middle == pytest.approx(middle - low, abs=0.2)
    assert rings[1] - middle == pytest.approx((float(dot[1]) - middle) / 2, abs=0.2)


def test_given_a_curve_with_an_unknown_value_when_drawn_then_it_is_left_out() -> None:
    assert faithfulness_chart(VALIDATION).count('stroke-width="2"') == 2
    unknown = copy.deepcopy(VALIDATION)
    unknown["curves"]["random"]["faithfulness"][1] = None  # type: ignore[index]
    assert faithfulness_chart(unknown).count('stroke-width="2"') == 1
    assert faithfulness_chart(unknown | {"curves": {}}) == ""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a reproduction of a set, whose part was a job of its own and ended before."""
    with Project.create(tmp_path / "project", MODEL, "0.1.0") as made:
        outer = jobs.start(made.db, "reproduce", '{"behaviours": []}', "outer")
        inner = jobs.start(made.db, "reproduce", '{"behaviours": ["states"]}', "inner")
        alone = document() | {"behaviours": document()["behaviours"][:1]}
        jobs.succeed(made.db, inner, alone, 1.0, 1.0)
        jobs.succeed(made.db, outer, document(), 2.0, 2.0)
    return tmp_path / "project"


def test_given_a_reproduction_when_asked_for_then_the_whole_set_is_shown_and_written(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = workbench(capsys, "--project", str(project), "reproduction", "--json")
    assert [each["name"] for each in json.loads(ran.out)["reproduction"]["behaviours"]] == ["states", "lacking"]
    ran = workbench(capsys, "--project", str(project), "reproduction", "--job", "2", "--json")
    assert len(json.loads(ran.out)["reproduction"]["behaviours"]) == 1
    ran = workbench(capsys, "--project", str(project), "reproduction")
    assert ran.exit_code == 0 and "model can't" in ran.out and "partly" in ran.out
    names = [str(tmp_path / name) for name in ("report.md", "report.html")]
    ran = workbench(capsys, "--project", str(project), "reproduction", *names)
    assert ran.exit_code == 0
    assert Path(names[0]).read_text().startswith("# Reproduction")
    assert Path(names[1]).read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("words", "code", "fault"),
    [
        (["report.txt"], 2, "ends in none of .md, .html"),
        (["--job", "9"], 3, "job 9 is no reproduction that ended"),
        (["nowhere/report.md"], 2, "cannot be written"),
    ],
)
def test_given_what_cannot_be_reported_when_asked_for_then_one_line_says_so(
    project: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, fault: str
) -> None:
    ran = workbench(capsys, "--project", str(project), "reproduction", *words)
    assert ran.exit_code == code
    assert fault in ran.err and ran.err.count("\n") == 1
