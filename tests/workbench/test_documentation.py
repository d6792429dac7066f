"""The documents are run: every command they show exists, with every option they name, and parses."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from workbench.cli.command_list import COMMANDS, load_command
from workbench.cli.main import app

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_PLACEHOLDER = re.compile(r"\b[A-Z]{2,}\b|…|\|")


def shown_commands() -> Iterator[tuple[str, str]]:
    """(document, command line) of every `workbench …` in a block or in inline code, but not of schematic ones."""
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for block in _BLOCK.findall(text):
            lines = [line.strip() for line in block.replace("\\\n", " ").splitlines()]
            prompt = "$ " if any(line.startswith("$ ") for line in lines) else ""
            for line in lines:
                bare = line.removeprefix(prompt).removeprefix(".venv/bin/")
                if line.startswith(prompt) and bare.startswith("workbench "):
                    yield document.name, bare.split("  #")[0].rstrip()
        for code in re.findall(r"`(workbench [^`]+)`", _BLOCK.sub("", text)):
            if not _PLACEHOLDER.search(code):
                yield document.name, code


COMMAND_LINES = sorted(set(shown_commands()))


def parse(words: list[str]) -> None:
    """Parse a command line as `workbench` would, down to the last option, without running it."""
    if words[-1:] == ["--help"]:
        words = words[:-1]
    root = typer.main.get_command(app)
    with root.make_context("workbench", list(words)) as context:
        rest = [*context._protected_args, *context.args]
    if not rest:
        return
    command = load_command(rest[0]) if rest[0] in COMMANDS else pytest.fail(f"no command {rest[0]}")
    arguments = rest[1:]
    if not arguments:  # a command that is named, not called
        return
    while hasattr(command, "commands"):
        _, command, arguments = command.resolve_command(typer.Context(command), arguments)
        if not arguments:
            return
    command.make_context(rest[0], arguments)


def test_given_the_readme_when_read_then_it_shows_commands() -> None:
    assert {name for name, _ in COMMAND_LINES} >= {"README.md"}


@pytest.mark.parametrize(("document", "line"), COMMAND_LINES, ids=[line for _, line in COMMAND_LINES])
def test_given_a_command_in_a_document_when_parsed_then_it_and_its_options_exist(document: str, line: str) -> None:
    parse(shlex.split(line)[1:])


@pytest.mark.parametrize("target", sorted({*re.findall(r"\bmake ([a-z]+)", DOCUMENTS[0].read_text("utf-8"))}))
def test_given_a_make_target_in_the_readme_when_looked_up_then_the_makefile_has_it(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
