"""Capture, train, evaluate and index on a tiny model: what they leave, what they refuse, and that nothing is lost."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from store import job_curves, jobs
from store.errors import BadInput, Cancelled, Damaged, WorkbenchError
from store.feature_query import parse_query
from store.feature_search import find_features
from store.features import find, rows_of
from store.project import Project
from tasks.corpora.tokens import split_of
from tasks.dictionaries.activations import CapturedActivations
from tasks.dictionaries.corpus_text import CorpusText
from tasks.dictionaries.loading import load_dictionary_set
from tasks.dictionaries.streamed import BufferShape, StreamedActivations
from tasks.execute import execute
from tasks.interpret import feature_card
from tasks.registry import task
from tasks.training import estimate
from tasks.training.plan import OBJECTIVES
from tests.tasks import sae_project
from tests.tiny import tiny_language_model

SMALL = {"features": 32, "l0": 4, "batch_size": 64, "epochs": 2, "checkpoint_steps": 3}


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project on the tiny Llama."""
    with sae_project.create(tmp_path / "project") as made:
        yield made


def captured(project: Project, **options: Any) -> dict[str, Any]:
    """A small capture of two layers."""
    return sae_project.run(project, "capture", **({"layers": "0,2", "tokens": 900, "dtype": "float32"} | options))


def weights_of(project: Project, name: str) -> dict[int, dict[str, torch.Tensor]]:
    """Layer -> the tensors of a set's file."""
    sql = "SELECT layer, path FROM dictionary JOIN file ON file.id = file_id WHERE name = ?"
    return {layer: load_file(project.directory / path) for layer, path in project.db.execute(sql, [name]).fetchall()}


def test_a_capture_holds_the_hidden_of_each_kept_token_with_its_place(project: Project) -> None:
    document = captured(project)
    model = tiny_language_model("llama")
    rows = CapturedActivations.open(project, document["capture"], [])
    corpus = [json.loads(line)["text"] for line in (project.directory.parent / "corpus.jsonl").open()]
    pieces = [(split, piece) for split in ("train", "validation") for piece in rows.pieces(2, split)]
    assert sum(len(piece.h) for _, piece in pieces) == document["train_tokens"] + document["validation_tokens"]
    for split, piece in pieces:
        for index in range(0, len(piece.h), 37):
            number, position = int(piece.documents[index]), int(piece.positions[index])
            assert split_of(number, 0) == split and position > 0
            start = (position - 1) // 11 * 11
            window = model.tokenize(corpus[number])[start : position + 1]
            h: list[torch.Tensor] = []
            hook = model.layers[2].down.register_forward_pre_hook(lambda _m, inputs, h=h: h.append(inputs[0]))
            model.logits(model.token_tensor(window))
            hook.remove()
            assert torch.allclose(piece.h[index], h[0][0, -1], atol=1e-5)


def test_no_document_is_on_both_sides_of_the_split(project: Project) -> None:
    captured(project)
    rows = CapturedActivations.open(project, 1, [])
    train, validation = (
        {int(number) for piece in rows.pieces(0, split) for number in piece.documents}
        for split in ("train", "validation")
    )
    assert train and validation and not train & validation


def test_bfloat16_shards_are_half_as_large_and_nearly_the_same(project: Project) -> None:
    whole, half = captured(project), captured(project, dtype="bfloat16")
    assert half["bytes"] < 0.6 * whole["bytes"]
    a, b = (CapturedActivations.open(project, each["capture"], []).rows(0, 2) for each in (whole, half))
    assert torch.allclose(a, b.float(), rtol=2**-8) and b.dtype == torch.bfloat16


