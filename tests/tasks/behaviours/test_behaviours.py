"""Behaviour files: the workbench's own, and a person's with every kind of fault."""

from collections.abc import Callable
from pathlib import Path

import pytest

from store.errors import BadInput
from tasks.behaviours import Pair, check_pair, choose_behaviours, load_behaviours, read_behaviour
from tasks.model.language_model import LanguageModel

GOOD = 'title = "T"\n[[pair]]\nclean = "w1 w2"\ndecisive = "w3"\ncorrupt = "w1 w4"\nrival = "w5"\nconcept = "c"\n'


def write(directory: Path, text: str, name: str = "mine") -> Path:
    file = directory / f"{name}.toml"
    file.write_text(text)
    return file


def test_given_our_own_behaviours_when_loaded_then_there_are_enough_and_each_pair_is_whole() -> None:
    behaviours = load_behaviours()
    assert len(behaviours) >= 10
    assert {
        "capitals",
        "two_hop_language",
        "indirect_object",
        "antonyms",
        "succession",
        "agreement",
    } <= behaviours.keys()
    for behaviour in behaviours.values():
        assert 3 <= len(behaviour.pairs) <= 9
        assert behaviour.claimed_circuit
        assert len({pair.clean for pair in behaviour.pairs}) == len(behaviour.pairs)
        for pair in behaviour.pairs:
            assert pair.corrupt not in (None, pair.clean)
            assert pair.rival not in (None, pair.decisive)
            assert pair.concept


@pytest.mark.embedded
def test_given_our_own_behaviours_when_checked_then_all_tokens_are_single_and_most_pairs_can_swap(
    embedded: LanguageModel,
) -> None:
    checked = [check_pair(embedded, pair) for b in load_behaviours().values() for pair in b.pairs]
    assert sum(pair.equal_length for pair in checked) >= 0.9 * len(checked)


def test_given_a_directory_of_ones_own_when_loaded_then_its_behaviours_are_found(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    assert choose_behaviours([], tmp_path)[0].pairs == (Pair("w1 w2", "w3", "w1 w4", "w5", "c"),)
    assert choose_behaviours(["mine"], tmp_path)[0].name == "mine"
    with pytest.raises(BadInput, match="no behaviour named 'other'; the behaviours are mine"):
        choose_behaviours(["other"], tmp_path)
    with pytest.raises(BadInput, match="no behaviours"):
        load_behaviours(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("title = ", "cannot be read"),
        ('title = "T"', "has no 'pair'"),
        ("pair = []", "has no 'title'"),
        ('title = "T"\npair = []', "has no pairs"),
        ('title = 1\n[[pair]]\nclean = "a"\ndecisive = "b"', "title that is not text"),
        (GOOD.replace("clean", "cleen"), "pair 0 has no 'clean'"),
        (GOOD + 'extra = "x"\n', "pair 0 has an unknown key 'extra'"),
        (GOOD.replace('rival = "w5"\n', ""), "only one of corrupt and rival"),
        (GOOD.replace('"w1 w2"', '" "'), "clean that is not text"),
    ],
)
def test_given_a_faulty_file_when_read_then_the_file_and_the_fault_are_named(
    tmp_path: Path, text: str, fault: str
) -> None:
    with pytest.raises(BadInput, match=fault) as caught:
        read_behaviour(write(tmp_path, text))
    assert "mine.toml" in str(caught.value)


def test_given_a_pair_when_checked_then_tokens_and_equal_length_are_reported(
    tiny_model: Callable[[str], LanguageModel],
) -> None:
    model = tiny_model("llama")
    checked = check_pair(model, Pair("w1 w2", "w3", "w1 w4", "w5"))
    assert (checked.clean, checked.corrupt, checked.decisive, checked.rival) == ((1, 2), (1, 4), 3, 5)
    assert checked.equal_length
    assert not check_pair(model, Pair("w1 w2", "w3", "w1", "w5")).equal_length
    assert not check_pair(model, Pair("w1 w2", "w3")).equal_length


@pytest.mark.parametrize("pair", [Pair("w1", "w3 w4"), Pair("w1", "w2", "w1", "w3 w4")])
def test_given_a_decisive_text_of_several_tokens_when_checked_then_they_are_named(
    tiny_model: Callable[[str], LanguageModel], pair: Pair
) -> None:
    with pytest.raises(BadInput, match=r"2 tokens \('w3' 'w4'\)") as caught:
        check_pair(tiny_model("llama"), pair)
    assert caught.value.exit_code == 2


def test_given_an_empty_prompt_when_checked_then_refused(tiny_model: Callable[[str], LanguageModel]) -> None:
    with pytest.raises(BadInput, match="prompt is empty"):
        check_pair(tiny_model("llama"), Pair("  ", "w1"))
