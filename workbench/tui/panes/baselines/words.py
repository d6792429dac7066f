"""What the pane says of a line in words: help, a finding, what is copied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.tui.panes.baselines.lines import Row
from workbench.tui.panes.baselines.reading import CardData
from workbench.tui.render.bars import number, signed
from workbench.tui.render.tokens import show_token

HELP = """\
Does the model do it at all? A behaviour is a set of prompts that ask one thing. Each pair has a clean prompt with a
decisive token that should come next, and a corrupt twin after which its rival should.

p is the probability of the decisive token after the clean prompt, rank its place among all tokens (1 is the most
probable). Δ is its logit minus the rival's, in nats: above 0 the model prefers the decisive token, below 0 the rival.
A pair passes (✓) if the decisive token is the most probable one, or if Δ is at least +1 after the clean prompt and at
most −1 after the corrupt one. Where fewer than half of the pairs pass, the model lacks the behaviour, and a circuit
for it would explain nothing. Numbers of a behaviour are means over its pairs.

The card shows the prompt as a heat strip: under each token its surprise, −log2 of its probability given what stands
before it, in bits. ◆ marks the decisive token, ◇ the rival among the most probable next tokens.

Enter opens a behaviour. On a prompt it offers the graphs that were traced of it, and the dictionaries to trace it with;
when the trace has ended, the graph comes up. Your own behaviours (*.toml) are run from the command line with
`workbench baseline --directory DIR`, and are listed here from then on.
"""


def found_text(row: Row, data: CardData) -> tuple[str, Mapping[str, Any]] | None:
    """A line's number as a finding; None if there is none yet."""
    if row.pair is None:
        return _found_of_behaviour(row)
    pair, record = row.pair, row.pair.record
    if record is None:
        return None
    scores = pair.clean
    provenance: dict[str, Any] = {
        "pane": "baselines", "job": record.job_id, "name": record.name, "prompt": record.clean,
        "p_decisive": scores.p_decisive, "logit_difference": scores.logit_difference,
    }  # fmt: skip
    if scores.p_decisive is None or scores.rank_decisive is None:
        reading = data.readings.get("clean")
        if reading is None or not reading.top:
            return None
        token, p = reading.top[0]
        known = provenance | {"token": token, "p": p}
        return f"after {record.clean!r} the most probable token is {show_token(token)}, p = {number(p)}", known
    text = f"after {record.clean!r} p({show_token(pair.pair.decisive)}) = {number(scores.p_decisive)}"
    text += f", rank {scores.rank_decisive + 1}"
    if scores.logit_difference is not None:
        text += f", Δ {signed(scores.logit_difference, 2)} nats against {show_token(pair.pair.rival or '')}"
    return text, provenance


def copied_text(row: Row) -> str:
    """The clean prompt, or the behaviour's name."""
    return row.pair.pair.clean if row.pair else row.behaviour.name


def _found_of_behaviour(row: Row) -> tuple[str, Mapping[str, Any]] | None:
    behaviour = row.behaviour
    if not behaviour.n_asked:
        return None
    jobs = [pair.record.job_id for pair in behaviour.pairs if pair.record]
    p = behaviour.mean["clean"].p_decisive
    text = f"{behaviour.name}: {behaviour.n_passed} of {behaviour.n_asked} pairs pass, mean p {number(p)}"
    return text, {"pane": "baselines", "job": max(jobs), "behaviour": behaviour.name, "p_decisive": p}
