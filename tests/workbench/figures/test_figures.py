"""Figures and pages: whole, offline, inert; and the page's tree is the command line's."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tasks.graphs.view import GraphView
from tests.workbench.figures.graphs import hostile_graph, random_graph
from tests.workbench.render.test_graph_tree import hand_made, wide_graph
from workbench.figures.html import graph_page
from workbench.figures.layout import map_layout
from workbench.figures.map import MOST_EDGES, flow
from workbench.figures.svg import graph_figure
from workbench.tui.render.bars import percent, sign
from workbench.tui.render.graph_tree import describe
from workbench.tui.render.tree_lines import TreeLimits, TreeLine, tree_lines

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
VIEWS = {"small": hand_made(), "wide": wide_graph(60), "many": random_graph(300), "hostile": hostile_graph(),
         "long": random_graph(80, n_tokens=120)}  # fmt: skip
SVG = "{http://www.w3.org/2000/svg}"
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class _Page(HTMLParser):
    """The elements, attributes and texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.contents: dict[str, list[str]] = {}
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        if self.tags:
            self.contents.setdefault(self.tags[-1], []).append(data)


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("by", ["share", "effect"])
def test_given_a_graph_when_drawn_then_the_figure_is_whole_xml_with_every_node_and_nothing_from_outside(
    name: str, by: str
) -> None:
    figure = graph_figure(VIEWS[name], by)
    root = ElementTree.fromstring(figure)
    marks = [int(each.attrib["data-n"]) for each in root.iter(f"{SVG}g") if "data-n" in each.attrib]
    assert sorted(marks) == sorted(VIEWS[name].nodes)
    edges = [each for each in root.iter(f"{SVG}path") if "data-s" in each.attrib]
    assert len(edges) == min(len(VIEWS[name].edges), MOST_EDGES)
    allowed = {"svg", "g", "path", "circle", "rect", "line", "text", "title", "style"}
    assert {each.tag.removeprefix(SVG) for each in root.iter()} <= allowed
    assert not re.search(r"url\(|href|@import|javascript:", figure)
    assert re.findall(r"https?://[^\"'\s]+", figure) == ["http://www.w3.org/2000/svg"]
    assert not CONTROLS.search(figure.replace("\n", ""))


def test_given_an_edge_when_drawn_then_its_sign_is_told_without_colour() -> None:
    root = ElementTree.fromstring(graph_figure(hand_made()))
    signs = {(int(e.attrib["data-s"]), int(e.attrib["data-t"])): e.attrib["class"].split()[1]
             for e in root.iter(f"{SVG}path") if "data-s" in e.attrib}  # fmt: skip
    assert signs == {(edge.source, edge.target): "neg" if edge.share < 0 else "pos" for edge in hand_made().edges}
    style = next(root.iter(f"{SVG}style")).text or ""
    assert re.search(r"\.e\.neg\{[^}]*stroke-dasharray", style) and not re.search(r"\.e\.pos\{[^}]*dash", style)


def test_given_edges_into_a_feature_when_drawn_then_they_count_by_what_the_feature_carries() -> None:
    view = hand_made()
    into_logit, into_feature = view.edges[0], view.edges[3]
    assert flow(view, into_logit, "share") == into_logit.share
    assert flow(view, into_feature, "share") == pytest.approx(
        into_feature.share * view.nodes[into_feature.target].share
    )
    upper = view.nodes[into_feature.target]
    assert flow(view, into_feature, "effect") == pytest.approx(0.7 * 1.31 / upper.activation)


@pytest.mark.parametrize("name", VIEWS)
def test_given_a_graph_when_laid_out_then_marks_lie_in_their_cells_apart_from_each_other(name: str) -> None:
    view, layout = VIEWS[name], map_layout(VIEWS[name])
    places: dict[tuple[float, float], int] = {}
    for node in view.nodes.values():
        x, y = layout.points[node.node]
        assert 0 <= x <= layout.width and 0 <= y <= layout.height
        if node.kind not in ("feature", "error"):
            continue
        row, column = layout.rows[node.layer], layout.columns[node.position]
        assert row.top <= y <= row.top + row.height
        assert column.left <= x <= column.left + column.width
        assert places.setdefault((round(x, 3), round(y, 3)), node.node) == node.node
    boxes = [layout.boxes[root] for root in view.roots]
    for a, b in combinations(boxes, 2):
        assert a.left + a.width <= b.left or b.left + b.width <= a.left or a.top != b.top


