"""Edits in the terms of a stored graph: the members of its supernodes, and whether it is of this run at all."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from store import graphs, jobs
from store.errors import BadInput
from store.graphs import GraphRecord
from store.project import Project
from tasks.graphs.edit import Edit, Supernode
from tasks.graphs.feature_name import FeatureName, parse_feature
from tasks.graphs.supernodes import supernode_members

_DICTIONARY_GROUND = re.compile(r"dictionary L([0-9]+) (\S+) of job [0-9]+ (.*)", re.DOTALL)


def spelled_out(edits: Sequence[Edit], project: Project, graph: int | None) -> list[Edit]:
    """The edits with each supernode's members in its place, each feature at the positions that the graph has it at.

    `BadInput` for a supernode that the graph has not, that is made of tokens or errors, or without any graph.
    """
    found = []
    for edit in edits:
        if not isinstance(edit.subject, Supernode):
            found.append(edit)
        elif graph is None:
            raise _no_graph(edit.subject)
        else:
            found += [replace(edit, subject=name) for name in supernode_features(project, graph, edit.subject.name)]
    return found


def _no_graph(supernode: Supernode) -> BadInput:
    mend = "name the graph that has this supernode with --graph, or write a feature as L12/345@7"
    try:
        parse_feature(supernode.name)
    except BadInput as error:
        return BadInput(error.fault, mend)
    return BadInput(f"{supernode} is no feature but a supernode's name", mend)


def supernode_features(project: Project, graph: int, name: str) -> list[FeatureName]:
    """The features of a graph's supernode, by layer and index; `BadInput` names the supernodes there are."""
    members = set(supernode_members(project, graph, name))
    positions: dict[tuple[int, int], list[int]] = defaultdict(list)
    for node in graphs.nodes(project.db, graph):
        if node.node in members:
            if node.kind != "feature" or node.feature < 0:
                raise BadInput(f"supernode {name!r} has a member that is no feature", "only features can be edited")
            positions[node.layer, node.feature].append(node.position)
    if not positions:
        raise BadInput(f"graph {graph} kept no member of supernode {name!r}", "prune it less, or name the features")
    return [FeatureName((layer,), index, tuple(sorted(at))) for (layer, index), at in sorted(positions.items())]


def refuse_other_model(project: Project, record: GraphRecord) -> None:
    """`BadInput` for an imported graph of another model, with both models' names and revisions."""
    if "model" in record.summary:
        theirs, ours = record.summary["model"], project.model
        raise BadInput(
            f"graph {record.id} is of the model {theirs['spec']} (revision {theirs.get('revision') or 'unknown'}), "
            f"this project is of {ours.spec} (revision {ours.revision})",
            "do this in a project of its own model",
        )


def refuse_other_dictionary(project: Project, record: GraphRecord, dictionary: str | None) -> None:
    """`BadInput` if the graph is of another dictionary than the one asked for, or that was trained anew since.

    Names, and the hashes of the layer at fault, are in the fault. A set that is no set of the store (neurons, foreign
    transcoders) is known by its name alone.
    """
    name = record.dictionary
    if dictionary is not None and dictionary != name:
        fault = f"graph {record.id} is of the dictionary {name!r}, not of {dictionary!r}"
        raise BadInput(fault, "leave --dictionary away, or name a graph of that dictionary")
    then, now = _hashes_when_traced(project, record), _hashes_now(project, name)
    for layer, digest in sorted(then.items()):
        if now.get(layer) != digest:
            fault = f"the dictionary {name!r} is not the one that graph {record.id} was traced with: layer {layer}"
            raise BadInput(f"{fault} was {digest} and is {now.get(layer, 'gone')}", "trace the prompt again")


def _hashes_when_traced(project: Project, record: GraphRecord) -> dict[int, str]:
    """Layer -> content hash of the graph's dictionaries as its trace (or import) wrote them down."""
    while (parent := record.summary.get("pruned_from")) is not None:
        record = graphs.find(project.db, int(parent))
    job = project.db.execute("SELECT job_id FROM graph WHERE id = ?", [record.id]).fetchone()[0]
    lines = (event.text for _, event in jobs.events(project.db, job) if event.kind == "ground")
    found = [match for line in lines if (match := _DICTIONARY_GROUND.fullmatch(line))]
    return {int(match[1]): match[2] for match in found if match[3] == record.dictionary}


def _hashes_now(project: Project, name: str) -> dict[int, str]:
    sql = "SELECT layer, hash FROM dictionary JOIN file ON file.id = file_id WHERE name = ?"
    return dict(project.db.execute(sql, [name]).fetchall())


def refuse_other_prompt(record: GraphRecord, tokens: Sequence[int]) -> None:
    """`BadInput` if the graph's prompt has other tokens: both lengths, and the first position at which they part."""
    theirs = record.token_ids
    if list(tokens) != theirs:
        fault = (
            f"graph {record.id} is of another prompt: {record.prompt!r} with {len(theirs)} tokens, not {len(tokens)}"
        )
        raise BadInput(
            f"{fault}, parting at position {first_difference(theirs, tokens)}",
            "leave the prompt away to use the graph's",
        )


def first_difference(first: Sequence[int], second: Sequence[int]) -> int:
    """The first position at which two prompts part: where the shorter ends, if it is the other's beginning."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(first), len(second)))
