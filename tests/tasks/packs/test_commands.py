"""`pack`, `verify`, `unpack`, `script` and `plan` as a person meets them."""

import json
import runpy
import shlex
import sys
from pathlib import Path

import pytest

from store.project import Project
from tests.tasks.packs.conftest import Packed
from tests.tasks.packs.packed_project import JOBS, changed, edited
from tests.workbench.command_line import workbench
from workbench.cli.task_command import checked_params


def test_verify_prints_expected_got_and_tolerance(packed: Packed, capsys: pytest.CaptureFixture[str]) -> None:
    ran = workbench(capsys, "verify", str(packed.whole))
    assert ran.exit_code == 0
    lines = ran.out.splitlines()
    [heading] = [line.split() for line in lines if "replacement_score" in line][:1]
    assert heading[0] == "replacement_score" and len(heading) == 4
    assert any(line.split()[:4] == ["number", "expected", "got", "tolerance"] for line in lines)
    assert "verified: every number that was computed came out again" in " ".join(ran.out.split())
    every = workbench(capsys, "verify", str(packed.whole), "--every")
    assert len(every.out.splitlines()) > 2 * len(lines)


def test_a_moved_number_is_marked_and_ends_with_1(
    packed: Packed,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    forged = changed(
        packed.whole, tmp_path / "f.zip", edited("expected.json", lambda d: d["jobs"][0]["numbers"].update(seed=3))
    )
    ran = workbench(capsys, "verify", str(forged))
    assert ran.exit_code == 1
    said = " ".join(ran.out.split())
    assert "seed 3 0 0.031 moved" in said and "changed: expected.json" in said and "not verified: 2 parts" in said
    looser = json.loads(workbench(capsys, "verify", str(forged), "--absolute", "3", "--json").out)
    assert looser["moved"] == 0 and looser["tolerance"]["absolute"] == 3 and looser["tolerance"]["relative"] == 0.01


def test_a_missing_model_ends_with_3_and_says_what_was_checked(
    packed: Packed,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ran = workbench(capsys, "verify", str(packed.whole), "--model", str(tmp_path / "gone"))
    assert ran.exit_code == 3
    said = " ".join(ran.out.split())
    assert "every hash is right" in said and "not verified: nothing was computed: there is no model at" in said


def test_quick_needs_no_model(packed: Packed, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = workbench(capsys, "verify", str(packed.whole), "--quick", "--json")
    assert ran.exit_code == 0 and json.loads(ran.out)["verified"]
    forged = changed(packed.whole, tmp_path / "f.zip", lambda e: e.update({"README.md": b""}), mended=False)
    refused = workbench(capsys, "verify", str(forged), "--quick")
    assert refused.exit_code == 2 and refused.out == "" and "README.md" in refused.err


def test_unpack_makes_a_project_that_can_be_packed_again(
    packed: Packed,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert workbench(capsys, "unpack", str(packed.whole), str(tmp_path / "copy")).exit_code == 0
    ran = workbench(capsys, "--project", str(tmp_path / "copy"), "pack", str(tmp_path / "again.zip"), "--no-weights")
    assert ran.exit_code == 0
    assert json.loads(workbench(capsys, "verify", str(tmp_path / "again.zip"), "--quick", "--json").out)["left_out"]


@pytest.mark.parametrize("suffix", [".py", ".ipynb"])
def test_a_script_or_notebook_takes_every_step_again(
    packed: Packed,
    tmp_path: Path,
    suffix: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / f"session{suffix}"
    written = workbench(capsys, "--project", str(packed.directory / "project"), "script", str(file), "--json")
    assert json.loads(written.out) == {"file": str(file), "steps": len(JOBS)}
    program = file
    if suffix == ".ipynb":
        cells = json.loads(file.read_text())["cells"]
        assert {cell["cell_type"] for cell in cells} == {"code"} and len({cell["id"] for cell in cells}) == len(cells)
        program = tmp_path / "cells.py"
        program.write_text("\n\n".join("".join(cell["source"]) for cell in cells))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(program), "session"])
    runpy.run_path(str(program), run_name="__main__")
    with Project.open(tmp_path / "session", False) as again, Project.open(packed.directory / "project", False) as own:
        sql = "SELECT kind, params, result FROM job WHERE kind != 'pack' ORDER BY id"
        new, old = (project.db.execute(sql).fetchall() for project in (again, own))
        assert [row[:2] for row in new] == [row[:2] for row in old]
        for (kind, _, result), (_, _, expected) in zip(new, old, strict=True):
            from tasks.packs.expected import numbers

            assert dict(numbers(json.loads(result))) == pytest.approx(dict(numbers(json.loads(expected)))), kind


@pytest.mark.parametrize(("name", "said"), [("a.txt", "ends neither in .py nor in .ipynb"), ("no/where.py", "cannot")])
def test_a_script_of_another_kind_or_place_is_refused(
    packed: Packed,
    tmp_path: Path,
    name: str,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ran = workbench(capsys, "--project", str(packed.directory / "project"), "script", str(tmp_path / name))
    assert ran.exit_code == 2 and said in ran.err
    (tmp_path / "there.py").touch()
    ran = workbench(capsys, "--project", str(packed.directory / "project"), "script", str(tmp_path / "there.py"))
    assert ran.exit_code == 2 and "exists" in ran.err


def test_the_commands_of_a_pack_parse_to_the_jobs(packed: Packed) -> None:
    import zipfile

    from tasks.registry import TASKS

    with zipfile.ZipFile(packed.whole) as archive:
        lines = shlex.split(archive.read("commands.sh").decode(), comments=True)
    kinds = [word for word in lines if word in TASKS]
    assert kinds == [*JOBS] and lines[:2] == ["workbench", "init"]


def test_plan_prints_the_budget_and_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    options = [
        "--model",
        "Qwen/Qwen3-4B-Instruct-2507",
        "--layers",
        "8-28",
        "--features",
        "16384",
        "--tokens",
        "1000000",
    ]
    ran = workbench(capsys, "plan", *options)
    assert ran.exit_code == 0
    for said in ("4,022,468,096", "GB", "FLOP", "h)", "--layers 8-28"):
        assert said in ran.out
    found = json.loads(workbench(capsys, "plan", *options, "--json").out)
    keys = {"model_parameters", "device_bytes", "disk_bytes", "forward_flops", "training_flops", "hours", "command"}
    assert keys <= found.keys() and found["layers"] == [*range(8, 29)]
    refused = workbench(capsys, "plan", *options, "--utilisation", "0")
    assert refused.exit_code == 2 and "--utilisation" in refused.err


def test_plan_options_are_those_of_the_planner() -> None:
    from tasks.plan import Params

    assert checked_params(Params, {"model": "m", "l0": None}, "plan") == Params(model="m")
