"""The baselines as a list: a line a behaviour, under it a line a prompt, and how a first project begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Group
from rich.text import Text

from tasks.baseline_board import BoardBehaviour, BoardPair
from workbench.tui.render.bars import number, signed
from workbench.tui.render.tokens import ELLIPSIS, fit, show_text, show_token

OPEN, CLOSED = "▾", "▸"
PASSED, FAILED = "✓", "✗"
RUNNING = "…"
"""What stands for the mark of a prompt that is being run."""
LACKING, NOT_RUN = "the model lacks it", "not run yet"
_STYLES = {PASSED: "green", FAILED: "red"}
_MARK = 6
_DECISIVE = 11
_WITH_TOKEN = 30
"""Cells of text from which on the decisive token has a column of its own."""


@dataclass(frozen=True)
class _Column:
    """One column of numbers."""

    heading: str
    width: int
    from_width: int
    """Cells of the whole line from which on it is shown."""


_COLUMNS = {
    "p": _Column("p", 7, 0),
    "rank": _Column("rank", 6, 56),
    "clean": _Column("Δ clean", 9, 44),
    "corrupt": _Column("Δ corrupt", 11, 64),
}


def board_heading(width: int) -> Text:
    """What stands over the columns. Δ: logit difference, decisive − rival, nats."""
    line = Text("  " + "pass".ljust(_MARK), style="dim")
    for column in _shown(width).values():
        line.append(column.heading.rjust(column.width))
    line.append("  prompt")
    line.append("  (p: of the decisive token; Δ: its logit − its rival's, nats)" if width >= 120 else "  (Δ: nats)")
    line.truncate(width, overflow="ellipsis")
    return line


def behaviour_line(behaviour: BoardBehaviour, is_open: bool, running: bool, width: int) -> Text:
    """`▾ 7/8  0.610   +3.50   −2.25  capitals  the model lacks it  Capital of a country`; numbers are means."""
    clean, corrupt = behaviour.mean["clean"], behaviour.mean["corrupt"]
    values = {"p": number(clean.p_decisive), "rank": ""} | {
        "clean": signed(clean.logit_difference, 2), "corrupt": signed(corrupt.logit_difference, 2)
    }  # fmt: skip
    mark = RUNNING if running else f"{behaviour.n_passed}/{behaviour.n_asked}" if behaviour.n_asked else ""
    line = Text(f"{OPEN if is_open else CLOSED} {mark.ljust(_MARK)}")
    numbers = sum(column.width for column in _shown(width).values())
    if behaviour.run or running or numbers < len(NOT_RUN):
        _append_numbers(line, values if behaviour.n_asked else dict.fromkeys(values, ""), width)
    else:
        line.append(NOT_RUN.rjust(numbers) + "  ", style="dim")
    line.append(show_text(behaviour.name), style="bold")
    if behaviour.lacking:
        line.append(f"  {FAILED} {LACKING}", style="red")
    line.append(f"  {show_text(behaviour.title)}", style="dim")
    line.truncate(width, overflow="ellipsis")
    return line


def pair_line(pair: BoardPair, running: bool, width: int) -> Text:
    """`  ✓  0.610   1   +3.50   −2.25    ·Paris  The capital of France is`.

    Of a prompt that asks nothing, `→·light` is what the model says.
    """
    mark = RUNNING if running else _mark(pair)
    line = Text("   ")
    line.append(mark.ljust(_MARK - 1), style=_STYLES.get(mark, ""))
    clean = pair.clean
    rank = "" if clean.rank_decisive is None else str(clean.rank_decisive + 1)
    values = {"p": number(clean.p_decisive), "rank": rank} | {
        "clean": signed(clean.logit_difference, 2), "corrupt": signed(pair.corrupt.logit_difference, 2)
    }  # fmt: skip
    _append_numbers(line, values if pair.passed is not None else dict.fromkeys(values, ""), width)
    if pair.pair.decisive:
        decisive = show_token(pair.pair.decisive)
    else:
        decisive = f"→{show_token(clean.says)}" if clean.says is not None else ""
    if width - cell_len(line.plain) >= _WITH_TOKEN:
        line.append(_padded(decisive, _DECISIVE))
    room = max(width - cell_len(line.plain), 1)
    line.append(_tail(show_text(pair.pair.clean), room), style="" if pair.record else "dim")
    line.truncate(width)
    return line


def board_view(behaviours: Sequence[BoardBehaviour], width: int) -> Group:
    """Every behaviour, those that were run with their prompts."""
    lines = [board_heading(width)]
    for behaviour in behaviours:
        lines.append(behaviour_line(behaviour, bool(behaviour.run), False, width))
        if behaviour.run:
            lines += [pair_line(pair, False, width) for pair in behaviour.pairs]
    return Group(*lines)


def first_steps(behaviours: Sequence[BoardBehaviour]) -> Text:
    """What to press in a project in which no prompt has been run."""
    prompts = sum(len(behaviour.pairs) for behaviour in behaviours)
    text = Text("Nothing has been run in this project yet.\n\n", style="")
    for key, words in (
        ("n", "type a prompt of your own and see what the model says next"),
        ("R", f"run all {len(behaviours)} behaviours ({prompts} pairs of prompts): what can this model do?"),
        ("r", "run only the behaviour under the cursor"),
        ("⏎", "open a behaviour; on a prompt: trace it to an attribution graph"),
    ):
        text.append(f"  {key}  ", style="bold")
        text.append(f"{words}\n")
    text.append("\nTo see a project that is full, run this in a shell: ")
    text.append("workbench demo", style="bold")
    return text.append("\n(the embedded model, from nothing to a validated circuit; about ten minutes)\n")


def _shown(width: int) -> dict[str, _Column]:
    return {name: column for name, column in _COLUMNS.items() if width >= column.from_width}


def _append_numbers(line: Text, values: dict[str, str], width: int) -> None:
    for name, column in _shown(width).items():
        line.append(values[name].rjust(column.width))
    line.append("  ")


def _mark(pair: BoardPair) -> str:
    return {True: PASSED, False: FAILED, None: "·" if pair.record else ""}[pair.passed]


def _tail(shown: str, cells: int) -> str:
    """The end of a prompt, which is what the next token hangs on, where there is no room for all of it."""
    if cell_len(shown) <= cells:
        return shown
    kept = ""
    for character in reversed(shown):
        if cell_len(character + kept) >= cells:
            break
        kept = character + kept
    return ELLIPSIS + kept


def _padded(shown: str, cells: int) -> str:
    cut = fit(shown, cells - 1)
    return cut + " " * (cells - cell_len(cut))
