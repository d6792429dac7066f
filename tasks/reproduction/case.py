"""One behaviour, from its baseline to its verdict: what `workbench reproduce` does for each."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.behaviours import Behaviour, CheckedPair, Hypothesis, Kind, check_behaviour
from tasks.reproduction.verdict import Outcome, Tested, Verdict, overall, untested

if TYPE_CHECKING:
    from tasks.context import Context
    from tasks.graphs.recurrence import PromptGraph
    from tasks.reproduce import Params
    from tasks.reproduction.pair_bench import PairBench

Document = dict[str, Any]
FEWEST_PAIRS = 2
"""Pairs that the model has to do, and that can be swapped, for anything to be said of a behaviour."""
SUPERNODE_AFFINITY = 0.5
"""Mean affinity from which features are one automatic supernode, as `workbench graph group --auto` has it."""
LISTED = 12
"""Recurring features, and supernodes of a graph, that the document lists."""
_VALIDATED = (
    "graph", "job", "baseline", "probability", "spearman_predicted", "pearson_predicted", "spearman_influence",
    "verdicts", "controls", "supernodes", "faithfulness", "completeness", "cpr", "cmd", "sizes", "curves", "summary",
)  # fmt: skip
"""What a case tells of a graph's validation."""
NODE_THRESHOLD = 0.95
"""The graphs keep the nodes that carry this part of the influence: more than a graph to be looked at does."""


@dataclass(frozen=True)
class Traced:
    """The pairs that were traced, each with its bench, its graph for recurrence, and the trace's document."""

    benches: list[PairBench]
    graphs: list[PromptGraph]
    documents: list[Document]


def reproduce_behaviour(behaviour: Behaviour, params: Params, context: Context) -> Document:
    """Baseline, and if the model has the behaviour: traces, recurrence, supernodes, hypotheses, validation, verdict."""
    checked = check_behaviour(context.model, behaviour, equal_lengths=True)
    baseline = _baseline(behaviour, params, context)
    pairs = _pair_documents(behaviour, checked.pairs, checked.refused, baseline)
    document: Document = {
        "name": behaviour.name,
        "title": behaviour.title,
        "paper_section": behaviour.paper_section,
        "claimed_circuit": behaviour.claimed_circuit,
        "chat": behaviour.chat,
        "accuracy": baseline["accuracy"],
        "baseline": {"job": baseline["job"]},
        "pairs": pairs,
        "graphs": [], "recurrence": None, "supernodes": [], "hypotheses": [], "validations": [],
    }  # fmt: skip
    usable = {pair["pair"]: checked.pairs[pair["pair"]] for pair in pairs if pair["usable"]}
    if (reason := _lacking(baseline, pairs, len(usable))) is not None:
        return document | {"verdict": str(Verdict.CANNOT), "because": reason}
    chosen = _chosen(behaviour, usable, params.pairs)
    with context.stage(behaviour.title, 3 + len(behaviour.hypotheses), "steps") as stage:
        traced = _traced(behaviour, chosen, params, context)
        stage.advance()
        document |= {"graphs": traced.documents, "recurrence": _recurrence(behaviour, traced, context)}
        document["supernodes"] = _supernodes(traced, context)
        stage.advance()
        for hypothesis in behaviour.hypotheses:
            document["hypotheses"].append(_tested(hypothesis, traced, params, context))
            stage.advance()
        document["validations"] = _validations(traced, params, context)
        stage.advance()
    verdict = overall([Outcome(each["outcome"]) for each in document["hypotheses"]])
    return document | {"verdict": str(verdict), "because": _because(document["hypotheses"])}


def file_hash(behaviour: Behaviour, directory: Path) -> str:
    """The hash of the behaviour's file: a result of another file is not this one's."""
    return hashlib.sha256((directory / f"{behaviour.name}.toml").read_bytes()).hexdigest()


def _baseline(behaviour: Behaviour, params: Params, context: Context) -> Document:
    """The behaviour's own part of a baseline's document, with its job."""
    from tasks.baseline import Params as BaselineParams
    from tasks.execute import execute

    options = BaselineParams(behaviours=(behaviour.name,), directory=params.directory, seed=params.seed)
    document = execute("baseline", options, context, reuse=True)
    found: Document = document["behaviours"][0]
    return found | {"job": document["job"]}


