"""Intervene: ablate, scale, steer or swap features in the real model, and see what the logits do (METHOD §5)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from store.errors import BadInput
from tasks.params import Params as _Params
from tasks.params import needs_special_start, option

if TYPE_CHECKING:
    from torch import Tensor

    from store.graphs import GraphRecord
    from store.project import Project
    from tasks.context import Context
    from tasks.dictionaries.dictionary_set import DictionarySet
    from tasks.graphs.edit import Edit
    from tasks.interventions.intervention import Intervention
    from tasks.interventions.request import Maxima

SATURATED = 0.99
"""Above this probability of the decisive token in the unmodified run, its probability has no room to show an effect."""


class Params(_Params):
    """The options of `workbench intervene`."""

    prompt: str = option("", "The prompt; with --graph it may be left away.", argument=True)
    ablate: tuple[str, ...] = option((), "Set these features to zero, as L12/345@7, L4-12/*@-1 or a supernode's name.")
    scale: tuple[str, ...] = option((), "Multiply, as L12/345@7=2.")
    steer: tuple[str, ...] = option((), "Add, as L12/345=+3, or =+2max for multiples of the feature's maximum.")
    swap: tuple[str, ...] = option((), "Give these features the values that they have in --from.")
    from_: str | None = option(None, "The prompt that --swap takes values from; of equal token length.")
    edits: Path | None = option(None, "A file of edits, one a line, as: ablate L12/345@7  # why")
    graph: int | None = option(None, "The graph whose supernodes can be named; also its prompt, dictionary and target.")
    dictionary: str | None = option(None, "neurons, or the name of a dictionary set; default: the graph's, or neurons.")
    target: str | None = option(None, "The decisive token; default: the graph's, or the most probable next token.")
    versus: str | None = option(None, "Its rival; default: the graph's, or the next most probable token.")
    chat: bool = option(False, "Put the prompts through the model's chat template.")
    system: str = option("", "The chat's system text.")
    prefill: str = option("", "The beginning of the chat's answer.")
    special_start: bool = option(False, "Start with the BOS token if the tokenizer does not; transcoders always do.")
    spelling: Literal["delta", "replace"] = option("delta", "delta: keep the error; replace: the replacement model.")
    freeze: str = option(
        "none", "none; attention: the prompt's patterns are held; direct: attention, norms and MLP outputs are."
    )
    positions: Literal["prompt", "generated"] = option(
        "generated", "Whether edits at every position (@*) stop at the prompt or reach generated tokens."
    )
    sweep: str | None = option(None, "The edits at several doses, as -2..2/9: 0 is none, 1 as written, 2 twice.")
    batch: int = option(32, "Doses run at once.", unit="prompts", ge=1)
    top: int = option(10, "Most probable and most moved tokens listed.", unit="tokens", ge=1)
    max_new_tokens: int = option(12, "Length of the continuations before and after.", unit="tokens", ge=0)
    temperature: float = option(0.0, "0 is greedy.", ge=0.0)
    seed: int = option(0, "For sampling.", ge=0)


@dataclass(frozen=True)
class Result:
    """What happened."""

    params: Params
    prompt: str
    document: dict[str, Any]

    def save(self, project: Project, job_id: int) -> dict[str, Any]:
        """The row of table `intervention`: the edits in the grammar's own text, and all that was measured."""
        document = self.document
        how = {name: document[name] for name in ("edits", "dictionary", "graph", "spelling", "freeze", "positions")}
        asked = how | {"from": self.params.from_, "sweep": self.params.sweep}
        beyond = ("delta_logit", "delta_rival", "delta_logit_difference", "predicted_delta", "kl", "movers", "sweep")
        outcome = document["outcome"] | {name: document[name] for name in beyond}
        cursor = project.db.execute(
            "INSERT INTO intervention (job_id, prompt, edits, baseline, outcome) VALUES (?, ?, ?, ?, ?)",
            [job_id, self.prompt, json.dumps(asked), json.dumps(document["baseline"]), json.dumps(outcome)],
        )
        return {"intervention": cursor.lastrowid, **document}


