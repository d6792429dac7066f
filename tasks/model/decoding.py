"""Continuations of many prompts at once, with the key-value cache: for baselines, which edit nothing.

(`tasks.interventions.outcome.continuation` continues under edits, one forward a token.)
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from tasks.model.language_model import LanguageModel


@torch.no_grad()
def continuations(
    model: LanguageModel, prompts: Sequence[Sequence[int]], n_tokens: int, temperature: float, seed: int
) -> list[str]:
    """Up to `n_tokens` more tokens of text for each of some prompts of equal length, ended by an end-of-text token.

    Greedy at temperature 0. Otherwise every prompt is sampled with a generator of its own, seeded with `seed`, so that
    a prompt's text does not depend on its neighbours.
    """
    generators = [torch.Generator().manual_seed(seed) for _ in prompts]
    written: list[list[int]] = [[] for _ in prompts]
    step = torch.tensor([list(prompt) for prompt in prompts], device=model.device)
    cache = None
    ends = _end_tokens(model)
    for _ in range(n_tokens):
        output = model.hf(input_ids=step, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        logits = output.logits[:, -1].float().cpu()
        chosen = [_choose(row, temperature, generator) for row, generator in zip(logits, generators, strict=True)]
        for text, token in zip(written, chosen, strict=True):
            if not (text and text[-1] in ends):
                text.append(token)
        if all(text[-1] in ends for text in written):
            break
        step = torch.tensor(chosen, device=model.device)[:, None]
    return [str(model.tokenizer.decode([t for t in text if t not in ends])) for text in written]


def _choose(logits: Float[Tensor, " vocab"], temperature: float, generator: torch.Generator) -> int:
    if temperature == 0:
        return int(logits.argmax())
    return int(torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator))


def _end_tokens(model: LanguageModel) -> set[int]:
    """The ids that end a text: the tokenizer's, and those of the generation configuration."""
    configured = getattr(model.hf.generation_config, "eos_token_id", None)
    ids = configured if isinstance(configured, list) else [configured]
    return {token for token in [*ids, model.tokenizer.eos_token_id] if token is not None}
