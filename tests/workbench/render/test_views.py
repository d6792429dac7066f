"""The views of documents: golden renders at 80 and 160 columns, and what must be said in plain words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import RenderableType

from store.dictionaries import DictionaryRecord
from store.files import StoredFile
from store.graphs import GraphRecord
from store.jobs import Job, JobEvent
from tasks.machine import Finding
from tests.workbench.render.golden import assert_golden, printed
from workbench.tui.render import bars, evaluation, validation
from workbench.tui.render.baseline import baseline_view
from workbench.tui.render.dictionaries import set_document, set_table, set_view
from workbench.tui.render.document import document_view
from workbench.tui.render.evaluation import evaluation_view
from workbench.tui.render.features import feature_table, sparkline
from workbench.tui.render.graph_list import graph_table
from workbench.tui.render.job_list import job_table, job_view
from workbench.tui.render.machine import machine_table

HOSTILE = "\x1b]0;title\x07[red]x[/red]"

JOB = Job(3, "train", {"layers": "2-4", "k": 32, "note": HOSTILE}, "failed", 0.25, "layer 3", None,
          "out of room; make some", 123, "node7", "2026-01-01T00:00:00.000+00:00", "2026-01-01T00:00:01.000+00:00",
          "2026-01-01T00:01:31.000+00:00", 90.0, 171.5)  # fmt: skip
EVALUATION: dict[str, Any] = {
    "dictionary": "demo",
    "layers": [
        {"layer": 4, "fvu": 0.213, "l0": 32.0, "dead_share": 0.051, "ce_recovered": 0.972, "kl_recovered": 0.961,
         "dead_window_tokens": 4000,
         "density_histogram": {"log10_edges": [-6.0, -4.0, -2.0, 0.0], "features": [0, 12, 3]},
         "beside": {"largest_neurons": {"l0": 32, "fvu": 0.51, "needed_for_fvu": 97, "ce_recovered": 0.74},
                    "mean": {"ce_recovered": 0.21}}},
        {"layer": 12, "fvu": 0.341, "l0": 31.9, "dead_share": 0.0, "ce_recovered": None, "kl_recovered": 0.93},
    ],
    "joint": {"ce_recovered": 0.81, "kl_recovered": 0.79, "beside": {"largest_neurons": {"ce_recovered": 0.68}}},
}  # fmt: skip
BASELINE: dict[str, Any] = {
    "behaviours": [
        {
            "name": "capitals",
            "title": "Capitals of countries",
            "accuracy": 0.5,
            "lacking": True,
            "pairs": [
                {
                    "decisive": " Paris",
                    "passed": passed,
                    "clean": {"prompt": HOSTILE + "The capital of France is" * 4, "p_decisive": 0.61,
                              "rank_decisive": 0, "logit_difference": 3.5},
                    "corrupt": corrupt,
                }
                for passed, corrupt in ((True, {"logit_difference": -2.25}), (False, None))
            ],
        }
    ],
}  # fmt: skip
FEATURE: dict[str, Any] = {
    "dictionary": "demo",
    "feature": "L4/91",
    "label": "",
    "density": 0.0123,
    "maximum": 12.5,
    "mean": 3.25,
    "histogram": [100, 50, 10, 0, 1],
    "promoted": [[" Paris", 2.5], ["\u202e", 1.0]],
    "suppressed": [[" the", -1.5]],
}
IMPORTED = {"k": None, "activation": "jumprelu", "imported_from": {"format": "saelens", "architecture": "gated"}}


def record(layer: int, config: dict[str, Any] | None = None) -> DictionaryRecord:
    """A layer of a trained set, or of an imported one, which no training measured."""
    file = StoredFile(f"weights/x-L{layer}.safetensors", 25_000_000, "0")
    trained = {"fvu": 0.34, "l0": 32.0, "dead_share": 0.004}
    name, job, metrics = ("given", 4, {}) if config else ("own\x1b[31m", 3, trained)
    return DictionaryRecord(layer, name, layer, 2048, "topk", config or {"k": 32}, metrics, job, file, 0)


GRAPH = GraphRecord(
    7, f"The capital {HOSTILE} of France is", [5, 6], "neurons", [], "ray", 1e-7, 0.61, 0.83, {}, 30, 120, 900, None
)

VIEWS: dict[str, RenderableType] = {
    "evaluation": evaluation_view(EVALUATION),
    "dictionary_list": set_table([set_document([record(4)]), set_document([record(5, IMPORTED), record(6, IMPORTED)])]),
    "dictionary": set_view(set_document([record(4)]) | {"graphs": [7, 9]}, [record(4)]),
    "baseline": baseline_view(BASELINE),
    "features": feature_table([FEATURE, FEATURE | {"label": HOSTILE}]),
    "graph_list": graph_table([GRAPH]),
    "job_list": job_table([JOB]),
    "job": job_view(JOB, [JobEvent("2026-01-01T00:01:31.000+00:00", "warning", HOSTILE)]),
    "machine": machine_table([Finding("device", "cpu"), Finding("disk", "1.0 GiB free", "make room")]),
    "document": document_view(
        {
            "seconds": 75.2,
            "dead_share": 0.05,
            "size_bytes": 12_345_678,
            "name": HOSTILE,
            "layers": [1, 2, 3],
            "weights": [{"layer": 4, "file": "weights/a.safetensors", "hash": None}],
            "joint": {"ce_recovered": 0.9, "deeper": {"ok": True}},
        }
    ),
}


@pytest.mark.parametrize("width", [80, 160])
@pytest.mark.parametrize("name", VIEWS)
def test_given_a_document_when_rendered_then_it_reads_as_the_golden_file(name: str, width: int) -> None:
    assert_golden(name, VIEWS[name], width)


@pytest.mark.parametrize("name", VIEWS)
def test_given_hostile_text_in_a_document_when_rendered_then_no_control_reaches_the_terminal(name: str) -> None:
    text = printed(VIEWS[name], 80)
    assert all(character.isprintable() or character == "\n" for character in text)


def test_given_a_number_that_looks_bad_when_judged_then_the_words_not_faithful_are_said() -> None:
    assert validation.verdict(0.5).startswith("not faithful")
    assert "not faithful" not in validation.verdict(0.99)
    assert "not faithful" not in validation.verdict(None)
    assert evaluation.verdict(0.99, 0.5).startswith("not faithful")
    assert evaluation.verdict(0.5, 0.99).startswith("not faithful")
    assert "not faithful" not in evaluation.verdict(0.95, 0.95)
    assert "not faithful" not in evaluation.verdict(None, 0.5)


def test_given_times_when_a_document_is_shown_then_each_has_its_unit() -> None:
    document = {"left_s": 139.985, "seconds": 3.25, "queue": [{"id": 14, "starts_in_s": 198.8}]}
    lines = printed(document_view(document), 80).splitlines()
    assert [line.split() for line in lines] == [
        ["left", "2", "min", "20", "s"],
        ["seconds", "3.2", "s"],
        [],
        ["queue"],
        ["id", "starts", "in"],
        ["14", "3", "min", "19", "s"],
    ]


@given(st.floats(-2, 2), st.integers(1, 20))
def test_given_any_share_when_drawn_then_the_bar_has_its_cells_and_grows_with_it(share: float, cells: int) -> None:
    drawn = bars.signed_bar(share, cells).plain
    assert len(drawn) == cells + 1
    assert drawn[0] == ("+" if share > 0 else "−" if share < 0 else " ")
    assert drawn[1:].count("█") == int(round(min(abs(share), 1) * cells * 8) / 8)


@given(st.lists(st.integers(0, 1000), max_size=30))
def test_given_any_counts_when_drawn_then_only_empty_bins_are_blank(counts: list[int]) -> None:
    assert [mark == " " for mark in sparkline(counts)] == [count == 0 for count in counts]


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0, "0.000"), (1e-6, "1.0e−06"), (-0.5, "−0.500"), (None, "–"), (float("nan"), "–")]
)
def test_given_a_number_when_shown_then_small_ones_keep_their_size(value: float | None, shown: str) -> None:
    assert bars.number(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.42, "0.4 s"), (12.4, "12 s"), (200, "3 min 20 s"), (7500, "2 h 05 min"), (59.9, "1 min 00 s")],
)
def test_given_a_time_span_when_shown_then_a_person_reads_it(seconds: float, shown: str) -> None:
    assert bars.duration(seconds) == shown
