"""Dictionary sets that stay in memory: the same as loaded anew, within the budget, never stale."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from store.errors import Damaged
from store.project import Project
from tasks.context import Context
from tasks.dictionaries.sae import SparseAutoencoder
from tasks.memory_use import host_memory_bytes
from tasks.resident_dictionaries import ResidentDictionaries, held_bytes
from tests.tasks.graph_project import create
from tests.tiny import tiny_language_model

FAMILY = "qwen2"


def store_set(project: Project, name: str, seed: int, n_features: int = 64) -> None:
    """A set of that name on layer 1, in place of one that is there."""
    m = tiny_language_model(FAMILY).d_mlp
    encoder = torch.randn(n_features, m, generator=torch.Generator().manual_seed(seed))
    sae = SparseAutoencoder(1, encoder, encoder[:, 0].clone(), encoder.clone(), encoder.new_zeros(m), 8, n_features)
    stored = project.files.write("weights", f"{name}-L1.safetensors", sae.save)
    with project.transaction():
        project.db.execute("DELETE FROM dictionary WHERE name = ?", [name])
        project.db.table("dictionary").insert(
            {"name": name, "kind": "sae", "layer": 1, "n_features": n_features, "objective": "topk",
             "file_id": project.record_file(stored), "config": sae.config(), "metrics": "{}"}
        )  # fmt: skip


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    """Sets a, b and c of one size, and a context that keeps what is given to `dictionaries`."""
    with create(tmp_path) as project:
        for seed, name in enumerate("abc"):
            store_set(project, name, seed)
        yield Context(project, _model=tiny_language_model(FAMILY))


def one_set_bytes(context: Context) -> int:
    """The bytes of one of the three."""
    return held_bytes(context.dictionary_set("a"))


def test_given_a_foreground_run_when_a_set_is_used_twice_then_it_is_loaded_twice_and_nothing_is_kept(
    context: Context,
) -> None:
    assert context.dictionary_set("a") is not context.dictionary_set("a")
    assert context.dictionaries.sizes() == {}


def test_given_a_budget_for_two_when_three_are_used_then_the_one_unused_for_longest_goes(context: Context) -> None:
    size = one_set_bytes(context)
    context.dictionaries = ResidentDictionaries(5 * size // 2)
    a, b = context.dictionary_set("a"), context.dictionary_set("b")
    assert context.dictionary_set("a") is a
    assert context.dictionaries.sizes() == {"b": size, "a": size}  # the next to go first
    context.dictionary_set("c")
    assert context.dictionaries.sizes() == {"a": size, "c": size}
    assert context.dictionary_set("a") is a
    again = context.dictionary_set("b")
    assert again is not b
    torch.testing.assert_close(again[1].write_bias, b[1].write_bias)
    assert list(context.dictionaries.sizes()) == ["a", "b"]


def test_given_a_resident_set_when_it_is_trained_again_then_the_new_one_is_served_and_the_old_one_gone(
    context: Context,
) -> None:
    context.dictionaries = ResidentDictionaries(10 * one_set_bytes(context))
    old = context.dictionary_set("a")
    store_set(context.project, "a", seed=9)
    new = context.dictionary_set("a")
    assert not torch.equal(old[1].read_vectors(torch.arange(3)), new[1].read_vectors(torch.arange(3)))
    assert list(context.dictionaries.sizes()) == ["a"]


def test_given_a_resident_set_when_its_file_is_damaged_then_the_next_use_says_so(context: Context) -> None:
    context.dictionaries = ResidentDictionaries(10 * one_set_bytes(context))
    context.dictionary_set("a")
    [(path,)] = context.project.db.execute(
        "SELECT path FROM file JOIN dictionary ON file.id = file_id WHERE name = 'a'"
    ).fetchall()
    place = context.project.directory / path
    content = bytearray(place.read_bytes())
    content[-1] ^= 1
    place.write_bytes(content)
    os.utime(place, ns=(1, 1))
    with pytest.raises(Damaged, match=path):
        context.dictionary_set("a")


def test_given_a_set_larger_than_the_budget_when_used_then_it_is_told_once_and_not_kept(context: Context) -> None:
    told: list[str] = []

    class Told:
        def note(self, text: str) -> None:
            told.append(text)

    size = one_set_bytes(context)
    sets = ResidentDictionaries(size - 1)
    found = sets.get(context.project, "a", context.model, Told().note)
    assert held_bytes(found) == size
    assert sets.sizes() == {}
    [line] = told
    assert "the set a takes" in line
    assert "loaded again" in line


def test_given_no_figure_when_used_then_the_budget_is_a_quarter_of_the_memory(context: Context) -> None:
    context.dictionaries = ResidentDictionaries(None)
    context.dictionary_set("a")
    assert context.dictionaries.budget_bytes == host_memory_bytes() // 4
    context.unload()
    assert context.dictionaries.sizes() == {}


def test_given_a_transcoder_directory_when_a_file_changes_then_it_is_another_set(tmp_path: Path) -> None:
    from tasks.resident_dictionaries import _transcoder_identity

    (tmp_path / "layer_0.safetensors").write_bytes(b"x" * 100)
    (tmp_path / "config.yaml").write_text("scan: x")
    before, size = _transcoder_identity(str(tmp_path))
    assert size == 100
    assert _transcoder_identity(f"{tmp_path}/../{tmp_path.name}")[0] == before
    os.utime(tmp_path / "layer_0.safetensors", ns=(5, 5))
    assert _transcoder_identity(str(tmp_path))[0] != before