def _pair_documents(
    behaviour: Behaviour, fits: dict[int, CheckedPair], refused: dict[int, str], baseline: Document
) -> list[Document]:
    """Every pair of the file: what the model does of it, and why it is not used if it is not."""
    measured = {(each["clean"]["prompt"], each["decisive"], each["rival"]): each for each in baseline["pairs"]}
    documents = []
    for number, pair in enumerate(behaviour.pairs):
        found = measured.get((pair.clean, pair.decisive or None, pair.rival))
        reason = refused.get(number)
        if reason is None and found is not None and not found["passed"]:
            reason = "the model does not do it"
        if reason is None and pair.corrupt is None:
            reason = "it has no corrupt prompt"
        row: Document = {"pair": number, "usable": reason is None and number in fits, "reason": reason, **asdict(pair)}
        if found is not None:
            row |= {
                "probability": found["clean"]["p_decisive"],
                "rank": found["clean"]["rank_decisive"],
                "logit_difference": found["clean"]["logit_difference"],
                "corrupt_logit_difference": found["corrupt"]["logit_difference"] if found["corrupt"] else None,
                "top": found["clean"]["top"][:3],
                "passed": found["passed"],
            }
        documents.append(row)
    return documents


def _lacking(baseline: Document, pairs: Sequence[Document], n_usable: int) -> str | None:
    """Why nothing is traced, if so."""
    passed = sum(bool(pair.get("passed")) for pair in pairs)
    measured = sum("passed" in pair for pair in pairs)
    if not measured:
        return f"none of its {len(pairs)} pairs fits this model's tokenizer: {pairs[0]['reason']}"
    if baseline["lacking"]:
        return f"it does {passed} of {measured} pairs, fewer than half: a circuit for the rest would explain nothing"
    if n_usable < FEWEST_PAIRS:
        return f"it does {passed} of {measured} pairs, and {n_usable} of them can be swapped: it takes {FEWEST_PAIRS}"
    return None


def _chosen(behaviour: Behaviour, usable: dict[int, CheckedPair], most: int) -> dict[int, CheckedPair]:
    """The first usable pairs of the file, at most so many of each group."""
    taken: Counter[str] = Counter()
    chosen = {}
    for number, checked in usable.items():
        group = behaviour.pairs[number].group
        if taken[group] < most:
            taken[group] += 1
            chosen[number] = checked
    return chosen


def _traced(behaviour: Behaviour, chosen: dict[int, CheckedPair], params: Params, context: Context) -> Traced:
    from store import graphs
    from tasks.graphs.recurrence import prompt_graph
    from tasks.reproduction.pair_bench import pair_bench
    from tasks.trace import Params as TraceParams
    from tasks.trace_set import trace_pairs

    options = TraceParams(
        dictionary=params.dictionary, layers=params.layers, max_nodes=params.budget, batch=params.batch,
        node_threshold=NODE_THRESHOLD, edge_effects=False,
    )  # fmt: skip
    pairs = [behaviour.pairs[number] for number in chosen]
    documents = trace_pairs(options, behaviour, pairs, context)
    made: list[PairBench] = []
    shapes = []
    for number, pair, checked, document in zip(chosen, pairs, chosen.values(), documents, strict=True):
        loaded = made[0].whole_set if made else None
        made.append(pair_bench(context, document["graph"], pair, tuple(checked.corrupt or ()), params.batch, loaded))
        record = made[-1].made.record
        path = context.project.files.verify(graphs.arrays(context.project, record.id))
        name = f"{behaviour.name}/{number}"
        shapes.append(prompt_graph(name, record, graphs.nodes(context.project.db, record.id), path))
    return Traced(made, shapes, documents)


