"""A budget for a person: the model, what one run holds and writes, and what its time is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.text import Text

from workbench.tui.render.bars import duration, percent
from workbench.tui.render.facts import facts
from workbench.tui.render.tokens import show_text


def plan_view(document: Mapping[str, Any]) -> Group:
    """The numbers, each with its unit and what it is made of; then the command that they are of."""
    shape, options = document["shape"], document["options"]
    n_layers, groups = len(document["layers"]), document["groups"]
    model = {
        "model": document["model"],
        "parameters": f"{document['model_parameters']:,}, {_size(document['model_bytes'])} in {options['dtype']}",
        "shape": f"{shape['n_layers']} layers, d_model {shape['d_model']}, d_mlp {shape['d_mlp']}, vocabulary"
        f" {shape['vocab_size']:,}",
        "SAEs": f"{n_layers} layers of {options['features']:,} features, {document['sae_parameters']:,} parameters,"
        f" {_size(document['sae_bytes'])} in float32",
        "groups": f"{len(groups)} of at most {max(map(len, groups))} layers: {_ranges(groups)}",
        "steps": f"{document['steps']:,} a layer, of {options['batch_size']:,} tokens;"
        f" {document['rows']:,} to train on",
    }
    seconds, forward, writing = (document[name] for name in ("seconds", "forward_seconds", "checkpoint_seconds"))
    takes = {
        "device memory": f"{_size(document['device_bytes'])} of {options['device_memory']}, while training",
        "host memory": f"{_size(document['host_bytes'])} for the buffer",
        "disk": f"{_size(document['disk_bytes'])}: model, weights, checkpoints",
        "activations on disk": f"none; all of them would be {_size(document['captured_bytes'])}",
        "memory to trace": f"{_size(document['trace_bytes'])} for model and SAEs, and what --memory gives attribution",
        "FLOPs": f"{document['forward_flops']:.3g} forward, {document['training_flops']:.3g} training"
        f" ({'dense' if document['dense'] else 'sparse'} decoder)",
        "bytes moved": f"{document['moved_bytes']:.3g} by Adam and gathers",
        "checkpoints": f"{_size(document['written_bytes'])} written: one of every layer each"
        f" {options['checkpoint_steps']:,} steps; {document['rounds']:,} buffer-fulls",
        "time": f"{duration(seconds)} ({seconds / 3600:.1f} h): {percent(forward / seconds, 0)} forward passes,"
        f" {percent(writing / seconds, 0)} checkpoints, the rest training",
        "at": f"{percent(options['utilisation'], 0)} of {options['flops']:.3g} FLOP/s and of"
        f" {options['bandwidth']:.3g} B/s; disk {options['disk_rate']:.3g} B/s",
    }
    return Group(facts(model), Text(), facts(takes), Text(), Text(show_text(document["command"])))


def _size(n_bytes: int) -> str:
    """Decimal units, as disks and devices are sold."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes / 1e3:.1f} kB"


def _ranges(groups: Sequence[Sequence[int]]) -> str:
    return ", ".join(f"{group[0]}-{group[-1]}" if len(group) > 1 else str(group[0]) for group in groups)
