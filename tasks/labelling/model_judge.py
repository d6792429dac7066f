"""The project's own model as a judge: it writes a label, and says yes or no by which of the two is more probable."""

from collections.abc import Sequence

import torch

from store.errors import BadInput
from tasks.labelling import prompts
from tasks.labelling.passages import Evidence, Question
from tasks.labelling.scoring import Answers, JudgeFailed, Method
from tasks.model.decoding import continuations
from tasks.model.language_model import LanguageModel

_LABEL_TOKENS = 40
_AT_ONCE = 8
_YES, _NO = ("Yes", "yes", " Yes", " yes"), ("No", "no", " No", " no")


class ModelJudge:
    """Greedy and without sampling, so that the same model says the same."""

    def __init__(self, model: LanguageModel) -> None:
        """Judge with `model`; `BadInput` if it has no chat template or no single tokens for yes and no."""
        if not model.tokenizer.chat_template:
            fault = f"{model.spec} has no chat template, so it cannot be asked what a feature means"
            raise BadInput(fault, "name an endpoint with --judge URL")
        self._model = model
        self._yes, self._no = self._firsts(_YES), self._firsts(_NO)

    @property
    def name(self) -> str:
        """The model."""
        return self._model.spec

    def label(self, evidence: Evidence) -> str:
        """A greedy continuation; a model that only repeats the question is asked for the words alone."""
        try:
            return prompts.read_label(self._written(prompts.label_request(evidence)), self.name)
        except JudgeFailed:
            words = self._written(prompts.words_request(evidence), prompts.WORDS_BEGINNING)
            return prompts.read_words(words, self.name)

    @torch.no_grad()
    def answers(self, label: str, questions: Sequence[Question], method: Method) -> Answers:
        """Yes where a yes is more probable than a no as the next token."""
        asked = [self._tokens(prompts.yes_no_request(label, q, method)) for q in questions]
        order = sorted(range(len(asked)), key=lambda at: len(asked[at]))
        found: Answers = [None] * len(asked)
        for first in range(0, len(order), _AT_ONCE):
            places = order[first : first + _AT_ONCE]
            for at, answer in zip(places, self._said([asked[at] for at in places]), strict=True):
                found[at] = answer
        return found

    def _written(self, request: str, beginning: str = "") -> str:
        [written] = continuations(self._model, [self._tokens(request, beginning)], _LABEL_TOKENS, 0.0, 0)
        return written

    def _said(self, asked: Sequence[Sequence[int]]) -> list[bool]:
        longest = max(map(len, asked))
        tokens = torch.full((len(asked), longest), self._model.tokenizer.pad_token_id or 0)
        mask = torch.zeros_like(tokens)
        for row, ids in enumerate(asked):
            tokens[row, : len(ids)], mask[row, : len(ids)] = torch.tensor(ids), 1
        device = self._model.device
        hidden = self._model.hf.get_decoder()(
            input_ids=tokens.to(device), attention_mask=mask.to(device), use_cache=False
        ).last_hidden_state
        last = hidden[torch.arange(len(asked)), mask.sum(1) - 1]
        logits = self._model.unembedding(last).float()
        yes: list[bool] = (logits[:, self._yes].logsumexp(1) > logits[:, self._no].logsumexp(1)).tolist()
        return yes

    def _tokens(self, request: str, beginning: str = "") -> list[int]:
        return self._model.tokenize(request, chat=True, system=prompts.SYSTEM, prefill=beginning)

    def _firsts(self, words: Sequence[str]) -> list[int]:
        """The ids of these words that are single tokens."""
        found = {
            ids[0] for word in words if len(ids := self._model.tokenizer(word, add_special_tokens=False).input_ids) == 1
        }
        if not found:
            raise BadInput(f"{self.name} has no token for {words[0]!r}", "name an endpoint with --judge URL")
        return sorted(found)