@pytest.mark.parametrize("damage", ["bit", "truncated", "zeroed"])
def test_a_shard_that_was_altered_is_refused_by_name(project: Project, damage: str) -> None:
    captured(project)
    path = sorted((project.directory / "activations").glob("L2-train*"))[0]
    content = bytearray(path.read_bytes())
    if damage == "bit":
        content[len(content) // 2] ^= 1
    elif damage == "truncated":
        content = content[:-16]
    else:
        content[-64:] = bytes(64)
    path.write_bytes(content)
    with pytest.raises(Damaged, match=path.name):
        sae_project.run(project, "train", capture=1, **SMALL)
    assert project.db.table("dictionary").count == 0


def test_a_capture_that_does_not_fit_on_the_disk_is_refused_with_both_figures(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(project.directory)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=100_000))
    with pytest.raises(WorkbenchError, match=r"need about 0\.\d\d GB .* has 0\.00 GB free"):
        captured(project)
    assert not list((project.directory / "activations").iterdir())


def test_training_leaves_a_set_that_loads_and_says_how_good_it_is(project: Project) -> None:
    captured(project)
    document = sae_project.run(project, "train", capture=1, **SMALL)
    held = load_dictionary_set(project, "sae", tiny_language_model("llama"))
    assert sorted(held.layers) == [0, 2] == [each["layer"] for each in document["weights"]]
    for each, found in zip(document["layers"], document["weights"], strict=True):
        assert {"bottleneck": 4, "n_features": 32, "l0_median": 4.0}.items() <= each.items()
        assert 0 < each["fvu"] < 1.5 and each["tokens"] == 2 * each["train_tokens"] > 0
        [stored] = project.db.query("SELECT * FROM file WHERE path = ?", [found["file"]])
        assert stored["hash"] == found["hash"]
    sql = "SELECT split, count(*) FROM training_point GROUP BY dictionary_id, split ORDER BY 1"
    counts = project.db.execute(sql).fetchall()
    assert {split for split, _ in counts} == {"train", "validation"}
    job_id = project.db.execute("SELECT max(id) FROM job WHERE kind = 'train'").fetchone()[0]
    drawn = job_curves.curves(event for _, event in jobs.events(project.db, job_id))
    assert {name: curve["fvu"] for name, curve in drawn.items()} == {
        f"layer {each['layer']}": each["curve"]["fvu"] for each in document["layers"]
    }


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_streaming_through_a_small_buffer_trains_as_many_rounds_as_it_takes(project: Project, objective: str) -> None:
    document = sae_project.run(project, "train", layers="0,2", tokens=900, buffer="60kB", objective=objective, **SMALL)
    assert all(each["tokens"] == 2 * each["train_tokens"] for each in document["layers"])


def test_rounds_that_are_streamed_are_the_same_from_the_start_and_from_anywhere(project: Project) -> None:
    model = tiny_language_model("llama")
    text = CorpusText(model, str(project.directory.parent / "corpus.jsonl"), 12, 900, 0.1, 0)
    small = BufferShape.of(model, 2, 2 * 48 * 4 * 150)
    source = StreamedActivations.open(model, text, [0, 2], small)
    assert small.rows == 150 and source.n_rounds > 3
    rounds = [source.rows(round_, 2).clone() for round_ in range(source.n_rounds)]
    whole = StreamedActivations.open(model, text, [0, 2], BufferShape.of(model, 2, 1 << 40)).rows(0, 2)
    assert torch.equal(torch.cat(rounds), whole) and len(whole) == source.n_rows
    for round_ in (2, 1, source.n_rounds - 1):
        again = StreamedActivations.open(model, text, [0, 2], small)
        assert torch.equal(again.rows(round_, 2), rounds[round_])


def test_a_capture_in_rounds_gives_every_row_once(project: Project) -> None:
    captured(project)
    whole = CapturedActivations.open(project, 1, [2])
    parts = CapturedActivations.open(project, 1, [2], buffer_bytes=40_000)
    assert parts.n_rounds > 2
    rounds = torch.cat([parts.rows(round_, 2) for round_ in range(parts.n_rounds)])
    assert torch.equal(rounds.sort(dim=0).values, whole.rows(0, 2).sort(dim=0).values)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums come out bitwise the same only from as many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.usefixtures("one_thread")