@pytest.mark.parametrize("name", VIEWS)
def test_given_a_graph_when_written_as_a_page_then_it_is_offline_and_only_its_own_script_may_run(name: str) -> None:
    text = graph_page(VIEWS[name], {"group </script><b>": [0, 1]})
    page = _Page(text)
    assert re.findall(r"https?://[^\"'\s]+", text) == ["http://www.w3.org/2000/svg"] * text.count("http://www.w3.org")
    assert page.tags.count("script") == 2 and page.tags.count("style") == 1
    assert not {"img", "iframe", "object", "embed", "link", "base", "form", "b"} & set(page.tags)
    assert not [key for key, _ in page.attributes if key.startswith("on") or key in ("src", "href", "style", "action")]
    policy = next(value for key, value in page.attributes if key == "content" and value and "default-src" in value)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    script = text[text.rindex("<script>") + len("<script>") : text.rindex("</script>")]
    style = text[text.index("<style>") + len("<style>") : text.index("</style>")]
    for rule, content in (("script-src", script), ("style-src", style)):
        assert rules[rule] == f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
    assert not CONTROLS.search(text.replace("\n", ""))


def test_given_a_page_when_its_data_are_read_then_they_are_the_graph() -> None:
    view = random_graph(50)
    text = graph_page(view, {"south": [0, 1], "gone": [10**6]})
    start = text.index('id="graph">') + len('id="graph">')
    data = json.loads(text[start : text.index("</script>", start)])
    assert [tuple(edge) for edge in data["edges"]] == [(e.source, e.target, e.share, e.effect) for e in view.edges]
    assert [node["n"] for node in data["nodes"]] == list(view.nodes)
    assert data["groups"] == [["south", [0, 1]], ["gone", []]]
    assert all(node["group"] == ("south" if node["n"] < 2 else "") for node in data["nodes"])


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
@pytest.mark.parametrize("name", VIEWS)
def test_given_the_page_when_a_browser_runs_it_then_its_tree_is_the_command_lines(name: str, tmp_path: Path) -> None:
    view = VIEWS[name]
    rows = browser_rows(graph_page(view, {}), tmp_path)
    assert rows == [expected_row(view, line) for line in tree_lines(view, view.roots[0], TreeLimits())]


def expected_row(view: GraphView, line: TreeLine) -> tuple[str, str, str, str]:
    """(guides, sign and per cent, name or words, rest) of a line of the tree."""
    numbers = "" if line.share is None else (sign(line.share) + percent(abs(line.share))).strip()
    if line.node is None:
        return line.guides, numbers, line.words, ""
    name, about = describe(line.node, view.tokens)
    if line.seen:
        return line.guides, numbers, f"↩ see {name}", line.words
    return line.guides, numbers, name, "  ".join(filter(None, (about, line.words)))


def browser_rows(page: str, directory: Path) -> list[tuple[str, str, str, str]]:
    """The tree's rows after the page's own script has run in a browser without a network."""
    dom = browser_dom(page, directory)
    assert "<img" not in dom
    tree = dom[dom.index('<div id="tree"') : dom.index("</section>")]
    rows = []
    for chunk in re.split(r'<div class="row', tree)[1:]:
        cells = {css: _plain(text) for css, text in re.findall(r'<span class="(\w+)">(.*?)</span>', chunk, re.DOTALL)}
        numbers = (cells["sign"] + cells["pct"]).strip()
        rows.append((cells["guides"][2:], numbers, cells["text"], cells.get("about", "")))
    return rows


def _plain(markup: str) -> str:
    return unescape(re.sub(r"<[^>]*>", "", markup)).replace("\xa0", " ")


