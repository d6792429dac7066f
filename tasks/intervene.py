"""Intervene: ablate, scale, steer or swap features in the real model, and see what the logits do (METHOD §5)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from store.errors import BadInput
from tasks.params import Params as _Params
from tasks.params import needs_special_start, option

if TYPE_CHECKING:
    from torch import Tensor

    from store.project import Project
    from tasks.circuits.edits import Edits
    from tasks.circuits.request import Edit, Maxima
    from tasks.context import Context
    from tasks.dictionaries.dictionary_set import DictionarySet


class Params(_Params):
    """The options of `workbench intervene`."""

    prompt: str = option(..., "The prompt.", argument=True)
    ablate: tuple[str, ...] = option((), "Set these features to zero, as L12/345@7 or L4-12/*@-1.")
    scale: tuple[str, ...] = option((), "Multiply, as L12/345@7=2.")
    steer: tuple[str, ...] = option((), "Add, as L12/345=+3, or =+2max for multiples of the feature's maximum.")
    swap: tuple[str, ...] = option((), "Give these features the values that they have in --from.")
    from_: str | None = option(None, "The prompt that --swap takes values from; of equal token length.")
    dictionary: str = option("neurons", "neurons, or the name of a dictionary set.")
    target: str | None = option(None, "The decisive token; default: the most probable next token.")
    versus: str | None = option(None, "Its rival; default: the next most probable token.")
    chat: bool = option(False, "Put the prompts through the model's chat template.")
    system: str = option("", "The chat's system text.")
    prefill: str = option("", "The beginning of the chat's answer.")
    special_start: bool = option(False, "Start with the BOS token if the tokenizer does not; transcoders always do.")
    spelling: Literal["delta", "replace"] = option("delta", "delta: keep the error; replace: the replacement model.")
    top: int = option(10, "Most probable tokens listed.", unit="tokens", ge=1)
    max_new_tokens: int = option(12, "Length of the continuations before and after.", unit="tokens", ge=0)
    temperature: float = option(0.0, "0 is greedy.", ge=0.0)
    seed: int = option(0, "For sampling.", ge=0)


@dataclass(frozen=True)
class Result:
    """What happened."""

    params: Params
    document: dict[str, Any]

    def save(self, project: Project, job_id: int) -> dict[str, Any]:
        """The row of table `intervention`."""
        params, document = self.params, self.document
        edits = params.model_dump(include={"ablate", "scale", "steer", "swap", "from_", "spelling", "dictionary"})
        cursor = project.db.execute(
            "INSERT INTO intervention (job_id, prompt, edits, baseline, outcome) VALUES (?, ?, ?, ?, ?)",
            [job_id, params.prompt, json.dumps(edits), json.dumps(document["baseline"]),
             json.dumps(document["outcome"])],
        )  # fmt: skip
        return {"intervention": cursor.lastrowid, **document}


def run(params: Params, context: Context) -> Result:
    """Run the prompt before and after the edits, and say what changed."""
    from tasks.circuits.outcome import continuation, divergence, next_token
    from tasks.dictionaries.loading import load_dictionary_set

    model = context.model
    tokens = _tokenized(params, context, params.prompt)
    dictionaries = load_dictionary_set(context.project, params.dictionary, model)
    edits_at = _resolved(params, context, dictionaries, tokens)
    before_of, after_of = _runs(params, context, dictionaries, edits_at)
    before, after = before_of(tokens), after_of(tokens)
    decisive, rival = _decisive(params, context, before)
    texts = []
    for logits_of in (before_of, after_of):
        texts.append(continuation(model, tokens, params.max_new_tokens, logits_of, params.temperature, params.seed))
        context.check()
    rows = [next_token(model, logits, decisive, rival, params.top) for logits in (before, after)]
    return Result(
        params,
        {
            "tokens": [model.token_text(token) for token in tokens],
            "decisive": model.token_text(decisive),
            "rival": model.token_text(rival),
            "edits": len(edits_at(len(tokens))),
            "baseline": rows[0].document() | {"continuation": texts[0]},
            "outcome": rows[1].document() | {"continuation": texts[1]},
            "delta_logit": rows[1].logit - rows[0].logit,
            "delta_rival": rows[1].rival_logit - rows[0].rival_logit,
            "logit_difference": {"before": rows[0].logit_difference, "after": rows[1].logit_difference},
            "kl": divergence(before, after),
            "top": {"before": rows[0].top, "after": rows[1].top},
        },
    )


def _tokenized(params: Params, context: Context, prompt: str) -> list[int]:
    return context.model.tokenize(
        prompt,
        chat=params.chat,
        system=params.system,
        prefill=params.prefill,
        special_start=needs_special_start(params.dictionary, params.special_start),
    )


def _runs(
    params: Params, context: Context, dictionaries: DictionarySet, edits_at: Callable[[int], Edits]
) -> tuple[Callable[[list[int]], Tensor], Callable[[list[int]], Tensor]]:
    """Next-token logits of a text without and with the edits."""
    from tasks.circuits.intervene import Spelling, edited_logits

    model = context.model

    def before(text: list[int]) -> Tensor:
        return model.logits(model.token_tensor(text))[0, -1]

    def after(text: list[int]) -> Tensor:
        edits = edits_at(len(text))
        return edited_logits(model, text, dictionaries, edits, 1, Spelling(params.spelling))[0, -1]

    return before, after


def _resolved(
    params: Params, context: Context, dictionaries: DictionarySet, tokens: list[int]
) -> Callable[[int], Edits]:
    from tasks.circuits.frozen import freeze
    from tasks.circuits.request import activations, refuse_unequal, resolve

    edits = _edits(params)
    other = {}
    if params.from_ is not None:
        other_tokens = _tokenized(params, context, params.from_)
        refuse_unequal(tokens, other_tokens)
        other = activations(dictionaries, freeze(context.model, other_tokens))
    return resolve(
        edits, dictionaries, len(tokens), context.model.device, other, _maxima(context.project, params.dictionary)
    )


def _edits(params: Params) -> list[Edit]:
    from tasks.circuits.request import ablation, scaling, steering, swapping

    if bool(params.swap) != (params.from_ is not None):
        raise BadInput("--swap and --from belong together", "give the features and the prompt to take them from")
    edits = [
        *map(ablation, params.ablate),
        *map(scaling, params.scale),
        *map(steering, params.steer),
        *map(swapping, params.swap),
    ]
    if not edits:
        raise BadInput("nothing to edit", "name features with --ablate, --scale, --steer or --swap")
    return edits


def _decisive(params: Params, context: Context, before: Tensor) -> tuple[int, int]:
    """The decisive token and its rival: as named, else the most probable ones."""
    ranked = before.topk(2).indices.tolist()
    decisive = ranked[0] if params.target is None else context.model.single_token(params.target)
    others = [token for token in ranked if token != decisive]
    rival = others[0] if params.versus is None else context.model.single_token(params.versus)
    if decisive == rival:
        raise BadInput("the decisive token and its rival are the same", "name two different tokens")
    return decisive, rival


def _maxima(project: Project, dictionary: str) -> Maxima:
    """Largest activations as the index has them."""

    def maximum(layer: int, feature: int) -> float:
        row = project.db.execute(
            "SELECT maximum FROM feature JOIN dictionary ON dictionary.id = dictionary_id"
            " WHERE name = ? AND layer = ? AND feature = ?",
            [dictionary, layer, feature],
        ).fetchone()
        if row is None:
            raise BadInput(
                f"the maximum of L{layer}/{feature} is not known", "run `workbench index`, or steer by a plain number"
            )
        return float(row[0])

    return maximum
