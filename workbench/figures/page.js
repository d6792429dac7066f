"use strict";
// The page of one graph: a tree that reads as `workbench graph show` prints it, linked to the layer × token map.
// Every text arrives inert and is set as text, never as markup.

const graph = JSON.parse(document.getElementById("graph").textContent);
const nodes = new Map(graph.nodes.map((node) => [node.n, node]));
const ins = new Map(), outs = new Map();
const VISIBLE_SHARE = 5e-4, TOKENS_SHOWN = 2, MINUS = "\u2212", LISTED = 9;
const GLYPH = { confirmed: "\u2713", weak: "~", contradicted: "\u2717", untested: " " };
const MOST_RESULTS = 40;
for (const [source, target, share, effect] of graph.edges) {
  const edge = { source, target, share, effect };
  (ins.get(target) ?? ins.set(target, []).get(target)).push(edge);
  (outs.get(source) ?? outs.set(source, []).get(source)).push(edge);
}
const state = { root: graph.roots[0], depth: 3, width: 6, by: "effect", direction: "in", selected: null,
  forced: new Set(), closed: new Set(), widened: new Set() };

const at = (id) => document.getElementById(id);
function element(tag, css, content) {
  const made = document.createElement(tag);
  if (css) made.className = css;
  if (content !== undefined) made.textContent = content;
  return made;
}
const sign = (value) => (value > 0 ? "+" : value < 0 ? MINUS : " ");
const signed = (value) => (value === null ? "\u2013" : sign(value) + Math.abs(value).toFixed(3));
function percent(share) {
  const digits = share !== 0 && Math.abs(share) < 0.5 * 10 ** -3 ? 2 : 1;
  return `${(100 * share).toFixed(digits).replace("-", MINUS)} %`;
}
const sum = (edges, of) => edges.reduce((total, edge) => total + of(edge), 0);
const mass = (edges) => sum(edges, (edge) => Math.abs(edge.share));

// The tree: the same lines, in the same order, as tree_lines in workbench/tui/render/graph_tree.py.
const edgesAt = (node) => (state.direction === "in" ? ins : outs).get(node) ?? [];
const other = (edge) => (state.direction === "in" ? edge.source : edge.target);
function strength(edge) {
  const effect = state.by === "effect" ? nodes.get(other(edge)).effect : null;
  return Math.abs(effect === null ? edge.share : effect);
}
function ranked(node, width) {
  const edges = [...edgesAt(node)].sort((a, b) => strength(b) - strength(a));
  const of = (kind) => edges.filter((edge) => kind.includes(nodes.get(other(edge)).kind));
  const others = of(["feature", "logit"]), tokens = of(["token"]), errors = of(["error"]);
  const nTokens = Math.max(TOKENS_SHOWN, width - others.length);
  let shown = [...others.slice(0, width), ...tokens.slice(0, nTokens)];
  let hidden = [...others.slice(width), ...tokens.slice(nTokens)];
  if (hidden.length === 1) [shown, hidden] = [[...shown, ...hidden], []];
  return { shown, hidden, errors };
}
function tailOf({ shown, hidden, errors }, path) {
  const tail = [];
  if (hidden.length) tail.push({ words: `\u2026 ${hidden.length} weaker, ${percent(mass(hidden))}`, share: null, widens: path });
  if (errors.length) {
    const count = errors.length === 1 ? "1 error node" : `${errors.length} error nodes`;
    tail.push({ words: `error: ${percent(mass(errors))} in ${count}`, share: sum(errors, (edge) => edge.share) });
  }
  const all = [...shown, ...hidden, ...errors], rest = 1 - mass(all);
  if (state.direction === "in" && all.length && rest >= VISIBLE_SHARE) {
    tail.push({ words: `pruned, constants: ${percent(rest)}`, share: null });
  }
  return tail;
}
function below(rows, node, indent, level, path, opened) {
  const found = ranked(node, state.widened.has(path) ? Infinity : state.width);
  const tail = tailOf(found, path);
  found.shown.forEach((edge, index) => {
    const last = index === found.shown.length - 1 && !tail.length;
    const child = other(edge), childPath = `${path}>${child}`, count = edgesAt(child).length;
    const seen = opened.has(child) && count > 0;
    const opens = !seen && !state.closed.has(childPath) && (level < state.depth || state.forced.has(childPath));
    const words = opens || seen || !count ? "" : `\u2026 ${count} below`;
    rows.push({ guides: indent + (last ? "\u2514\u2500 " : "\u251c\u2500 "), node: child, share: edge.share, words, seen,
      path: childPath, level, open: opens && count > 0, opens: !seen && count > 0 });
    if (!opens) return;
    opened.add(child);
    below(rows, child, indent + (last ? "   " : "\u2502  "), level + 1, childPath, opened);
  });
  tail.forEach((line, index) => {
    const guides = indent + (index === tail.length - 1 ? "\u2514\u2500 " : "\u251c\u2500 ");
    rows.push({ guides, node: null, seen: false, path: `${path}>tail${index}`, level, ...line });
  });
}
function treeRows() {
  const root = state.root, path = String(root);
  const rows = [{ guides: "", node: root, share: null, words: "", seen: false, path, level: 0, open: true, opens: false }];
  below(rows, root, "", 1, path, new Set([root]));
  return rows;
}

