"""Which commands there are. Each loads only when it is called, so that `--help` costs no more than its words."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from tasks.registry import TASKS

COMMANDS: dict[str, str] = {
    "demo": "The whole path on the embedded model, from nothing to a validated circuit, with a closing report.",
    "init": "Make a project on a model.",
    "doctor": "Device, memory, versions, model cache: what works here, and what would not and why.",
    **{task.kind: task.summary for task in TASKS.values()},
    "features": "Search the features of trained dictionaries, and show one.",
    "graph": "List, show and export attribution graphs.",
    "verify": "Check a pack: every hash, and that its numbers come out again.",
    "unpack": "Open a pack into a directory.",
    "jobs": "What was run in this project, and how it ended.",
}
"""Every command and what it does, in the order of `--help`."""


@dataclass
class _Named:
    """As much of a command as the list of commands prints."""

    name: str
    summary: str
    hidden: bool = False

    def get_short_help_str(self, limit: int = 45) -> str:
        return self.summary


class CommandList(TyperGroup):
    """The group behind `workbench`: the list prints from the table above, a call loads the one command it names."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name as the list shows it, or None."""
        return _Named(cmd_name, COMMANDS[cmd_name]) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that `args` call, loaded, and the arguments left for it."""
        self.commands: Any = dict.fromkeys(COMMANDS)  # the names to suggest after a typing error
        name, _, rest = super().resolve_command(ctx, args)
        return name, load_command(str(name)), rest


def load_command(name: str) -> Any:
    """The command of that name: made from a task's params, or from the module of that name beside this one."""
    if name in TASKS:
        from workbench.cli.task_command import task_app

        return typer.main.get_command(task_app(TASKS[name]))
    command = typer.main.get_command(import_module(f"workbench.cli.{name}").app)
    command.name = name
    return command
