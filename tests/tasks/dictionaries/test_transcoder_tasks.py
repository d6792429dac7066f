"""Transcoder sets through the commands: traced graphs close, what cannot use them says so."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from store.errors import BadInput
from tasks.context import Context
from tests.tasks.dictionaries.saved_transcoders import draw_weights, save_config, save_set
from tests.tasks.graph_project import PROMPT, create, run


@pytest.mark.parametrize("kind", ["relu", "topk", "jumprelu", "jumprelu-skip", "bfloat16"])
def test_given_a_set_of_each_kind_when_traced_then_the_graph_closes_and_its_effects_are_measured(
    tmp_path: Path, kind: str
) -> None:
    topk = kind == "topk"
    directory = tmp_path / "set"
    save_config(directory, activation="topk" if topk else None, k=5 if topk else None)
    for layer in range(3):
        weights = draw_weights(n_features=64, seed=layer, threshold="jumprelu" in kind, skip="skip" in kind)
        dtype = torch.bfloat16 if kind == "bfloat16" else torch.float32
        save_file({name: each.to(dtype) for name, each in weights.items()}, directory / f"layer_{layer}.safetensors")
    with create(tmp_path) as project:
        context = Context(project)
        graph = run(context, "trace", prompt=PROMPT, dictionary=f"transcoder:{directory}")
        assert graph["closing_error"] < 1e-5
        assert graph["kept_nodes"] > 3
        nodes = run(context, "validate", graph=graph["graph"])["nodes"]
        assert any(abs(node["measured_effect"]) > 1e-6 for node in nodes)
        feature = next(node["node"] for node in nodes)
        change = run(
            context,
            "intervene",
            prompt=PROMPT,
            dictionary=f"transcoder:{directory}",
            ablate=[feature],
            special_start=True,
        )
        assert change["kl"] >= 0


@pytest.mark.parametrize("command", ["evaluate"])
def test_given_a_command_that_works_on_the_hidden_when_it_is_given_transcoders_then_it_says_so(
    tmp_path: Path, command: str
) -> None:
    with (
        create(tmp_path) as project,
        pytest.raises(BadInput, match=f"{command} works on .* hidden .*; name neurons or"),
    ):
        run(Context(project), command, dictionary=f"transcoder:{save_set(tmp_path / 'set')}")
