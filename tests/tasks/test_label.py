"""The task `label` on a tiny model and an endpoint in a thread: labels, scores, failures, and going on after them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from store import labels
from store.errors import BadInput, Cancelled, Missing, WorkbenchError
from store.features import find
from store.project import Project
from tasks.context import Context
from tasks.corpora.tokens import document_tokens
from tasks.dictionaries.corpus_text import CorpusText
from tasks.dictionaries.loading import load_dictionary_set
from tasks.label import Params
from tasks.labelling.evidence import EvidenceReader
from tests.tasks import sae_project
from tests.tasks.dictionaries.saved_transcoders import save_set
from tests.tasks.labelling.fake_judge import LABEL, FakeJudge, by_words, fake_judge
from tests.tiny import tiny_language_model

SET = "sae"
N = 12


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Two layers of 32 features, trained and indexed."""
    with sae_project.create(tmp_path_factory.mktemp("label") / "project") as project:
        sae_project.run(project, "train", layers="0-1", features=32, l0=4, tokens=800, batch_size=64)
        sae_project.run(project, "index", dictionary=SET, tokens=800)
        yield project


@pytest.fixture
def project(made: Project) -> Project:
    """The same, without a label."""
    with made.transaction():
        made.db.execute("DELETE FROM label_change")
        made.db.execute("UPDATE feature SET label = ''")
    return made


@pytest.fixture
def judge() -> Iterator[FakeJudge]:
    """An endpoint that goes by the digit 7."""
    with fake_judge() as fake:
        yield fake


def label(project: Project, judge: FakeJudge, **options: Any) -> dict[str, Any]:
    """Run the task."""
    settings = {"judge": judge.url, "judge_model": "m", "limit": N, "sample": 600, "judge_timeout": 20}
    return sae_project.run(project, "label", **(settings | options))


def labelled(project: Project) -> list[tuple[str, str]]:
    """(feature, label) of every labelled feature."""
    sql = """SELECT layer, feature.feature, label FROM feature JOIN dictionary ON dictionary.id = dictionary_id
        WHERE label != '' ORDER BY 1, 2"""
    return [(f"L{layer}/{feature}", words) for layer, feature, words in project.db.execute(sql).fetchall()]


def test_given_features_when_labelled_then_each_label_has_its_scores_beside_the_floor(
    project: Project, judge: FakeJudge
) -> None:
    document = label(project, judge, layers="1")
    assert document["labelled"] + document["failed"] == document["chosen"] == N
    assert document["labelled"] >= N // 2
    for feature in document["features"]:
        record = find(project.db, feature["feature"])
        assert (record.layer, record.label) == (1, LABEL)
        change = labels.history(project.db, record.dictionary_id, record.feature)[0]
        assert change.source == f"m at 127.0.0.1:{judge.server_port}"
        assert [score.document() for score in change.scores] == feature["scores"]
        by = {(score.method, score.judge) for score in change.scores}
        assert {("detection", change.source), ("detection", labels.FLOOR)} <= by
        assert all(0 <= score.balanced_accuracy <= 1 and score.n >= 4 for score in change.scores)
    assert 0 <= document["median_detection"] <= 1


def test_given_a_stopped_run_when_run_again_then_it_goes_on_with_what_has_no_label(
    project: Project, judge: FakeJudge
) -> None:
    first = {feature["feature"] for feature in label(project, judge, limit=4)["features"]}
    n_asked = len(judge.asked)
    second = label(project, judge)
    assert first.isdisjoint(feature["feature"] for feature in second["features"])
    assert {name for name, _ in labelled(project)} >= first
    assert len(judge.asked) > n_asked
    done = sorted(first)[0]
    assert label(project, judge, features=(done,))["chosen"] == 0
    assert label(project, judge, features=(done,), again=True)["labelled"] == 1


def test_given_a_persons_label_when_only_scored_then_it_stays_and_gets_a_score(
    project: Project, judge: FakeJudge
) -> None:
    name = label(project, judge, limit=6)["features"][0]["feature"]
    record = find(project.db, name)
    with project.transaction():
        labels.set_label(project.db, record.id, "by hand")
    document = label(project, judge, score_only=True, features=(name,))
    assert (document["labelled"], document["features"][0]["label"]) == (1, "by hand")
    newest = labels.history(project.db, record.dictionary_id, record.feature)[0]
    assert (newest.label, newest.source) == ("by hand", labels.PERSON)
    assert newest.scores


