"""The board of baselines and the card of a prompt: golden renders, and what must be said in plain words."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from store.baselines import PromptRecord, Reading, Scores
from tasks.baseline_board import BoardBehaviour, BoardPair
from tasks.behaviours import Pair
from tests.workbench.render.golden import assert_golden, printed
from workbench.tui.render.baseline_board import (
    behaviour_line,
    board_heading,
    board_view,
    first_steps,
    pair_line,
)
from workbench.tui.render.prompt_card import GraphMention, behaviour_card, prompt_card

HOSTILE = "\x1b]0;title\x07[red]x[/red]\u202e日本"
LONG = "The official language of the country whose capital is Paris is"


def ran(pair: Pair, name: str, clean: Scores, corrupt: Scores | None = None) -> BoardPair:
    scores = {"clean": clean} | ({"corrupt": corrupt} if corrupt else {})
    content = (pair.clean, pair.corrupt, pair.decisive or None, pair.rival, pair.concept)
    return BoardPair(pair, PromptRecord(1, name.partition("/")[0], name, *content, 7, scores))


PASSED = ran(Pair(LONG, " French", LONG.replace("Paris", "Madrid"), " Spanish", "France"), "languages/0",
             Scores(0.435, 0, 3.34, True, " French"), Scores(0.018, 6, -2.78, True, " Spanish"))  # fmt: skip
FAILED = ran(Pair("The capital of France is", " Rome", "x", " Paris"), "languages/1",
             Scores(6e-6, 1999, -8.25, False, " Paris"), Scores(0.1, 3, 0.5, False, " a"))  # fmt: skip
OWN = ran(Pair(f"a {HOSTILE} b", ""), "prompt/0", Scores(None, None, None, None, HOSTILE))
NOT_RUN = BoardPair(Pair(HOSTILE, " x", HOSTILE, " y"), None)
LANGUAGES = BoardBehaviour("languages", "Languages of countries", (PASSED, FAILED), "Multi-step reasoning", "hops")
LACKED = BoardBehaviour("lacked", HOSTILE, (FAILED, NOT_RUN))
WAITING = BoardBehaviour(HOSTILE, HOSTILE, (NOT_RUN,), directory=f"/tmp/{HOSTILE}")
BOARD = [BoardBehaviour("prompt", "Prompts of your own", (OWN,)), LACKED, LANGUAGES, WAITING]

TOP = [(" French", 0.435), (" the", 0.051), (" Spanish", 0.015), (HOSTILE, 0.004), ("\n", 6e-6)]
CLEAN = Reading(
    [1, 2, 3, 4], TOP, " French.\n\nThe", [("The", None), (" official", 18.25), (" Paris", 5.5), (" is", 0.1)], 0
)
CORRUPT = Reading(
    [1, 2, 9, 4], TOP[::-1], HOSTILE, [("The", None), (HOSTILE, 3.0), (" Madrid", 9.125), (" is", 0.2)], 0
)
GRAPHS = [GraphMention(12, "neurons", "·French − ·Spanish", "clean"), GraphMention(3, HOSTILE, "·a", "corrupt")]


@pytest.mark.parametrize("width", [80, 160])
def test_given_a_board_when_printed_then_it_is_as_it_was_found_right(width: int) -> None:
    assert_golden("baseline_board", board_view(BOARD, width), width)


@pytest.mark.parametrize("width", [80, 160])
@pytest.mark.parametrize(("name", "pair"), [("pair", PASSED), ("own", OWN), ("not_run", NOT_RUN)])
def test_given_a_prompt_when_its_card_is_printed_then_it_is_as_it_was_found_right(
    name: str, pair: BoardPair, width: int
) -> None:
    readings = {"pair": {"clean": CLEAN, "corrupt": CORRUPT}, "own": {"clean": CORRUPT}, "not_run": {}}[name]
    graphs = GRAPHS if name == "pair" else []
    assert_golden(f"prompt_card_{name}", prompt_card(pair, readings, graphs, width), width)


@pytest.mark.parametrize("width", [80, 160])
def test_given_a_behaviour_when_its_card_is_printed_then_it_is_as_it_was_found_right(width: int) -> None:
    assert_golden("behaviour_card", behaviour_card(LANGUAGES, width), width)


@pytest.mark.parametrize("width", range(20, 200, 7))
def test_given_any_width_when_drawn_then_lines_fit_and_nothing_reaches_the_terminal(width: int) -> None:
    lines = [board_heading(width)]
    for behaviour in BOARD:
        lines.append(behaviour_line(behaviour, True, True, width))
        lines += [pair_line(pair, False, width) for pair in behaviour.pairs]
    for line in lines:
        assert cell_len(line.plain) <= width
        assert line.plain.isprintable()
    card = printed(prompt_card(PASSED, {"clean": CLEAN, "corrupt": CORRUPT}, GRAPHS, width), width)
    assert card.replace("\n", "").isprintable()
    assert max(map(cell_len, card.splitlines())) <= width


def test_given_a_prompt_that_does_not_fit_when_drawn_then_its_end_is_kept_and_what_is_asked_stands_before_it() -> None:
    line = pair_line(PASSED, False, 78).plain
    assert line.rstrip().endswith("capital is Paris is")
    assert "·French" in line
    assert "…" in line


def test_given_lines_without_colour_when_read_then_marks_say_what_passed_failed_runs_or_was_not_asked() -> None:
    shown = {name: pair_line(pair, False, 100).plain for name, pair in
             {"✓": PASSED, "✗": FAILED, "·": OWN, " ": NOT_RUN}.items()}  # fmt: skip
    for mark, line in shown.items():
        assert line[3] == mark
    assert "→" in shown["·"]
    assert pair_line(NOT_RUN, True, 100).plain[3] == "…"
    assert "✗ the model lacks it" in behaviour_line(LACKED, False, False, 100).plain
    for width in (60, 100):
        assert "not run yet" in behaviour_line(WAITING, False, False, width).plain
    assert behaviour_line(LANGUAGES, True, False, 100).plain.startswith("▾ 1/2")
    assert behaviour_line(LANGUAGES, False, True, 100).plain.startswith("▸ …")


def test_given_ranks_when_drawn_then_the_most_probable_token_is_the_first() -> None:
    assert " 1 " in pair_line(PASSED, False, 100).plain
    assert "rank 1\n" in printed(prompt_card(PASSED, {"clean": CLEAN}, [], 50), 50).replace(" \n", "\n")
    assert "2000" in pair_line(FAILED, False, 100).plain


def test_given_a_run_of_before_surprise_was_kept_when_drawn_then_the_card_says_how_to_get_it() -> None:
    before = Reading([1], TOP, "", None, 0)
    text = " ".join(printed(prompt_card(OWN, {"clean": before}, [], 60), 60).split())
    assert "r runs it again" in text
    assert "bits" not in text


def test_given_clean_and_corrupt_when_drawn_then_they_share_a_scale_and_their_first_difference_is_underlined() -> None:
    from rich.console import Console

    console = Console(width=100, force_terminal=True, color_system="truecolor")
    with console.capture() as capture:
        console.print(prompt_card(PASSED, {"clean": CLEAN, "corrupt": CORRUPT}, [], 100))
    underlined = [part for part in capture.get().split("\x1b[") if part.partition("m")[0].split(";")[:2] == ["1", "4"]]
    assert [part.partition("m")[2] for part in underlined if "·" in part] == ["·Paris", "·Madrid"]
    assert "█ is 18.2 bits" in printed(prompt_card(PASSED, {"clean": CLEAN, "corrupt": CORRUPT}, [], 100), 100)


def test_given_an_empty_project_when_the_first_steps_are_read_then_they_name_keys_and_the_demonstration() -> None:
    text = first_steps([WAITING]).plain
    for words in ("  n  ", "  R  ", "  r  ", "  ⏎  ", "workbench demo"):
        assert words in text
