"""The report of a reproduction: Markdown, and one HTML page that works from a file, without scripts or a network.

Every text of a model or a person is inert in both: control characters are shown, markup is escaped.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from workbench.figures.strips import control_strip, faithfulness_chart
from workbench.tui.render.bars import number, percent, signed
from workbench.tui.render.reproduction import MARKS, tally
from workbench.tui.render.tokens import show_text, show_token

Document = Mapping[str, Any]
_STYLE = """
body{font:15px/1.5 system-ui,'Segoe UI','DejaVu Sans',sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;
color:#1c2430;background:#fff}
table{border-collapse:collapse;margin:.6rem 0}th,td{text-align:left;padding:.15rem .8rem .15rem 0;vertical-align:top}
th{font-weight:500;color:#5a6675}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
code{font-family:ui-monospace,'DejaVu Sans Mono',monospace;font-size:.92em}
.quiet{color:#5a6675}.verdict{font-weight:600}.supported{color:#1d7a46}.partly{color:#8a6100}.not-supported{color:#b03a1e}
section{border-top:1px solid #e3e8ed;margin-top:2rem}img{max-width:100%;height:auto;border:1px solid #e3e8ed}
svg{display:block;margin:.3rem 0}h3{font-size:1rem;margin-bottom:.2rem}
@media(prefers-color-scheme:dark){body{color:#d7dee6;background:#14181d}.quiet,th{color:#93a1b0}
.supported{color:#5cc98a}.partly{color:#e0b04a}.not-supported{color:#ef8467}img{background:#fff}
svg text{fill:#d7dee6}}
"""


def bounds_text(document: Document) -> str:
    """The conventions that verdicts rest on, in a sentence each."""
    bounds = document["bounds"]
    return (
        f"A swap is supported if the counterfactual answer wins in {percent(bounds['flipped'], 0)} of the pairs and "
        f"the logit difference moves {bounds['moved']:g} of the way to the corrupt prompt's, partly if it only beats "
        f"every control by {bounds['above_controls']:g} of the way and twofold. A removal is supported if held-out "
        f"answers lose {bounds['lost']:.2f} nats (partly: {bounds['lost_partly']:.2f}), twice what any control loses. "
        f"An overlap is supported at p ≤ {bounds['p']:g}, partly at p ≤ {bounds['p_partly']:g}."
    )


def report_markdown(document: Document) -> str:
    """The whole report as Markdown."""
    lines = ["# Reproduction of the case studies", "", tally(document) + ".", "", bounds_text(document), ""]
    lines += ["| behaviour | paper | the model does | verdict | because |", "| --- | --- | --- | --- | --- |"]
    for each in document["behaviours"]:
        cells = (
            each["name"],
            each["paper_section"] or "–",
            percent(each["accuracy"], 0),
            each["verdict"],
            each["because"],
        )
        lines.append("| " + " | ".join(map(_cell, cells)) + " |")
    for each in document["behaviours"]:
        lines += ["", f"## {_cell(each['title'])}: {each['verdict']}", "", *_markdown_section(each)]
    return "\n".join(lines) + "\n"


def _markdown_section(behaviour: Document) -> Iterator[str]:
    yield f"Claimed: {_cell(behaviour['claimed_circuit'])}."
    yield ""
    yield from ("| | prompt | answer | rival | p | clean | corrupt |", "| --- | --- | --- | --- | ---: | ---: | ---: |")
    for cells in map(_pair_cells, behaviour["pairs"]):
        yield "| " + " | ".join(map(_cell, cells)) + " |"
    for hypothesis in behaviour["hypotheses"]:
        yield ""
        yield f"- {MARKS[hypothesis['outcome']]} **{hypothesis['outcome']}** ({_window(hypothesis)}): " + _cell(
            hypothesis["claim"]
        )
        yield f"  {_cell(hypothesis['because'])}."
    for line in _facts(behaviour):
        yield ""
        yield line


def _cell(text: str) -> str:
    """Text that no Markdown table or paragraph takes for markup."""
    shown = show_text(str(text))
    for mark in "\\`*_[]<>|#":
        shown = shown.replace(mark, f"\\{mark}")
    return shown


def _pair_cells(pair: Document) -> tuple[str, ...]:
    mark = "✓" if pair["usable"] else "✗"
    prompt = pair["clean"] + (f" … {pair['prefill']}" if pair["prefill"] else "")
    if pair["reason"]:
        prompt += f" ({pair['reason']})"
    numbers = (number(pair.get("probability")), signed(pair.get("logit_difference"), 2),
               signed(pair.get("corrupt_logit_difference"), 2))  # fmt: skip
    return mark, prompt, show_token(pair["decisive"]), show_token(pair["rival"] or ""), *numbers


def _window(hypothesis: Document) -> str:
    low, high = hypothesis["depth"]
    where = f", probe “{show_text(hypothesis['probe'])}”" if hypothesis["probe"] else ""
    return f"{hypothesis['kind']}, {hypothesis['where']}, depth {low:g} to {high:g}{where}"


def _facts(behaviour: Document) -> Iterator[str]:
    """What recurs, supernodes, and how the graphs' claims held, a sentence each."""
    if behaviour["recurrence"] is not None:
        found = behaviour["recurrence"]["by_offset"]
        names = ", ".join(f"{each['feature']} ({each['prompts']})" for each in found["features"][:6]) or "none"
        yield (
            f"Graphs {', '.join(str(each['graph']) for each in behaviour['graphs'])} share "
            f"{number(found['mean_jaccard'])} of their features (chance {number(found['expected_jaccard'])}); most "
            f"frequent: {names}."
        )
        yield f"Automatic supernodes: {', '.join(str(each['found']) for each in behaviour['supernodes'])}."
    for each in behaviour["validations"]:
        verdicts = each["verdicts"]
        yield (
            f"Graph {each['graph']} validated: Spearman of predicted and measured effects "
            f"{number(each['spearman_predicted'])}, {verdicts['confirmed']} confirmed, {verdicts['weak']} weak, "
            f"{verdicts['contradicted']} contradicted; the kept circuit alone is "
            f"{number(each['faithfulness'])} faithful (1 is the whole model)."
        )
        removed = [group for group in each.get("supernodes", []) if group["measured_effect"] is not None]
        if removed:
            yield "Its largest supernodes, each removed as one (nats): " + "; ".join(map(_supernode, removed)) + "."


def _supernode(group: Document) -> str:
    """What was predicted of a supernode, and what came of removing it."""
    numbers = [signed(group[f"{name}_effect"], 2) for name in ("predicted", "measured", "control")]
    return f"{group['features']} features, predicted {numbers[0]}, measured {numbers[1]}, as many others {numbers[2]}"


def report_page(document: Document, figures: Mapping[int, str]) -> str:
    """The report as one page; `figures` maps a graph's id to its SVG, which is embedded as an image."""
    style = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{style}'; img-src data:; base-uri 'none'; form-action 'none'"
    sections = "".join(_section(each, figures) for each in document["behaviours"])
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Reproduction of the case studies</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>Reproduction of the case studies</h1>
<p>{escape(tally(document))}</p>
<p class="quiet">{escape(bounds_text(document))}</p>
{_overview(document)}
{sections}
</body>
</html>
"""


def _overview(document: Document) -> str:
    rows = []
    for each in document["behaviours"]:
        cells = (each["paper_section"] or "–", percent(each["accuracy"], 0))
        rows.append(
            f'<tr><td><a href="#{_anchor(each)}">{_html(each["name"])}</a></td>'
            + "".join(f"<td>{_html(cell)}</td>" for cell in cells)
            + f"<td>{_verdict(each['verdict'])}</td><td>{_html(each['because'])}</td></tr>"
        )
    head = "".join(f"<th>{name}</th>" for name in ("behaviour", "paper", "the model does", "verdict", "because"))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _section(behaviour: Document, figures: Mapping[int, str]) -> str:
    head = "".join(f"<th>{name}</th>" for name in ("", "prompt", "answer", "rival", "p", "clean", "corrupt"))
    rows = "".join(
        "<tr>" + "".join(f"<td>{_html(cell)}</td>" for cell in cells) + "</tr>"
        for cells in map(_pair_cells, behaviour["pairs"])
    )
    parts = [
        f'<section id="{_anchor(behaviour)}"><h2>{_html(behaviour["title"])}: {_verdict(behaviour["verdict"])}</h2>',
        f'<p class="quiet">Claimed: {_html(behaviour["claimed_circuit"])}. {_html(behaviour["because"])}.</p>',
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>",
        *map(_hypothesis, behaviour["hypotheses"]),
        *(f"<p>{_html(line)}</p>" for line in _facts(behaviour)),
        *map(faithfulness_chart, behaviour["validations"]),
        *_images([each["graph"] for each in behaviour["graphs"]], figures),
        "</section>",
    ]
    return "\n".join(parts)


def _hypothesis(hypothesis: Document) -> str:
    chart = "" if hypothesis["value"] is None else control_strip(hypothesis["value"], hypothesis["controls"])
    unit = f'<p class="quiet">● it, ○ controls; {_html(hypothesis["unit"])}</p>' if chart else ""
    return (
        f"<h3>{MARKS[hypothesis['outcome']]} {_html(hypothesis['claim'])}</h3>"
        f"<p>{_verdict(hypothesis['outcome'])}: {_html(hypothesis['because'])}. "
        f'<span class="quiet">({_html(_window(hypothesis))})</span></p>{chart}{unit}'
    )


def _images(graphs: Sequence[int], figures: Mapping[int, str]) -> Iterator[str]:
    for graph in graphs:
        if graph in figures:
            data = b64encode(figures[graph].encode()).decode()
            yield f'<p><img alt="graph {graph}" src="data:image/svg+xml;base64,{data}"></p>'


def _verdict(verdict: str) -> str:
    name = verdict.replace(" ", "-").replace("'", "")
    return f'<span class="verdict {name}">{MARKS[verdict]} {escape(verdict)}</span>'


def _anchor(behaviour: Document) -> str:
    return "b-" + "".join(c if c.isascii() and c.isalnum() else "-" for c in behaviour["name"])


def _html(text: str) -> str:
    return escape(show_text(str(text)))
