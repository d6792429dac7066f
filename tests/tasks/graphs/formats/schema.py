"""What the two readers of the graph JSON ask of a file, as a table of paths and types.

From Neuronpedia's `graph-schema.json` (draft 7: `required` and `type` of each part) and circuit-tracer 0.5.0's pydantic
models (a `layer` is a string there, `jsNodeId` and `transcoder_list` are required).
"""

from typing import Any

NUMBER = (int, float)
METADATA = {"slug": str, "scan": str, "transcoder_list": list, "prompt_tokens": list, "prompt": str}
STATE = {"pinnedIds": list, "supernodes": list, "linkType": str, "clickedId": str, "sg_pos": str}
NODE = {
    "node_id": str,
    "feature": int,
    "layer": str,
    "ctx_idx": int,
    "feature_type": str,
    "jsNodeId": str,
    "clerp": str,
}
OPTIONAL_OF_NODE = {"influence": NUMBER, "activation": NUMBER, "token_prob": NUMBER, "is_target_logit": bool}
LINK = {"source": str, "target": str, "weight": NUMBER}


def faults(document: Any) -> list[str]:
    """Every place where the document is not what both readers ask for."""
    found = [f"{part} is missing" for part in ("metadata", "qParams", "nodes", "links") if part not in document]
    found += _of(document["metadata"], METADATA, "metadata") + _of(document["qParams"], STATE, "qParams")
    found += [
        f"prompt token {token!r}" for token in document["metadata"]["prompt_tokens"] if not isinstance(token, str)
    ]
    for index, node in enumerate(document["nodes"]):
        found += _of(node, NODE, f"nodes[{index}]")
        present = {key: kind for key, kind in OPTIONAL_OF_NODE.items() if node.get(key) is not None}
        found += _of(node, present, f"nodes[{index}]")
        if node["feature_type"] == "logit" and "(p=" not in node["clerp"]:
            found.append(f"nodes[{index}].clerp has no probability, which both pages take out of it")
    for index, link in enumerate(document["links"]):
        found += _of(link, LINK, f"links[{index}]")
    return found


def _of(part: dict[str, Any], wanted: dict[str, Any], where: str) -> list[str]:
    missing = [f"{where}.{key} is missing" for key in wanted if key not in part]
    present = [(key, kind) for key, kind in wanted.items() if key in part]
    wrong = [f"{where}.{key} is {part[key]!r}" for key, kind in present
             if not isinstance(part[key], kind) or (kind is int and isinstance(part[key], bool))]  # fmt: skip
    return missing + wrong
