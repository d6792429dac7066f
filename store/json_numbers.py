"""JSON has no word for a number that is not finite: in a document such a number is null."""

from __future__ import annotations

import math
from typing import Any


def finite(value: Any) -> Any:
    """The document with every number that is NaN or infinite replaced by None; tuples become lists."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value