def test_given_a_judge_that_talks_nonsense_now_and_then_when_asked_then_the_others_are_labelled(
    project: Project, judge: FakeJudge
) -> None:
    n_labels = 0

    def answer(request: str) -> str:
        nonlocal n_labels
        n_labels += "JSON list" not in request
        return by_words(request) if n_labels % 3 else "I cannot help with that, sorry [2]"

    judge.answer = answer
    document = label(project, judge)
    assert document["labelled"] > 0
    assert document["failed"] > 0
    assert {feature["feature"] for feature in document["features"]} == {name for name, _ in labelled(project)}
    assert all(failure["reason"] for failure in document["failures"])


def test_given_an_endpoint_that_goes_down_when_labelling_then_the_rest_is_not_tried_and_what_was_done_stays(
    project: Project, judge: FakeJudge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.labelling.endpoint.EndpointJudge.tries", 1)
    monkeypatch.setattr("tasks.label._waiter", lambda context: lambda seconds: None)
    names = [feature["feature"] for feature in label(project, judge)["features"]]
    with project.transaction():
        project.db.execute("UPDATE feature SET label = ''")
    judge.asked.clear()

    def answer(request: str) -> str:
        if len(judge.asked) > 3:  # the first feature takes a label, detection (one or two lists) and fuzzing
            judge.statuses = [503] * 1000
        return by_words(request)

    judge.answer = answer
    document = label(project, judge, features=tuple(names))
    assert 1 <= document["labelled"] < len(names)
    reasons = [failure["reason"] for failure in document["failures"]]
    assert sum("HTTP 503" in reason for reason in reasons) == 3
    assert sum("not tried" in reason for reason in reasons) == len(reasons) - 3
    with pytest.raises(WorkbenchError, match="none of") as caught:
        label(project, judge, features=tuple(name for name in names if name not in dict(labelled(project))))
    assert "HTTP 503" in str(caught.value)


def test_given_a_refusal_when_labelling_then_the_job_ends_at_once_with_one_line(
    project: Project, judge: FakeJudge
) -> None:
    judge.statuses = [401] * 5
    with pytest.raises(WorkbenchError, match="refuses to be asked"):
        label(project, judge)
    assert len(judge.asked) == 1
    assert labelled(project) == []


def test_given_a_cancel_when_labelling_then_what_was_labelled_stays(project: Project, judge: FakeJudge) -> None:
    from tasks.execute import execute

    context = sae_project.context(project)
    judge.answer = lambda request: context.cancelled.set() or by_words(request)  # type: ignore[func-returns-value]
    names = tuple(f"L0/{feature}" for feature in range(32))
    with pytest.raises(Cancelled):
        execute("label", Params(judge=judge.url, features=names, sample=600), context)
    assert len(labelled(project)) <= 1


@pytest.mark.parametrize(
    ("options", "error"),
    [({"features": ("L9/1",)}, Missing), ({"features": ("x",)}, BadInput), ({"dictionary": "neurons"}, Missing),
     ({"query": "colour:red"}, BadInput)],
)  # fmt: skip
def test_given_what_cannot_be_labelled_then_one_line_says_so(
    project: Project, judge: FakeJudge, options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        label(project, judge, **options)
    assert judge.asked == []


def test_given_a_model_without_a_chat_template_when_it_should_judge_then_an_endpoint_is_asked_for(
    project: Project,
) -> None:
    with pytest.raises(BadInput, match="no chat template") as caught:
        sae_project.run(project, "label")
    assert "--judge" in caught.value.mend


def test_given_evidence_when_read_then_its_values_are_those_of_whole_documents_run_plainly(project: Project) -> None:
    """Each passage's activations against a forward of the model over the window of the document that holds it."""
    model = tiny_language_model(sae_project.FAMILY)
    held = load_dictionary_set(project, SET, model)
    corpus = str(project.directory.parent / "corpus.jsonl")
    records = [record for f in range(32) if len((record := find(project.db, f"L1/{f}")).examples) > 8][:3]
    text = CorpusText(model, corpus, 12, 800, 0.1, 0)
    reader = EvidenceReader(text, held, records, 600, 0)
    documents = text.corpus.read(set(range(60)))
    for record in records:
        evidence = reader.read(record, 6, 8)
        assert evidence.shown[0].peak == pytest.approx(record.maximum, rel=1e-4)
        for passage in (*evidence.shown, *evidence.active, *evidence.inactive):
            tokens = document_tokens(model, documents[passage.document])
            truth = _activations(model, held[1], tokens, record.feature)
            words = [model.token_text(token) for token in tokens]
            assert any(
                words[at : at + len(passage.tokens)] == list(passage.tokens)
                and np.allclose(truth[at : at + len(passage.tokens)], passage.values, atol=1e-4)
                for at in range(len(tokens))
            )
        assert all(passage.peak == 0 for passage in evidence.inactive)


@pytest.mark.parametrize("kind", ["neurons", "transcoder"])
def test_given_what_is_no_sae_when_labelled_then_its_features_get_labels_and_scores(
    project: Project, judge: FakeJudge, tmp_path: Path, kind: str
) -> None:
    name = kind if kind == "neurons" else f"transcoder:{save_set(tmp_path / 'set')}"
    sae_project.run(project, "index", dictionary=name, layers="1", tokens=800)
    document = label(project, judge, dictionary=name, limit=4)
    assert document["labelled"] >= 1
    for feature in document["features"]:
        assert {score["method"] for score in feature["scores"]} == {"detection", "fuzzing"}
        assert find(project.db, feature["feature"], name).label == LABEL


def test_given_a_neuron_when_evidence_is_read_then_below_a_share_of_its_maximum_it_is_inactive(
    project: Project,
) -> None:
    model = tiny_language_model(sae_project.FAMILY)
    sae_project.run(project, "index", dictionary="neurons", layers="1", tokens=800)
    held = load_dictionary_set(project, "neurons", model)
    record = find(project.db, "L1/3", "neurons")
    text = CorpusText(model, str(project.directory.parent / "corpus.jsonl"), 12, 800, 0.1, 0)
    evidence = EvidenceReader(text, held, [record], 600, 0).read(record, 6, 8)
    documents = text.corpus.read(set(range(60)))
    for passage in (*evidence.shown, *evidence.inactive):
        truth = _activations(model, held[1], document_tokens(model, documents[passage.document]), 3)
        words = [model.token_text(token) for token in document_tokens(model, documents[passage.document])]
        kept = [value if value > 0.3 * record.maximum else 0.0 for value in truth]
        assert any(
            words[at : at + len(passage.tokens)] == list(passage.tokens)
            and np.allclose(kept[at : at + len(passage.tokens)], passage.values, atol=1e-4)
            for at in range(len(words))
        )
    assert evidence.inactive
    assert all(passage.peak > 0.3 * record.maximum for passage in evidence.shown)


def test_given_places_that_the_index_drew_when_evidence_is_read_then_they_are_shown_beside_the_strongest(
    project: Project,
) -> None:
    model = tiny_language_model(sae_project.FAMILY)
    text = CorpusText(model, str(project.directory.parent / "corpus.jsonl"), 12, 800, 0.1, 0)
    record = next(r for f in range(32) if len((r := find(project.db, f"L1/{f}", SET)).examples) == 20)
    weak = [(each.document, each.position) for each in record.examples[10:]]
    held = load_dictionary_set(project, SET, model)
    reader = EvidenceReader(text, held, [replace(record, examples=record.examples[:6])], 600, 0, {record.name: weak})
    evidence = reader.read(replace(record, examples=record.examples[:6]), 8, 8)
    peaks = [passage.peak for passage in evidence.shown]
    assert peaks == sorted(peaks, reverse=True)
    assert peaks[0] == pytest.approx(record.maximum, rel=1e-4)
    assert peaks[-1] < record.examples[9].activation


def _activations(model: Any, dictionary: Any, tokens: list[int], feature: int) -> list[float]:
    """One feature on every token of a document, from windows of 12 that overlap by the one that is no data."""
    found = [float("nan")]
    for start in range(0, max(1, len(tokens) - 1), 11):
        h: dict[str, torch.Tensor] = {}
        hook = model.layers[dictionary.layer].down.register_forward_pre_hook(
            lambda _, inputs, h=h: h.update(h=inputs[0])
        )
        model.hf(input_ids=torch.tensor([tokens[start : start + 12]]))
        hook.remove()
        found += dictionary.encode(h["h"][0, 1:])[:, feature].tolist()
    return found


def test_given_the_context_of_a_task_when_waiting_then_a_cancel_ends_it(project: Project) -> None:
    from tasks.label import _waiter

    context = Context(project)
    context.cancelled.set()
    with pytest.raises(Cancelled):
        _waiter(context)(1000.0)
