"""The command line that gives a result again, for reports and packs, and what a field of params is called there."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path

from pydantic.fields import FieldInfo

from tasks.params import Params
from tasks.registry import TASKS


def command_line(kind: str, params: Params, project: Path) -> str:
    """`workbench --project DIR KIND …` with every option that differs from its default, quoted for a shell."""
    words: list[str] = []
    flags: list[str] = []
    for name, field in type(params).model_fields.items():
        value = getattr(params, name)
        if is_argument(field):
            words += _texts(value)
        elif field.is_required() or value != field.get_default(call_default_factory=True):
            flags += _flagged(name, value)
    separator = ["--"] if any(word.startswith("-") for word in words) else []
    command = TASKS[kind].words if kind in TASKS else (kind,)
    return project_words(project, [*command, *flags, *separator, *words])


def project_words(project: Path, words: Iterable[str]) -> str:
    """`workbench --project DIR words…`, quoted for a shell."""
    return shlex.join(["workbench", "--project", str(project), *words])


def flag(name: str) -> str:
    """The option that a field becomes: `max_nodes` is `--max-nodes`, `from_` is `--from`."""
    return "--" + name.rstrip("_").replace("_", "-")


def is_argument(field: FieldInfo) -> bool:
    """Whether the field stands on the command line without a flag."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("argument"))


def _flagged(name: str, value: object) -> list[str]:
    if isinstance(value, bool):
        return [flag(name) if value else f"--no-{flag(name)[2:]}"]
    return [word for text in _texts(value) for word in (flag(name), text)]


def _texts(value: object) -> list[str]:
    if value is None:
        return []
    if isinstance(value, list | tuple):
        return [str(item) for item in value]
    return [str(value)]
