"""How a task states its options: one pydantic model, from which the command line, the job table and forms are made."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict


class Params(BaseModel):
    """The options of one task. Frozen and closed, so that equal params mean equal work (the result cache's key)."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def option(
    default: Any,
    help: str,
    *,
    unit: str = "",
    argument: bool = False,
    ge: float | None = None,
    le: float | None = None,
    gt: float | None = None,
) -> Any:
    """One option of a task: default (`...` if required), help sentence, unit and bounds.

    `argument=True` makes it positional on the command line. Bounds are inclusive (`ge`, `le`) or strict (`gt`).
    """
    extra: JsonDict = {"unit": unit, "argument": argument}
    return Field(default, description=help, ge=ge, le=le, gt=gt, json_schema_extra=extra)


def needs_special_start(dictionary: str, asked: bool) -> bool:
    """Whether position 0 must be a special token: where asked for, and always before transcoders, trained that way."""
    return asked or dictionary.startswith("transcoder:")
