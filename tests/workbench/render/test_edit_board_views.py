"""The board, its options, the cards and the list of interventions: widths, signs, and hostile text."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from store.interventions import InterventionRecord
from tests.workbench.render.golden import assert_golden, printed
from tests.workbench.render.test_intervention_view import HOSTILE, ONE, SWEPT
from workbench.tui.render.edit_board import (
    BoardLine,
    BoardSetup,
    board_heading,
    board_line,
    board_table,
    kept_words,
    largest,
    setup_lines,
)
from workbench.tui.render.intervention import outcome_card, token_bars
from workbench.tui.render.intervention_list import intervention_line, intervention_table

SETUP = BoardSetup(
    prompt=f"The capital {HOSTILE} of 東京 is", decisive=" French", rival="[/INST]", dictionary="sae", graph=2,
    freeze="attention", spelling="delta", positions="prompt", source="another prompt", doses="-1..3/9",
)  # fmt: skip
LINES = [
    BoardLine("ablate L12/345@7", words="·Paris → ·French", predicted=-0.5, measured=-0.625),
    BoardLine("steer L8/12=+2max", active=False, predicted=0.25, of_run=True, measured=1.25),
    BoardLine(f'scale "{HOSTILE}"=0.5', state="running", words="東京 東京 東京"),
    BoardLine("all 2 together", measured=math.nan, predicted=None, is_total=True),
]
RECORD = InterventionRecord(
    7, 3, "2026-11-22T14:03:05.000+00:00", SETUP.prompt, ("ablate L12/345@7", f'scale "{HOSTILE}"=0.5'), "sae", 2,
    "-1..3/9", -0.625, None, 1e-5,
)  # fmt: skip
texts = st.text(alphabet=st.sampled_from("aé東\x1b\x07\u202e\x00 [/]"), max_size=60)


@pytest.mark.parametrize("width", [80, 160])
def test_given_a_board_when_printed_then_it_reads_as_the_golden_file(width: int) -> None:
    assert_golden("edit_board", board_table(SETUP, LINES, width), width)


@pytest.mark.parametrize("width", [48, 64, 100])
def test_given_an_outcome_when_shown_in_a_card_then_it_reads_as_the_golden_file(width: int) -> None:
    assert_golden("outcome_card", outcome_card(SWEPT if width == 64 else ONE, width), width)


@pytest.mark.parametrize("width", [80, 160])
def test_given_interventions_when_listed_then_it_reads_as_the_golden_file(width: int) -> None:
    assert_golden("intervention_list", intervention_table([RECORD]), width)


@given(edit=texts, words=texts, width=st.integers(60, 200), number=st.none() | st.floats(-9, 9))
def test_given_any_text_when_a_line_is_drawn_then_it_fits_and_is_inert(
    edit: str, words: str, width: int, number: float | None
) -> None:
    from workbench.tui.render.tokens import show_text

    line = BoardLine(edit, words=show_text(words), predicted=number, measured=number)
    for shown in (board_line(line, width, largest([line])), board_heading(SETUP, width)):
        assert max(map(cell_len, shown.plain.split("\n"))) <= width
        assert not set("\x1b\x07\u202e\x00") & set(shown.plain)
    record = InterventionRecord(1, 1, RECORD.at, words, (edit,), "sae", None, None, number, None, None)
    shown = intervention_line(record, width)
    assert cell_len(shown.plain) <= width and not set("\x1b\x07\u202e\x00") & set(shown.plain)


@given(prompt=texts, width=st.integers(60, 200))
def test_given_any_prompt_when_the_options_are_drawn_then_its_end_is_seen_and_lines_fit(
    prompt: str, width: int
) -> None:
    from dataclasses import replace

    shown = setup_lines(replace(SETUP, prompt=prompt + "LAST"), width).plain
    assert "LAST" in shown.split("\n")[0] and max(map(cell_len, shown.split("\n"))) <= width
    assert not set("\x1b\x07\u202e\x00") & set(shown)


def test_given_prediction_and_measurement_when_drawn_then_the_gap_is_their_difference_and_the_star_is_the_runs() -> (
    None
):
    first, second = (board_line(line, 100, largest(LINES[:2])).plain for line in LINES[:2])
    assert "−0.500" in first and "−0.625" in first and "−0.125" in first and first.startswith("[x]")
    assert "+0.250*" in second and "+1.000" in second and second.startswith("[ ]")
    assert first.count("█") == 3 and second.count("█") == 6


def test_given_a_token_that_is_probable_in_one_run_only_when_drawn_then_it_has_no_number_for_the_other() -> None:
    text = printed(token_bars({"before": [["a", 0.5], ["b", 0.25]], "after": [["c", 0.75]]}, 60), 60)
    rows = [line.split() for line in text.splitlines()[1:]]
    assert [row[0] for row in rows] == ["c", "a", "b"]
    assert rows[0][1] == "–" and rows[1][-1] == "–"


def test_given_a_finding_when_put_into_words_then_they_are_inert_and_name_the_change() -> None:
    words = kept_words(LINES[0], SETUP.pair, SETUP.prompt)
    assert words.startswith(
        "ablate L12/345@7: logit difference ·French − [/INST] −0.625 nats (predicted −0.500), after"
    )
    assert "\x1b" not in words
