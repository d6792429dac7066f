"""How a person shapes a graph while reading it: pins, groups and labels with undo, and views kept by name."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from store import graphs, labels
from store.errors import BadInput, Missing
from store.features import parse_name
from store.jobs import now

if TYPE_CHECKING:
    from sqlite_utils import Database

LONGEST_NAME = 80
MOST_EDITS = 1000
"""Edits of a graph that can be undone; older ones are forgotten."""


@dataclass(frozen=True)
class Parts:
    """Some parts of a graph's shape. What is not named is not spoken of."""

    pins: dict[str, bool] = field(default_factory=dict)
    """Node number -> whether it is pinned."""
    supernodes: dict[str, list[int] | None] = field(default_factory=dict)
    """Name -> members, ascending; None: there is no such group."""
    labels: dict[str, str] = field(default_factory=dict)
    """`DICTIONARY L12/345` -> what the feature is called; empty: nothing."""


@dataclass(frozen=True)
class GraphEdit:
    """One edit and its way back."""

    id: int
    words: str
    before: Parts
    after: Parts


def pins(db: Database, graph_id: int) -> list[int]:
    """The pinned nodes, ascending."""
    rows = db.execute("SELECT node FROM pin WHERE graph_id = ? ORDER BY node", [graph_id]).fetchall()
    return [int(node) for (node,) in rows]


def pin(db: Database, graph_id: int, nodes: Collection[int]) -> None:
    """Pin nodes of a graph that is being made: nothing that could be undone."""
    db.conn.executemany("INSERT OR IGNORE INTO pin VALUES (?, ?)", [(graph_id, node) for node in nodes])


def carry_pins(db: Database, from_graph: int, to_graph: int) -> None:
    """Pin in a graph what is pinned in the one that it was pruned from: both count nodes alike."""
    db.execute("INSERT OR IGNORE INTO pin SELECT ?, node FROM pin WHERE graph_id = ?", [to_graph, from_graph])


def change(db: Database, graph_id: int, words: str, after: Parts) -> None:
    """Bring parts of a graph to `after`, so that it can be undone; what was undone before is forgotten.

    In the caller's transaction, as everything here.
    """
    before = _as_they_are(db, graph_id, after)
    if before == after:
        return
    _bring(db, graph_id, after)
    note(db, graph_id, words, before, after)


def note(db: Database, graph_id: int, words: str, before: Parts, after: Parts) -> None:
    """Write down an edit that has been made already."""
    db.execute("DELETE FROM graph_edit WHERE graph_id = ? AND undone = 1", [graph_id])
    db.execute(
        "INSERT INTO graph_edit (graph_id, created_at, words, before, after) VALUES (?, ?, ?, ?, ?)",
        [graph_id, now(), words, json.dumps(asdict(before)), json.dumps(asdict(after))],
    )
    db.execute(
        "DELETE FROM graph_edit WHERE graph_id = ? AND id <= "
        "(SELECT id FROM graph_edit WHERE graph_id = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
        [graph_id, graph_id, MOST_EDITS],
    )


def undo(db: Database, graph_id: int) -> str:
    """Take the last edit back; its words. `Missing` if there is none, `BadInput` if others changed the same since."""
    return _step(db, graph_id, "undone = 0 ORDER BY id DESC", undone=True)


def redo(db: Database, graph_id: int) -> str:
    """Make the edit again that was taken back last; its words. Raises as `undo` does."""
    return _step(db, graph_id, "undone = 1 ORDER BY id", undone=False)


def _step(db: Database, graph_id: int, which: str, undone: bool) -> str:
    sql = f"SELECT id, words, before, after FROM graph_edit WHERE graph_id = ? AND {which} LIMIT 1"
    row = db.execute(sql, [graph_id]).fetchone()
    if row is None:
        raise Missing(f"no edit of graph {graph_id} to {'undo' if undone else 'redo'}", "pin or group something first")
    edit = GraphEdit(row[0], row[1], Parts(**json.loads(row[2])), Parts(**json.loads(row[3])))
    there, wanted = (edit.after, edit.before) if undone else (edit.before, edit.after)
    if _as_they_are(db, graph_id, there) != there:
        fault = f"{edit.words!r} cannot be {'undone' if undone else 'redone'}: the same was changed elsewhere since"
        raise BadInput(fault, "change it by hand")
    _bring(db, graph_id, wanted)
    db.execute("UPDATE graph_edit SET undone = ? WHERE id = ?", [int(undone), edit.id])
    return edit.words


