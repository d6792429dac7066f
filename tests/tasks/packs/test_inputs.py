"""What jobs read beside rows and files travels with a pack, by hash or whole, and is read there instead."""

import json
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from store.errors import Damaged
from store.project import Project
from tasks.context import Context
from tasks.dictionaries.corpus_text import CorpusText
from tasks.model.sources import describe_model, load_model
from tasks.packs.inputs import named
from tasks.verify import open_pack
from tests.tasks.packs.packed_project import changed, edited, pack, run, verify
from tests.tasks.sae_project import write_corpus
from tests.tiny import save_tiny

BEHAVIOUR = """
title = "Words"
[[pair]]
clean = "w5 w17 w44 w3"
corrupt = "w5 w17 w90 w3"
decisive = "w9"
rival = "w30"
"""


@dataclass(frozen=True)
class Origin:
    """Where a project was made, and its packs without and with the corpus."""

    directory: Path
    by_hash: Path
    whole: Path

    @property
    def model(self) -> str:
        return str(self.directory / "model")


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Origin:
    """A project that read a corpus of two files, behaviours and a graph JSON, none of which is there any more."""
    directory = tmp_path_factory.mktemp("inputs")
    (directory / "texts" / "more").mkdir(parents=True)
    write_corpus(directory / "texts" / "more" / "b.jsonl")
    (directory / "texts" / "a.txt").write_text("w1 w2 w3 w4 w5 w6\n\nw7 w8 w9 w10 w11 w12 w13\n")
    (directory / "behaviours").mkdir()
    (directory / "behaviours" / "words.toml").write_text(BEHAVIOUR)
    model = load_model(str(save_tiny("llama", directory / "model")), "cpu")
    found = Origin(directory, directory / "by_hash.zip", directory / "whole.zip")
    with Project.create(directory / "project", describe_model(model, "cpu"), "0.1.0") as project:
        context = Context(project)
        run(context, "baseline", directory=str(directory / "behaviours"), max_new_tokens=2)
        run(context, "reproduce", directory=str(directory / "behaviours"))
        text = {"corpus": str(directory / "texts"), "context_length": 12, "tokens": 700}
        run(context, "train", layers="0", features=32, l0=4, batch_size=32, epochs=1, **text)
        traced = run(context, "trace", prompt="w5 w17 w44 w3", dictionary="sae", target="w9", max_nodes=10)
        exported = directory / "their graph.json"
        pack(project, found.by_hash)
        exported.write_bytes(entries(found.by_hash)[f"graphs/graph-{traced['graph']}.json"])
        run(context, "import", file=exported)
        pack(project, found.by_hash)
        pack(project, found.whole, corpora=True)
    for gone in ("texts", "behaviours"):
        shutil.move(directory / gone, directory / f"{gone} elsewhere")
    exported.unlink()
    return found


