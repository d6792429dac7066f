"""The demonstration: every deliverable once, in order, on one project; an interrupted one continues where it stopped.

Each step is a task run through `execute(reuse=True)`: what has succeeded with the same options is not done again. Sizes
are chosen so that two cores need less than ten minutes, with the verification at the end that computes all of it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.context import Context
from tasks.execute import execute
from tasks.params import Params
from tasks.registry import task

EMBEDDED = "builtin:smollm2-135m"
"""The model that the demonstration is made for."""
BEHAVIOURS = (
    "capitals",
    "two_hop_language",
    "two_hop_capital",
    "indirect_object",
    "antonyms",
    "succession",
    "agreement",
    "category",
)
PROMPT = "The official language of the country whose capital is Paris is"
CORRUPT = "The official language of the country whose capital is Madrid is"
TARGET, RIVAL = " French", " Spanish"
SEARCHED = "France"
"""A word that some feature on the way from Paris to French should be about."""

Documents = Mapping[str, dict[str, Any]]
"""Step name to the document that it left."""
Options = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One stretch of the path. `options` are made from the documents of the steps before it."""

    name: str
    kind: str
    """The subcommand that does the same: a task, or one of those for which `action` is given."""
    title: str
    expected_s: float
    """Wall time on two cores: the weight of the step in the time that is left."""
    options: Callable[[Documents], Options]
    action: Callable[[Context, Options], dict[str, Any]] | None = None
    """What is run where the step is no task; its options are then the words of the subcommand."""
    reuse: bool = True
    """Whether an earlier result with the same options is as good."""


@dataclass(frozen=True)
class Done:
    """A step that was taken: its params if it is a task, its options as words if not, and its document."""

    step: Step
    params: Params | None
    words: tuple[str, ...]
    document: dict[str, Any]


def demo_steps(directory: Path) -> tuple[Step, ...]:
    """The whole path on a project in `directory`."""
    pack = directory / "demo.zip"
    return (
        Step("baseline", "baseline", "does the model do it at all?", 14, lambda _: {"behaviours": BEHAVIOURS}),
        Step("capture", "capture", "MLP activations of six layers", 42, lambda _: {"tokens": 30_000}),
        Step("train", "train", "one sparse autoencoder a layer", 55, _training),
        Step("evaluate", "evaluate", "the replacement model", 50, lambda _: {"dictionary": "sae"}),
        Step("index", "index", "what each feature is about", 20, _indexing),
        Step("search", "features search", "find a feature", 1, lambda _: {"words": SEARCHED}, _search),
        Step("trace neurons", "trace", "the circuit in the neurons of the same layers", 25, _tracing_neurons),
        Step("trace SAEs", "trace", "the circuit in SAE features", 16, lambda _: _tracing("sae")),
        Step("validate neurons", "validate", "every claim, in the real model", 33, lambda d: _validating(d, "neurons")),
        Step("validate SAEs", "validate", "every claim, in the real model", 20, lambda d: _validating(d, "SAEs")),
        Step("pack", "pack", "everything in one file", 3, lambda _: {"file": pack}, reuse=False),
        Step("verify", "verify", "the pack in a fresh directory", 160, lambda _: {"file": pack}, _verify),
    )


def run_steps(steps: tuple[Step, ...], context: Context) -> Iterator[Done]:
    """Take the steps one after the other; each is handed out as soon as it is done."""
    documents: dict[str, dict[str, Any]] = {}
    with context.stage("the whole path", sum(step.expected_s for step in steps), "s of work") as path:
        for number, step in enumerate(steps, start=1):
            context.progress.note(f"step {number} of {len(steps)}: {step.name} — {step.title}")
            done = _taken(step, step.options(documents), context)
            documents[step.name] = done.document
            yield done
            path.advance(step.expected_s)


def _taken(step: Step, options: Options, context: Context) -> Done:
    if step.action is not None:
        words = (*step.kind.split(), *map(str, options.values()))
        return Done(step, None, words, step.action(context, options))
    params = task(step.kind).params_type(**options)
    return Done(step, params, (), execute(step.kind, params, context, reuse=step.reuse))


def _training(documents: Documents) -> Options:
    return {"capture": documents["capture"]["capture"], "features": 2048}


def _indexing(documents: Documents) -> Options:
    return {"capture": documents["capture"]["capture"]}


def _tracing(dictionary: str) -> Options:
    return {"prompt": PROMPT, "dictionary": dictionary, "target": TARGET, "versus": RIVAL, "max_nodes": 1000}


def _tracing_neurons(documents: Documents) -> Options:
    """Neurons of the layers that the SAEs replace, so that the two graphs can be compared."""
    return _tracing("neurons") | {"layers": ",".join(map(str, documents["capture"]["layers"]))}


def _validating(documents: Documents, which: str) -> Options:
    return {"graph": documents[f"trace {which}"]["graph"], "from_": CORRUPT}


def _search(context: Context, options: Options) -> dict[str, Any]:
    from tasks.graphs.active_features import search_documents

    return {"features": search_documents(context.project, options["words"])}


def _verify(context: Context, options: Options) -> dict[str, Any]:
    from tasks.verify import verify_numbers

    return verify_numbers(options["file"], None, None, context.progress, context.cancelled, context.draw)
