"""Corpora of the hub, streamed through `datasets`, which is an optional extra and is imported when first needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from store.errors import BadInput, Missing

_SPLIT = "train"
_COLUMN = "text"


def hub_texts(spec: str) -> Callable[[], Iterator[str]]:
    """The texts of `hub:NAME[:SPLIT][:COLUMN]`. Raises `Missing` without `datasets` or the data set itself."""
    name, split, column = _parse(spec)

    def texts() -> Iterator[str]:
        try:
            from datasets import load_dataset
            from datasets.exceptions import DatasetsError
        except ModuleNotFoundError as error:
            raise Missing(
                "corpora of the hub need `datasets`, which is not installed", "pip install datasets"
            ) from error
        try:
            for row in load_dataset(name, split=split, streaming=True):
                if column not in row:
                    raise BadInput(f"{name} has no column {column!r}", f"its columns are {', '.join(map(str, row))}")
                yield str(row[column])
        except (OSError, ValueError, DatasetsError) as error:
            fault = f"the data set {name} ({split}) could not be read: {str(error).splitlines()[0]}"
            raise Missing(fault, "check its name and split and the network, or use --corpus offline") from error

    return texts


def _parse(spec: str) -> tuple[str, str, str]:
    parts = spec.split(":")[1:]
    if not 1 <= len(parts) <= 3 or not parts[0]:
        raise BadInput(f"{spec!r} names no data set", "write hub:NAME, hub:NAME:SPLIT or hub:NAME:SPLIT:COLUMN")
    name, split, column = (*parts, "", "")[:3]
    return name, split or _SPLIT, column or _COLUMN