def entries(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def listed(file: Path) -> dict[str, dict[str, Any]]:
    return {each["kind"]: each for each in json.loads(entries(file)["inputs.json"])["inputs"]}


def outcomes(document: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {job["kind"]: (job["outcome"], job["reason"]) for job in document["jobs"]}


def test_given_own_files_when_packed_then_small_ones_travel_and_corpora_by_hash_until_asked_for(origin: Origin) -> None:
    by_hash, whole = listed(origin.by_hash), listed(origin.whole)
    assert by_hash.keys() == whole.keys() == {"behaviours", "corpus", "graph"}
    assert [each["name"] for each in by_hash["corpus"]["files"]] == ["a.txt", "more/b.jsonl"]
    assert all(each["sha256"] and each["entry"] is None for each in by_hash["corpus"]["files"])
    held = [each["entry"] for each in whole["corpus"]["files"]]
    texts = origin.directory / "texts elsewhere"
    packed = entries(origin.whole)
    assert [packed[name] for name in held] == [(texts / n).read_bytes() for n in ("a.txt", "more/b.jsonl")]
    assert not set(held) & entries(origin.by_hash).keys()
    for found in (by_hash, whole):
        assert found["behaviours"]["files"][0]["entry"].endswith("/words.toml")
        assert found["graph"]["files"][0]["entry"].endswith(".json")
    readme = entries(origin.by_hash)["README.md"].decode()
    assert "2 files" in readme and "not in the pack" in readme
    assert "holds it whole" in packed["LICENSES.md"].decode()
    crate = json.loads(packed["ro-crate-metadata.json"])
    [train] = [each for each in crate["@graph"] if each.get("name") == "workbench train"]
    assert {"@id": held[0]} in train["object"]


def test_given_a_streamed_training_when_packed_then_the_hash_of_its_token_stream_is_there(origin: Origin) -> None:
    [train] = [
        json.loads(row["result"])
        for row in map(json.loads, entries(origin.whole)["tables/job.jsonl"].splitlines())
        if row["kind"] == "train"
    ]
    texts = origin.directory / "texts elsewhere"
    text = CorpusText(load_model(origin.model, "cpu"), str(texts), 12, 700, 0.1, 0)
    assert train["corpus_hash"] == text.content_hash() == text.census().content_hash
    assert text.census().rows == {split: text.n_rows(split) for split in ("train", "validation")}
    assert train["corpus_hash"] in entries(origin.whole)["README.md"].decode()


def test_given_the_files_are_gone_when_verified_then_those_in_the_pack_are_read(origin: Origin) -> None:
    by_hash = verify(origin.by_hash, from_scratch=True)
    assert by_hash["altered"] == [] and by_hash["moved"] == 0
    assert outcomes(by_hash)["baseline"] == ("computed", "") and outcomes(by_hash)["import"] == ("computed", "")
    assert "is not on this machine" in outcomes(by_hash)["train"][1]
    on_stored = outcomes(verify(origin.by_hash))
    assert on_stored["baseline"] == on_stored["reproduce"] == ("computed", "") and on_stored["train"][0] == "kept"
    whole = verify(origin.whole, from_scratch=True)
    assert whole["verified"] and whole["skipped"] == 0
    assert {outcome for outcome, _ in outcomes(whole).values()} == {"computed"}
    assert max(job["largest_difference"] for job in whole["jobs"] if job["kind"] == "train") == 0.0


def test_given_a_corpus_that_changed_when_verified_then_it_is_not_read(origin: Origin) -> None:
    texts = origin.directory / "texts"
    shutil.copytree(origin.directory / "texts elsewhere", texts)
    try:
        assert outcomes(verify(origin.by_hash, from_scratch=True))["train"] == ("computed", "")
        (texts / "a.txt").write_text("w1 w2 w3\n")
        outcome, reason = outcomes(verify(origin.by_hash, from_scratch=True))["train"]
        assert outcome == "skipped" and "has changed since it was packed" in reason
    finally:
        shutil.rmtree(texts)


def test_given_a_pack_with_inputs_when_unpacked_then_they_lie_in_the_project(origin: Origin, tmp_path: Path) -> None:
    open_pack(origin.whole, tmp_path / "copy")
    corpus = listed(origin.whole)["corpus"]["files"]
    assert all((tmp_path / "copy" / each["entry"]).is_file() for each in corpus)
    with Project.open(tmp_path / "copy", write=True) as project:
        assert project.model.n_layers
    assert all((tmp_path / "copy" / each["entry"]).is_file() for each in corpus)


@pytest.mark.parametrize("entry", ["../../etc/passwd", "/etc/passwd", "README.md", "inputs/9/000000.txt"])
def test_given_a_list_that_names_what_is_no_input_when_opened_then_it_is_refused(
    origin: Origin, tmp_path: Path, entry: str
) -> None:
    def point(document: dict[str, Any]) -> None:
        document["inputs"][1]["files"][0]["entry"] = entry

    forged = changed(origin.whole, tmp_path / "forged.zip", edited("inputs.json", point))
    with pytest.raises(Damaged, match="which is not as it says"):
        open_pack(forged, tmp_path / "copy")
    for broken in (b"[]", b"{", b'{"inputs": [{"kind": "corpus"}]}'):
        bad = changed(origin.whole, tmp_path / "bad.zip", lambda e, text=broken: e.update({"inputs.json": text}))  # type: ignore[misc]
        with pytest.raises(Damaged, match=r"inputs.json of the pack cannot be read"):
            open_pack(bad, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_given_an_input_that_nothing_lists_when_verified_then_it_belongs_to_no_pack(
    origin: Origin, tmp_path: Path
) -> None:
    forged = changed(origin.whole, tmp_path / "forged.zip", lambda e: e.update({"inputs/7/000000.txt": b"more"}))
    altered = verify(forged, model_spec=str(tmp_path / "no model needed"))["altered"]
    assert {"name": "inputs/7/000000.txt", "what": "belongs to no pack"} in altered


def test_what_comes_with_the_workbench_or_from_the_hub_is_no_file_of_ones_own() -> None:
    specs = ("offline", "offline:facts", "hub:a/b", "offline_of_mine.txt", "")
    assert [given for spec in specs for _, given in named({"corpus": spec})] == ["offline_of_mine.txt"]
