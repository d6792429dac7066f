"""Intervene on a tiny project: the document against the seed's forward pass, the row, and what is refused."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from store.errors import BadInput
from tasks.circuits.frozen import freeze
from tasks.context import Context
from tasks.graphs.edit import parse_line
from tests.oracle.interventions import Change, features, intervened_logits
from tests.oracle.linearised_model import Place
from tests.oracle.plain_dictionary import Layers, PlainDictionary
from tests.oracle.seed_model import SeedModel
from tests.tasks import graph_project
from tests.tasks.graph_project import CORRUPT, PROMPT, counts, run

SHORT = {"max_new_tokens": 0, "dictionary": "toy"}


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """One project for all interventions of this file."""
    with graph_project.create(tmp_path_factory.mktemp("intervene")) as project:
        yield Context(project)


@pytest.fixture(scope="module")
def plain(context: Context) -> Layers:
    """The twin of the SAE set."""
    return graph_project.twin_set(context)


def active(context: Context, layer: int, position: int, plain: Layers) -> list[int]:
    """Features of a place, strongest first."""
    frozen = freeze(context.model, context.model.tokenize(PROMPT)).layers[layer]
    z = plain[layer].encode(frozen.hidden.double())[position]
    return [int(i) for i in z.argsort(descending=True) if z[i] > 0]


def twin(context: Context, plain: Layers, changes: dict[Place, Change], spelling: str = "delta") -> torch.Tensor:
    """Last-position logits of the seed's forward pass."""
    tokens = context.model.tokenize(PROMPT)
    return intervened_logits(SeedModel(context.model.hf), tokens, plain, changes, spelling)[-1]


@pytest.mark.parametrize("spelling", ["delta", "replace"])
def test_the_document_is_what_the_seeds_forward_pass_gives(context: Context, plain: Layers, spelling: str) -> None:
    a, b, c = active(context, 0, 3, plain)[:3]
    d = active(context, 2, 6, plain)[0]
    there = features(SeedModel(context.model.hf), context.model.tokenize(CORRUPT), plain)
    document = run(
        context, "intervene", prompt=PROMPT, ablate=(f"L0/{a}@3",), scale=(f"L0/{b}@3=-2",), steer=(f"L0/{c}@3=+1.5",),
        swap=(f"L2/{d}@-1",), from_=CORRUPT, target="w9", versus="w30", spelling=spelling, **SHORT,
    )  # fmt: skip
    changes = {
        (0, 3, a): Change(0.0, 0.0), (0, 3, b): Change(-2.0, 0.0), (0, 3, c): Change(1.0, 1.5),
        (2, 6, d): Change(0.0, float(there[2][6, d])),
    }  # fmt: skip
    before, after = twin(context, plain, {}), twin(context, plain, changes, spelling)
    assert document["edits"] == [f"ablate L0/{a}@3", f"scale L0/{b}@3=-2", f"steer L0/{c}@3=+1.5", f"swap L2/{d}@-1"]
    assert document["places"] == 4 and (document["decisive"], document["rival"]) == ("w9", "w30")
    for logits, found in ((before, document["baseline"]), (after, document["outcome"])):
        probabilities = logits.softmax(-1)
        assert found["logit"] == pytest.approx(float(logits[9]), abs=1e-5)
        assert found["rival_logit"] == pytest.approx(float(logits[30]), abs=1e-5)
        assert found["logit_difference"] == pytest.approx(float(logits[9] - logits[30]), abs=2e-5)
        assert found["probability"] == pytest.approx(float(probabilities[9]), abs=1e-6)
        assert found["rank"] == sorted(logits.tolist(), reverse=True).index(float(logits[9]))
        best = probabilities.topk(10)
        assert [token for token, _ in found["top"]] == [context.model.token_text(i) for i in best.indices.tolist()]
        assert [p for _, p in found["top"]] == pytest.approx(best.values.tolist(), abs=1e-6)
    assert document["delta_logit"] == pytest.approx(float(after[9] - before[9]), abs=2e-5)
    kl = (before.softmax(-1) * (before.log_softmax(-1) - after.log_softmax(-1))).sum()
    assert document["kl"] == pytest.approx(float(kl), abs=1e-5) and document["kl"] > 1e-4
    assert document["logit_difference"] == {
        "before": document["baseline"]["logit_difference"], "after": document["outcome"]["logit_difference"]
    }  # fmt: skip
    assert document["top"] == {"before": document["baseline"]["top"], "after": document["outcome"]["top"]}


