"""A graph whose row and file contradict each other is refused before anything is drawn of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from store.errors import Damaged
from store.graphs import GraphRecord
from tasks.graphs.raw import RawGraph, stored_raw_graph
from tests.tasks.graphs.open_graphs import opened


def written(raw: RawGraph) -> dict[str, Any]:
    features = np.arange(raw.n_features)
    return {
        "attributed": features,
        "active_layer": raw.layer[features],
        "active_position": raw.position[features],
        "edge_source": raw.source,
        "edge_target": raw.target,
        "edge_share": raw.share,
    }


def fewer_tokens(record: GraphRecord, arrays: dict[str, Any]) -> None:
    record.token_ids.pop()


def a_far_position(record: GraphRecord, arrays: dict[str, Any]) -> None:
    arrays["active_position"] = np.where(arrays["active_position"] == 0, 99, arrays["active_position"])


def a_layer_too_high(record: GraphRecord, arrays: dict[str, Any]) -> None:
    arrays["active_layer"] = arrays["active_layer"] + record.n_layers


def an_edge_from_nowhere(record: GraphRecord, arrays: dict[str, Any]) -> None:
    arrays["edge_source"] = arrays["edge_source"] + 100_000


@pytest.mark.parametrize("spoil", [fewer_tokens, a_far_position, a_layer_too_high, an_edge_from_nowhere])
def test_given_a_row_and_a_file_that_contradict_each_other_when_read_then_the_graph_is_named(spoil: Any) -> None:
    graph, _ = opened(3)
    record, arrays = replace(graph.record, token_ids=list(graph.record.token_ids)), written(graph.raw)
    assert stored_raw_graph(record, arrays).n_nodes == graph.raw.n_nodes
    spoil(record, arrays)
    with pytest.raises(Damaged, match=f"graph {record.id}: its row and its file contradict each other"):
        stored_raw_graph(record, arrays)
