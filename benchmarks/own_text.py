"""A candidate corpus: text that the model samples of itself from varied chat prompts, seeded.

It needs the model and minutes, so it is kept in a file: `python -m benchmarks.own_text FILE.jsonl TOKENS`.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from itertools import product
from pathlib import Path
from random import Random

from tasks.model.decoding import continuations
from tasks.model.embedded import EMBEDDED_SPEC
from tasks.model.language_model import LanguageModel
from tasks.model.sources import load_model

_REQUESTS = (
    "Write a short paragraph about {}.",
    "Tell me a short story about {}.",
    "Explain {} to a child.",
    "Give me five facts about {}.",
    "Write a letter to a friend about {}.",
    "What should everyone know about {}?",
)
_SUBJECTS = (
    "the sea", "the moon", "France", "a lost dog", "the history of Japan", "cooking rice", "the human heart", "trains",
    "gravity", "a small village", "learning French", "the price of bread", "winter", "music", "a football match",
    "how plants grow", "the Roman empire", "a computer that talks", "money", "friendship", "volcanoes", "Cairo",
    "an old teacher", "electricity", "the law", "birds of the forest", "a trip to Berlin", "numbers", "painting",
    "a difficult decision", "the weather in Spain", "medicine", "the first day of school", "elephants", "democracy",
    "a broken window", "the planets", "kings and queens", "rivers of Africa", "good manners",
)  # fmt: skip
_TEXT_TOKENS = 96
_TEXTS_AT_ONCE = 48


def sample(model: LanguageModel, n_tokens: int, seed: int) -> list[str]:
    """Answers of the model, each up to 96 tokens at temperature 1, until there are about `n_tokens` tokens."""
    by_length: dict[int, list[list[int]]] = defaultdict(list)
    prompts = [request.format(subject) for request, subject in product(_REQUESTS, _SUBJECTS)]
    Random(seed).shuffle(prompts)
    for prompt in prompts:
        tokens = model.tokenize(prompt, chat=True)
        by_length[len(tokens)].append(tokens)
    texts: list[str] = []
    total = 0
    for round_ in range(100):
        for same in by_length.values():
            for start in range(0, len(same), _TEXTS_AT_ONCE):
                batch = same[start : start + _TEXTS_AT_ONCE]
                found = continuations(model, batch, _TEXT_TOKENS, 1.0, seed + 1000 * round_ + start)
                texts += found
                total += sum(len(model.tokenizer(text)["input_ids"]) for text in found)
                if total >= n_tokens:
                    return texts
    return texts


def main() -> None:
    """Write the texts as JSON lines."""
    file, n_tokens = Path(sys.argv[1]), int(sys.argv[2])
    texts = sample(load_model(EMBEDDED_SPEC), n_tokens, seed=0)
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")


if __name__ == "__main__":
    main()
