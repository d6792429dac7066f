"""The README's own commands, one after the other, on the embedded model and at a size that a test can afford."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from tests.workbench.command_line import workbench
from tests.workbench.test_documentation import ROOT

SMALLER = {
    "init": ["init", "qwen", "--model", "builtin:smollm2-135m"],
    "baseline": ["baseline", "capitals", "--max-new-tokens", "1"],
    "train": shlex.split("train --layers 22,24 --features 256 --l0 16 --tokens 3000 --epochs 1 --batch-size 256"),
    "evaluate": ["evaluate", "--tokens", "120", "--window", "240"],
    "index": ["index", "--tokens", "1000"],
}
"""What stands in for a command that needs a GPU node or an hour; the others run as they are."""


def readme_commands() -> list[list[str]]:
    """The words of each `$ workbench …` line of the README's session on a model of one's own."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = [block for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL) if "workbench init" in block]
    lines = [line.removeprefix("$ workbench ") for line in blocks[0].splitlines() if line.startswith("$ workbench ")]
    return [shlex.split(line) for line in lines]


@pytest.mark.embedded
def test_given_the_readme_when_its_session_is_run_then_it_ends_in_a_verified_pack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORKBENCH_PROJECT", "qwen")
    commands = readme_commands()
    assert {words[0] for words in commands} > {*SMALLER, "trace", "graph", "validate", "pack", "verify"}
    for words in commands:
        ran = workbench(capsys, *SMALLER.get(words[0], words))
        assert ran.exit_code == 0, (words, ran.err)

    trace = next(words for words in commands if words[0] == "trace")
    traced = json.loads(workbench(capsys, *trace, "--node-threshold", "0.99", "--json").out)
    graph = json.loads(workbench(capsys, "graph", "show", str(traced["graph"]), "--json").out)
    assert "Paris" in "".join(graph["tokens"]) and any(node["kind"] == "feature" for node in graph["nodes"])
    validation = json.loads(workbench(capsys, "validate", str(traced["graph"]), "--json").out)
    assert validation["pearson_predicted"] >= 0.95
    assert validation["pearson_influence"] < validation["pearson_predicted"]
    assert len(validation["nodes"]) >= 10 and validation["controls"]["n"] > 0
