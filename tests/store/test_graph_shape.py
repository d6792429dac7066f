"""Edits of a graph's shape: each can be taken back and made again, in order, and never over what others did since."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store import graph_shape, graphs
from store.errors import BadInput, Missing
from store.graph_shape import Parts, change, redo, undo
from store.project import Project
from tests.store.conftest import writes


@pytest.fixture
def graph(project: Project) -> int:
    """A graph without nodes: shapes need none."""
    stored = project.files.write("graphs", "g.safetensors", writes(b"x"))
    with project.transaction():
        job = project.db.execute(
            "INSERT INTO job (kind, params, params_hash, state, created_at) VALUES ('trace', '{}', '', 'succeeded', '')"
        ).lastrowid
        found = project.db.execute(
            "INSERT INTO graph (job_id, prompt, tokens, dictionary, targets, rule, file_id, replacement_score,"
            " completeness_score, summary) VALUES (?, 'p', '[]', 'sae', '[]', 'ray', ?, 1.0, 1.0, '{}')",
            [job, project.record_file(stored)],
        ).lastrowid
    return int(found or 0)


def state(project: Project, graph: int) -> tuple[Any, Any]:
    return graph_shape.pins(project.db, graph), graphs.supernodes(project.db, graph)


EDITS = st.lists(
    st.one_of(
        st.builds(lambda node, on: Parts(pins={str(node): on}), st.integers(0, 4), st.booleans()),
        st.builds(lambda name, at: Parts(supernodes={name: [10 * at, 10 * at + 1]}), st.just("a"), st.integers(1, 3)),
        st.just(Parts(supernodes={"a": None})),
        st.just(Parts(supernodes={"a": None, "b": [50, 51]})),
        st.just(Parts(supernodes={"b": None})),
    ),
    max_size=12,
)


@given(EDITS)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_given_any_edits_when_all_are_undone_and_redone_then_every_state_comes_back(
    project: Project, graph: int, edits: list[Parts]
) -> None:
    with project.transaction():
        project.db.execute("DELETE FROM pin")
        project.db.execute("DELETE FROM supernode")
        project.db.execute("DELETE FROM graph_edit")
        states = [state(project, graph)]
        for number, parts in enumerate(edits):
            change(project.db, graph, f"edit {number}", parts)
            if state(project, graph) != states[-1]:
                states.append(state(project, graph))
        for earlier in reversed(states[:-1]):
            undo(project.db, graph)
            assert state(project, graph) == earlier
        with pytest.raises(Missing, match="to undo"):
            undo(project.db, graph)
        for later in states[1:]:
            redo(project.db, graph)
            assert state(project, graph) == later
        with pytest.raises(Missing, match="to redo"):
            redo(project.db, graph)


def test_given_an_edit_after_an_undo_when_redone_then_there_is_nothing(project: Project, graph: int) -> None:
    with project.transaction():
        change(project.db, graph, "pin one", Parts(pins={"1": True}))
        assert undo(project.db, graph) == "pin one"
        change(project.db, graph, "pin two", Parts(pins={"2": True}))
        with pytest.raises(Missing):
            redo(project.db, graph)
        assert graph_shape.pins(project.db, graph) == [2]


def test_given_what_others_changed_since_when_undone_then_theirs_stays(project: Project, graph: int) -> None:
    with project.transaction():
        change(project.db, graph, "group a", Parts(supernodes={"a": [1, 2]}))
        graphs.set_supernode(project.db, graph, "a", [1, 2, 3])
    with pytest.raises(BadInput, match="changed elsewhere"), project.transaction():
        undo(project.db, graph)
    assert graphs.supernodes(project.db, graph) == {"a": [1, 2, 3]}


def test_given_a_node_that_is_in_another_group_when_redone_then_it_is_refused(project: Project, graph: int) -> None:
    with project.transaction():
        change(project.db, graph, "group a", Parts(supernodes={"a": [1, 2]}))
        undo(project.db, graph)
        graphs.set_supernode(project.db, graph, "other", [2, 3])
    with pytest.raises(BadInput, match="two supernodes"), project.transaction():
        redo(project.db, graph)
    assert graphs.supernodes(project.db, graph) == {"other": [2, 3]}


def test_given_an_edit_that_changes_nothing_when_made_then_there_is_nothing_to_undo(
    project: Project, graph: int
) -> None:
    with project.transaction():
        change(project.db, graph, "unpin", Parts(pins={"1": False}))
        with pytest.raises(Missing):
            undo(project.db, graph)


def test_given_very_many_edits_when_made_then_the_oldest_are_forgotten(
    project: Project, graph: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_shape, "MOST_EDITS", 3)
    with project.transaction():
        for node in range(6):
            change(project.db, graph, f"pin {node}", Parts(pins={str(node): True}))
    assert [row[0] for row in project.db.execute("SELECT words FROM graph_edit ORDER BY id").fetchall()] == [
        "pin 3", "pin 4", "pin 5"
    ]  # fmt: skip


def test_given_a_label_when_changed_and_undone_then_feature_and_history_have_both(project: Project, graph: int) -> None:
    with project.transaction():
        stored = project.record_file(project.files.write("weights", "w", writes(b"w")))
        project.db.execute(
            "INSERT INTO dictionary (name, kind, layer, n_features, objective, file_id, config, metrics)"
            " VALUES ('my set', 'sae', 3, 9, 'topk', ?, '{}', '{}')", [stored],
        )  # fmt: skip
        project.db.execute(
            "INSERT INTO feature (dictionary_id, feature, density, maximum, mean, histogram, promoted, suppressed,"
            " label) VALUES (1, 7, 0.1, 1.0, 0.5, '[]', '[]', '[]', 'before')"
        )
        change(project.db, graph, "label L3/7", Parts(labels={"my set L3/7": "after"}))
        label = "SELECT label FROM feature"
        assert project.db.execute(label).fetchone()[0] == "after"
        undo(project.db, graph)
        assert project.db.execute(label).fetchone()[0] == "before"
        with pytest.raises(Missing, match="not indexed"):
            change(project.db, graph, "label L3/8", Parts(labels={"my set L3/8": "x"}))


def test_given_views_when_kept_and_forgotten_then_each_name_has_its_latest(project: Project, graph: int) -> None:
    with project.transaction():
        for name, threshold in (("wide", 0.9), ("narrow", 0.5), ("wide", 0.95)):
            graph_shape.keep_view(project.db, graph, name, {"node_threshold": threshold})
        found = graph_shape.views(project.db, graph)
        assert {name: view["node_threshold"] for name, view in found.items()} == {"wide": 0.95, "narrow": 0.5}
        graph_shape.forget_view(project.db, graph, "wide")
        with pytest.raises(Missing):
            graph_shape.forget_view(project.db, graph, "wide")
        with pytest.raises(BadInput):
            graph_shape.keep_view(project.db, graph, " ", {})
        with pytest.raises(BadInput):
            graph_shape.keep_view(project.db, graph, "a\x1b[2J", {})


def test_given_a_graph_that_goes_when_deleted_then_its_shape_goes_too(project: Project, graph: int) -> None:
    with project.transaction():
        change(project.db, graph, "pin", Parts(pins={"1": True}))
        graph_shape.keep_view(project.db, graph, "v", {})
        project.db.execute("DELETE FROM graph")
    counts = [
        project.db.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("pin", "graph_view", "graph_edit")
    ]
    assert counts == [0, 0, 0]
