"""Names that people write and files carry: ranges of layers, and what a model is called."""

from store.errors import BadInput


def parse_layers(text: str, n_layers: int, spec: str) -> list[int]:
    """The layers of a range such as `4-12,20`, sorted; `BadInput` if one is not among the `n_layers` of `spec`."""
    layers: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise BadInput(f"{part.strip()!r} is not a layer or a range of layers", "write layers as 4-12,20")
        layers.update(range(int(first), int(last or first) + 1))
    if not layers or max(layers) >= n_layers:
        raise BadInput(f"layers {text!r} are not all in {spec}", f"its layers are 0 to {n_layers - 1}")
    return sorted(layers)


def own_name(spec: str) -> str:
    """What a model is called without its organisation, its directory, or `builtin:`."""
    return spec.rstrip("/").rpartition("/")[2].removeprefix("builtin:").lower()
