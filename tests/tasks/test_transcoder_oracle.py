"""The peer's own outputs against `trace --dictionary transcoder:DIR` and `graph export`, as a person would run them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, load_file

from store import graphs
from store.project import Project
from tasks.context import Context
from tasks.execute import execute
from tasks.graphs.formats.arrays import dense_arrays
from tasks.model.sources import describe_model, load_model
from tasks.trace import Params

ORACLE = Path(__file__).parents[3] / "shared" / "data" / "oracle" / "tiny_llama"
PROMPT = "w3 w14 w15 w9 w26 w5 w35"
RUNS = {
    "relu_transformerlens": ("transcoders_relu", {}),
    "topk_transformerlens": ("transcoders_topk", {}),
    "relu_transformerlens_top64": ("transcoders_relu", {"max_nodes": 64, "refresh": 32}),
}

pytestmark = pytest.mark.skipif(not ORACLE.is_dir(), reason="the peer's outputs lie beside the checkout, not in it")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    model = load_model(str(ORACLE / "model"), device="cpu")
    with Project.create(tmp_path_factory.mktemp("oracle") / "project", describe_model(model), "test") as made:
        yield made


@pytest.mark.parametrize("run", RUNS)
def test_a_traced_transcoder_graph_is_the_peers(project: Project, run: str) -> None:
    folder, budget = RUNS[run]
    options = {"prompt": PROMPT, "dictionary": f"transcoder:{ORACLE / folder}", "logit_probability": 0.9} | budget
    params = Params.model_validate(options | {"edge_effects": False})
    document = execute("trace", params, Context(project))
    peer = load_file(ORACLE / run / "graph.safetensors")
    meta = json.loads((ORACLE / run / "meta.json").read_text())
    record = graphs.find(project.db, document["graph"])
    ours = load(dense_arrays(record, project.files.verify(graphs.arrays(project, record.id))))

    features = ours["node_kind"] == 1
    places = torch.stack([ours[f"node_{name}"][features] for name in ("layer", "position", "feature")], dim=1)
    assert torch.equal(places, peer["active_features"][peer["selected_features"]])
    assert document["active_features"] == len(peer["active_features"])
    assert torch.equal(ours["node_feature"][ours["node_kind"] == 3], peer["logit_token_ids"])
    assert torch.equal(ours["node_feature"][ours["node_kind"] == 0], peer["input_tokens"])
    assert (ours["adjacency"] - peer["adjacency"]).abs().max() <= 2e-5
    assert (ours["node_influence"] - peer["node_influence"]).abs().max() <= 1e-5
    assert (ours["logit_probability"] - peer["logit_probabilities"]).abs().max() <= 2e-5
    assert torch.equal(ours["node_kept"], peer["node_mask_0.8_0.98"])
    assert torch.equal(ours["edges_kept"], peer["edges_kept_0.8_0.98"])
    assert document["replacement_score"] == pytest.approx(meta["replacement_score"], abs=1e-5)
    assert document["completeness_score"] == pytest.approx(meta["completeness_score"], abs=1e-5)
    assert document["closing_error"] <= 1e-5