def test_a_killed_training_goes_on_and_ends_bitwise_as_if_it_had_not_been(tmp_path: Path, streamed: bool) -> None:
    options: dict[str, Any] = SMALL | {"epochs": 6, "checkpoint_steps": 2, "layers": "0,2"}
    options |= {"tokens": 900, "buffer": "60kB"} if streamed else {"capture": 1}
    with sae_project.create(tmp_path / "project") as project:
        captured(project)
        sae_project.run(project, "train", name="unbroken", **options)
    options["name"] = "killed"
    command = [sys.executable, "-m", "tests.tasks.sae_project", str(tmp_path / "project"), json.dumps(options)]
    with subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}) as process:
        _wait_for_checkpoints(process, tmp_path / "project" / "weights", 9)
        process.send_signal(signal.SIGKILL)
    with Project.open(tmp_path / "project", write=True) as project:
        assert list((project.directory / "weights").glob("resume_*")) and not weights_of(project, "killed")
        sae_project.run(project, "train", **options)
        expected, found = weights_of(project, "unbroken"), weights_of(project, "killed")
        states = [row[0] for row in project.db.execute("SELECT state FROM job WHERE kind = 'train'").fetchall()]
        sql = "SELECT layer, tokens, split, loss, fvu FROM training_point JOIN dictionary ON id = dictionary_id"
        curves = [
            project.db.execute(f"{sql} WHERE name = ? ORDER BY 1, 2, 3", [name]).fetchall()
            for name in ("unbroken", "killed")
        ]
    assert states == ["succeeded", "interrupted", "succeeded"]
    for layer, tensors in expected.items():
        assert all(torch.equal(tensor, found[layer][name]) for name, tensor in tensors.items()), layer
    assert curves[0] == curves[1]


def _wait_for_checkpoints(process: "subprocess.Popen[bytes]", folder: Path, wanted: int) -> None:
    """Until so many different checkpoints have been seen, or the process has ended."""
    seen: set[str] = set()
    while process.poll() is None and len(seen) < wanted:
        seen |= {path.name for path in folder.glob("resume_*")}
        time.sleep(0.002)


def test_a_cancelled_training_keeps_the_step_it_was_at(project: Project) -> None:
    captured(project)
    context = sae_project.context(project)
    context.cancelled.set()
    with pytest.raises(Cancelled):
        execute("train", task("train").params_type.model_validate({"capture": 1} | SMALL), context)
    [path] = (project.directory / "weights").glob("resume_*")
    with safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()["state"])["position"]["step"] == 1
    document = sae_project.run(project, "train", capture=1, **SMALL)
    assert len(document["weights"]) == 2
    captured(project)
    sae_project.run(project, "train", capture=2, name="next", **SMALL)
    left = {path.name.split("_")[1] for path in (project.directory / "weights").glob("resume_*")}
    assert len(left) == 1, "the checkpoints of a finished run go when the next one starts"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"capture": 7}, "no capture 7 in this project; the captures are 1"),
        ({"capture": 1, "layers": "1"}, r"capture 1 has no layer 1; its layers are \[0, 2\]"),
        ({"capture": 1, "layers": "9"}, "layers '9' are not all in"),
        ({"capture": 1, "l0": 33, "features": 32}, "--l0 33 keeps more features than the 32 there are"),
        ({"capture": 1, "name": "neurons"}, "a set cannot be called 'neurons'"),
        ({"capture": 1, "name": "../out"}, "a set cannot be called"),
        ({"capture": 1, "name": "taken"}, "the set 'taken' has layer 0 already"),
        ({"capture": 1, "objective": "matryoshka", "levels": "0,1"}, "--levels '0,1' are no shares"),
        ({"capture": 1, "buffer": "much"}, "--buffer 'much' is no size"),
        ({"capture": 1, "batch_size": 500}, r"\d+ held-out tokens do not fill one batch of 500"),
        ({"tokens": 100}, r"\d+ held-out tokens do not fill one batch of 64"),
        ({"tokens": 900, "layers": "0,2", "memory": "1MB"}, "one layer needs .* to train and 0.00 GiB may be used"),
    ],
)
def test_training_that_cannot_be_done_is_refused_and_leaves_nothing(
    project: Project, options: dict[str, Any], line: str
) -> None:
    captured(project)
    sae_project.run(project, "train", capture=1, name="taken", **SMALL)
    before = [project.db.table(name).count for name in ("job", "dictionary", "file")]
    with pytest.raises(BadInput, match=line):
        sae_project.run(project, "train", **{**SMALL, **options})
    assert before == [project.db.table(name).count for name in ("job", "dictionary", "file")]