def run(params: Params, context: Context) -> Result:
    """Run the prompt before and after the edits, and say what changed."""
    from tasks.doses import parse_doses

    edits = _edits(params)
    doses = None if params.sweep is None else parse_doses(params.sweep)
    record = None if params.graph is None else _graph(params, context.project)
    intervention = _intervention(params, context, edits, record)
    before = intervention.before(intervention.tokens)
    decisive, rival = _decisive(params, context, before, record)
    document = {
        "tokens": [context.model.token_text(token) for token in intervention.tokens],
        "decisive": context.model.token_text(decisive),
        "rival": context.model.token_text(rival),
        "edits": [str(edit) for edit in edits],
        "places": len(intervention.edits),
        "dictionary": intervention.dictionaries.name,
        "graph": params.graph,
        "spelling": params.spelling,
        "freeze": str(intervention.freeze),
        "positions": params.positions,
        **_outcome(params, context, intervention, before, (decisive, rival)),
        "predicted_delta": intervention.predicted(decisive, rival),
        "sweep": None,
    }
    if doses is not None:
        document["sweep"] = _sweep(params, context, intervention, before, (decisive, rival), doses, document)
    return Result(params, params.prompt or (record.prompt if record else ""), document)


def _outcome(
    params: Params, context: Context, intervention: Intervention, before: Tensor, pair: tuple[int, int]
) -> dict[str, Any]:
    """What the next token and the text after it are, before and after."""
    from tasks.interventions.outcome import continuation, divergence, next_token, top_movers

    model, tokens = context.model, list(intervention.tokens)
    after = intervention.after(tokens)
    first, second = (next_token(model, logits, *pair, params.top) for logits in (before, after))
    texts = []
    for logits_of in (intervention.before, intervention.after):
        context.check()
        texts.append(continuation(model, tokens, params.max_new_tokens, logits_of, params.temperature, params.seed))
    return {
        "baseline": first.document() | {"continuation": texts[0]},
        "outcome": second.document() | {"continuation": texts[1]},
        "delta_logit": second.logit - first.logit,
        "delta_rival": second.rival_logit - first.rival_logit,
        "delta_logit_difference": second.logit_difference - first.logit_difference,
        "logit_difference": {"before": first.logit_difference, "after": second.logit_difference},
        "kl": divergence(before, after),
        "top": {"before": first.top, "after": second.top},
        "movers": {
            "logit": asdict(top_movers(model, before, after, params.top)),
            "probability": asdict(top_movers(model, before.softmax(-1), after.softmax(-1), params.top)),
        },
        "saturated": first.probability > SATURATED,
    }


def _sweep(
    params: Params,
    context: Context,
    intervention: Intervention,
    before: Tensor,
    pair: tuple[int, int],
    doses: tuple[float, ...],
    document: dict[str, Any],
) -> dict[str, Any]:
    """The edits at every dose; the prediction is a straight line through no change at dose 0."""
    from tasks.doses import is_monotone
    from tasks.interventions.outcome import divergence, next_token

    with context.stage("doses", len(doses), "doses") as stage:
        logits = intervention.at_doses(doses, params.batch, stage.advance)
    baseline, slope = document["baseline"], document["predicted_delta"]
    points = []
    for dose, row in zip(doses, logits, strict=True):
        seen = next_token(context.model, row, *pair, 0)
        points.append(
            {
                "dose": dose,
                "logit_difference": seen.logit_difference,
                "delta_logit": seen.logit - baseline["logit"],
                "delta_logit_difference": seen.logit_difference - baseline["logit_difference"],
                "predicted_delta": None if slope is None else dose * slope,
                "probability": seen.probability,
                "rank": seen.rank,
                "kl": divergence(before, row),
            }
        )
    return {"points": points, "monotone": is_monotone([point["logit_difference"] for point in points])}


def _edits(params: Params) -> list[Edit]:
    """The edits of the options, then those of the file; `BadInput` if there are none or a swap has no source."""
    from tasks.graphs.edit import Operation, parse_edit, read_edits

    edits = [parse_edit(operation, text) for operation in Operation for text in getattr(params, operation)]
    if params.edits is not None:
        edits += read_edits(params.edits)
    if not edits:
        fault = "nothing to edit" if params.sweep is None else "nothing to edit at several doses"
        raise BadInput(fault, "name features with --ablate, --scale, --steer, --swap or --edits")
    if any(edit.operation is Operation.SWAP for edit in edits) != (params.from_ is not None):
        raise BadInput("--swap and --from belong together", "give the features and the prompt to take them from")
    return edits


def _graph(params: Params, project: Project) -> GraphRecord:
    """The graph whose supernodes are named; `BadInput` if it is of another model or dictionary."""
    from store import graphs
    from tasks.graphs.graph_edits import refuse_other_dictionary, refuse_other_model

    record = graphs.find(project.db, int(params.graph or 0))
    refuse_other_model(project, record)
    refuse_other_dictionary(project, record, params.dictionary)
    return record


