"""The card, the list and the neighbours of features, as they were when a person found them right."""

from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from store.features import FeatureRow
from store.labels import FLOOR, LabelScore
from tests.workbench.render.golden import assert_golden, printed
from workbench.tui.render.feature_card import feature_card, histogram, logit_bars
from workbench.tui.render.feature_quality import quality_view
from workbench.tui.render.features import feature_line, feature_table, list_heading, neighbours_view
from workbench.tui.render.label_scores import label_report

HOSTILE = "\x1b]0;title\x07[/INST]\u202e\0"
TOKENS = [" The", " capital", " of", HOSTILE, " is", " 東京"]
CARD: dict[str, Any] = {
    "id": 5, "dictionary": "demo", "feature": "L4/91", "label": f"capital cities {HOSTILE}", "starred": True,
    "labels": [
        {"label": "capital cities", "source": "person", "created_at": "2026-01-02T00:00:00+00:00"},
        {"label": "cities", "source": "judge [red]", "created_at": "2026-01-01T00:00:00+00:00"},
    ],
    "density": 0.0123, "maximum": 12.5, "mean": 3.25, "histogram": [0] * 8 + [10, 50, 100, 30, 1] + [0] * 7,
    "promoted": [[" Paris", 2.5], ["\u202e", 1.0], [" 東京", 0.5]], "suppressed": [[" the", -1.5]],
    "fires_on": [" France", HOSTILE],
    "contexts": [
        {"document": 1, "position": 9, "activation": 12.5, "tokens": TOKENS, "at": 3,
         "values": [0.0, 1.0, 0.0, 12.5, 6.0, None]},
        {"document": 2, "position": 3, "activation": 6.25, "tokens": TOKENS[::-1], "at": 2,
         "values": [0.0, 0.0, 6.25, 0.1, 0.0, 0.0]},
    ],
    "graphs": [{"graph": 3, "prompt": f"The capital {HOSTILE}", "position": 7, "activation": 3.0,
                "predicted_effect": 0.5, "measured_effect": None}] * 8,
    "interventions": [{"intervention": 2, "prompt": "The capital", "edits": ["ablate L4/91@7"]}],
}  # fmt: skip
SILENT = CARD | {"density": 0.0, "maximum": 0.0, "histogram": [0] * 20, "contexts": [], "label": "", "labels": [],
                 "starred": False, "fires_on": [], "graphs": [], "interventions": []}  # fmt: skip
ROW = FeatureRow(5, "demo", 4, 91, "", 0.0123, 12.5, [(" Paris", 2.5), (HOSTILE, 1.0)], [HOSTILE, " 東京"], False)


SCORES = [
    LabelScore("detection", f"judge {HOSTILE}", 0.85, 10, 10).document(),
    LabelScore("detection", FLOOR, 0.7, 10, 10).document(),
    LabelScore("fuzzing", f"judge {HOSTILE}", 0.6, 5, 5, 1).document(),
]
LABELLED = {
    "dictionary": HOSTILE, "judge": "m at host", "chosen": 3, "labelled": 2, "failed": 1, "median_detection": 0.85,
    "median_detection_floor": 0.7, "median_fuzzing": None, "median_fuzzing_floor": None,
    "features": [{"feature": "L4/91", "label": f"capitals {HOSTILE}", "scores": SCORES},
                 {"feature": "L4/92", "label": "cities", "scores": []}],
    "failures": [{"feature": "L4/93", "reason": f"m at host took too long {HOSTILE}"}],
}  # fmt: skip
QUALITY = {
    "dictionary": HOSTILE, "thresholds": {"dense": 0.1, "ultra_dense": 0.5, "alike": 0.9, "bound": 0.9},
    "indexed_tokens": 20000, "coverage_tokens": 4096,
    "layers": [
        {"layer": 4, "features": 100, "dead": 2, "dense": 3, "ultra_dense": 1, "duplicates": 4, "token_bound": 5,
         "variance_explained": 0.7, "features_for_half": 10, "features_for_nine_tenths": 50,
         "coverage": [{"features": k, "variance_explained": v}
                      for k, v in ((1, -0.1), (10, 0.4), (50, 0.65), (100, 0.7))],
         "densest": [{"feature": "L4/1", "density": 0.6}],
         "alike": [{"feature": "L4/2", "other": "L4/3", "cosine": 0.99}],
         "bound": [{"feature": "L4/4", "token": HOSTILE, "share": 1.0}]},
        {"layer": 5, "features": 100, "dead": 0, "dense": 0, "ultra_dense": 0, "duplicates": 0, "token_bound": 0,
         "variance_explained": None, "features_for_half": None, "features_for_nine_tenths": None, "coverage": [],
         "densest": [], "alike": [], "bound": []},
    ],
}  # fmt: skip


