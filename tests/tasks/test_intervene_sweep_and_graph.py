"""Doses against the seed's forward pass, predictions against differences, a graph's supernodes, what is refused."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from store import graphs
from store.errors import BadInput, Missing, WorkbenchError
from tasks.circuits.frozen import freeze
from tasks.context import Context
from tasks.graphs.supernodes import make_supernode
from tests.oracle.interventions import Change, intervened_logits
from tests.oracle.linearised_model import Place
from tests.oracle.plain_dictionary import Layers
from tests.oracle.seed_model import SeedModel
from tests.tasks import graph_project
from tests.tasks.graph_project import CORRUPT, PROMPT, counts, run

OPTIONS: dict[str, Any] = {"prompt": PROMPT, "dictionary": "toy", "target": "w9", "versus": "w30", "max_new_tokens": 0}


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """One project with one graph that has two supernodes, for all interventions of this file."""
    with graph_project.create(tmp_path_factory.mktemp("sweep")) as project:
        context = Context(project)
        run(context, "trace", prompt=PROMPT, dictionary="toy", target="w9", versus="w30", node_threshold=0.95)
        names = [f"L{layer}/{index}@{position}" for layer, index, position in kept(context)]
        with project.transaction():
            make_supernode(project, 1, "the capital", names[:3])
            make_supernode(project, 1, "L0/1", names[3:5])
            make_supernode(project, 1, "words", ["@1"])
        yield context


@pytest.fixture(scope="module")
def plain(context: Context) -> Layers:
    """The twin of the SAE set."""
    return graph_project.twin_set(context)


def kept(context: Context) -> list[tuple[int, int, int]]:
    """(layer, feature, position) of the graph's kept features."""
    nodes = graphs.nodes(context.project.db, 1)
    return [(node.layer, node.feature, node.position) for node in nodes if node.kind == "feature"]


def twin(context: Context, plain: Layers, changes: dict[Place, Change], spelling: str = "delta") -> torch.Tensor:
    """Last-position logits of the seed's forward pass."""
    tokens = context.model.tokenize(PROMPT)
    return intervened_logits(SeedModel(context.model.hf), tokens, plain, changes, spelling)[-1]


def difference(logits: torch.Tensor) -> float:
    """The logit difference of the options' target and rival."""
    return float(logits[9] - logits[30])


@pytest.mark.parametrize("spelling", ["delta", "replace"])
@pytest.mark.parametrize("batch", [2, 32])
def test_given_doses_when_swept_then_each_is_the_edits_that_many_times_as_strong(
    context: Context, plain: Layers, spelling: str, batch: int
) -> None:
    (layer, a, at), (other_layer, b, where) = kept(context)[0], kept(context)[-1]
    document = run(
        context, "intervene", ablate=(f"L{layer}/{a}@{at}",), steer=(f"L{other_layer}/{b}@{where}=+3",),
        sweep="-1..2/4", spelling=spelling, batch=batch, **OPTIONS,
    )  # fmt: skip
    points, clean = document["sweep"]["points"], twin(context, plain, {})
    assert [point["dose"] for point in points] == [-1.0, 0.0, 1.0, 2.0]
    for point in points:
        dose = point["dose"]
        changes = {(layer, at, a): Change(1 - dose, 0.0), (other_layer, where, b): Change(1.0, 3 * dose)}
        logits = twin(context, plain, changes, spelling)
        assert point["logit_difference"] == pytest.approx(difference(logits), abs=5e-5)
        assert point["delta_logit"] == pytest.approx(float(logits[9] - clean[9]), abs=5e-5)
        assert point["probability"] == pytest.approx(float(logits.softmax(-1)[9]), abs=1e-5)
        assert point["rank"] == int((logits > logits[9]).sum())
        kl = (clean.softmax(-1) * (clean.log_softmax(-1) - logits.log_softmax(-1))).sum()
        assert point["kl"] == pytest.approx(float(kl), abs=1e-5)
    assert points[2]["logit_difference"] == pytest.approx(document["logit_difference"]["after"], abs=1e-5)
    if spelling == "delta":
        assert points[1]["delta_logit"] == pytest.approx(0, abs=1e-6)
        assert points[1]["kl"] == pytest.approx(0, abs=1e-6)


