"""circuit-tracer 0.5.0's stored graphs of every family and kind of transcoder against `trace` and its dense export.

`python -m tests.oracle.peer.generate` made the stored files, and makes hundreds more for `WORKBENCH_PEER_CASES=DIR`.
"""

import dataclasses
import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load
from torch import Tensor

from store import graphs
from store.project import Project
from tasks.context import Context
from tasks.execute import execute
from tasks.graphs.formats.arrays import dense_arrays
from tasks.model.sources import describe_model, load_model
from tasks.trace import Params
from tests.oracle.peer import cases
from tests.oracle.peer.cases import Case, write_inputs
from tests.tiny import FAMILIES

STORED = Path(cases.__file__).parent
ANSWERS = sorted(Path(os.environ.get("WORKBENCH_PEER_CASES", STORED)).glob("*.safetensors"))
TOLERANCE = 2e-5


@dataclass(frozen=True)
class Answer:
    """What the peer computed for a case."""

    case: Case
    arrays: dict[str, Tensor]

    @classmethod
    def read(cls, path: Path) -> "Answer":
        with safe_open(path, framework="pt") as file:
            case = json.loads(file.metadata()["case"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        names = {field.name for field in dataclasses.fields(Case)}
        return cls(Case(**{name: value for name, value in case.items() if name in names}), arrays)

    @property
    def adjacency(self) -> Tensor:
        """Dense, rows targets."""
        n = len(self.arrays["node_influence"])
        flat = torch.zeros(n * n)
        flat[self.arrays["edge"].long()] = self.arrays["edge_value"]
        return flat.view(n, n)


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(document, dense arrays) of a case, by `trace` in a project on the same model."""
    inputs = tmp_path_factory.mktemp("peer")

    @cache
    def project(family: str) -> Project:
        model = load_model(str(write_inputs(Case(family, "relu"), inputs)[0]), device="cpu")
        return Project.create(inputs / f"project-{family}", describe_model(model), "test")

    def trace(case: Case) -> tuple[dict[str, Any], dict[str, Tensor]]:
        where, (_, transcoders) = project(case.family), write_inputs(case, inputs)
        params = Params(
            prompt=case.prompt,
            dictionary=f"transcoder:{transcoders}",
            max_nodes=case.max_nodes,
            refresh=case.batch * case.update_interval,
            max_logits=case.max_logits,
            logit_probability=case.logit_probability,
            edge_effects=False,
        )
        document = execute("trace", params, Context(where))
        record = graphs.find(where.db, document["graph"])
        return document, load(dense_arrays(record, where.files.verify(graphs.arrays(where, record.id))))

    return trace


def test_given_the_stored_answers_then_every_family_and_kind_is_among_them() -> None:
    stored = [Answer.read(path).case for path in STORED.glob("*.safetensors")]
    assert {case.family for case in stored} == set(FAMILIES)
    assert {case.kind for case in stored} == set(cases.KINDS)
    assert sum(path.stat().st_size for path in STORED.glob("*.safetensors")) <= 2**20


@pytest.mark.parametrize("path", ANSWERS, ids=lambda path: path.stem)
def test_given_a_family_and_a_kind_of_transcoder_when_traced_then_the_graph_is_the_peers(
    path: Path, traced: Any
) -> None:
    answer = Answer.read(path)
    document, ours = traced(answer.case)
    peer = answer.arrays
    features, selected = ours["node_kind"] == 1, peer["selected_features"].long()
    places = torch.stack([ours[f"node_{name}"][features] for name in ("layer", "position", "feature")], dim=1)

    assert torch.equal(ours["node_feature"][ours["node_kind"] == 0], peer["input_tokens"].long())
    assert document["active_features"] == len(peer["active_features"])
    assert torch.equal(places, peer["active_features"].long()[selected])
    assert torch.equal(ours["node_feature"][ours["node_kind"] == 3], peer["logit_token_ids"].long())
    assert (ours["node_activation"][features] - peer["activation_values"][selected]).abs().max() <= TOLERANCE
    assert (ours["logit_probability"] - peer["logit_probabilities"]).abs().max() <= TOLERANCE
    assert (ours["adjacency"] - answer.adjacency).abs().max() <= TOLERANCE
    assert (ours["node_influence"] - peer["node_influence"]).abs().max() <= TOLERANCE
    assert torch.equal(ours["node_kept"], peer["node_kept"])
    assert torch.equal(ours["edges_kept"], peer["edges_kept"].long())
    scores = [document["replacement_score"], document["completeness_score"]]
    assert scores == pytest.approx(peer["scores"].tolist(), abs=TOLERANCE)
    assert document["closing_error"] <= 1e-5
