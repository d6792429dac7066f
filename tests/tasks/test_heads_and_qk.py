"""The tasks behind `graph heads` and `graph qk`, on a stored graph: they close to what the graph says."""

from collections.abc import Iterator
from typing import Any

import pytest

from store import graphs
from store.errors import BadInput
from tasks.context import Context
from tests.tasks import graph_project
from tests.tasks.graph_project import PROMPT, run


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """One project for all tests of this file."""
    with graph_project.create(tmp_path_factory.mktemp("heads")) as project:
        yield Context(project)


@pytest.fixture(scope="module")
def graph(context: Context) -> int:
    """A graph of the SAE set with a rule and leaves of its own."""
    traced = run(context, "trace", prompt=PROMPT, dictionary="toy", rule="half", unreplaced="error", target="w3")
    return int(traced["graph"])


def edges_by_name(context: Context, graph: int) -> list[tuple[str, str, float]]:
    """The kept edges as a person names them."""
    nodes = {node.node: node for node in graphs.nodes(context.project.db, graph)}

    def name(node: int) -> str:
        record = nodes[node]
        place = f"@{record.position}"
        names = {"token": place, "error": f"L{record.layer}{place}", "logit": "logit"}
        return names.get(record.kind, f"L{record.layer}/{record.feature}{place}")

    return [(name(e.source), name(e.target), e.share) for e in graphs.edges(context.project.db, graph)]


def test_the_heads_of_every_kind_of_edge_add_up_to_the_stored_edge(context: Context, graph: int) -> None:
    edges = edges_by_name(context, graph)
    size = max(abs(share) for *_, share in edges)
    by_kind = {(source[0] + str("/" in source), target[0]): (source, target, share) for source, target, share in edges}
    assert len(by_kind) >= 4, "tokens, errors and features into features and logits"
    for source, target, share in by_kind.values():
        found = run(context, "heads", graph=graph, source=source, target=target, top=3)
        assert found["edge"] == pytest.approx(share, abs=1e-5 * size)
        for column in ("taken_up", "written"):
            parts = [head[column] for head in found["heads"]] + [found["rest"][column], found["direct"]]
            assert sum(parts) == pytest.approx(share, abs=1e-5 * size)
        assert len(found["heads"]) <= 3


def test_a_query_key_score_adds_up_on_both_sides(context: Context, graph: int) -> None:
    found = run(context, "qk", graph=graph, head="L2H1", query=-1, top=4)
    assert found["query"] == len(PROMPT.split()) - 1 and 0 < found["key"] <= found["query"]
    for side in ("by_query_source", "by_key_source"):
        assert sum(part["score"] for part in found[side]) == pytest.approx(found["score"], abs=1e-5)
        assert len(found[side]) <= 5
    assert 0 < found["attention"] <= 1
    assert [abs(p["score"]) for p in found["pairs"]] == sorted((abs(p["score"]) for p in found["pairs"]), reverse=True)


@pytest.mark.parametrize(
    ("kind", "options", "fault"),
    [
        ("heads", {"source": "@2", "target": "@3"}, "tokens and errors are sources only"),
        ("heads", {"source": "logit", "target": "logit"}, "no source"),
        ("heads", {"source": "L1@2", "target": "nonsense"}, "'nonsense' is not a feature"),
        ("heads", {"source": "@70", "target": "logit"}, "position 70 is outside the prompt"),
        ("heads", {"source": "L0/9999@2", "target": "logit"}, "L0/9999 is not active at position 2"),
        ("heads", {"source": "@2", "target": "logit:4"}, "explains 1 targets"),
        ("qk", {"head": "5.3"}, "'5.3' is not a head"),
        ("qk", {"head": "L90H0"}, "no layer 90"),
        ("qk", {"head": "L0H44"}, "layer 0 has no head 44"),
        ("qk", {"head": "L0H1", "query": 2, "key": 3}, "position 2 cannot attend to 3"),
        ("qk", {"head": "L0H1", "query": 44}, "position 44 is outside the prompt"),
    ],
)
def test_what_is_not_there_is_refused(
    context: Context, graph: int, kind: str, options: dict[str, Any], fault: str
) -> None:
    with pytest.raises(BadInput, match=fault):
        run(context, kind, graph=graph, **options)


@pytest.mark.parametrize("source", ["L1@{position}", "L0@{position}", "@{later}", "{target}"])
def test_an_edge_that_cannot_be_is_refused_and_not_called_zero(context: Context, graph: int, source: str) -> None:
    last = len(PROMPT.split()) - 1
    feature = next(
        node
        for node in graphs.nodes(context.project.db, graph)
        if node.kind == "feature" and node.layer == 0 and node.position < last
    )
    target = f"L0/{feature.feature}@{feature.position}"
    source = source.format(position=feature.position, later=feature.position + 1, target=target)
    with pytest.raises(BadInput, match=f"no edge leads from {source} to {target}"):
        run(context, "heads", graph=graph, source=source, target=target)
