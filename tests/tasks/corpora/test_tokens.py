"""Windows of tokens: nothing lost, nothing twice, no document in two splits, no window in two documents."""

from collections import defaultdict
from collections.abc import Callable
from itertools import islice
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.processors import TemplateProcessing

from store.errors import BadInput
from tasks.corpora import Corpus, Document, open_corpus
from tasks.corpora.tokens import (
    ContextReader,
    TokenBatch,
    cut,
    document_tokens,
    prefix_tokens,
    split_of,
    token_batches,
)
from tasks.model.language_model import LanguageModel
from tests.tiny import N_WORDS, tiny_hf, tiny_tokenizer

TinyModel = Callable[[str], LanguageModel]
EVERYTHING = 10**9


def words(n_documents: int, longest: int, seed: int = 0) -> Corpus:
    draw = Random(seed)
    texts = [
        " ".join(f"w{draw.randrange(N_WORDS)}" for _ in range(draw.randint(1, longest))) for _ in range(n_documents)
    ]
    return Corpus("words", lambda: iter(texts))


def data_tokens(batches: list[TokenBatch]) -> dict[int, dict[int, int]]:
    """document -> position -> token, of all slots that are data; a slot met twice is an error."""
    found: dict[int, dict[int, int]] = defaultdict(dict)
    for batch in batches:
        for row in range(len(batch.tokens)):
            for slot in range(1, batch.tokens.shape[1]):
                if batch.mask[row, slot]:
                    document, position = int(batch.documents[row, slot]), int(batch.positions[row, slot])
                    assert position not in found[document]
                    found[document][position] = int(batch.tokens[row, slot])
    return found


@given(st.lists(st.integers(0, 95), min_size=1, max_size=60), st.integers(2, 17), st.booleans())
def test_given_a_document_when_cut_then_every_token_is_data_once_but_a_first_without_a_bos(
    tokens: list[int], context_length: int, bos: bool
) -> None:
    windows = list(cut(Document(7, ""), tokens, [99] if bos else [], context_length))
    data = [token for window in windows for token in window.tokens[1:]]
    assert data == (tokens if bos else tokens[1:])
    for window in windows:
        assert 2 <= len(window.tokens) <= context_length
        assert window.document == 7
        expected_first = 99 if bos else tokens[window.start]
        assert window.tokens[0] == expected_first
        assert window.tokens[1:] == tokens[window.start + 1 : window.start + len(window.tokens)]


@pytest.mark.parametrize("context_length", [2, 5, 64])
def test_given_a_corpus_when_batched_then_both_splits_together_hold_all_of_it(
    tiny_model: TinyModel, context_length: int
) -> None:
    model, corpus = tiny_model("llama"), words(120, 40)
    by_split = {
        split: data_tokens(list(token_batches(model, corpus, context_length, EVERYTHING, split, 3, 0.3)))
        for split in ("train", "validation")
    }  # type: ignore[arg-type, unused-ignore]
    assert not by_split["train"].keys() & by_split["validation"].keys()
    assert len(by_split["validation"]) > 10
    for document in corpus.documents():
        tokens = document_tokens(model, document.text)
        found = by_split[split_of(document.index, 3, 0.3)].get(document.index, {})
        assert found == dict(enumerate(tokens[1:], start=1))


def test_given_a_batch_when_looked_at_then_mask_documents_and_positions_agree(tiny_model: TinyModel) -> None:
    for batch in token_batches(tiny_model("llama"), words(50, 30), 16, EVERYTHING, "train", 0, batch_tokens=200):
        assert batch.tokens.shape == batch.mask.shape == batch.documents.shape == batch.positions.shape
        assert batch.tokens.numel() <= 200
        assert bool((batch.mask[:, :-1] >= batch.mask[:, 1:]).all())
        assert bool((batch.documents >= 0).eq(batch.mask).all())
        assert bool((batch.tokens[~batch.mask] == N_WORDS).all())
        for row in range(len(batch.tokens)):
            assert len(batch.documents[row][batch.mask[row]].unique()) == 1
            assert bool((batch.positions[row][batch.mask[row]].diff() == 1).all())
        assert batch.n_tokens == int(batch.mask.sum()) - len(batch.tokens)