function drawRow(row) {
  const node = row.node === null ? null : nodes.get(row.node), feature = node && node.kind === "feature" ? node : null;
  const line = element("div", "row" + (row.level ? "" : " root") + (node ? "" : " words"));
  Object.assign(line.dataset, node ? { node: node.n, path: row.path } : { path: row.path });
  line.setAttribute("role", "treeitem");
  line.setAttribute("aria-level", row.level + 1);
  if (row.opens) line.setAttribute("aria-expanded", row.open);
  line.tabIndex = -1;
  const bar = element("span", "bar");
  if (row.share) {
    const fill = bar.appendChild(element("i", row.share < 0 ? "neg" : "pos"));
    fill.style.width = `${Math.min(100, 100 * Math.abs(row.share))}%`;
  }
  line.append(bar, element("span", "sign", row.share === null ? "" : sign(row.share)),
    element("span", "pct", row.share === null ? "" : percent(Math.abs(row.share))),
    element("span", "eff", feature ? signed(feature.effect) : ""));
  if (graph.measured) {
    line.append(element("span", "real", feature ? signed(feature.measured) : ""),
      element("span", "ver", feature ? GLYPH[feature.verdict] : " "));
  }
  line.append(element("span", "guides", "  " + row.guides));
  line.append(element("span", "text", node ? (row.seen ? "\u21a9 see " : "") + node.name : row.words));
  const about = node ? [row.seen ? "" : node.about, row.words].filter(Boolean).join("  ") : "";
  if (about) line.append(element("span", "about", about));
  return line;
}
function drawTree() {
  const tree = at("tree");
  tree.replaceChildren(...treeRows().map((row) => Object.assign(drawRow(row), { row })));
  markRows();
  (tree.querySelector(".sel") ?? tree.firstChild).tabIndex = 0;
}
function markRows() {
  for (const line of at("tree").children) line.classList.toggle("sel", line.row.node !== null && line.row.node === state.selected);
}
function toggle(line, open) {
  const { path, opens, widens, open: isOpen } = line.row;
  if (widens !== undefined) state.widened.add(widens);
  else if (!opens || open === isOpen) return;
  else if (isOpen) { state.closed.add(path); state.forced.delete(path); }
  else { state.forced.add(path); state.closed.delete(path); }
  drawTree();
  focusPath(widens ?? path);
}
function focusPath(path) {
  const line = [...at("tree").children].find((each) => each.row.path === path) ?? at("tree").firstChild;
  focusRow(line);
}
function focusRow(line) {
  for (const each of at("tree").children) each.tabIndex = -1;
  line.tabIndex = 0;
  line.focus();
  if (line.row.node !== null) select(line.row.node);
}

// The map: a node's own edges are drawn over the others, whether or not those were strong enough to be drawn.
const map = document.querySelector("#map svg");
const marks = new Map([...map.querySelectorAll("[data-n]")].map((mark) => [Number(mark.dataset.n), mark]));
const over = map.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "g"));
over.setAttribute("class", "over");
function curve(edge) {
  const { x: x1, y: y1 } = nodes.get(edge.source), { x: x2, y: y2 } = nodes.get(edge.target);
  const bend = Math.max(Math.abs(y1 - y2) * 0.45, 14);
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", `M${x1} ${y1}C${x1} ${y1 - bend} ${x2} ${y2 + bend} ${x2} ${y2}`);
  path.setAttribute("class", `e ${edge.share < 0 ? "neg" : "pos"}`);
  path.setAttribute("stroke-width", Math.max(0.5, 5 * Math.sqrt(Math.min(1, Math.abs(edge.share)))).toFixed(2));
  return path;
}
function mark(chosen, css) {
  for (const [node, shape] of marks) shape.classList.toggle(css, chosen.has(node));
}
function select(id) {
  state.selected = id;
  const edges = id === null ? [] : [...(ins.get(id) ?? []), ...(outs.get(id) ?? [])];
  map.classList.toggle("focus", id !== null);
  mark(new Set(id === null ? [] : [id]), "sel");
  mark(new Set(edges.flatMap((edge) => [edge.source, edge.target])), "near");
  mark(new Set(), "hit");
  over.replaceChildren(...edges.map(curve));
  markRows();
  drawCard();
}
function drawCard() {
  const card = at("card"), node = nodes.get(state.selected);
  if (!node) return card.replaceChildren(element("p", "hint", "Choose a node in the tree or on the map."));
  const heading = element("h2", "mono", node.name), list = element("dl");
  const facts = [["label", node.label], ["promotes", node.promoted], ["fires on", node.fires], ["share", signed(node.share) + " nats"],
    ["predicted effect", node.effect === null ? "" : signed(node.effect) + " nats"],
    ["measured effect", node.measured === null ? "" : `${signed(node.measured)} nats  ${GLYPH[node.verdict]} ${node.verdict}`],
    ["activation", node.kind === "feature" && node.activation !== null ? node.activation.toPrecision(4) : ""],
    ["probability", node.kind === "logit" ? node.activation.toFixed(4) : ""], ["supernode", node.group]];
  for (const [name, value] of facts) if (value && value !== "\u2013 nats") list.append(element("dt", "", name), element("dd", "", value));
  const root = element("button", "", "tree from here");
  root.addEventListener("click", () => { state.root = node.n; at("root").value = String(node.n); redraw(); });
  const links = element("div", "links");
  links.append(linkList("made of", ins.get(node.n) ?? [], "source"), linkList("goes into", outs.get(node.n) ?? [], "target"));
  card.replaceChildren(heading, list, links, root);
}
function linkList(title, edges, end) {
  const box = element("div");
  box.append(element("h3", "", `${title} (${edges.length})`));
  const strongest = [...edges].sort((a, b) => Math.abs(b.share) - Math.abs(a.share)).slice(0, LISTED);
  for (const edge of strongest) {
    const button = element("button", "link");
    button.append(element("b", "", sign(edge.share) + percent(Math.abs(edge.share))), element("span", "", nodes.get(edge[end]).name));
    button.addEventListener("click", () => reveal(edge[end]));
    box.append(button);
  }
  return box;
}
function reveal(id) {
  select(id);
  if (id === null) return;
  const line = [...at("tree").children].find((each) => each.row.node === id && !each.row.seen);
  if (line) line.scrollIntoView({ block: "nearest" });
}

