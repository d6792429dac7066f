"""Dictionary sets: one line a set, and one set a line a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from store.dictionaries import DictionaryRecord
from workbench.tui.render.bars import number, percent
from workbench.tui.render.facts import facts, plain_table
from workbench.tui.render.tokens import show_text


def set_document(records: Sequence[DictionaryRecord]) -> dict[str, Any]:
    """A set's document: what all its layers have in common, and means over those that were measured."""
    origins = {_origin(record) for record in records}
    return {
        "dictionary": records[0].name,
        "layers": [record.layer for record in records],
        "n_features": sorted({record.n_features for record in records}),
        "activation": sorted({activation(record) for record in records}),
        "objective": sorted({record.objective for record in records}),
        "origin": sorted(origins),
        "fvu": _mean(records, "fvu"),
        "l0": _mean(records, "l0"),
        "indexed": sum(record.n_indexed for record in records),
        "bytes": sum(record.file.size_bytes for record in records if record.file),
    }


def set_table(documents: Sequence[Mapping[str, Any]]) -> Table:
    """One line a set; FVU (share of variance missed) and L0 (features a token) are means over its layers."""
    table = plain_table("set", "layers", "features", "kind", "FVU", "L0", "MB", "from")
    for column in (2, 4, 5, 6):
        table.columns[column].justify = "right"
    for each in documents:
        table.add_row(
            Text(show_text(each["dictionary"])),
            Text(layer_ranges(each["layers"])),
            Text(_joined(each["n_features"])),
            Text(_joined(each["activation"])),
            Text(number(each["fvu"])),
            Text(number(each["l0"], 1)),
            Text(f"{each['bytes'] / 1e6:.1f}"),
            Text(show_text(_joined(each["origin"]))),
        )
    return table


def set_view(document: Mapping[str, Any], records: Sequence[DictionaryRecord]) -> Group:
    """The set's own facts, and a line a layer."""
    about = {
        "dictionary": document["dictionary"],
        "from": _joined(document["origin"]),
        "objective": _joined(document["objective"]),
        "graphs": " ".join(map(str, document["graphs"])) or "none",
        "size": f"{document['bytes'] / 1e6:.1f} MB",
    }
    table = plain_table("layer", "features", "kind", "FVU", "L0", "dead", "indexed", "file")
    for column in (0, 1, 3, 4, 5, 6):
        table.columns[column].justify = "right"
    for record in records:
        metrics = record.metrics
        table.add_row(
            Text(str(record.layer)),
            Text(str(record.n_features)),
            Text(activation(record)),
            Text(number(metrics.get("fvu"))),
            Text(number(metrics.get("l0"), 1)),
            Text(percent(metrics.get("dead_share"))),
            Text(str(record.n_indexed)),
            Text(show_text(record.file.path) if record.file else ""),
        )
    return Group(facts(about), Text(""), table)


def activation(record: DictionaryRecord) -> str:
    """What makes its features sparse: `topk 32`, `relu`, `jumprelu`."""
    if record.file is None:
        return record.kind
    k = record.config.get("k")
    return f"topk {k}" if k is not None else str(record.config.get("activation", "relu"))


def layer_ranges(layers: Sequence[int]) -> str:
    """Layers as they are written: `4-12,20`."""
    runs: list[list[int]] = []
    for layer in layers:
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _origin(record: DictionaryRecord) -> str:
    if record.file is None:
        return "the index alone"
    imported = record.config.get("imported_from")
    if imported is None:
        return "training" if record.job_id is None else f"job {record.job_id}"
    return f"{imported['format']} {imported['architecture']}"


def _mean(records: Sequence[DictionaryRecord], name: str) -> float | None:
    values = [record.metrics[name] for record in records if record.metrics.get(name) is not None]
    return sum(values) / len(values) if values else None


def _joined(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))
