"""The tokens around examples, read again from the corpus in one stream that keeps nothing else of a document."""

import torch
from jaxtyping import Int
from torch import Tensor

from store.contexts import TOKENS_AFTER, TOKENS_BEFORE
from store.errors import BadInput
from tasks.corpora import Corpus
from tasks.corpora.tokens import document_tokens
from tasks.indexing.places import NOWHERE, unpacked
from tasks.model.language_model import LanguageModel

OUTSIDE = -1
"""Stands where a document does not reach."""


def token_windows(model: LanguageModel, corpus: Corpus, places: Int[Tensor, "*slots"]) -> Int[Tensor, "*slots window"]:
    """Token ids from `TOKENS_BEFORE` before each place to `TOKENS_AFTER` after, `OUTSIDE` where there is none.

    Raises `BadInput` if the corpus has no such document or token.
    """
    flat = places.reshape(-1).cpu()
    offsets = torch.arange(-TOKENS_BEFORE, TOKENS_AFTER + 1)
    found = torch.full((len(flat), len(offsets)), OUTSIDE, dtype=torch.int32)
    there = (flat != NOWHERE).nonzero()[:, 0]
    documents, positions = unpacked(flat[there])
    documents, order = documents.sort(stable=True)
    there, positions = there[order], positions[order]
    numbers, counts = documents.unique_consecutive(return_counts=True)
    wanted = dict(zip(numbers.tolist(), torch.arange(len(there)).split(counts.tolist()), strict=True))
    for document in corpus.documents() if wanted else ():
        rows = wanted.pop(document.index, None)
        if rows is not None:
            tokens = torch.tensor(document_tokens(model, document.text), dtype=torch.int32)
            at = positions[rows][:, None] + offsets
            _refuse_short(corpus, document.index, int(positions[rows].max()), len(tokens))
            known = (at >= 0) & (at < len(tokens))
            found[there[rows]] = torch.where(known, tokens[at.clamp(0, len(tokens) - 1)], OUTSIDE)
            if not wanted:
                break
    if wanted:
        raise BadInput(
            f"the corpus {corpus.name} has no document {min(wanted)}", "give the corpus that was read before"
        )
    return found.view(*places.shape, len(offsets))


def _refuse_short(corpus: Corpus, document: int, position: int, n_tokens: int) -> None:
    if position >= n_tokens:
        raise BadInput(
            f"document {document} of {corpus.name} has no token {position}",
            "the corpus has changed since; capture and index again",
        )