def test_a_corpus_without_a_held_out_document_is_refused(project: Project) -> None:
    sae_project.write_corpus(project.directory.parent / "corpus.jsonl", n_documents=1)
    for kind in ("capture", "train"):
        with pytest.raises(BadInput, match=r"gives no (training|held-out) document"):
            sae_project.run(project, kind, layers="0,2", tokens=100)


def test_an_unknown_set_is_refused_by_naming_those_there_are(project: Project) -> None:
    captured(project)
    sae_project.run(project, "train", capture=1, **SMALL)
    with pytest.raises(BadInput, match="no dictionary set named 'mine'; there are neurons, sae"):
        load_dictionary_set(project, "mine", tiny_language_model("llama"))


def test_altered_weights_are_refused_by_name(project: Project) -> None:
    captured(project)
    document = sae_project.run(project, "train", capture=1, **SMALL)
    path = project.directory / document["weights"][1]["file"]
    content = bytearray(path.read_bytes())
    content[-5] ^= 4
    path.write_bytes(content)
    with pytest.raises(Damaged, match=path.name):
        load_dictionary_set(project, "sae", tiny_language_model("llama"))


def test_an_evaluation_has_the_promised_keys_for_each_layer_and_jointly(project: Project) -> None:
    captured(project)
    sae_project.run(project, "train", capture=1, **SMALL)
    document = sae_project.run(project, "evaluate", tokens=60, window=80)
    keys = {"layer", "fvu", "l0", "dead_share", "ce_recovered", "kl_recovered"}
    assert [each["layer"] for each in document["layers"]] == [0, 2]
    assert all(keys <= each.keys() and each["dead_window_tokens"] == 80 for each in document["layers"])
    assert {"ce_recovered", "kl_recovered"} <= document["joint"].keys()


def test_an_index_describes_every_feature_by_what_it_did(project: Project) -> None:
    captured(project)
    sae_project.run(project, "train", capture=1, **SMALL)
    document = sae_project.run(project, "index", capture=1, examples=5)
    assert document["features"] == 64
    model = tiny_language_model("llama")
    sae = load_dictionary_set(project, "sae", model)[2]
    pieces = [
        p for split in ("train", "validation") for p in CapturedActivations.open(project, 1, [2]).pieces(2, split)
    ]
    z = torch.cat([sae.encode(piece.h) for piece in pieces])
    places = [place for p in pieces for place in zip(p.documents.tolist(), p.positions.tolist(), strict=True)]
    for feature in (0, 7, 31):
        record = find(project.db, f"L2/{feature}")
        active = z[:, feature]
        assert record.density == pytest.approx(float((active > 0).double().mean()))
        assert record.maximum == pytest.approx(float(active.max()))
        assert record.mean == pytest.approx(float(active[active > 0].mean()), rel=1e-5)
        assert sum(record.histogram) == int((active > 0).sum())
        by_hand = active.sort(descending=True).values[:5].tolist()
        assert [each.activation for each in record.examples] == pytest.approx([v for v in by_hand if v > 0])
        for each in record.examples:
            assert float(active[places.index((each.document, each.position))]) == pytest.approx(each.activation)
        write = model.layers[2].down.weight @ sae.write_vectors(torch.tensor([feature]))[0]
        logits = model.unembedding_weight @ (write * model.norm_weight(model.final_norm))
        logits = logits - logits.mean()
        best = logits.topk(10)
        assert [text for text, _ in record.promoted] == [model.token_text(int(token)) for token in best.indices]
        assert [value for _, value in record.promoted] == pytest.approx(best.values.tolist(), rel=1e-4)
        assert record.suppressed[0][1] == pytest.approx(float(logits.min()), rel=1e-4)


