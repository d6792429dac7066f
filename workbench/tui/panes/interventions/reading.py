"""What the console reads of the store beside the ground of its edits."""

from __future__ import annotations

from typing import Any

from store import graphs
from store.project import Project

_MOST_PROMPTS = 200


def stamp(project: Project, graph: int | None) -> Any:
    """Equal as long as supernodes of the graph and dictionaries are the same."""
    sets = project.db.execute("SELECT name, layer, file_id FROM dictionary ORDER BY id").fetchall()
    return sets, None if graph is None else graphs.supernodes(project.db, graph)


def corrupt_prompts(project: Project, prompt: str) -> list[str]:
    """Prompts that a swap could take its values from: the corrupt one of this prompt's pair, then others, each once."""
    sql = "SELECT corrupt FROM prompt WHERE corrupt IS NOT NULL ORDER BY clean != ?, id LIMIT ?"
    rows = project.db.execute(sql, [prompt, _MOST_PROMPTS]).fetchall()
    traced = project.db.execute("SELECT prompt FROM graph ORDER BY id DESC LIMIT ?", [_MOST_PROMPTS]).fetchall()
    return list(dict.fromkeys(text for (text,) in [*rows, *traced] if text != prompt))
