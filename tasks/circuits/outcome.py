"""What an intervention did to the next token: logits, probability, rank, divergence (METHOD §5)."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tasks.model.language_model import LanguageModel


@dataclass(frozen=True)
class NextToken:
    """The next-token distribution, seen from one decisive token and its rival."""

    logit: float
    rival_logit: float
    logit_difference: float
    """decisive - rival, nats."""
    probability: float
    rank: int
    """0 is the most probable token."""
    top: list[tuple[str, float]]
    """Most probable tokens with their probabilities."""

    def document(self) -> dict[str, object]:
        """As JSON."""
        return asdict(self)


def next_token(
    model: LanguageModel, logits: Float[Tensor, " vocab"], decisive: int, rival: int, n_top: int
) -> NextToken:
    """Describe one row of logits."""
    probabilities = logits.softmax(-1)
    top = probabilities.topk(n_top)
    return NextToken(
        logit=float(logits[decisive]),
        rival_logit=float(logits[rival]),
        logit_difference=float(logits[decisive] - logits[rival]),
        probability=float(probabilities[decisive]),
        rank=int((logits > logits[decisive]).sum()),
        top=[(model.token_text(i), p) for i, p in zip(top.indices.tolist(), top.values.tolist(), strict=True)],
    )


def divergence(before: Float[Tensor, " vocab"], after: Float[Tensor, " vocab"]) -> float:
    """KL(before ‖ after) of the next token, nats."""
    log_before, log_after = before.log_softmax(-1), after.log_softmax(-1)
    return float((log_before.exp() * (log_before - log_after)).sum().clamp(min=0.0))


def continuation(
    model: LanguageModel,
    tokens: list[int],
    n_tokens: int,
    logits_of: Callable[[list[int]], Float[Tensor, " vocab"]],
    temperature: float,
    seed: int,
) -> str:
    """Up to `n_tokens` more tokens of text, greedy at temperature 0, else sampled with a generator of its own."""
    generator = torch.Generator().manual_seed(seed)
    text = list(tokens)
    for _ in range(n_tokens):
        logits = logits_of(text).cpu()
        if temperature == 0:
            chosen = int(logits.argmax())
        else:
            chosen = int(torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator))
        if chosen == model.tokenizer.eos_token_id:
            break
        text.append(chosen)
    return str(model.tokenizer.decode(text[len(tokens) :]))
