"""Validate: what a graph, or a behaviour's graphs, claim, measured in the real model (METHOD §5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from store.errors import BadInput
from tasks.params import Params as _Params
from tasks.params import option

if TYPE_CHECKING:
    from tasks.context import Context
    from tasks.registry import Result


class Params(_Params):
    """The options of `workbench validate`."""

    graph: int | None = option(None, "The graph's id, as `workbench graph list` prints it.", argument=True)
    behaviour: str = option(
        "", "Without GRAPH: ablate what recurs over this prompt set. With --removal mean: the set that means are of."
    )
    directory: str = option("", "A directory of your own behaviours (*.toml) in place of the workbench's.")
    from_: str | None = option(None, "A corrupt prompt of equal token length, to swap features from.")
    removal: Literal["zero", "corrupt", "mean"] | None = option(
        None, "What a circuit's removed features become; default corrupt where there is --from, else zero."
    )
    controls: bool = option(True, "Ablate as many random active features, matched in layer, position and size.")
    max_tests: int | None = option(
        None, "Ablate at most this many kept features, those of largest predicted effect; default all.", ge=1
    )
    supernodes: int | None = option(
        None, "Remove at most this many supernodes, those with most nodes; default all; 0 removes none.", ge=0
    )
    edges: int = option(40, "Test this many of the strongest edges, and as many random kept ones; 0 tests none.", ge=0)
    batch: int = option(32, "Edited copies of the prompt run at once.", unit="prompts", ge=1)
    seed: int = option(0, "Draws controls, resamples, random circuits and held-out prompts.", ge=0)
    dictionary: str = option("neurons", "--behaviour: the dictionary of its graphs, as for `workbench trace`.")
    layers: str | None = option(None, "--behaviour: only the dictionaries of these layers, as 4-12,20.")
    max_nodes: int | None = option(None, "--behaviour: the budget of its graphs, as for `workbench trace`.", ge=1)
    held_out: float = option(
        0.5, "--behaviour: the part of the prompts that features are not picked from.", ge=0.0, le=0.9
    )
    recurs: float = option(
        0.5, "--behaviour: a feature recurs if this part of the other prompts kept it (and two did).", gt=0.0, le=1.0
    )
    anywhere: bool = option(False, "--behaviour: features wherever they are, not by offset from the prompt's end.")
    draws: int = option(5, "--behaviour: so many draws of random features.", ge=0)


def run(params: Params, context: Context) -> Result:
    """Validate a graph, or without one a behaviour."""
    if params.graph is None:
        from tasks.validate_behaviour import validate_behaviour

        if not params.behaviour:
            raise BadInput("nothing to validate", "name a graph by its id, or --behaviour NAME")
        _refuse(params, ("from_", "max_tests", "supernodes"), "--behaviour brings its own prompts; leave {} away")
        return validate_behaviour(params, context)
    from tasks.validate_graph import validate_graph

    _refuse(params, ("dictionary", "layers", "max_nodes", "anywhere"), "a graph brings its own; leave {} away")
    return validate_graph(params, context)


def _refuse(params: Params, names: tuple[str, ...], mend: str) -> None:
    """`BadInput` for an option that the other way of validating takes."""
    fields: dict[str, Any] = dict(Params.model_fields)
    for name in names:
        if getattr(params, name) != fields[name].default:
            flag = "--" + name.rstrip("_").replace("_", "-")
            raise BadInput(f"{flag} does not go with this", mend.format(flag))
