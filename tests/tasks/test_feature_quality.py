"""The quality report against plain counting: what is dense, alike, token-bound; what the first features explain."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from store.contexts import Context, pack_contexts
from store.errors import BadInput, Missing
from store.project import Project
from tasks.dictionaries.corpus_text import CorpusText
from tasks.dictionaries.coverage import Coverage, alike, in_pairs
from tasks.dictionaries.loading import load_dictionary_set
from tasks.feature_quality import cuts_of, features_for, indexed_rows
from tasks.model.hidden import stream_hidden
from tests.tasks import sae_project
from tests.tasks.dictionaries.saved_transcoders import save_set
from tests.tiny import tiny_language_model


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Two layers of 32 features, trained and indexed."""
    with sae_project.create(tmp_path_factory.mktemp("quality") / "project") as project:
        sae_project.run(project, "train", layers="0-1", features=32, l0=4, tokens=800, batch_size=64)
        sae_project.run(project, "index", dictionary="sae", tokens=800)
        yield project


def test_given_a_set_when_reported_then_counts_are_those_of_its_rows_at_the_thresholds_it_names(made: Project) -> None:
    document = sae_project.run(made, "feature-quality", dense=0.2, ultra_dense=0.4, alike=0.3, tokens=200)
    assert document["thresholds"] == {"dense": 0.2, "ultra_dense": 0.4, "alike": 0.3, "bound": 0.9}
    for place, layer in enumerate(document["layers"]):
        rows = made.db.execute("SELECT density FROM feature WHERE dictionary_id = ?", [place + 1]).fetchall()
        densities = [row[0] for row in rows]
        assert layer["features"] == len(densities) == 32
        assert layer["dead"] == densities.count(0.0)
        assert layer["dense"] == sum(density > 0.2 for density in densities)
        assert layer["ultra_dense"] == sum(density > 0.4 for density in densities)
        weights = load_dictionary_set(made, "sae", tiny_language_model("llama"))[place].W_dec.numpy()  # type: ignore[attr-defined]
        unit = weights / np.linalg.norm(weights, axis=1, keepdims=True)
        cosines = unit @ unit.T - 2 * np.eye(32)
        assert layer["duplicates"] == int((cosines.max(1) > 0.3).sum())
        explained = [point["variance_explained"] for point in layer["coverage"]]
        assert layer["coverage"][-1]["features"] == 32
        assert layer["variance_explained"] == explained[-1] == pytest.approx(max(explained), abs=0.05)


def test_given_no_tokens_when_reported_then_coverage_is_left_out_and_the_rest_is_there(made: Project) -> None:
    document = sae_project.run(made, "feature-quality", layers="1", tokens=0)
    [layer] = document["layers"]
    assert (layer["layer"], layer["coverage"], layer["variance_explained"]) == (1, [], None)
    assert document["coverage_tokens"] == 0


