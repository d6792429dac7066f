"""What an intervention did to the next token: logits, probability, rank, divergence, movers (METHOD §5)."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from store.errors import WorkbenchError
from tasks.model.language_model import LanguageModel


@dataclass(frozen=True)
class NextToken:
    """The next-token distribution, seen from one decisive token and its rival."""

    logit: float
    rival_logit: float
    mean_logit: float
    """Of the whole vocabulary: what a graph without a rival compares its decisive token with."""
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
    top = probabilities.topk(min(n_top, len(probabilities)))
    return NextToken(
        logit=float(logits[decisive]),
        rival_logit=float(logits[rival]),
        mean_logit=float(logits.mean()),
        logit_difference=float(logits[decisive] - logits[rival]),
        probability=float(probabilities[decisive]),
        rank=int((logits > logits[decisive]).sum()),
        top=[(model.token_text(i), p) for i, p in zip(top.indices.tolist(), top.values.tolist(), strict=True)],
    )


@dataclass(frozen=True)
class Mover:
    """One token whose logit or probability an edit changed."""

    token: str
    before: float
    after: float


@dataclass(frozen=True)
class Movers:
    """The tokens that a quantity rose most for and fell most for, strongest first."""

    up: list[Mover]
    down: list[Mover]


def top_movers(
    model: LanguageModel, before: Float[Tensor, " vocab"], after: Float[Tensor, " vocab"], n_top: int
) -> Movers:
    """At most `n_top` tokens each way, of logits or of probabilities; a token that did not move is in neither."""
    change = after - before
    lists = []
    for direction in (change, -change):
        top = direction.topk(min(n_top, len(direction)))
        moved = top.indices[top.values > 0].tolist()
        lists.append([Mover(model.token_text(i), float(before[i]), float(after[i])) for i in moved])
    return Movers(*lists)


def refuse_not_finite(logits: Float[Tensor, "*row vocab"], when: str) -> None:
    """`WorkbenchError` if the edits drove the model out of the range of its numbers."""
    if not bool(logits.isfinite().all()):
        raise WorkbenchError(f"the logits {when} are not finite", "use smaller values; nothing was measured")


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
        refuse_not_finite(logits, f"after {len(text) - len(tokens)} generated tokens")
        if temperature == 0:
            chosen = int(logits.argmax())
        else:
            chosen = int(torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator))
        if chosen == model.tokenizer.eos_token_id:
            break
        text.append(chosen)
    return str(model.tokenizer.decode(text[len(tokens) :]))