def test_without_names_the_two_most_probable_tokens_are_decisive_and_rival(context: Context) -> None:
    document = run(context, "intervene", prompt=PROMPT, ablate=("L0/*",), **SHORT)
    best = document["top"]["before"]
    assert (document["decisive"], document["rival"]) == (best[0][0], best[1][0])
    named = run(context, "intervene", prompt=PROMPT, ablate=("L0/*",), target=best[1][0], **SHORT)
    assert (named["decisive"], named["rival"]) == (best[1][0], best[0][0])


def test_a_swap_of_everything_in_the_first_layer_from_the_same_prompt_changes_nothing(context: Context) -> None:
    document = run(context, "intervene", prompt=PROMPT, swap=("L0/*",), from_=PROMPT, **SHORT)
    assert document["delta_logit"] == pytest.approx(0, abs=1e-5)
    assert document["kl"] == pytest.approx(0, abs=1e-6)


def test_continuations_are_greedy_and_edits_everywhere_reach_new_tokens(context: Context) -> None:
    options = {"prompt": PROMPT, "dictionary": "neurons", "max_new_tokens": 4}
    document = run(context, "intervene", ablate=("L1/*",), **options)
    model, text = context.model, context.model.tokenize(PROMPT)
    expected: dict[str, list[int]] = {"baseline": list(text), "outcome": list(text)}
    seed, m = SeedModel(model.hf), model.d_mlp
    identity = PlainDictionary(torch.eye(m).double(), torch.zeros(m).double(), torch.eye(m).double(),
                               torch.zeros(m).double(), True, identity=True)  # fmt: skip
    for name, grown in expected.items():
        for _ in range(4):
            cut = {(1, at, i): Change(0.0, 0.0) for at in range(len(grown)) for i in range(m)}
            logits = intervened_logits(seed, grown, {1: identity}, cut if name == "outcome" else {}, "delta")
            grown.append(int(logits[-1].argmax()))
        assert document[name]["continuation"] == model.tokenizer.decode(grown[len(text) :])
    assert document["baseline"]["continuation"] != document["outcome"]["continuation"]


def test_sampling_depends_on_the_seed_alone(context: Context) -> None:
    options = {"prompt": PROMPT, "ablate": ("L0/1",), "max_new_tokens": 6, "temperature": 1.0}
    first, again, other = (run(context, "intervene", seed=seed, **options) for seed in (3, 3, 4))
    assert first["baseline"]["continuation"] == again["baseline"]["continuation"]
    assert first["baseline"]["continuation"] != other["baseline"]["continuation"]


