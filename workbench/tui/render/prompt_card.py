"""The card of a prompt: clean and corrupt side by side, with what the model says next and what surprised it.

The card of a behaviour: what it asks, and what the literature says the model does inside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from store.baselines import Reading, Scores
from tasks.baseline_board import BoardBehaviour, BoardPair
from workbench.tui.render.bars import bar, number, signed
from workbench.tui.render.baseline_board import FAILED, LACKING, NOT_RUN, PASSED
from workbench.tui.render.facts import facts
from workbench.tui.render.heat_strip import heat_strip, strip_scale
from workbench.tui.render.tokens import fit, show_text, show_token

SIDE_BY_SIDE = 60
"""Cells from which on clean and corrupt stand beside each other."""
DECISIVE, RIVAL = "◆", "◇"
"""What marks the decisive token and its rival among the most probable ones."""
_GAP = 3
_PROBABILITY = 7
Variant = Literal["clean", "corrupt"]


@dataclass(frozen=True)
class GraphMention:
    """A graph of the prompt: enough to name it."""

    graph: int
    dictionary: str
    explains: str
    """What it explains, as its decisive target says."""
    of: Variant


@dataclass(frozen=True)
class _Drawing:
    """How one variant's column is drawn."""

    width: int
    scale: float
    """Bits that fill a cell of a heat strip."""
    mark: int | None
    """The first token in which clean and corrupt differ."""
    dark: bool


def prompt_card(
    pair: BoardPair,
    readings: Mapping[str, Reading],
    graphs: Sequence[GraphMention],
    width: int,
    dark: bool = True,
) -> Group:
    """Everything known of a pair on `width` cells. `readings`: by variant; none of a pair that was not run."""
    variants: list[Variant] = ["clean", "corrupt"] if pair.pair.corrupt is not None else ["clean"]
    beside = len(variants) > 1 and width >= SIDE_BY_SIDE
    cells = (width - _GAP) // 2 if beside else width
    scale = strip_scale([_bits(reading) for reading in readings.values()])
    drawing = _Drawing(cells, scale, _first_difference(readings), dark)
    columns = [_column(pair, variant, readings.get(variant), drawing) for variant in variants]
    parts: list[RenderableType] = [_title(pair)]
    if beside:
        grid = Table.grid(padding=(0, _GAP, 0, 0))
        grid.add_column(width=cells)
        grid.add_column(width=cells)
        for row in zip(*columns, strict=True):
            if any(part.plain for part in row):
                grid.add_row(*row)
        parts.append(grid)
    else:
        parts += [part for column in columns for part in column if part.plain]
    if scale:
        parts.append(_legend(scale))
    parts.append(_graphs(graphs))
    return Group(*parts)


def behaviour_card(behaviour: BoardBehaviour, width: int) -> Group:
    """What a behaviour asks, how much of it the model does, and what is claimed to happen inside."""
    mean = behaviour.mean["clean"]
    passed = f"{behaviour.n_passed} of {behaviour.n_asked} pairs" if behaviour.n_asked else None
    left = len(behaviour.pairs) - len(behaviour.run)
    title = Text(show_text(behaviour.title), style="bold")
    if behaviour.lacking:
        title.append(f"  {FAILED} {LACKING}", style="red")
    known = {
        "name": behaviour.name,
        "pairs": f"{len(behaviour.pairs)}"
        + (f", {left if behaviour.run else 'all'} of them {NOT_RUN}" if left else ""),
        "passed": passed,
        "mean p of the decisive token": None if mean.p_decisive is None else number(mean.p_decisive),
        "mean Δ clean": _nats(mean.logit_difference),
        "mean Δ corrupt": _nats(behaviour.mean["corrupt"].logit_difference),
        "section of the paper": behaviour.paper_section or None,
        "claimed circuit": behaviour.claimed_circuit or None,
        "read from": behaviour.directory or None,
    }
    words = (
        "A pair passes if the decisive token is the most probable one, or if Δ (its logit − its rival's) is at least "
        "1 nat for the right token after both prompts."
    )
    return Group(title, facts(known), Text(f"\n{words}", style="dim"))


def _title(pair: BoardPair) -> Text:
    name = pair.record.name if pair.record else NOT_RUN
    title = Text(show_text(name), style="bold")
    if pair.passed is not None:
        mark, words, style = (PASSED, "passed", "green") if pair.passed else (FAILED, "failed", "red")
        title.append(f"  {mark} {words}", style=style)
    elif pair.record:
        title.append("  nothing was asked: no decisive token", style="dim")
    if pair.pair.concept:
        title.append(f"  by way of {show_text(pair.pair.concept)}", style="dim")
    return title


