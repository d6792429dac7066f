"""What a graph can explain: any position, a feature, a prefilled answer, every prompt of a behaviour."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store import graphs
from store.errors import BadInput
from tasks.context import Context
from tasks.graphs.view import load_graph_view
from tests.oracle.effects import LiveModel, Target
from tests.oracle.seed_model import SeedModel
from tests.tasks import graph_project
from tests.tasks.graph_project import CORRUPT, PROMPT, counts, run

TEMPLATE = (
    "{% for m in messages %}{{ 'w90 ' if m.role == 'system' else 'w91 ' }}{{ m.content }} {% endfor %}"
    "{% if add_generation_prompt %}w92 {% endif %}"
)
BEHAVIOUR = f"""
title = "words"
[[pair]]
clean = "{PROMPT}"
corrupt = "{CORRUPT}"
decisive = "w3"
rival = "w9"
[[pair]]
clean = "{CORRUPT}"
decisive = "w5"
"""


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """One project for all traces of this file."""
    with graph_project.create(tmp_path_factory.mktemp("targets")) as project:
        yield Context(project)


def twin(context: Context, tokens: list[int], places: list[tuple[int, int, int]]) -> LiveModel:
    return LiveModel(SeedModel(context.model.hf), tokens, graph_project.twin_set(context), places)


def feature_nodes(context: Context, graph: int) -> list[graphs.NodeRecord]:
    """The kept features below the targets."""
    roots = {target["node"] for target in graphs.find(context.project.db, graph).targets}
    nodes = graphs.nodes(context.project.db, graph)
    return [node for node in nodes if node.kind == "feature" and node.node not in roots]


def assert_effects_are_the_twins(context: Context, graph: int, target: Target) -> None:
    nodes = feature_nodes(context, graph)
    assert nodes
    places = [(node.layer, node.position, node.feature) for node in nodes]
    tokens = graphs.find(context.project.db, graph).token_ids
    expected = twin(context, tokens, places).effects(target)[0].tolist()
    assert [node.predicted_effect for node in nodes] == pytest.approx(expected, abs=1e-5)


def test_an_earlier_position_is_explained_as_if_the_prompt_ended_there(context: Context) -> None:
    options: dict[str, Any] = {"dictionary": "toy", "target": "w3", "versus": "w9"}
    whole = run(context, "trace", prompt=PROMPT, at=-3, **options)
    cut = run(context, "trace", prompt=" ".join(PROMPT.split()[:-2]), **options)
    assert whole["targets"][0]["position"] == cut["targets"][0]["position"] == 4
    for key in ("value", "probability", "rank"):
        assert whole["targets"][0][key] == pytest.approx(cut["targets"][0][key], abs=1e-5)
    found, expected = (
        {(n.layer, n.position, n.feature): n.share for n in feature_nodes(context, each["graph"])}
        for each in (whole, cut)
    )
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_feature_is_explained_by_what_lies_below_it(context: Context) -> None:
    logits = run(context, "trace", prompt=PROMPT, dictionary="toy", node_threshold=1.0)
    upper = next(n for n in feature_nodes(context, logits["graph"]) if n.layer == 2 and n.position == 6)
    name = f"L2/{upper.feature}@6"
    document = run(context, "trace", prompt=PROMPT, dictionary="toy", target=name, node_threshold=1.0)
    target = document["targets"][0]
    assert (target["kind"], target["token"], target["layer"], target["position"]) == ("feature", name, 2, 6)
    assert target["value"] == pytest.approx(upper.activation, abs=1e-5), "an active feature's pre-activation"
    assert document["closing_error"] <= 1e-5
    assert {n.layer for n in feature_nodes(context, document["graph"])} == {0}
    assert_effects_are_the_twins(context, document["graph"], Target(feature=(2, 6, upper.feature)))
    view = load_graph_view(context.project, document["graph"])
    assert [view.nodes[root].name for root in view.roots] == [name]
    assert view.edges_at(view.roots[0], "in")


def test_a_feature_graph_is_validated_against_the_features_pre_activation(context: Context) -> None:
    logits = run(context, "trace", prompt=PROMPT, dictionary="toy", node_threshold=1.0)
    upper = next(n for n in feature_nodes(context, logits["graph"]) if n.layer == 2 and n.position == 6)
    graph = run(context, "trace", prompt=PROMPT, dictionary="toy", target=f"L2/{upper.feature}@6")["graph"]
    document = run(context, "validate", graph=graph)
    assert document["metric"] == f"pre-activation of L2/{upper.feature}@6"
    assert document["baseline"] == pytest.approx(upper.activation, abs=1e-5)
    first = document["nodes"][0]
    edited = run(context, "intervene", prompt=PROMPT, dictionary="toy", ablate=(first["node"],), max_new_tokens=0)
    assert edited["places"] == 1
    assert document["pearson_predicted"] > 0.5


def test_a_chat_has_its_system_text_and_the_beginning_of_its_answer(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context.model.tokenizer, "chat_template", TEMPLATE)
    options: dict[str, Any] = {"dictionary": "toy", "target": "w3", "chat": True, "system": "w7", "prefill": "w44 w8"}
    document = run(context, "trace", prompt="w5 w6", **options)
    assert document["tokens"] == ["w90", "w7", "w91", "w5", "w6", "w92", "w44", "w8"]
    raw = run(context, "trace", prompt="w90 w7 w91 w5 w6 w92 w44 w8", dictionary="toy", target="w3")
    assert document["targets"][0]["value"] == pytest.approx(raw["targets"][0]["value"], abs=1e-6)
    validated = run(context, "validate", graph=document["graph"], from_="w5 w60")
    assert validated["swaps"] is not None, "the corrupt prompt is put through the same template"


def test_every_prompt_of_a_behaviour_is_traced_once_and_compared(context: Context, tmp_path: Path) -> None:
    (tmp_path / "words.toml").write_text(BEHAVIOUR, "utf-8")
    options: dict[str, Any] = {"behaviour": "words", "directory": str(tmp_path), "dictionary": "toy"}
    document = run(context, "trace", **options)
    first, second = document["graphs"]
    assert (first["decisive"], first["rival"], second["decisive"], second["rival"]) == ("w3", "w9", "w5", None)
    kept = [{(n.layer, n.feature) for n in feature_nodes(context, graph["graph"])} for graph in (first, second)]
    found = document["recurrence"]["anywhere"]
    assert {(f["layer"], f["index"]) for f in found["features"]} == kept[0] & kept[1]
    assert found["mean_jaccard"] == pytest.approx(len(kept[0] & kept[1]) / len(kept[0] | kept[1]))
    n_graphs = context.project.db.table("graph").count
    again = run(context, "trace", **options)
    assert [graph["graph"] for graph in again["graphs"]] == [first["graph"], second["graph"]]
    assert context.project.db.table("graph").count == n_graphs
    alone = run(context, "trace", prompt=PROMPT, target="w3", versus="w9", dictionary="toy")
    assert first["value"] == alone["targets"][0]["value"] and first["kept_nodes"] == alone["kept_nodes"]


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"prompt": PROMPT, "at": 7}, "--at 7 is outside the prompt's 7 tokens"),
        ({"prompt": PROMPT, "at": 0}, "--at 0 is outside"),
        ({"prompt": PROMPT, "at": -8}, "--at -8 is outside"),
        ({"prompt": PROMPT, "target": "L2/9999@4"}, "L2/9999 is not active at position 4"),
        ({"prompt": PROMPT, "target": "L99/1@1"}, "has no layer 99; its layers are 0 to 2"),
        ({"prompt": PROMPT, "target": "L0-2/3@4"}, "names several features"),
        ({"prompt": PROMPT, "target": "L0/3@*"}, "names several features"),
        ({"prompt": PROMPT, "target": "L0/3@-8"}, "position -8 is outside the prompt"),
        ({"prompt": PROMPT, "directory": "mine"}, "--directory is where behaviours are"),
        ({"prompt": PROMPT, "target": "L0/3@4", "versus": "w3"}, "a feature has no rival"),
        ({"prompt": PROMPT, "target": "L0/3@4x"}, "is not a feature"),
        ({"prompt": PROMPT, "target": "elsewhere"}, "'elsewhere' is not in the vocabulary"),
        ({"prompt": PROMPT, "target": "w1 w2"}, "'w1 w2' is 2 tokens"),
        ({"prompt": PROMPT, "prefill": "w3"}, "needs a chat"),
        ({"prompt": "w1 " * 65}, "the prompt is 65 tokens and .* reads at most 64"),
        ({"prompt": ""}, "the prompt is empty"),
        ({"behaviour": "succession", "prompt": PROMPT}, "--behaviour brings its own prompt"),
        ({"behaviour": "succession", "target": "w3"}, "--behaviour brings its own target"),
        ({"behaviour": "nonsense"}, "no behaviour named 'nonsense'"),
    ],
)
def test_what_cannot_be_explained_is_refused_in_a_line(context: Context, options: dict[str, Any], fault: str) -> None:
    before = counts(context.project)
    with pytest.raises(BadInput, match=fault):
        run(context, "trace", dictionary="toy", **options)
    assert counts(context.project) == before