def test_given_edits_of_several_layers_when_predicted_then_it_is_the_slope_at_no_dose(
    context: Context, plain: Layers
) -> None:
    features = kept(context)
    chosen = [features[0], features[1], features[-1]]
    edits = {"ablate": [], "scale": [], "steer": []}  # type: dict[str, list[str]]
    for (layer, index, at), (name, value) in zip(
        chosen, (("ablate", ""), ("scale", "=2.5"), ("steer", "=-1")), strict=True
    ):
        edits[name].append(f"L{layer}/{index}@{at}{value}")
    document = run(context, "intervene", sweep="-1..1/3", **{k: tuple(v) for k, v in edits.items()}, **OPTIONS)
    step = 1e-4
    maps = ((-1.0, 0.0), (1.5, 0.0), (0.0, -1.0))
    sides = []
    for dose in (step, -step):
        changes = {
            (layer, at, index): Change(1 + dose * more, dose * add)
            for (layer, index, at), (more, add) in zip(chosen, maps, strict=True)
        }
        sides.append(difference(twin(context, plain, changes)))
    slope = (sides[0] - sides[1]) / (2 * step)
    assert document["predicted_delta"] == pytest.approx(slope, rel=1e-3, abs=1e-4) and abs(slope) > 1e-2
    assert [point["predicted_delta"] for point in document["sweep"]["points"]] == pytest.approx(
        [-document["predicted_delta"], 0, document["predicted_delta"]]
    )


@pytest.mark.parametrize("options", [{"spelling": "replace"}, {"freeze": "attention"}, {"freeze": "direct"}])
def test_given_what_first_order_is_not_about_when_run_then_nothing_is_predicted(
    context: Context, options: dict[str, str]
) -> None:
    document = run(context, "intervene", ablate=("L0/1",), sweep="0..1/2", **options, **OPTIONS)
    assert document["predicted_delta"] is None
    assert [point["predicted_delta"] for point in document["sweep"]["points"]] == [None, None]


def test_given_edits_when_run_then_the_movers_are_the_largest_changes_each_way(context: Context, plain: Layers) -> None:
    layer, index, at = kept(context)[0]
    document = run(context, "intervene", scale=(f"L{layer}/{index}@{at}=-3",), top=4, **OPTIONS)
    before, after = twin(context, plain, {}), twin(context, plain, {(layer, at, index): Change(-3.0, 0.0)})
    for name, change in (("logit", after - before), ("probability", after.softmax(-1) - before.softmax(-1))):
        order = change.argsort(descending=True).tolist()
        for way, expected in (("up", order[:4]), ("down", order[::-1][:4])):
            found = document["movers"][name][way]
            assert [mover["token"] for mover in found] == [context.model.token_text(i) for i in expected]
            moved = [mover["after"] - mover["before"] for mover in found]
            assert moved == pytest.approx(change[expected].tolist(), abs=2e-5)


def test_given_no_change_when_run_then_nothing_moved(context: Context) -> None:
    document = run(context, "intervene", scale=("L0/*=1", "L2/*=1"), top=1000, **OPTIONS)
    assert document["movers"] == {name: {"up": [], "down": []} for name in ("logit", "probability")}
    assert (document["delta_logit"], document["kl"], document["predicted_delta"]) == (0, 0, 0)
    assert len(document["top"]["before"]) == context.model.vocab_size


@pytest.mark.parametrize(("name", "members"), [("the capital", slice(0, 3)), ('"L0/1"', slice(3, 5))])
def test_given_a_supernode_when_edited_then_its_members_are_where_the_graph_has_them(
    context: Context, plain: Layers, name: str, members: slice
) -> None:
    document = run(context, "intervene", graph=1, scale=(f"{name}=-2",), max_new_tokens=0)
    changes = {(layer, at, index): Change(-2.0, 0.0) for layer, index, at in kept(context)[members]}
    expected = difference(twin(context, plain, changes)) - difference(twin(context, plain, {}))
    assert document["delta_logit_difference"] == pytest.approx(expected, abs=5e-5)
    assert (document["decisive"], document["rival"], document["dictionary"]) == ("w9", "w30", "toy")
    assert document["edits"] == [f"scale {name}=-2"] and document["places"] == len(changes)
    row = context.project.db.table("intervention").get(document["intervention"])
    assert row["prompt"] == PROMPT and json.loads(row["edits"])["graph"] == 1


