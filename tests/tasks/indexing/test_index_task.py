"""`workbench index` on a tiny model: parts, kills, changed text, neurons and transcoders."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from store.errors import BadInput, Missing
from store.feature_query import parse_query
from store.feature_search import find_features
from store.features import card, find
from store.project import Project
from tasks.dictionaries.loading import load_dictionary_set
from tasks.indexing import text_pass
from tasks.interpret import feature_card
from tasks.model.hidden import stream_hidden
from tasks.training.checkpoints import Checkpoints
from tests.tasks import sae_project
from tests.tasks.dictionaries.saved_transcoders import save_set
from tests.tiny import tiny_language_model

TABLES = ("feature", "feature_detail", "example", "context")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with sae_project.create(tmp_path / "project") as made:
        yield made


def train(project: Project) -> None:
    sae_project.run(project, "capture", layers="0,2", tokens=900, dtype="float32")
    sae_project.run(project, "train", capture=1, features=32, l0=4, batch_size=64)


def rows(project: Project) -> dict[str, list[dict[str, Any]]]:
    """All that an index left, but for the numbers of rows."""
    found = {table: list(project.db.query(f"SELECT * FROM {table} ORDER BY 1")) for table in TABLES}
    for row in (row for table in found.values() for row in table):
        row.pop("id", None), row.pop("feature_id", None)
    return found


def assert_same(found: dict[str, list[dict[str, Any]]], expected: dict[str, list[dict[str, Any]]]) -> None:
    sums = ("mean", "standard_deviation", "skewness", "kurtosis")
    for table in TABLES:
        for one, other in zip(found[table], expected[table], strict=True):
            assert {k: v for k, v in one.items() if k not in sums} == {k: v for k, v in other.items() if k not in sums}
            for name in sums:
                assert one.get(name, 0) == pytest.approx(other.get(name, 0), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("capture", [0, 1])
def test_given_parts_when_they_are_joined_then_the_index_is_that_of_one_run(project: Project, capture: int) -> None:
    train(project)
    options = {"capture": capture, "tokens": 1200}
    whole_document = sae_project.run(project, "index", **options)
    whole = rows(project)
    with project.transaction():
        project.db.execute("DELETE FROM feature")
    tokens = 0
    for part in (2, 3, 1):
        document = sae_project.run(project, "index", part=f"{part}/3", **options)
        tokens += document["tokens"]
        assert (project.directory / document["file"]).is_file()
        assert not rows(project)["feature"]
    project.sweep()
    joined = sae_project.run(project, "index", merge=True, **options)
    assert len(joined["parts"]) == 3
    assert not any((project.directory / part).exists() for part in joined["parts"])
    assert_same(rows(project), whole)
    for key in ("corpus_hash", "features", "layers"):
        assert joined[key] == whole_document[key]
    if not capture:
        assert tokens == joined["tokens"] == whole_document["tokens"]


def test_given_a_missing_part_or_other_options_when_parts_are_joined_then_it_says_which(project: Project) -> None:
    train(project)
    sae_project.run(project, "index", tokens=400, part="1/3")
    with pytest.raises(Missing, match=r"part 2/3, 3/3 is not in .*; run `workbench index --part 2/3`"):
        sae_project.run(project, "index", tokens=400, merge=True)
    with pytest.raises(Missing, match="no parts of an index with these options"):
        sae_project.run(project, "index", tokens=401, merge=True)
    with pytest.raises(BadInput, match="'4/3' is no share"):
        sae_project.run(project, "index", tokens=400, part="4/3")
    with pytest.raises(BadInput, match="--merge joins parts and --part makes one"):
        sae_project.run(project, "index", tokens=400, part="1/3", merge=True)


def test_given_parts_of_different_text_when_they_are_joined_then_both_hashes_are_named(project: Project) -> None:
    train(project)
    corpus = project.directory.parent / "corpus.jsonl"
    first = sae_project.run(project, "index", tokens=400, part="1/2")["corpus_hash"]
    corpus.write_text(json.dumps({"text": "w7 w8 w9 " * 30}) + "\n" + corpus.read_text())
    second = sae_project.run(project, "index", tokens=400, part="2/2")["corpus_hash"]
    with pytest.raises(BadInput, match=f"is of other text .*: hash {second} and {first}"):
        sae_project.run(project, "index", tokens=400, merge=True)


def test_given_a_run_that_was_killed_when_it_is_started_again_then_it_goes_on_and_ends_as_if_never_stopped(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(project)
    batches = {"tokens": 5000, "checkpoint": 1}
    sae_project.run(project, "index", **batches)
    whole = rows(project)
    of_training = set(project.directory.glob("weights/resume_*"))
    real = Checkpoints.write
    written: list[int] = []

    def dies_after_the_second(self: Any, *state: Any) -> None:
        real(self, *state)
        written.append(state[1])
        if len(written) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "write", dies_after_the_second)
    many = batches | {"corpus": str(long_corpus(project))}
    with pytest.raises(KeyboardInterrupt):
        sae_project.run(project, "index", **many)
    monkeypatch.undo()
    started: list[int] = []
    monkeypatch.setattr(text_pass, "resumed", noting(text_pass.resumed, started))
    sae_project.run(project, "index", **many)
    assert started == [written[-1]]
    resumed_rows = rows(project)
    assert resumed_rows != whole
    assert set(project.directory.glob("weights/resume_*")) == of_training
    sae_project.run(project, "index", **(many | {"checkpoint": 2}))
    assert_same(resumed_rows, rows(project))


def long_corpus(project: Project) -> Path:
    """A text of several batches."""
    path = project.directory.parent / "long.jsonl"
    sae_project.write_corpus(path, n_documents=400)
    return path


def noting(resumed: Any, started: list[int]) -> Any:
    """`resumed`, remembering where it went on."""

    def wrapped(*given: Any) -> Any:
        state = resumed(*given)
        if state is not None:
            started.append(state.next_piece)
        return state

    return wrapped


def test_given_text_that_changed_after_a_kill_when_it_is_started_again_then_it_starts_anew(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(project)
    corpus = long_corpus(project)
    real = Checkpoints.write

    def dies(self: Any, *state: Any) -> None:
        real(self, *state)
        raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "write", dies)
    options = {"tokens": 5000, "checkpoint": 1, "corpus": str(corpus)}
    with pytest.raises(KeyboardInterrupt):
        sae_project.run(project, "index", **options)
    monkeypatch.undo()
    corpus.write_text(json.dumps({"text": "w7 w8 w9 " * 9}) + "\n" + corpus.read_text())
    started: list[int] = []
    monkeypatch.setattr(text_pass, "resumed", noting(text_pass.resumed, started))
    sae_project.run(project, "index", **options)
    after = rows(project)
    assert not started
    sae_project.run(project, "index", **(options | {"checkpoint": 10_000}))
    assert_same(after, rows(project))


def test_given_a_corpus_that_changed_since_the_capture_then_the_index_is_refused_with_both_hashes(
    project: Project,
) -> None:
    train(project)
    [(was,)] = project.db.execute("SELECT corpus_hash FROM capture").fetchall()
    corpus = project.directory.parent / "corpus.jsonl"
    corpus.write_text(corpus.read_text().replace("w5 ", "w6 ", 1))
    with pytest.raises(
        BadInput, match=rf"has changed since capture 1 was made: its hash is [0-9a-f]{{32}}, it was {was}"
    ):
        sae_project.run(project, "index", capture=1)


def test_given_a_corpus_that_changed_since_the_index_when_examples_are_read_again_then_both_hashes_are_named(
    project: Project,
) -> None:
    train(project)
    was = sae_project.run(project, "index", tokens=400)["corpus_hash"]
    model = tiny_language_model("llama")
    name = next(f"L0/{f}" for f in range(32) if find(project.db, f"L0/{f}").examples)
    [first, *_] = feature_card(project, model, name).contexts
    assert first.activation == find(project.db, name).examples[0].activation
    corpus = project.directory.parent / "corpus.jsonl"
    corpus.write_text(corpus.read_text().replace("w5 ", "w6 ", 1))
    with pytest.raises(
        BadInput, match=rf"changed since it was indexed \(job \d+\): its hash is [0-9a-f]{{32}}, it was {was}"
    ):
        feature_card(project, model, name)


def test_given_a_merge_that_fails_then_its_parts_stay(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    train(project)
    file = sae_project.run(project, "index", tokens=400, part="1/2")["file"]
    sae_project.run(project, "index", tokens=400, part="2/2")

    def fails(*_arguments: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr("tasks.indexing.rows.save_features", fails)
    with pytest.raises(OSError, match="no space"):
        sae_project.run(project, "index", tokens=400, merge=True)
    assert (project.directory / file).is_file()


def test_given_neurons_when_they_are_indexed_then_search_cards_and_neighbours_work_as_for_a_trained_set(
    project: Project,
) -> None:
    model = tiny_language_model("llama")
    document = sae_project.run(project, "index", dictionary="neurons", layers="1", tokens=600)
    assert document["features"] == model.d_mlp
    ids = find_features(project.db, parse_query("kind:neurons layer:1")).ids
    assert len(ids) == model.d_mlp
    text = corpus_rows(project, 600)
    h = torch.cat([streamed.hidden[1] for streamed in text])
    for neuron in (0, 17, 47):
        record = find(project.db, f"L1/{neuron}", "neurons")
        values = h[:, neuron].double()
        assert record.density == pytest.approx(float((values > 0).double().mean()))
        assert record.maximum == pytest.approx(float(values.max()))
        assert record.mean == pytest.approx(float(values.mean()))
        shown = card(project.db, record.name, "neurons")
        assert shown["moments"]["standard_deviation"] == pytest.approx(float(values.std(correction=0)))
        assert shown["lowest"][0]["activation"] == pytest.approx(float(values.min()))
        columns = torch.nn.functional.normalize(model.layers[1].down.weight, dim=0)
        cosines = columns.T @ columns[:, neuron]
        cosines[neuron] = -2
        [first, *_] = shown["neighbours"]["by_decoder"]
        assert first["feature"] == f"L1/{int(cosines.argmax())}"
        assert first["cosine"] == pytest.approx(float(cosines.max()), abs=1e-5)
        assert [each["to"] for each in shown["quantiles"]] == [1.0, 0.8, 0.6, 0.4, 0.2]


def corpus_rows(project: Project, n_tokens: int) -> list[Any]:
    """h of layer 1 over the text that an index of so many tokens reads."""
    from tasks.dictionaries.corpus_text import SPLITS, CorpusText

    model = tiny_language_model("llama")
    text = CorpusText(model, str(project.directory.parent / "corpus.jsonl"), 12, n_tokens, 0.1, 0)
    return [rows for split in SPLITS for rows in stream_hidden(model, text.windows(split), [1])]


@pytest.mark.parametrize("topk", [False, True])
def test_given_transcoders_when_they_are_indexed_then_features_are_described_by_what_they_do_on_the_mlp_s_input(
    project: Project, tmp_path: Path, topk: bool
) -> None:
    from tests.tasks.dictionaries.saved_transcoders import save_config

    directory = save_set(tmp_path / "set")
    if topk:
        save_config(directory, activation="topk", k=5)
    name = f"transcoder:{directory}"
    sae_project.run(project, "index", dictionary=name, layers="1,2", tokens=500)
    model = tiny_language_model("llama")
    transcoder = load_dictionary_set(project, name, model)[2]
    from tasks.dictionaries.corpus_text import SPLITS, CorpusText

    text = CorpusText(model, str(project.directory.parent / "corpus.jsonl"), 12, 500, 0.1, 0)
    streamed = [rows for split in SPLITS for rows in stream_hidden(model, text.windows(split), [2], "mlp")]
    z = torch.cat([transcoder.encode(rows.hidden[2]) for rows in streamed])
    for feature in (0, 3, transcoder.n_features - 1):
        record = find(project.db, f"L2/{feature}", name)
        assert record.density == pytest.approx(float((z[:, feature] > 0).double().mean()))
        assert record.maximum == pytest.approx(max(0.0, float(z[:, feature].max())), rel=1e-5)
    assert len(find_features(project.db, parse_query("kind:transcoder")).ids) == 2 * transcoder.n_features


def test_given_transcoders_and_a_capture_then_it_says_that_a_capture_holds_something_else(
    project: Project, tmp_path: Path
) -> None:
    sae_project.run(project, "capture", layers="0,2", tokens=300)
    with pytest.raises(BadInput, match="reads the MLP's input, and a capture holds"):
        sae_project.run(project, "index", dictionary=f"transcoder:{save_set(tmp_path / 'set')}", capture=1)
