"""The graph JSON of circuit-tracer, Neuronpedia or this project, read and checked before anything is made of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, NonNegativeInt, ValidationError

from store.errors import BadInput

LARGEST_FILE_BYTES = 1 << 29
"""No graph that a person reads is larger; more is refused before it is read."""
LARGEST_LAYER = 1000
LARGEST_INDEX = (1 << 31) - 1
"""Features and positions are 32-bit numbers in a graph's file."""
LARGEST_NUMBER = 1e30
"""Numbers are 32-bit floats in a graph's file, and the sums over a node's edges are to stay finite."""
_MEND = "give a graph JSON as circuit-tracer, Neuronpedia or `workbench graph export` write it"
_SHOWN_INPUT = 60

Index = Annotated[NonNegativeInt, Field(le=LARGEST_INDEX)]
Number = Annotated[FiniteFloat, Field(ge=-LARGEST_NUMBER, le=LARGEST_NUMBER)]


class _Part(BaseModel):
    """One object of the file; keys that are not named here are left alone."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class FileGenerator(_Part):
    """Which program wrote the file."""

    name: str = ""
    version: str = ""


class FileInfo(_Part):
    """`metadata.info`."""

    generator: FileGenerator = FileGenerator()


class FileModel(_Part):
    """Ours: the model that was traced."""

    spec: str
    revision: str = ""
    n_layers: Annotated[int, Field(ge=1, le=LARGEST_LAYER)]


class FileTarget(_Part):
    """Ours: what the graph explains; keys as in the targets of a trace, of which some more may come."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, bool | int | Number | str | None] = Field(init=False)

    kind: Literal["logit", "feature"] = "logit"
    token: str
    id: int
    layer: Index | None = None
    position: Index
    probability: Annotated[FiniteFloat, Field(ge=0, le=1)]
    value: Number | None = None
    rival: str | None = None
    rival_id: Index | None = None


class FileTrace(_Part):
    """Ours: how it was traced, and what of it was left out."""

    chat: bool = False
    system: str = ""
    prefill: str = ""
    special_start: bool = False
    first_position: bool = False
    unreplaced: Literal["pass", "error"] = "pass"
    dictionary_layers: list[Index] | None = None
    active_features: Index | None = None
    attributed_features: Index | None = None
    unattributed_share: Number | None = None
    unreplaced_share: Number | None = None


class FileMetadata(_Part):
    """`metadata`: what both schemas require, and what we add."""

    slug: str
    scan: str
    prompt_tokens: Annotated[list[str], Field(min_length=1)]
    prompt: str
    schema_version: int | None = None
    info: FileInfo | None = None
    generation_settings: dict[str, Any] | None = None
    pruning_settings: dict[str, Any] | None = None
    replacement_score: Number | None = None
    completeness_score: Number | None = None
    closing_error: Number | None = None
    rule: str | None = None
    dictionary: str | None = None
    model: FileModel | None = None
    token_ids: list[Index] | None = None
    targets: list[FileTarget] | None = None
    trace: FileTrace | None = None


class FileState(_Part):
    """`qParams`: what a viewer has saved."""

    pinnedIds: list[str] = []
    supernodes: list[list[str]] = []


class FileNode(_Part):
    """One of `nodes`: what both schemas require, and what we add."""

    node_id: str
    feature: int | None
    layer: Annotated[str, BeforeValidator(lambda value: str(value) if isinstance(value, int) else value)]
    ctx_idx: Index
    feature_type: str
    clerp: str = ""
    token_prob: Number | None = None
    is_target_logit: bool = False
    is_target: bool = False
    influence: Number | None = None
    activation: Number | None = None
    share: Number | None = None
    input_size: Number | None = None
    node_influence: Number | None = None
    predicted_effect: Number | None = None
    measured_effect: Number | None = None
    verdict: str | None = None
    margin: Number | None = None
    label: str | None = None
    promoted: list[str] = []
    fires_on: list[str] = []

    @property
    def kind(self) -> str:
        """token, feature, error or logit."""
        if "error" in self.feature_type:
            return "error"
        return {"embedding": "token", "logit": "logit"}.get(self.feature_type, "feature")

    @property
    def explained(self) -> bool:
        """Whether the graph explains it: a logit, or what our files mark."""
        return self.kind == "logit" or self.is_target


class FileLink(_Part):
    """One of `links`."""

    source: str
    target: str
    weight: Number
    effect: Number | None = None


class GraphFile(_Part):
    """The whole file."""

    metadata: FileMetadata
    qParams: FileState = FileState()
    nodes: Annotated[list[FileNode], Field(min_length=1)]
    links: list[FileLink]


def read_graph_file(path: Path) -> GraphFile:
    """The file, if it is a graph JSON whose links join its nodes; else `BadInput` with the first fault, one line."""
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise BadInput(f"{path} is larger than {LARGEST_FILE_BYTES >> 20} MiB", _MEND)
        content = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror})", "name a file that is there") from error
    if not content.lstrip()[:1] == b"{":
        raise BadInput(f"{path} holds no JSON object", _MEND)
    try:
        graph = GraphFile.model_validate_json(content)
    except ValidationError as error:
        raise BadInput(f"{path} is no graph: {_first_fault(error)}", _MEND) from error
    if fault := _inconsistency(graph):
        raise BadInput(f"{path} is no graph: {fault}", _MEND)
    return graph


def _first_fault(error: ValidationError) -> str:
    """Where and what, with the value if it is short."""
    first = error.errors(include_url=False)[0]
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
    message = re.sub(r"^Input", "it", first["msg"])
    if first["type"] == "json_invalid" or first["type"] == "missing":
        return f"{where}: {message}" if where else message
    shown = repr(first["input"])
    return f"{where}: {message}, not {shown}" if len(shown) <= _SHOWN_INPUT else f"{where}: {message}"


def _inconsistency(graph: GraphFile) -> str:
    """What makes the parts of the file not one graph; nothing if they are."""
    ids = {node.node_id for node in graph.nodes}
    if twice := _twice(node.node_id for node in graph.nodes):
        return f"two nodes have the id {twice!r}"
    for link in graph.links:
        for end in (link.source, link.target):
            if end not in ids:
                return f"a link names the node {end!r}, which is not there"
    if twice := _twice(f"{link.source} -> {link.target}" for link in graph.links):
        return f"there are two links {twice}"
    n_positions = len(graph.metadata.prompt_tokens)
    for node in graph.nodes:
        if node.ctx_idx >= n_positions:
            return f"node {node.node_id!r} is at position {node.ctx_idx} of a prompt of {n_positions} tokens"
        if node.kind in ("feature", "error") and not (node.layer.isascii() and node.layer.isdigit()):
            return f"node {node.node_id!r} is in layer {node.layer!r}, which is no number"
        if node.kind in ("feature", "error") and (len(node.layer) > 4 or int(node.layer) > LARGEST_LAYER):
            return f"node {node.node_id!r} is in layer {node.layer}, and no model has so many"
    if not any(node.explained for node in graph.nodes):
        return "it has no logit, so that it explains nothing"
    return ""


def _twice(names: Iterable[str]) -> str:
    return next((name for name, count in Counter(names).items() if count > 1), "")