def test_given_a_file_of_edits_when_run_then_they_are_done_after_those_of_the_options(
    context: Context, tmp_path: Path
) -> None:
    path = tmp_path / "edits.txt"
    path.write_text("# both\nscale L0/2@3=2  # twice\nswap the capital\n", encoding="utf-8")
    document = run(context, "intervene", graph=1, ablate=("L0/9@1",), edits=path, from_=CORRUPT, max_new_tokens=0)
    assert document["edits"] == ["ablate L0/9@1", "scale L0/2@3=2", "swap the capital"]
    path.write_text("swap L0/1\n", encoding="utf-8")
    with pytest.raises(BadInput, match="--swap and --from belong together"):
        run(context, "intervene", edits=path, **OPTIONS)


def test_given_positions_kept_to_the_prompt_when_text_grows_then_new_tokens_are_not_edited(context: Context) -> None:
    options = {"prompt": PROMPT, "ablate": ("L1/*",), "max_new_tokens": 4}
    everywhere, prompt = (run(context, "intervene", positions=p, **options) for p in ("generated", "prompt"))
    last = len(context.model.tokenize(PROMPT)) - 1
    where = ",".join(str(position) for position in range(last + 1))
    named = run(context, "intervene", **(options | {"ablate": (f"L1/*@{where}",)}))
    assert prompt["outcome"]["continuation"] == named["outcome"]["continuation"]
    assert prompt["outcome"]["logit"] == everywhere["outcome"]["logit"]
    assert prompt["outcome"]["continuation"] != everywhere["outcome"]["continuation"]


def test_given_attention_and_mlps_held_when_run_then_it_is_the_edits_own_path(context: Context, plain: Layers) -> None:
    layer, index, at = next(feature for feature in kept(context) if feature[0] == 2 and feature[2] == 6)
    frozen = freeze(context.model, context.model.tokenize(PROMPT))
    z = float(plain[layer].encode(frozen.layers[layer].hidden.double())[at, index])
    write = -z * plain[layer].W_dec[index] @ context.model.layers[layer].down.weight.detach().double().T
    unembedding = context.model.unembedding_weight.double()
    expected = (unembedding[9] - unembedding[30]) @ (write * frozen.final_norm_scale[at].double())
    document = run(context, "intervene", ablate=(f"L{layer}/{index}@{at}",), freeze="attention,norms,mlps", **OPTIONS)
    assert document["freeze"] == "direct"
    assert document["delta_logit_difference"] == pytest.approx(float(expected), abs=1e-4) and abs(expected) > 1e-3


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"ablate": ("nowhere",)}, "graph 1 has no supernode 'nowhere'; its supernodes are: the capital, L0/1, words"),
        ({"ablate": ("words",)}, "supernode 'words' has a member that is no feature"),
        ({"ablate": ("texas",), "graph": None}, r"'texas' is not a feature \(at character 1\); name the graph"),
        ({"ablate": ('"L0/1"',), "graph": None}, "is no feature but a supernode's name"),
        ({"ablate": ("L1/1",)}, "layer 1 has no dictionary in 'toy'; its layers are 0, 2"),
        ({"ablate": ("L0/1@99",)}, "position 99 is outside the prompt"),
        ({"ablate": ("L0/1",), "scale": ("L0/1=nan",)}, r"'nan' is not a number \(at character 6\)"),
        ({"scale": ("L0/1=inf",)}, r"'inf' is not a number \(at character 6\)"),
        ({"ablate": ("the capital", "the capital")}, "is edited twice"),
        ({"ablate": ("L0/1",), "sweep": "-2..2"}, r"'-2..2' is not a sweep \(at character 6\)"),
        ({"sweep": "-2..2/9"}, "nothing to edit at several doses"),
        ({"ablate": ("L0/1",), "edits": Path("/nowhere/edits")}, "/nowhere/edits cannot be read"),
        ({"ablate": ("L0/1",), "freeze": "norms"}, "norms cannot be frozen while MLPs are live"),
        ({"ablate": ("L0/1",), "freeze": "direct", "spelling": "replace"}, "direct effects keep what every MLP writes"),
        ({"ablate": ("L0/1",), "dictionary": "neurons"}, "graph 1 is of the dictionary 'toy', not of 'neurons'"),
        (
            {"ablate": ("L0/1",), "prompt": CORRUPT},
            f"graph 1 is of another prompt: '{PROMPT}' with 7 tokens, not 7, parting at position 2",
        ),
        ({"ablate": ("L0/1",), "prompt": "w5 w17"}, "with 7 tokens, not 2, parting at position 2"),
        ({"swap": ("L0/1",), "from_": "w5 w9 w1"}, "lengths: 7 and 3 tokens, parting at position 1"),
        ({"steer": ("L0/1=+2max",)}, "the maximum of L0/1 is not known"),
    ],
)
def test_given_what_cannot_be_done_when_asked_then_it_is_a_line_and_leaves_nothing(
    context: Context, options: dict[str, Any], line: str
) -> None:
    before = counts(context.project)
    with pytest.raises(BadInput, match=line) as raised:
        run(context, "intervene", **({"graph": 1} | ({} if options.get("graph", 1) else OPTIONS) | options))
    assert raised.value.exit_code == 2
    assert counts(context.project) == before