def test_given_a_graph_of_another_program_when_drawn_then_a_direction_that_is_not_known_is_not_made_up() -> None:
    view = hand_made(measured=False)
    nodes = {n: replace(node, share=math.nan, predicted_effect=None) for n, node in view.nodes.items()}
    unknown = replace(view, nodes=nodes, closing_error=math.nan)
    figure, page = graph_figure(unknown), graph_page(unknown, {})
    assert figure.count('r="5" class="m unk"') == 1 and "feature, direction unknown" in figure
    drawn = figure[: figure.index("feature, raises the logit")]
    assert drawn.count('class="m unk"') == 2 and drawn.count('class="m pos"') == 1  # that one is the legend's
    assert "closing error –" in figure and "closing error –" in page
    assert not re.search(r"\bnan\b", figure + page[: page.index("<style>")], re.IGNORECASE)
    assert '"share":null' in page and "NaN" not in page[page.index('id="graph"') :].split("</script>")[0]


STEPS = """
const press = (key) => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
const rows = () => [...document.querySelectorAll(".row")];
const seen = {}, note = (name) => seen[name] = {
  rows: rows().length, selected: state.selected, near: document.querySelectorAll(".n.near").length,
  over: document.querySelectorAll(".over .e").length, card: document.querySelector("#card h2")?.textContent ?? "",
  hits: document.querySelectorAll(".n.hit").length, root: state.root, focused: rows().indexOf(document.activeElement)};
rows()[0].focus(); note("start");
press("ArrowDown"); note("down");
press("ArrowLeft"); note("closed");
press("ArrowRight"); note("opened");
press("r"); note("rooted");
document.querySelector('[data-n="5"]').dispatchEvent(new MouseEvent("click", {bubbles: true})); note("clicked");
document.getElementById("search").value = "FRANCE"; search(); note("searched");
document.querySelector(".group").click(); note("grouped");
press("Escape"); note("cleared");
document.title = JSON.stringify(seen);
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_given_the_page_when_driven_by_keys_and_clicks_then_tree_map_and_card_follow(tmp_path: Path) -> None:
    view = hand_made()
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", graph_page(view, {"places": [2, 3]}))
    dom = browser_dom(page.replace("</body>", f"<script>{STEPS}</script></body>"), tmp_path)
    seen = json.loads(unescape(re.findall(r"<title>(.*?)</title>", dom, re.DOTALL)[0]))
    lines = tree_lines(view, 5, TreeLimits())
    below_first = [line.guides for line in lines[2:]].index("├─ ")
    assert seen["start"]["rows"] == len(lines) and seen["start"]["selected"] is None
    assert (seen["down"]["selected"], seen["down"]["focused"]) == (3, 1)
    assert seen["down"]["over"] == len(view.edges_at(3, "in")) + len(view.edges_at(3, "out"))
    assert seen["down"]["near"] == 1 + seen["down"]["over"] and seen["down"]["card"].startswith("L12/345@4")
    opened_elsewhere = len(tree_lines(view, 2, TreeLimits())) - 1  # node 2 is now first met further down
    assert seen["closed"]["rows"] == len(lines) - below_first + opened_elsewhere
    assert seen["opened"]["rows"] == len(lines)
    assert seen["rooted"]["root"] == 3 and seen["rooted"]["rows"] == len(tree_lines(view, 3, TreeLimits()))
    assert seen["clicked"]["selected"] == 5
    assert seen["searched"]["hits"] == 2  # the feature with that label, and its token
    leaving = sum((edge.source in (2, 3)) != (edge.target in (2, 3)) for edge in view.edges)
    assert (seen["grouped"]["hits"], seen["grouped"]["over"]) == (2, leaving)
    assert (seen["cleared"]["hits"], seen["cleared"]["over"], seen["cleared"]["selected"]) == (0, 0, None)


def browser_dom(page: str, directory: Path) -> str:
    """The document after its scripts have run in a browser without a network."""
    file = directory / "page.html"
    file.write_text(page, encoding="utf-8")
    command = [CHROMIUM or "", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={directory}/profile",
               "--dump-dom", file.as_uri()]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