def _intervention(params: Params, context: Context, edits: list[Edit], record: GraphRecord | None) -> Intervention:
    from tasks.graphs.graph_edits import spelled_out
    from tasks.interventions.intervene import Spelling, refuse_replaced_direct
    from tasks.interventions.intervention import Intervention
    from tasks.interventions.regime import parse_freeze
    from tasks.interventions.request import Request, resolve

    spelling, freeze = Spelling(params.spelling), parse_freeze(params.freeze)
    refuse_replaced_direct(spelling, freeze)
    features = spelled_out(edits, context.project, params.graph)
    tokens = _tokens(params, context, record)
    dictionaries = context.dictionary_set(_dictionary(params, record))
    for note in dictionaries.notes:
        context.progress.note(note)
    if record is not None:
        dictionaries = dictionaries.only(record.summary["dictionary_layers"])
    request = Request(
        edits=features,
        dictionaries=dictionaries,
        n_prompt=len(tokens),
        device=context.model.device,
        other=_other(params, context, record, dictionaries, tokens),
        maximum=_maxima(context.project, dictionaries.name),
        generated=params.positions == "generated",
    )
    return Intervention(context.model, tokens, dictionaries, resolve(request), spelling, freeze)


def _dictionary(params: Params, record: GraphRecord | None) -> str:
    return params.dictionary or ("neurons" if record is None else record.dictionary)


def _tokens(params: Params, context: Context, record: GraphRecord | None) -> list[int]:
    """The prompt's tokens; the graph's where no prompt is given. `BadInput` if the two differ."""
    from tasks.graphs.graph_edits import refuse_other_prompt

    if record is not None and not params.prompt:
        return record.token_ids
    tokens = _tokenized(params, context, record, params.prompt)
    if record is not None:
        refuse_other_prompt(record, tokens)
    return tokens


def _tokenized(params: Params, context: Context, record: GraphRecord | None, prompt: str) -> list[int]:
    """A prompt in the form that the options ask for; in the graph's own where its prompt is used."""
    if record is not None and not params.prompt:
        summary = record.summary
        form = {name: summary[name] for name in ("chat", "system", "prefill", "special_start") if name in summary}
        return context.model.tokenize(prompt, **form)
    return context.model.tokenize(
        prompt,
        chat=params.chat,
        system=params.system,
        prefill=params.prefill,
        special_start=needs_special_start(_dictionary(params, record), params.special_start),
    )


def _other(
    params: Params, context: Context, record: GraphRecord | None, dictionaries: DictionarySet, tokens: list[int]
) -> dict[int, Tensor]:
    """The features of the prompt that swaps take their values from."""
    from tasks.circuits.frozen import freeze
    from tasks.interventions.request import activations, refuse_unequal

    if params.from_ is None:
        return {}
    other = _tokenized(params, context, record, params.from_)
    refuse_unequal(tokens, other)
    return activations(dictionaries, freeze(context.model, other))


def _decisive(params: Params, context: Context, before: Tensor, record: GraphRecord | None) -> tuple[int, int]:
    """The decisive token and its rival: as named, else the graph's, else the most probable ones."""
    ranked = before.topk(2).indices.tolist()
    of_graph = (None, None) if record is None or params.target is not None else _explained(record, len(before))
    decisive, rival = (
        default if name is None else context.model.single_token(name)
        for name, default in zip((params.target, params.versus), of_graph, strict=True)
    )
    decisive = ranked[0] if decisive is None else decisive
    rival = next(token for token in ranked if token != decisive) if rival is None else rival
    if decisive == rival:
        raise BadInput("the decisive token and its rival are the same", "name two different tokens")
    return decisive, rival


def _explained(record: GraphRecord, n_tokens: int) -> tuple[int | None, int | None]:
    """The token that the graph explains after its prompt, and its rival; None for what it has not."""
    from tasks.circuits.graph_file import stored_target
    from tasks.circuits.targets import LogitTarget

    target = stored_target(record.targets[0])
    if not isinstance(target, LogitTarget) or target.position != len(record.token_ids) - 1:
        return None, None
    known = range(n_tokens)  # a file of another program may name tokens that there are not
    return (
        target.token if target.token in known else None,
        target.rival if target.rival in known else None,
    )


def _maxima(project: Project, dictionary: str) -> Maxima:
    """Largest activations as the index has them."""

    @cache
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
