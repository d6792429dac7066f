"""The texts that an index keeps of its examples: the corpus's own words, with what the dictionary does on each."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store.features import card
from store.project import Project
from tasks.dictionaries.activations import CapturedActivations
from tasks.dictionaries.loading import load_dictionary_set
from tests.tasks import sae_project
from tests.tiny import tiny_language_model


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with sae_project.create(tmp_path / "project") as made:
        yield made


def test_the_contexts_of_an_index_are_the_corpus_s_words_with_what_the_sae_does_on_each(project: Project) -> None:
    sae_project.run(project, "capture", layers="0,2", tokens=900, dtype="float32")
    sae_project.run(project, "train", capture=1, features=32, l0=4, batch_size=64)
    sae_project.run(project, "index", capture=1)
    sae = load_dictionary_set(project, "sae", tiny_language_model("llama"))[2]
    activations: dict[tuple[int, int], Any] = {}
    for split in ("train", "validation"):
        for piece in CapturedActivations.open(project, 1, [2]).pieces(2, split):
            places = zip(piece.documents.tolist(), piece.positions.tolist(), strict=True)
            activations |= dict(zip(places, sae.encode(piece.h), strict=True))
    corpus = [json.loads(line)["text"].split() for line in (project.directory.parent / "corpus.jsonl").open()]
    known = 0
    for feature in range(0, 32, 5):
        shown = card(project.db, f"L2/{feature}")
        assert len(shown["contexts"]) == min(8, len(shown["examples"]))
        for context in shown["contexts"]:
            first = context["position"] - context["at"]
            words = corpus[context["document"]]
            assert context["tokens"] == words[first : first + len(context["tokens"])]
            assert context["values"][context["at"]] == pytest.approx(context["activation"], rel=0.02)
            largest = max(v for each in shown["contexts"] for v in each["values"] if math.isfinite(v))
            for offset, value in enumerate(context["values"]):
                place = (context["document"], first + offset)
                if math.isfinite(value):
                    known += 1
                    assert value == pytest.approx(float(activations[place][feature]), abs=largest / 200)
                else:
                    assert place not in activations or abs(offset - context["at"]) > 0
    assert known > 100
