"""How a task states its options: one pydantic model, from which the command line, the job table and forms are made."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError


class Params(BaseModel):
    """The options of one task. Frozen and closed, so that equal params mean equal work (the result cache's key)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*")
    @classmethod
    def _refuse_what_is_no_text(cls, value: Any) -> Any:
        """Bytes that are not UTF-8 come from a command line as lone surrogates, which no tokenizer and no row takes."""
        if any("\ud800" <= letter <= "\udfff" for letter in str(value)):
            raise PydanticCustomError("text", "the text should be UTF-8")
        return value


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