@pytest.mark.parametrize(
    ("options", "error"),
    [({"dictionary": "neurons"}, Missing), ({"dictionary": "nosuch"}, BadInput), ({"layers": "2"}, BadInput)],
)
def test_given_what_cannot_be_reported_then_one_line_says_so(
    made: Project, options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        sae_project.run(made, "feature-quality", **options)


def test_given_a_set_without_an_index_when_reported_then_an_index_is_asked_for(made: Project) -> None:
    sae_project.run(made, "train", layers="0", features=16, l0=4, tokens=800, batch_size=64, name="fresh")
    with pytest.raises(Missing, match="was not indexed"):
        sae_project.run(made, "feature-quality", dictionary="fresh")


def test_given_rows_when_coverage_is_measured_then_it_is_one_minus_the_fvu_of_the_first_features(
    made: Project,
) -> None:
    dictionary = load_dictionary_set(made, "sae", tiny_language_model("llama"))[1]
    h = torch.randn(700, 48, generator=torch.Generator().manual_seed(0))
    ranked = torch.randperm(32, generator=torch.Generator().manual_seed(1))
    coverage = Coverage(dictionary, ranked, [1, 5, 32])
    for part in h.split(150):
        coverage.add(part)
    z = dictionary.encode(h)
    for cut, found in zip([1, 5, 32], coverage.explained(), strict=True):
        kept = torch.zeros_like(z)
        kept[:, ranked[:cut]] = z[:, ranked[:cut]]
        missed = (h - dictionary.decode(kept)).square().sum() / (h - h.mean(0)).square().sum()
        assert found == pytest.approx(1 - float(missed), abs=1e-5)


def test_given_write_vectors_when_compared_then_pairs_are_those_of_the_whole_matrix(made: Project) -> None:
    dictionary = load_dictionary_set(made, "sae", tiny_language_model("llama"))[0]
    weights = dictionary.W_dec.double().numpy()  # type: ignore[attr-defined]
    cosine = (weights @ weights.T) / np.outer(np.linalg.norm(weights, axis=1), np.linalg.norm(weights, axis=1))
    expected = {(i, j) for i in range(32) for j in range(i + 1, 32) if cosine[i, j] > 0.2}
    pairs = alike(tiny_language_model("llama"), dictionary, 0.2)
    assert {(i, j) for i, j, _ in pairs} == expected
    assert [value for *_, value in pairs] == sorted((value for *_, value in pairs), reverse=True)
    assert in_pairs(pairs) == {feature for pair in expected for feature in pair}


def test_given_examples_when_counted_then_a_feature_is_bound_to_the_token_that_most_are_on(made: Project) -> None:
    examples = [Context(0, at, 1.0, (5, 7), (0.0, 1.0), int(at != 3)) for at in range(8)]
    with made.transaction():
        made.db.execute("DELETE FROM feature_detail")
        made.db.execute("INSERT OR REPLACE INTO token_text VALUES (5, 'five'), (7, ' Seven')")
        feature_id = made.db.execute("SELECT id FROM feature WHERE dictionary_id = 1 AND feature = 0").fetchone()[0]
        made.db.execute("UPDATE context SET packed = ? WHERE feature_id = ?", [pack_contexts(examples), feature_id])
    row = indexed_rows(made, 1)[0]
    assert (row.token, row.token_share) == ("seven", 7 / 8)


def test_given_neurons_when_reported_then_they_explain_all_and_are_alike_in_the_residual_stream(
    made: Project,
) -> None:
    sae_project.run(made, "index", dictionary="neurons", layers="1", tokens=600)
    document = sae_project.run(made, "feature-quality", dictionary="neurons", alike=0.3, tokens=200)
    [layer] = document["layers"]
    assert (layer["layer"], layer["dead"]) == (1, 0)
    assert layer["variance_explained"] == pytest.approx(1.0, abs=1e-6)
    explained = [point["variance_explained"] for point in layer["coverage"]]
    assert explained == sorted(explained)
    columns = torch.nn.functional.normalize(tiny_language_model("llama").layers[1].down.weight.detach(), dim=0)
    cosines = columns.T @ columns - 2 * torch.eye(columns.shape[1])
    assert layer["duplicates"] == int((cosines.amax(1) > 0.3).sum())


@pytest.mark.parametrize("skip", [False, True])
def test_given_transcoders_when_reported_then_coverage_is_of_the_mlp_s_output(
    made: Project, tmp_path: Path, skip: bool
) -> None:
    name = f"transcoder:{save_set(tmp_path / 'set', skip=skip)}"
    sae_project.run(made, "index", dictionary=name, layers="1", tokens=600)
    [layer] = sae_project.run(made, "feature-quality", dictionary=name, tokens=300)["layers"]
    model = tiny_language_model("llama")
    transcoder = load_dictionary_set(made, name, model)[1]
    text = CorpusText(model, str(made.directory.parent / "corpus.jsonl"), 12, 600, 0.1, 0)
    rows = list(stream_hidden(model, text.validation_windows(300), [1], "mlp"))
    u = torch.cat([each.hidden[1] for each in rows])
    output = model.layers[1].down(model.activation(model.layers[1].gate(u)) * model.layers[1].up(u)).detach()
    written = transcoder.decode(transcoder.encode(u)) + (u @ transcoder.skip.T if transcoder.skip is not None else 0)
    missed = (output - written).square().sum() / (output - output.mean(0)).square().sum()
    assert layer["variance_explained"] == pytest.approx(1 - float(missed), rel=1e-3, abs=1e-3)
    assert layer["features"] == transcoder.n_features


@given(st.integers(1, 200_000))
def test_given_any_size_when_cut_then_cuts_rise_to_all(n_features: int) -> None:
    cuts = cuts_of(n_features)
    assert cuts == sorted(set(cuts))
    assert (cuts[0], cuts[-1]) == (1, n_features)
    assert features_for(0.5, cuts, [-0.1] * (len(cuts) - 1) + [0.4]) == n_features
    assert features_for(0.5, cuts, [-1.0] * len(cuts)) is None