def neighbour(**likeness: Any) -> dict[str, Any]:
    return ROW.document() | likeness


VIEWS: dict[str, RenderableType] = {
    "scored_feature_card": feature_card(SILENT | {"label": "x", "labels": [
        {"label": "x", "source": "judge", "created_at": "2026-01-02T03", "scores": SCORES}]}),
    "label_report": label_report(LABELLED),
    "feature_quality": quality_view(QUALITY),
    "silent_feature_card": feature_card(SILENT),
    "neighbours": neighbours_view(
        {"dictionary": HOSTILE, "feature": "L4/3", "layer": 4, "by_decoder": [neighbour(cosine=0.91)],
         "by_tokens": [neighbour(tokens_in_common=2)]}, 80),
    "features_in_graph": feature_table(
        [neighbour(activation=3.5, position=7, predicted_effect=-0.25), neighbour()]),
}  # fmt: skip


@pytest.mark.parametrize("width", [58, 80, 100])
def test_given_a_card_when_rendered_then_it_reads_as_the_golden_file(width: int) -> None:
    assert_golden("feature_card", feature_card(CARD, width), width)


@pytest.mark.parametrize("name", VIEWS)
def test_given_a_view_of_features_when_rendered_then_it_reads_as_the_golden_file(name: str) -> None:
    assert_golden(name, VIEWS[name], 80)


@pytest.mark.parametrize("width", [30, 44, 58, 160])
def test_given_hostile_texts_when_drawn_at_any_width_then_no_control_character_is_left(width: int) -> None:
    text = printed(feature_card(CARD, width), max(width, 40))
    assert not any(control in text for control in "\x1b\x07\0\u202e")
    assert "[/INST]" in text


@pytest.mark.parametrize("width", [20, 38, 60, 200])
@pytest.mark.parametrize("activity", [None, (3.5, -0.25), (float("nan"), float("nan"))])
def test_given_a_row_when_drawn_then_it_fits_and_names_what_it_fires_on(
    width: int, activity: tuple[float, float] | None
) -> None:
    line = feature_line(ROW, width, activity)
    assert "\x1b" not in line.plain
    assert "L4/91" in line.plain
    if width >= 60:
        assert cell_len(line.plain) <= width
        assert "1.23 %" in line.plain
    assert cell_len(list_heading(width, activity is not None).plain) <= width


def test_given_stars_labels_and_silence_then_a_row_says_each_without_colour() -> None:
    starred = FeatureRow(5, "demo", 4, 91, "capitals [red]", 0.01, 1.0, [], [], True)
    assert feature_line(starred, 80).plain.startswith("★ L4/91")
    assert "capitals [red]" in feature_line(starred, 80).plain
    assert feature_line(FeatureRow(5, "demo", 4, 91, "", 0.0, 0.0, [], [], False), 80).plain.endswith("silent")


def test_given_a_score_when_listed_then_it_stands_before_the_label_within_the_width() -> None:
    scored = FeatureRow(5, "demo", 4, 91, "capitals " * 20, 0.01, 1.0, [], [], True, 0.85)
    line = feature_line(scored, 60).plain
    assert "  0.85 capitals" in line
    assert cell_len(line) <= 60


def test_given_counts_when_drawn_then_the_highest_column_is_full_and_edges_double() -> None:
    rows = histogram([0] * 9 + [1, 4, 8] + [0] * 8, 40)
    assert [row.plain.split() for row in rows[-1:]] == [["1/2", "1", "2"]]
    assert rows[0].plain.strip() == "█" * 5
    assert histogram([0] * 20, 40) == []
    first_and_last = histogram([3] + [0] * 18 + [3], 40)[-1].plain
    assert first_and_last.startswith("0")


@pytest.mark.parametrize("width", [20, 56, 100])
def test_given_logits_when_drawn_then_sign_and_size_are_seen_without_colour(width: int) -> None:
    rows = logit_bars(CARD["promoted"], CARD["suppressed"], width)
    assert len(rows) == 3
    assert rows[0].plain.startswith("+2.50 ")
    assert "−1.50" in rows[0].plain
    assert rows[0].plain.count("█") > rows[1].plain.count("█")


def test_given_a_light_theme_when_a_card_is_drawn_then_it_says_the_same() -> None:
    console = Console(width=80, color_system=None)
    light, dark = (console.render_lines(feature_card(CARD, 80, shade), pad=False) for shade in (False, True))
    assert ["".join(s.text for s in line) for line in light] == ["".join(s.text for s in line) for line in dark]