def _as_they_are(db: Database, graph_id: int, parts: Parts) -> Parts:
    """The parts that `parts` names, as the store has them."""
    pinned, groups = {str(node) for node in pins(db, graph_id)}, graphs.supernodes(db, graph_id)
    return Parts(
        {node: node in pinned for node in parts.pins},
        {name: groups.get(name) for name in parts.supernodes},
        {feature: _label(db, feature)[1] for feature in parts.labels},
    )


def _label(db: Database, feature: str) -> tuple[int, str]:
    """A feature's row and what it is called; `Missing` if it is not indexed."""
    dictionary, _, name = feature.rpartition(" ")
    sql = """SELECT feature.id, label FROM feature JOIN dictionary ON dictionary.id = dictionary_id
        WHERE dictionary.name = ? AND layer = ? AND feature = ? ORDER BY dictionary.id DESC"""
    row = db.execute(sql, [dictionary, *parse_name(name)]).fetchone()
    if row is None:
        raise Missing(f"{name} of {dictionary} is not indexed", "`workbench index` makes features nameable")
    return int(row[0]), str(row[1])


def _bring(db: Database, graph_id: int, parts: Parts) -> None:
    for node, pinned in parts.pins.items():
        sql = "INSERT OR IGNORE INTO pin VALUES (?, ?)" if pinned else "DELETE FROM pin WHERE graph_id = ? AND node = ?"
        db.execute(sql, [graph_id, int(node)])
    for feature, label in parts.labels.items():
        labels.set_label(db, _label(db, feature)[0], label)
    for name in (name for name, members in parts.supernodes.items() if members is None):
        graphs.remove_supernode(db, graph_id, name)
    for name, members in parts.supernodes.items():
        if members is not None:
            graphs.set_supernode(db, graph_id, name, members)
    every = [node for members in graphs.supernodes(db, graph_id).values() for node in members]
    if len(every) != len(set(every)):
        raise BadInput("a node would be in two supernodes", "ungroup the other one first")


def views(db: Database, graph_id: int) -> dict[str, dict[str, Any]]:
    """The views kept of a graph by name, in the order in which they were made."""
    sql = "SELECT name, view FROM graph_view WHERE graph_id = ? ORDER BY id"
    return {name: json.loads(view) for name, view in db.execute(sql, [graph_id]).fetchall()}


def keep_view(db: Database, graph_id: int, name: str, view: Mapping[str, Any]) -> None:
    """Keep a view by name, in place of an earlier one of that name. `BadInput` for what is no name."""
    refuse_view_name(name)
    sql = """INSERT INTO graph_view (graph_id, name, view, created_at) VALUES (?, ?, ?, ?)
        ON CONFLICT (graph_id, name) DO UPDATE SET view = excluded.view, created_at = excluded.created_at"""
    db.execute(sql, [graph_id, name.strip(), json.dumps(dict(view), sort_keys=True), now()])


def refuse_view_name(name: str) -> None:
    """Raise `BadInput` for what is no name."""
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise BadInput(f"{name!r} is no name", f"give 1 to {LONGEST_NAME} printable characters")


def forget_view(db: Database, graph_id: int, name: str) -> None:
    """Forget a view; `Missing` if there is none of that name."""
    if not db.execute("DELETE FROM graph_view WHERE graph_id = ? AND name = ?", [graph_id, name]).rowcount:
        raise Missing(f"graph {graph_id} has no view {name!r}", "`S` keeps one")


def pinned_as(db: Database, graph_id: int, wanted: Collection[int]) -> Parts:
    """What has to change so that just `wanted` is pinned."""
    now_pinned = set(pins(db, graph_id))
    return Parts(pins={str(node): node in wanted for node in sorted(now_pinned ^ set(wanted))})
