"""The ground of edits in a real project: its graph, its dictionaries, and what it refuses when they have changed."""

from pathlib import Path

import pytest

from store.errors import BadInput, Missing
from store.project import Project
from tasks.graphs.edit import parse_line
from tasks.graphs.edit_ground import EditGround, dictionary_names, load_edit_ground
from tests.workbench.tui import app_project


def predicted(ground: EditGround, line: str) -> float | None:
    """What the graph predicts of an edit as it is written."""
    edit = parse_line(line)
    assert edit is not None
    return ground.predicted(edit)


def test_given_a_project_when_its_graph_is_stood_on_then_predictions_are_its_effects(project_directory: Path) -> None:
    with Project.open(project_directory, write=True) as project:
        stands = load_edit_ground(project, "", app_project.GRAPH, None)
        assert (stands.prompt, stands.dictionary, stands.n_positions) == (app_project.PROMPT, app_project.SET, 7)
        assert stands.sizes == {0: 64, 1: 64, 2: 64} and not stands.fault
        strongest = max(stands.nodes, key=lambda node: abs(node.predicted_effect or 0))
        name = f"L{strongest.layer}/{strongest.feature}@{strongest.position}"
        assert predicted(stands, f"ablate {name}") == -(strongest.predicted_effect or 0)
        assert dictionary_names(project) == ["neurons", app_project.SET]
        neurons = load_edit_ground(project, "a prompt", None, None)
        assert neurons.sizes == {0: 48, 1: 48, 2: 48} and neurons.prompt == "a prompt"
        with pytest.raises(Missing, match="no graph 77"):
            load_edit_ground(project, "", 77, None)


def test_given_a_dictionary_that_was_trained_again_when_stood_on_then_nothing_can_be_edited(
    project_directory: Path,
) -> None:
    with Project.open(project_directory, write=True) as project:
        project.db.execute("UPDATE dictionary SET file_id = (SELECT min(id) FROM file) WHERE layer = 1")
        stands = load_edit_ground(project, "", app_project.GRAPH, None)
        edit = parse_line("ablate L0/1")
        assert edit is not None
        with pytest.raises(BadInput, match="is not the one that graph 1 was traced with: layer 1"):
            stands.refuse(edit)
        project.db.execute("DELETE FROM dictionary WHERE name = ?", [app_project.SET])
        with pytest.raises(BadInput, match="is gone"):
            load_edit_ground(project, "", app_project.GRAPH, None).refuse(edit)
