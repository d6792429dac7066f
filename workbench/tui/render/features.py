"""Features: a list found by a search, and the card of one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from workbench.tui.render.bars import number
from workbench.tui.render.facts import facts, plain_table
from workbench.tui.render.tokens import show_text, show_token

_SPARKS = " ▁▂▃▄▅▆▇█"


def feature_table(features: Sequence[Mapping[str, Any]]) -> Table:
    """One line a feature: name, density (share of tokens), largest activation, and its label or promoted tokens."""
    table = plain_table("dictionary", "feature", "density", "max", "about")
    for feature in features:
        numbers = (number(feature.get("density"), 4), number(feature.get("maximum"), 2))
        name = show_text(str(feature.get("dictionary", "")))
        table.add_row(*map(Text, (name, show_text(str(feature["feature"])), *numbers, _about(feature))))
    return table


def feature_card(feature: Mapping[str, Any]) -> Group:
    """Everything known of one feature: numbers, promoted and suppressed tokens, top examples with their contexts."""
    parts: list[RenderableType] = [
        facts(
            {
                "feature": f"{feature['dictionary']} {feature['feature']}",
                "label": feature.get("label") or None,
                "density": f"{number(feature['density'], 5)} of tokens",
                "largest activation": number(feature["maximum"], 3),
                "mean when active": number(feature["mean"], 3),
                "activations": sparkline(feature.get("histogram") or []),
                "fires on": " ".join(show_token(str(token)) for token in feature.get("fires_on", [])) or None,
                "promotes": token_list(feature["promoted"]),
                "suppresses": token_list(feature["suppressed"]),
            }
        )
    ]
    if feature.get("examples"):
        parts.append(Text("\nstrongest examples", style="dim"))
        parts += [example_line(example) for example in feature["examples"]]
    return Group(*parts)


def example_line(example: Mapping[str, Any]) -> Text:
    """`12.3  …before ▐token▌ after…`: the activating token stands out by brackets, not by colour alone."""
    line = Text(f"{number(example['activation'], 2):>8}  ")
    line.append(show_text("".join(example["before"])))
    line.append(f"⟦{show_token(example['token'])}⟧", style="bold reverse")
    line.append(show_text("".join(example["after"])))
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


def token_list(pairs: Sequence[Sequence[Any]]) -> str:
    """`·Paris +1.23  ·France +0.98`: tokens with their logits, inert."""
    return "  ".join(f"{show_token(str(token))} {value:+.2f}" for token, value in pairs)


def sparkline(counts: Sequence[float]) -> str:
    """Counts as one row of eighth blocks, the largest full; an empty bin is a blank."""
    top = max(counts, default=0)
    return "".join(_SPARKS[math.ceil(8 * count / top) if top else 0] for count in counts)


def _about(feature: Mapping[str, Any]) -> str:
    if feature.get("label"):
        return show_text(str(feature["label"]))
    return about(feature.get("fires_on", []), [token for token, *_ in feature.get("promoted", [])])


def about(fires_on: Sequence[str], promoted: Sequence[str], most: int = 4) -> str:
    """`·Paris ·France → ·French`: the tokens that an unlabelled feature is strongest on, and those it promotes."""
    on = " ".join(show_token(str(token)) for token in fires_on[:most])
    to = " ".join(show_token(str(token)) for token in promoted[:most])
    return f"{on} → {to}".strip() if to else on
