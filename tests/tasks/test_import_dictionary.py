"""An SAE that SAELens wrote, taken in, does all that a trained one does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from store import dictionaries
from store.errors import BadInput, Damaged
from store.project import Project
from tasks.context import Context, SilentProgress
from tasks.dictionaries.loading import load_dictionary_set, load_stored_layer
from tasks.execute import execute
from tasks.registry import task
from tests.tasks import sae_project
from tests.tasks.dictionaries.test_foreign_formats import ORACLE
from tests.tiny import tiny_language_model


class Notes(SilentProgress):
    """Keeps what a person would be told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, text: str) -> None:
        self.told.append(text)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with sae_project.create(tmp_path / "project") as made:
        yield made


def imported(project: Project, place: Path, notes: Notes | None = None, **options: Any) -> dict[str, Any]:
    params = task("import-dictionary").params_type.model_validate({"directory": place} | options)
    return execute("import-dictionary", params, Context(project, notes or Notes()))


@pytest.mark.parametrize("name", ["gated", "batchtopk-trained", "topk", "standard", "sparsify"])
def test_given_a_foreign_sae_when_imported_then_it_is_evaluated_indexed_traced_and_edited(
    project: Project, name: str
) -> None:
    document = imported(project, ORACLE / name)
    assert document["dictionary"] == name
    assert [layer["layer"] for layer in document["layers"]] == [1]
    evaluation = sae_project.run(project, "evaluate", dictionary=name, tokens=60, window=120)
    assert 0 < evaluation["layers"][0]["l0"] <= 24
    index = sae_project.run(project, "index", dictionary=name, tokens=200)
    assert index["features"] == 24
    trace = sae_project.run(project, "trace", prompt="w5 w17 w44 w3 w71", dictionary=name)
    assert trace["closing_error"] < 1e-4
    (record,) = dictionaries.find(project.db, name)
    assert record.n_indexed == 24
    edited = sae_project.run(project, "intervene", prompt="w5 w17 w44 w3", dictionary=name, ablate=["L1/0@*"])
    assert edited["kl"] >= 0


def test_given_an_imported_set_when_loaded_then_z_is_what_saelens_makes_of_the_same_rows(project: Project) -> None:
    imported(project, ORACLE / "matryoshka-trained", name="given")
    oracle = load_file(ORACLE / "matryoshka-trained.oracle.safetensors")
    held = load_dictionary_set(project, "given", tiny_language_model("llama"))
    torch.testing.assert_close(held[1].encode(oracle["x"]), oracle["z"], rtol=1e-5, atol=1e-6)


def test_given_saes_of_a_model_of_another_name_when_imported_then_that_is_said(project: Project) -> None:
    notes = Notes()
    imported(project, ORACLE / "topk", notes)
    assert notes.told == ["these SAEs were trained on tiny, the project's model is tiny:llama"]


def test_given_a_taken_layer_or_name_when_imported_then_nothing_is_written(project: Project) -> None:
    imported(project, ORACLE / "topk", name="mine")
    with pytest.raises(BadInput, match="the set 'mine' has layer 1 already; choose another --name"):
        imported(project, ORACLE / "gated", name="mine")
    for name in ("neurons", "a/b"):
        with pytest.raises(BadInput, match="a set cannot be called"):
            imported(project, ORACLE / "gated", name=name)
    with pytest.raises(BadInput, match="has no SAE of layer 2"):
        imported(project, ORACLE / "gated", layers="2")
    with pytest.raises(BadInput, match="are not all in"):
        imported(project, ORACLE / "gated", layers="3")
    assert list(dictionaries.listing(project.db)) == ["mine"]


def test_given_an_imported_file_that_was_altered_since_when_loaded_then_it_is_damaged(project: Project) -> None:
    imported(project, ORACLE / "topk")
    (record,) = dictionaries.find(project.db, "topk")
    path = project.directory / record.weights.path
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    with pytest.raises(Damaged, match="is not what was written"):
        load_stored_layer(project, record)


def test_given_a_set_of_a_wider_model_when_imported_then_both_widths_are_told(project: Project, tmp_path: Path) -> None:
    place = Path(shutil.copytree(ORACLE / "topk", tmp_path / "wide"))
    config = next(place.rglob("cfg.json"))
    config.write_text(json.dumps(json.loads(config.read_text()) | {"d_in": 64}))
    with pytest.raises(BadInput, match="reads 64 numbers and h of tiny:llama has 48"):
        imported(project, place)


def test_given_a_set_when_removed_then_its_features_and_files_go_and_other_sets_stay(project: Project) -> None:
    imported(project, ORACLE / "topk", name="gone")
    imported(project, ORACLE / "topk", name="same-content")
    imported(project, ORACLE / "gated", name="kept")
    sae_project.run(project, "index", dictionary="gone", tokens=100)
    (gone,), (kept,) = dictionaries.find(project.db, "gone"), dictionaries.find(project.db, "kept")
    with project.transaction():
        dictionaries.remove(project.db, [gone])
    swept = project.sweep()
    assert swept == [gone.weights.path]
    assert project.db.execute("SELECT count(*) FROM feature").fetchone() == (0,)
    assert project.files.verify(kept.weights).exists()
    assert list(dictionaries.listing(project.db)) == ["kept", "same-content"]