def test_given_no_such_graph_when_named_then_it_is_missing(context: Context) -> None:
    with pytest.raises(Missing, match="no graph 99"):
        run(context, "intervene", graph=99, ablate=("L0/1",))


def test_given_a_dictionary_that_was_trained_again_when_its_graph_is_named_then_both_hashes_are_told(
    context: Context,
) -> None:
    db = context.project.db
    pruned = run(context, "prune", graph=1, node_threshold=0.5)["graph"]
    stored = db.execute("SELECT id, hash FROM file WHERE path LIKE '%toy-L2%'").fetchone()
    new = "f" * 32
    with context.project.transaction():
        db.execute("UPDATE file SET hash = ? WHERE id = ?", [new, stored[0]])
    try:
        for graph in (1, pruned):
            fault = f"is not the one that graph {graph} was traced with: layer 2 was {stored[1]} and is {new}"
            with pytest.raises(BadInput, match=fault):
                run(context, "intervene", graph=graph, ablate=("L0/1",))
    finally:
        with context.project.transaction():
            db.execute("UPDATE file SET hash = ? WHERE id = ?", [stored[1], stored[0]])


def test_given_an_imported_graph_of_another_model_when_named_then_both_revisions_are_told(context: Context) -> None:
    db, ours = context.project.db, context.project.model
    summary = db.execute("SELECT summary FROM graph WHERE id = 1").fetchone()[0]
    model = {"spec": "other/model", "revision": "abc", "n_layers": 3}
    with context.project.transaction():
        db.execute("UPDATE graph SET summary = ? WHERE id = 1", [json.dumps(json.loads(summary) | {"model": model})])
    try:
        with pytest.raises(BadInput, match=r"other/model \(revision abc\)") as raised:
            run(context, "intervene", graph=1, ablate=("L0/1",))
        assert ours.revision in str(raised.value)
    finally:
        with context.project.transaction():
            db.execute("UPDATE graph SET summary = ? WHERE id = 1", [summary])


def test_given_edits_that_leave_the_range_of_numbers_when_run_then_the_work_fails_and_says_so(context: Context) -> None:
    before = counts(context.project)["intervention"]
    options = OPTIONS | {"steer": ("L0/*@1=3e38",)}
    with pytest.raises(WorkbenchError, match="the logits after the edits are not finite") as raised:
        run(context, "intervene", **options)
    assert raised.value.exit_code == 1
    assert counts(context.project)["intervention"] == before