@given(st.integers(1, 300), st.integers(2, 20))
def test_given_a_number_of_tokens_when_batched_then_exactly_so_many_are_data(
    n_tokens: int, context_length: int
) -> None:
    from tests.tiny import tiny_language_model

    batches = token_batches(tiny_language_model("llama"), words(60, 25), context_length, n_tokens, "train", 0)
    assert sum(batch.n_tokens for batch in batches) == n_tokens


def test_given_the_same_seed_when_batched_again_then_batches_are_equal_and_another_seed_splits_otherwise(
    tiny_model: TinyModel,
) -> None:
    def run(seed: int) -> list[list[list[int]]]:
        batches = token_batches(tiny_model("llama"), words(80, 20), 8, EVERYTHING, "train", seed)
        return [batch.tokens.tolist() for batch in batches]

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_given_many_documents_when_split_then_the_share_is_kept() -> None:
    drawn = [split_of(i, seed=0, validation_share=0.1) for i in range(20_000)]
    assert 0.09 < drawn.count("validation") / len(drawn) < 0.11


def test_given_a_tokenizer_with_a_bos_when_cut_then_each_window_starts_with_it() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<eos> $A", special_tokens=[("<eos>", 97)])
    model = LanguageModel(tiny_hf("llama"), tokenizer, spec="tiny", revision="0")
    assert prefix_tokens(model) == [97]
    batches = list(token_batches(model, words(40, 30), 8, EVERYTHING, "train", 0, 0.01))
    assert all(bool((batch.tokens[:, 0] == 97).all()) for batch in batches)
    found = data_tokens(batches)
    for document in words(40, 30).documents():
        if split_of(document.index, 0, 0.01) == "train":
            assert found[document.index] == dict(enumerate(document_tokens(model, document.text)))


def test_given_a_window_too_short_when_batched_then_refused(tiny_model: TinyModel) -> None:
    with pytest.raises(BadInput, match="at least 2 tokens"):
        list(token_batches(tiny_model("llama"), words(2, 5), 1, 10, "train", 0))


def test_given_a_place_when_its_context_is_read_again_then_it_is_the_text_that_was_there(tiny_model: TinyModel) -> None:
    model, corpus = tiny_model("llama"), words(60, 40)
    reader = ContextReader(model, corpus)
    for batch in islice(token_batches(model, corpus, 8, EVERYTHING, "train", 0), 3):
        for row in range(len(batch.tokens)):
            for slot in batch.mask[row].nonzero()[:, 0].tolist():
                document, position = int(batch.documents[row, slot]), int(batch.positions[row, slot])
                context = reader.read_context(document, position, before=3, after=2)
                assert context.tokens[context.at] == int(batch.tokens[row, slot])
                assert context.at == min(3, position)
                whole = document_tokens(model, corpus.read({document})[document])
                assert context.tokens == whole[max(0, position - 3) : position + 3]
    with pytest.raises(BadInput, match="no token 1000"):
        reader.read_context(0, 1000, 1, 1)


@pytest.mark.embedded
def test_given_the_offline_corpus_and_the_embedded_model_when_batched_then_windows_decode_to_its_text(
    embedded: LanguageModel,
) -> None:
    corpus = open_corpus("offline")
    batches = list(token_batches(embedded, corpus, 64, 2000, "train", 0))
    assert sum(batch.n_tokens for batch in batches) == 2000
    assert sum(int(batch.mask.sum()) for batch in batches) > 0.8 * sum(batch.tokens.numel() for batch in batches)
    batch = batches[0]
    tokens = batch.tokens[0][batch.mask[0]].tolist()
    assert (
        str(embedded.tokenizer.decode(tokens)) in corpus.read({int(batch.documents[0, 0])})[int(batch.documents[0, 0])]
    )