def _column(pair: BoardPair, variant: Variant, reading: Reading | None, drawing: _Drawing) -> list[Text]:
    """The sections of one variant, as many of them in every variant."""
    prompt = pair.pair.clean if variant == "clean" else pair.pair.corrupt or ""
    heading = Text(variant if pair.pair.corrupt is not None else "prompt", style="bold underline")
    if reading is None:
        asked = _asked(pair, variant)
        return [heading, Text(show_text(prompt), overflow="fold"), asked, Text(""), Text("")]
    bits = reading.surprise
    if bits is None:
        strip = Text(show_text(prompt) + "\n", overflow="fold")
        strip.append("its tokens' surprise was not kept; r runs it again", style="dim italic")
    else:
        tokens = [token for token, _ in bits]
        strip = Text("\n").join(
            heat_strip(tokens, _bits(reading), drawing.width, drawing.scale, drawing.mark, drawing.dark)
        )
    scores = pair.clean if variant == "clean" else pair.corrupt
    return [heading, strip, _scores(pair, scores), _next_tokens(pair, reading, drawing.width), _continuation(reading)]


def _asked(pair: BoardPair, variant: Variant) -> Text:
    """What should come next, of a pair that was not run."""
    token = pair.pair.decisive if variant == "clean" else pair.pair.rival
    return Text(f"should give {show_token(token)}" if token else "", style="dim")


def _scores(pair: BoardPair, scores: Scores) -> Text:
    if scores.p_decisive is None or scores.rank_decisive is None:
        return Text("")
    decisive = show_token(pair.pair.decisive)
    text = Text(f"\n{DECISIVE} p({decisive}) = {number(scores.p_decisive)}, rank {scores.rank_decisive + 1}")
    if scores.logit_difference is not None and pair.pair.rival:
        rival = show_token(pair.pair.rival)
        text.append(f"\nΔ {decisive} − {rival} = {signed(scores.logit_difference, 2)} nats")
    return text


def _next_tokens(pair: BoardPair, reading: Reading, width: int) -> Text:
    """`◆ ·Paris  ██████▎      0.610`, the bar's full length being p = 1."""
    text = Text("\n")
    text.append("next token, p", style="dim")
    names = [show_token(token) for token, _ in reading.top]
    longest = min(max(map(cell_len, names), default=0), max(width // 3, 6))
    room = max(width - longest - _PROBABILITY - 4, 1)
    for (token, p), name in zip(reading.top, names, strict=True):
        mark = DECISIVE if token == pair.pair.decisive else RIVAL if token == pair.pair.rival else " "
        shown = fit(name, longest)
        style = "bold" if mark != " " else ""
        text.append(f"\n{mark} {shown}{' ' * (longest - cell_len(shown))} ", style=style)
        text.append(bar(p, room), style="cyan")
        text.append(f" {number(p):>{_PROBABILITY}}", style=style)
    return text


def _continuation(reading: Reading) -> Text:
    text = Text("\n", overflow="fold")
    text.append("goes on  ", style="dim")
    return text.append(show_text(reading.continuation) if reading.continuation else "–")


def _legend(scale: float) -> Text:
    words = f"\nUnder each token its surprise, −log₂ p given what stands before it: █ is {number(scale, 1)} bits."
    return Text(words, style="dim")


def _graphs(graphs: Sequence[GraphMention]) -> Text:
    if not graphs:
        return Text("\nno graph of it yet: t traces it", style="dim")
    text = Text("\ngraphs", style="bold")
    for mention in graphs:
        of = "" if mention.of == "clean" else " of the corrupt prompt"
        text.append(f"\n  {mention.graph}{of}  {show_text(mention.dictionary)}  explains {show_text(mention.explains)}")
    return text


def _first_difference(readings: Mapping[str, Reading]) -> int | None:
    clean, corrupt = (readings[variant].tokens if variant in readings else [] for variant in ("clean", "corrupt"))
    return next((i for i, (a, b) in enumerate(zip(clean, corrupt, strict=False)) if a != b), None)


def _bits(reading: Reading) -> list[float]:
    return [float("nan") if bits is None else bits for _, bits in reading.surprise or []]


def _nats(value: float | None) -> str | None:
    return None if value is None else f"{signed(value, 2)} nats"