def test_the_row_holds_the_edits_and_both_sides(context: Context) -> None:
    document = run(context, "intervene", prompt=PROMPT, scale=("L2/5@1=3",), sweep="0..1/2", **SHORT)
    row = context.project.db.table("intervention").get(document["intervention"])
    assert row["job_id"] == document["job"] and row["prompt"] == PROMPT
    asked = json.loads(row["edits"])
    assert asked["edits"] == ["scale L2/5@1=3"] and [str(parse_line(line)) for line in asked["edits"]] == asked["edits"]
    assert (asked["dictionary"], asked["spelling"], asked["sweep"]) == ("toy", "delta", "0..1/2")
    assert json.loads(row["baseline"]) == document["baseline"]
    outcome = json.loads(row["outcome"])
    assert {name: outcome[name] for name in document["outcome"]} == document["outcome"]
    assert outcome["sweep"] == document["sweep"] and outcome["kl"] == document["kl"]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({}, "nothing to edit"),
        ({"prompt": " ", "ablate": ("L0/1",)}, "the prompt is empty"),
        ({"ablate": ("L1/1",)}, "layer 1 has no dictionary in 'toy'; its layers are 0, 2"),
        ({"ablate": ("L9/1",)}, "layer 9 has no dictionary"),
        ({"ablate": ("L0/64",)}, "feature 64 is out of range in layer 0; its features are 0 to 63"),
        ({"ablate": ("L0/1@7",)}, "position 7 is outside the prompt; its positions are 0 to 6"),
        ({"ablate": ("L0/1@-8",)}, "position -8 is outside the prompt"),
        ({"ablate": ("L0;1",)}, r"'L0;1' is not a feature \(at character 3\)"),
        ({"scale": ("L0/1",)}, "'L0/1' has no value"),
        ({"scale": ("L0/1=nan",)}, "'nan' is not a number"),
        ({"steer": ("L0/1=+2max",)}, "the maximum of L0/1 is not known"),
        ({"ablate": ("L0/1@2",), "scale": ("L0/1=2",)}, "L0/1@2 is edited twice"),
        ({"swap": ("L0/1",)}, "--swap and --from belong together"),
        ({"ablate": ("L0/1",), "from_": CORRUPT}, "--swap and --from belong together"),
        ({"swap": ("L0/1",), "from_": "w1 w2"}, "different lengths: 7 and 2 tokens"),
        ({"ablate": ("L0/1",), "target": "w1 w2"}, r"'w1 w2' is 2 tokens"),
        ({"ablate": ("L0/1",), "target": "w1", "versus": "w1"}, "the decisive token and its rival are the same"),
        ({"ablate": ("L0/1",), "dictionary": "none"}, "no dictionary set named 'none'"),
    ],
)
def test_bad_input_is_a_line_and_leaves_nothing(context: Context, options: dict[str, Any], line: str) -> None:
    before = counts(context.project)
    with pytest.raises(BadInput, match=line) as raised:
        run(context, "intervene", **({"prompt": PROMPT, "dictionary": "toy"} | options))
    assert raised.value.exit_code == 2
    assert counts(context.project) == before


def test_the_command_prints_the_document_and_ends_with_its_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.workbench.command_line import workbench

    with graph_project.create(tmp_path) as project:
        where = ("--project", str(project.directory), "intervene")
    ran = workbench(capsys, *where, PROMPT, "--ablate", "L0/3@2", "--ablate", "L2/4", "--json")
    keys = {"baseline", "outcome", "logit_difference", "kl", "top", "job"}
    assert ran.exit_code == 0 and set(json.loads(ran.out)) >= keys
    file = tmp_path / "edits.txt"
    file.write_text("scale L2/4=3  # why\n", encoding="utf-8")
    drawn = workbench(capsys, *where, PROMPT, "--ablate", "L0/3@2", "--edits", str(file), "--sweep", "-1..1/3")
    assert drawn.exit_code == 0 and "ablate L0/3@2, scale L2/4=3" in drawn.out
    assert "● measured" in drawn.out and "KL(before‖after)" in drawn.out
    for bad, line in (
        ((PROMPT, "--ablate", "L0/x"), "'L0/x' is not a feature (at character 4)"),
        ((PROMPT, "--edits", str(tmp_path)), "cannot be read (Is a directory)"),
        ((PROMPT, "--ablate", "L0/1", "--sweep", "-1..1"), "'-1..1' is not a sweep (at character 6)"),
        ((PROMPT, "--sweep", "-1..1/3"), "nothing to edit at several doses"),
        ((PROMPT, "--ablate", "texas"), "'texas' is not a feature (at character 1)"),
        ((PROMPT, "--ablate", "L0/1@99"), "position 99 is outside the prompt"),
        ((PROMPT, "--swap", "L0/1"), "--swap and --from belong together"),
        ((PROMPT, "--swap", "L0/1", "--from", "w1"), "different lengths: 7 and 1 tokens"),
        (("", "--ablate", "L0/1"), "the prompt is empty"),
    ):
        ran = workbench(capsys, *where, *bad)
        assert (ran.exit_code, ran.out) == (2, "") and line in ran.err
