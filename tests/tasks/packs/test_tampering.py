"""Whoever changes a pack and mends its hashes is still found out, and what was changed is named."""

import ast
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from store.errors import BadInput, Damaged
from tasks.verify import open_pack
from tests.tasks.packs.conftest import Packed
from tests.tasks.packs.packed_project import changed, edited, edited_rows, verify

Change = Callable[[dict[str, bytes]], object]
NOT_WRITTEN_AGAIN = {"pack.json", "environment.json", "model.json", "manifest-sha256.txt"}


def _first(entries: dict[str, bytes], start: str) -> str:
    return next(name for name in entries if name.startswith(start))


def _flipped(start: str) -> Change:
    def change(entries: dict[str, bytes]) -> None:
        name = _first(entries, start)
        content = bytearray(entries[name])
        content[len(content) // 2] ^= 1
        entries[name] = bytes(content)

    return change


def _named(document: dict[str, Any]) -> set[str]:
    return {each["name"] for each in document["altered"]}


@pytest.mark.parametrize(
    "start",
    ["README.md", "LICENSES.md", "commands.sh", "session.py", "session.ipynb", "configs/job-3", "figures/graph-1",
     "figures/job-3", "figures/job-11", "graphs/graph-1.json", "graphs/graph-1.graphml", "ro-crate-metadata.json"],
)  # fmt: skip
def test_a_document_that_was_changed_is_named(packed: Packed, tmp_path: Path, start: str) -> None:
    forged = changed(packed.whole, tmp_path / "forged.zip", _flipped(start))
    document = verify(forged, model_spec=str(tmp_path / "no model needed"))
    [name] = _named(document)
    assert name.startswith(start)
    assert not document["verified"]


@pytest.mark.parametrize("start", ["weights/", "graphs/graph-"])
def test_a_file_of_the_project_that_was_changed_is_named(packed: Packed, tmp_path: Path, start: str) -> None:
    def change(entries: dict[str, bytes]) -> None:
        name = next(n for n in entries if n.startswith(start) and n.endswith(".safetensors"))
        entries[name] = entries[name][:-1] + bytes([entries[name][-1] ^ 1])

    forged = changed(packed.whole, tmp_path / "forged.zip", change)
    with pytest.raises(Damaged, match=rf"the content of {start}.* is not what was written"):
        verify(forged)
    with pytest.raises(Damaged):
        open_pack(forged, tmp_path / "copy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["forged.zip"]


def test_a_claim_that_was_changed_is_found_beside_the_rows_and_beside_the_model(packed: Packed, tmp_path: Path) -> None:
    def better(document: dict[str, Any]) -> None:
        validate = next(job for job in document["jobs"] if job["kind"] == "validate")
        validate["numbers"]["faithfulness"] = 0.99

    document = verify(changed(packed.whole, tmp_path / "forged.zip", edited("expected.json", better)))
    assert "expected.json" in _named(document) <= {"expected.json", "ro-crate-metadata.json"}
    assert [moved["number"] for job in document["jobs"] for moved in job["moved"]] == ["faithfulness"]
    assert document["moved"] == 1 and not document["verified"]


def test_a_result_that_was_changed_everywhere_is_found_by_computing_it(packed: Packed, tmp_path: Path) -> None:
    """Rows, claims and every document agree with each other, as if the pack had been made so."""
    forged = _repacked_with_another_score(packed, tmp_path)
    document = verify(forged)
    assert document["altered"] == []
    moved = [(job["kind"], one["number"], one["expected"]) for job in document["jobs"] for one in job["moved"]]
    assert moved == [("trace", "replacement_score", 0.999)]
    assert not document["verified"]


def _repacked_with_another_score(packed: Packed, tmp_path: Path) -> Path:
    from store.project import Project
    from tests.tasks.packs.packed_project import pack

    open_pack(packed.whole, tmp_path / "forger")
    with Project.open(tmp_path / "forger", write=True) as project:
        with project.transaction():
            project.db.execute(
                "UPDATE job SET result = json_set(result, '$.replacement_score', 0.999) WHERE kind = 'trace'"
            )
        pack(project, tmp_path / "forged.zip")
    return tmp_path / "forged.zip"


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [("n_layers", 7, "says n_layers 7, and the model has 3"), ("d_mlp", 9, "says d_mlp 9"),
     ("family", "gemma2", "says family 'gemma2'"), ("revision", "0" * 32, "is not the model on this machine")],
)  # fmt: skip
def test_a_model_that_is_not_the_one_described_is_named(
    packed: Packed, tmp_path: Path, field: str, value: object, said: str
) -> None:
    forged = changed(packed.whole, tmp_path / "forged.zip", edited("model.json", lambda d: d | {field: value}))
    document = verify(forged)
    assert not document["verified"]
    assert any(each["name"] == "model.json" and said in each["what"] for each in document["altered"])


def test_what_belongs_to_no_pack_and_what_is_lacking_are_named(packed: Packed, tmp_path: Path) -> None:
    def smuggle(entries: dict[str, bytes]) -> None:
        entries["weights/run_me.py"] = b"import os"
        entries.pop("commands.sh")

    document = verify(changed(packed.whole, tmp_path / "f.zip", smuggle), model_spec=str(tmp_path / "none"))
    found = {each["name"]: each["what"] for each in document["altered"]}
    assert found.pop("ro-crate-metadata.json")
    assert found == {"weights/run_me.py": "belongs to no pack", "commands.sh": "is not in the pack"}


def test_a_file_that_rows_name_and_the_pack_lacks_is_named(packed: Packed, tmp_path: Path) -> None:
    forged = changed(packed.whole, tmp_path / "f.zip", lambda entries: entries.pop(_first(entries, "weights/")))
    with pytest.raises(Damaged, match="the pack lacks weights/"):
        verify(forged)


ROWS: dict[str, tuple[Change, str]] = {
    "a path outside": (
        edited_rows("file", lambda rows: rows[0].update(path="../../etc/passwd")),
        "names a file outside its folders",
    ),
    "an absolute path": (
        edited_rows("file", lambda rows: rows[0].update(path="/etc/passwd")),
        "names a file outside its folders",
    ),
    "a path that is no text": (edited_rows("file", lambda rows: rows[0].update(path=3)), "names a file outside"),
    "another column": (edited_rows("job", lambda rows: rows[0].update(run="rm")), "a row of job .* has other columns"),
    "a missing column": (edited_rows("node", lambda rows: rows[0].pop("layer")), "a row of node .* has other columns"),
    "a reference to nothing": (
        edited_rows("dictionary", lambda rows: rows[0].update(file_id=999)),
        "a row of dictionary in the pack cannot be taken in",
    ),
    "a kind that there is not": (
        edited_rows("effect", lambda rows: rows[0].update(kind="magic")),
        "a row of effect in the pack cannot be taken in",
    ),
    "a row twice": (
        edited_rows("feature", lambda rows: rows.append(dict(rows[0]))),
        "a row of feature in the pack cannot be taken in",
    ),
    "text for a number": (
        edited_rows("job", lambda rows: rows[0].update(progress="much")),
        "a row of job in the pack cannot be taken in",
    ),
    "a number that no database holds": (
        edited_rows("node", lambda rows: rows[0].update(layer=1 << 70)),
        "a row of node in the pack cannot be taken in",
    ),
    "a blob that is none": (
        edited_rows("example", lambda rows: rows[0].update(packed="base64:?")),
        "a row of example in the pack cannot be taken in",
    ),
    "a nested value": (
        edited_rows("job", lambda rows: rows[0].update(params={"a": 1})),
        "a row of job in the pack cannot be taken in",
    ),
    "a table of ours that stays": (
        lambda entries: entries.update({"tables/ui_state.jsonl": b"{}\n"}),
        "rows of 'ui_state'",
    ),
    "a table of SQLite": (
        lambda entries: entries.update({"tables/sqlite_schema.jsonl": b'{"sql": "x"}\n'}),
        "rows of 'sqlite_schema'",
    ),
    "no JSON": (lambda entries: entries.update({"tables/node.jsonl": b"{nonsense\n"}), "line 1 of .*node.jsonl"),
    "no row": (lambda entries: entries.update({"tables/node.jsonl": b"[1]\n"}), "line 1 of .*node.jsonl is no row"),
    "no jobs": (lambda entries: entries.pop("tables/job.jsonl"), "does not hold a project's rows"),
    "no model": (lambda entries: entries.update({"model.json": b"{}"}), "model.json of the pack cannot be read"),
    "a model of text": (edited("model.json", lambda d: d | {"n_layers": "3"}), "does not describe a model"),
    "no tokens": (
        edited_rows("feature", lambda rows: rows[0].update(promoted="[3]")),
        "the tokens of feature 1 in the pack cannot be read",
    ),
}


@pytest.mark.parametrize("kind", ROWS)
def test_rows_that_were_changed_are_refused_and_nothing_is_left(packed: Packed, tmp_path: Path, kind: str) -> None:
    change, said = ROWS[kind]
    forged = changed(packed.whole, tmp_path / "forged.zip", change)
    with pytest.raises(BadInput, match=said) as raised:
        open_pack(forged, tmp_path / "deep" / "copy")
    assert "\n" not in str(raised.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["forged.zip"]


def _lengthened(name: str) -> Change:
    return lambda entries: entries.update({name: entries[name] + b" "})


def test_every_entry_of_a_pack_is_checked_by_something(packed: Packed, tmp_path: Path) -> None:
    """One byte of each entry, in turn, with the hashes left as they were: every one is named."""
    names: list[str] = []
    changed(packed.whole, tmp_path / "same.zip", names.extend)
    for name in names:
        if name == "manifest-sha256.txt":
            continue
        forged = changed(packed.whole, tmp_path / "f.zip", _lengthened(name), mended=False)
        with pytest.raises(Damaged, match="is not what the manifest says") as raised:
            verify(forged)
        assert repr(name) in str(raised.value)


def test_text_of_a_pack_is_never_code(packed: Packed, tmp_path: Path) -> None:
    """A hostile spec and prompt stay literals in the scripts that an unpacked project gives."""
    from store.jobs import Job
    from store.project import ModelRecord
    from tasks.packs.session import commands, notebook, script, session_steps
    from tests.store.test_packs import TRAIN

    evil = '"""\nimport os; os.system("touch owned")\n\'\'\'$(touch owned)`touch owned`'
    model = ModelRecord(evil, evil, "llama", 3, 32, 48, 99, evil, evil)
    job = Job(**{**vars(TRAIN), "kind": "trace", "params": {"prompt": evil, "target": evil}, "result": {}})
    steps = session_steps([job])
    tree = ast.parse(script(steps, model, evil))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
    assert [name.name for node in imports for name in node.names] == ["sys"]
    cells = json.loads(notebook(steps, model, evil))["cells"]
    assert all("\nimport os" not in "".join(cell["source"]) for cell in cells)
    words = shlex.split(commands(steps, model).decode(), comments=True)
    assert words.count(evil) >= 4 and "touch" not in words