function search() {
  const words = at("search").value.trim().toLowerCase(), results = at("results");
  const found = words ? graph.nodes.filter((node) => node.words.includes(words)) : [];
  map.classList.toggle("focus", found.length > 0 || state.selected !== null);
  mark(new Set(found.map((node) => node.n)), "hit");
  const lines = found.slice(0, MOST_RESULTS).map((node) => {
    const line = element("button", "result");
    line.append(element("span", "", node.name), element("span", "about", node.about));
    line.addEventListener("click", () => reveal(node.n));
    return line;
  });
  const more = found.length - lines.length;
  if (words) lines.push(element("p", "hint", found.length ? (more > 0 ? `and ${more} more` : "") : "nothing found"));
  results.replaceChildren(...lines);
}
function showGroup(members) {
  select(null);
  map.classList.add("focus");
  mark(new Set(members), "hit");
  const inside = new Set(members);
  over.replaceChildren(...graph.edges.filter(([s, t]) => inside.has(s) !== inside.has(t))
    .map(([source, target, share]) => curve({ source, target, share })));
}
function redraw() {
  state.forced.clear(); state.closed.clear(); state.widened.clear();
  drawTree();
}
function onKey(event) {
  const line = event.target.closest(".row");
  if (!line) return;
  const steps = { ArrowDown: () => line.nextElementSibling && focusRow(line.nextElementSibling),
    ArrowUp: () => line.previousElementSibling && focusRow(line.previousElementSibling),
    ArrowRight: () => toggle(line, true), ArrowLeft: () => toggle(line, false), Enter: () => toggle(line, !line.row.open),
    Home: () => focusRow(at("tree").firstChild), End: () => focusRow(at("tree").lastChild),
    r: () => { if (line.row.node !== null) { state.root = line.row.node; redraw(); focusRow(at("tree").firstChild); } } };
  if (!steps[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  steps[event.key]();
}
function start() {
  for (const root of graph.roots) at("root").append(new Option(nodes.get(root).name, String(root)));
  for (const [name, members] of graph.groups) {
    const button = element("button", "group", `${name} (${members.length})`);
    button.addEventListener("click", () => showGroup(members));
    at("group-list").append(button);
  }
  at("groups").hidden = !graph.groups.length;
  at("root").addEventListener("change", (event) => { state.root = Number(event.target.value); redraw(); });
  for (const name of ["depth", "width"]) {
    at(name).addEventListener("change", (event) => { state[name] = Math.max(1, Number(event.target.value) || 1); redraw(); });
  }
  for (const name of ["by", "direction"]) at(name).addEventListener("change", (event) => { state[name] = event.target.value; redraw(); });
  at("theme").addEventListener("click", () => {
    const dark = getComputedStyle(document.documentElement).colorScheme === "dark";
    document.documentElement.dataset.theme = dark ? "light" : "dark";
  });
  at("search").addEventListener("input", search);
  at("search").addEventListener("keydown", (event) => { if (event.key === "Enter") at("results").querySelector("button")?.click(); });
  at("tree").addEventListener("keydown", onKey);
  at("tree").addEventListener("click", (event) => {
    const line = event.target.closest(".row");
    if (!line) return;
    if (line.row.node !== null && line.row.node !== state.selected) focusRow(line); else toggle(line, !line.row.open);
  });
  map.addEventListener("click", (event) => { const shape = event.target.closest("[data-n]"); reveal(shape ? Number(shape.dataset.n) : null); });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && event.target.tagName !== "INPUT") { event.preventDefault(); at("search").focus(); }
    if (event.key === "Escape") { at("search").value = ""; search(); select(null); }
  });
  drawTree();
  drawCard();
}
start();
