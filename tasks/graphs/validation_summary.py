"""What a person may conclude from a validation, in a sentence made from its numbers.

A circuit is called faithful if all of these hold, and otherwise `not faithful` with each reason:

- Pearson of predicted and measured effects is at least `GOOD_CORRELATION`;
- the circuit alone gives the behaviour within `GOOD_FAITHFULNESS`: |1 - faithfulness| ≤ 1 - GOOD_FAITHFULNESS;
- removing a kept feature does more, on average, than removing a matched random one (where controls were measured).

A number that could not be computed is a reason of its own: nothing is faithful for want of a measurement.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

GOOD_CORRELATION = 0.9
GOOD_FAITHFULNESS = 0.8
SATURATED = 0.99
"""Clean probability of the decisive token above which logits move and the behaviour hardly does."""

Document = Mapping[str, Any]


def graph_summary(document: Document) -> str:
    """The sentences for `validate GRAPH`: the judgement with its reasons, then everything that weakens it."""
    reasons = [*_reasons(document)]
    pearson, faithfulness = document["pearson_predicted"], document["faithfulness"]
    if reasons:
        judgement = f"not faithful: {'; '.join(reasons)}"
        if pearson is not None and pearson >= GOOD_CORRELATION:
            judgement += f". Predicted effects of single features hold (Pearson {pearson:.3f})"
    else:
        judgement = (
            f"faithful: predicted effects hold in the real model (Pearson {pearson:.3f}), "
            f"and the circuit alone gives {_percent(faithfulness)} of the behaviour"
        )
    return ". ".join([judgement, *_remarks(document)])


def _reasons(document: Document) -> Iterator[str]:
    pearson, faithfulness = document["pearson_predicted"], document["faithfulness"]
    if pearson is None:
        yield "no correlation of predicted and measured effects can be computed"
    elif pearson < GOOD_CORRELATION:
        yield f"predicted effects do not hold in the real model (Pearson {pearson:.3f})"
    if faithfulness is None:
        yield "removing every feature changes nothing"
    elif abs(1 - faithfulness) > 1 - GOOD_FAITHFULNESS:
        yield f"the circuit alone gives {_percent(faithfulness)} of the behaviour"
    kept, control = (document["controls"][key] for key in ("of_kept_features", "mean_absolute_effect"))
    if kept is not None and control is not None and kept <= control:
        yield f"a kept feature does no more than a random one ({kept:.2g} against {control:.2g})"


def _remarks(document: Document) -> Iterator[str]:
    """Marks that a reader must know of, each only where there is one."""
    verdicts, marks = document["verdicts"], document["marks"]
    tested = sum(count for name, count in verdicts.items() if name != "untested")
    if verdicts["contradicted"]:
        yield f"{verdicts['contradicted']} of {tested} tested features are contradicted"
    if verdicts["untested"]:
        yield f"{verdicts['untested']} features were not tested"
    if marks["failed_runs"]:
        yield f"{marks['failed_runs']} runs failed (not finite)"
    if marks["saturated"]:
        yield f"the decisive token is saturated (clean p {document['probability']:.4f})"
    if marks["below_noise"]:
        yield f"{marks['below_noise']} effects are below the noise of controls"
    if marks["large_writes"]:
        yield f"{marks['large_writes']} features write more than half of the stream, where first order ends"


def behaviour_summary(document: Document) -> str:
    """The sentences for `validate --behaviour`, on the prompts that were not used to pick the features.

    The features matter if removing them costs more logit difference than removing random ones did in every draw.
    """
    name = "found_on" if document["effects"]["held_out"] is None else "held_out"
    sets = document["effects"][name]
    n_features, where = document["recurring"], f"{sets['prompts']} {_SETS[name]}"
    if not n_features:
        return "no feature recurs: nothing was removed"
    lost = sets["logit_difference"] - sets["ablated"]["logit_difference"]
    random = [sets["logit_difference"] - draw["logit_difference"] for draw in sets["random"]]
    change = (
        f"accuracy {sets['accuracy']:.2f} to {sets['ablated']['accuracy']:.2f}, logit difference "
        f"{sets['logit_difference']:.2f} to {sets['ablated']['logit_difference']:.2f} on {where}"
    )
    if not random:
        return f"no judgement, for want of random features to compare with: {change}"
    usual = f"random ones cost {min(random):.2f} to {max(random):.2f} nats"
    if lost > max(random):
        return f"the {n_features} recurring features matter: without them {change}; {usual}"
    return f"not faithful: the {n_features} recurring features cost no more than random ones: {change}; {usual}"


_SETS = {"held_out": "prompts that they were not picked from", "found_on": "prompts that they were picked from"}


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