def _recurrence(behaviour: Behaviour, traced: Traced, context: Context) -> Document:
    """What recurs, briefly: how far the graphs agree beside chance, and the features that most of them kept."""
    from tasks.trace_set import recurrence_document

    found = recurrence_document(context.project, behaviour.name, [each["graph"] for each in traced.documents])
    keys = ("feature", "prompts", "frequency", "expected_frequency", "mean_share_nats", "mean_predicted_effect_nats")
    return {
        name: {
            "mean_jaccard": found[name]["mean_jaccard"],
            "expected_jaccard": found[name]["expected_jaccard"],
            "features": [{key: each[key] for key in keys} for each in found[name]["features"][:LISTED]],
        }
        for name in ("anywhere", "by_offset")
    } | {"kept_features": found["kept_features"]}


def _supernodes(traced: Traced, context: Context) -> list[Document]:
    """The automatic supernodes of every graph, largest first; found now where they were not yet."""
    from store import graphs
    from tasks.circuits.automatic_groups import group_automatically

    documents = []
    for document in traced.documents:
        graph = document["graph"]
        if not graphs.supernodes(context.project.db, graph):
            group_automatically(context.project, graph, SUPERNODE_AFFINITY, context)
        known = graphs.supernodes(context.project.db, graph)
        largest = sorted(known.items(), key=lambda item: (-len(item[1]), item[0]))[:LISTED]
        documents.append({
            "graph": graph, "found": len(known),
            "supernodes": [{"name": name, "features": len(members)} for name, members in largest],
        })  # fmt: skip
    return documents


def _tested(hypothesis: Hypothesis, traced: Traced, params: Params, context: Context) -> Document:
    """The hypothesis with its outcome and evidence."""
    with context.stage(f"{hypothesis.kind}: {hypothesis.claim}", len(traced.benches), "pairs") as stage:
        found = _run(hypothesis, traced, params, stage.advance)
    claimed: Document = {
        "kind": str(hypothesis.kind),
        "claim": hypothesis.claim,
        "where": str(hypothesis.where),
        "depth": list(hypothesis.depth),
        "probe": hypothesis.probe if hypothesis.kind is Kind.CONCEPT else None,
    }
    return claimed | found.document()


def _run(hypothesis: Hypothesis, traced: Traced, params: Params, advance: Callable[[float], None]) -> Tested:
    from tasks.reproduction.common import run_common
    from tasks.reproduction.concept import run_concept
    from tasks.reproduction.swap import run_swap

    if not traced.benches:
        return untested("nothing was traced")
    if hypothesis.kind is Kind.SWAP:
        return run_swap(hypothesis, traced.benches, params.draws, params.seed, advance)
    if hypothesis.kind is Kind.CONCEPT:
        return run_concept(hypothesis, traced.benches, params.draws, params.seed, advance, params.concept_features)
    if hypothesis.kind is Kind.COMMON:
        return run_common(hypothesis, traced.benches, traced.graphs, params.draws, params.seed, advance)
    return _shared(hypothesis, traced, params)


def _shared(hypothesis: Hypothesis, traced: Traced, params: Params) -> Tested:
    from tasks.reproduction.shared import Member, run_shared

    members = []
    for bench, graph in zip(traced.benches, traced.graphs, strict=True):
        layers = bench.window(hypothesis).layers
        kept = frozenset((each.layer, each.index) for each in graph.features if each.layer in layers)
        members.append(Member(bench.pair.group, str(bench.pair.concept), kept))
    return run_shared(members, params.seed)


def _validations(traced: Traced, params: Params, context: Context) -> list[Document]:
    """`workbench validate` of the first graphs, each against its corrupt prompt."""
    from tasks.execute import execute
    from tasks.validate import Params as ValidateParams

    documents = []
    for bench in traced.benches[: params.validated]:
        options = ValidateParams(
            graph=bench.made.record.id, from_=bench.pair.corrupt, max_tests=params.max_tests, edges=0,
            supernodes=params.supernodes, batch=params.batch, seed=params.seed,
        )  # fmt: skip
        document = execute("validate", options, context, reuse=True)
        documents.append({key: document[key] for key in _VALIDATED})
    return documents


def _because(hypotheses: Sequence[Document]) -> str:
    """How many hypotheses came to what."""
    counts = Counter(each["outcome"] for each in hypotheses)
    return (
        ", ".join(f"{counts[outcome]} {outcome}" for outcome in map(str, Outcome) if counts[outcome]) or "none claimed"
    )