def test_a_card_shows_the_very_words_and_search_finds_the_feature_by_them(project: Project) -> None:
    captured(project)
    sae_project.run(project, "train", capture=1, **SMALL)
    sae_project.run(project, "index", capture=1)
    card = feature_card(project, tiny_language_model("llama"), "L0/3")
    corpus = [json.loads(line)["text"] for line in (project.directory.parent / "corpus.jsonl").open()]
    assert card.contexts
    for context in card.contexts:
        words = corpus[context.document].split()
        assert context.token == words[context.position]
        assert context.before == words[max(0, context.position - 12) : context.position]
        assert context.after == words[context.position + 1 : context.position + 5]
    assert "L0/3" in found_names(project, f'"{card.contexts[0].token}" set:sae layer:0')


def test_indexing_again_replaces_rows_and_keeps_labels(project: Project) -> None:
    captured(project)
    sae_project.run(project, "train", capture=1, **SMALL)
    sae_project.run(project, "index", capture=1)
    with project.transaction():
        project.db.execute("UPDATE feature SET label = 'words of three' WHERE feature = 3")
    sae_project.run(project, "index", layers="2", tokens=200)
    assert project.db.table("feature").count == 64
    assert find(project.db, "L2/3").label == find(project.db, "L0/3").label == "words of three"
    assert "L2/3" in found_names(project, "three")
    assert "L2/3" in found_names(project, "label:three")


def found_names(project: Project, query: str) -> list[str]:
    """The names of the features that a query finds."""
    ids = find_features(project.db, parse_query(query)).ids.tolist()
    return [row.name for row in rows_of(project.db, ids).values()]


def test_a_capture_of_another_model_is_refused_by_its_key(project: Project) -> None:
    captured(project)
    with project.transaction():
        project.db.execute("UPDATE job SET params_hash = 'abcdef0123456789' WHERE kind = 'capture'")
    with pytest.raises(BadInput, match="capture 1 was made with another model: its key is abcdef012345, with"):
        sae_project.run(project, "train", capture=1, **SMALL)


@pytest.mark.usefixtures("one_thread")
def test_layers_in_groups_that_fit_the_memory_come_out_as_if_trained_together(project: Project) -> None:
    options: dict[str, Any] = SMALL | {"tokens": 900, "layers": "0,1,2", "buffer": "60kB"}
    together = sae_project.run(project, "train", name="together", **options)
    plan = task("train").params_type(**SMALL).plan(together["layers"][0]["train_tokens"])  # type: ignore[attr-defined]
    bound = estimate.training_bytes(plan, 48, 2, together["plan"]["buffer_bytes"])
    grouped = sae_project.run(project, "train", name="grouped", memory=str(bound), **options)
    assert [len(group) for group in grouped["plan"]["groups"]] == [1, 2]
    assert len(together["plan"]["groups"]) == 1 and together["plan"]["rounds"] > 3
    expected, found = weights_of(project, "together"), weights_of(project, "grouped")
    assert sorted(expected) == sorted(found) == [0, 1, 2]
    for layer, tensors in expected.items():
        assert all(torch.equal(tensor, found[layer][name]) for name, tensor in tensors.items()), layer
    assert {"memory_bytes", "disk_bytes", "seconds"} == set(grouped["plan"]["measured"])
