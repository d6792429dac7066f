"""Behaviour files: the workbench's own, and a person's with every kind of fault."""

from collections.abc import Callable
from pathlib import Path

import pytest

from store.errors import BadInput
from tasks.behaviours import (
    OWN_DIRECTORY,
    Behaviour,
    Hypothesis,
    Kind,
    Pair,
    Where,
    check_behaviour,
    check_pair,
    choose_behaviours,
    load_behaviours,
    read_behaviour,
    refuse_first,
)
from tasks.model.language_model import LanguageModel

GOOD = 'title = "T"\n[[pair]]\nclean = "w1 w2"\ndecisive = "w3"\ncorrupt = "w1 w4"\nrival = "w5"\nconcept = "c"\n'

PAIR = GOOD.partition("\n")[2]
ALONE = 'title = "T"\n[[pair]]\nclean = "w1 w2"\ndecisive = "w3"\n'
GROUPS = 'title = "T"\n' + "".join(
    f'[[pair]]\nclean = "w{n}"\ndecisive = "w3"\ngroup = "{group}"\nconcept = "{concept}"\n'
    for n, (group, concept) in enumerate([("en", "a"), ("en", "b"), ("fr", "a"), ("fr", "b")])
)


def hypothesis(body: str, claim: str = "it is so") -> str:
    return f"[[hypothesis]]\n{body}\n" + (f'claim = "{claim}"\n' if claim else "")


def write(directory: Path, text: str, name: str = "mine") -> Path:
    file = directory / f"{name}.toml"
    file.write_text(text)
    return file


PAPER = {
    "two_hop_state",
    "poem_planning",
    "antonyms_languages",
    "addition_ones",
    "medical_differential",
    "known_entities",
    "refusal",
    "jailbreak",
    "cot_faithfulness",
    "hidden_goals",
}
BESIDE = {"indirect_object", "agreement", "greater_than", "succession", "induction", "translation_to_french", "acronym"}


def test_given_our_own_behaviours_when_loaded_then_every_case_study_is_there_and_each_pair_is_whole() -> None:
    behaviours = load_behaviours()
    assert behaviours.keys() >= PAPER | BESIDE
    assert all(behaviours[name].paper_section for name in PAPER)
    for behaviour in behaviours.values():
        assert 3 <= len(behaviour.pairs) <= 16
        assert behaviour.claimed_circuit
        assert behaviour.hypotheses, behaviour.name
        assert dict(behaviour.measured).keys() == {"builtin:smollm2-135m"}
        assert len({(pair.clean, pair.prefill) for pair in behaviour.pairs}) == len(behaviour.pairs)
        for pair in behaviour.pairs:
            assert pair.corrupt is not None
            assert pair.rival is not None
    assert behaviours["antonyms_languages"].pairs[0].group
    assert {pair.group for pair in behaviours["antonyms_languages"].pairs} == {"en", "fr", "es", "zh"}


@pytest.mark.embedded
def test_given_our_own_behaviours_when_checked_then_what_does_not_fit_the_embedded_tokenizer_is_named(
    embedded: LanguageModel,
) -> None:
    for behaviour in load_behaviours().values():
        checked = check_behaviour(embedded, behaviour, equal_lengths=True)
        assert checked.pairs.keys() | checked.refused.keys() == set(range(len(behaviour.pairs)))
        assert all("token" in reason for reason in checked.refused.values())
        if not behaviour.chat and dict(behaviour.measured)["builtin:smollm2-135m"] == 1.0:
            assert len(checked.pairs) >= 2, behaviour.name


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
        (GOOD.replace('"w1 w4"', '"w1 w2"'), "pair 0 has the same clean and corrupt prompt"),
        (GOOD.replace('"w5"', '"w3"'), "pair 0 has the same decisive and rival token"),
        (GOOD + PAIR, "pair 1 is pair 0 again"),
        ('chat = "yes"\n' + GOOD, "neither true nor false"),
        ('system = "be kind"\n' + GOOD, "is no chat"),
        (GOOD + 'prefill = "Well"\n', "is no chat"),
        ('hypothesis = "swap"\n' + GOOD, "hypothesis that is no table"),
        ("measured = 1\n" + GOOD, "measured that is not parts of 1"),
        ("measured = {m = 2}\n" + GOOD, "measured that is not parts of 1"),
        ("pair = 3\n" + 'title = "T"', "pair that is no table"),
        (GOOD + hypothesis('kind = "swop"'), "hypothesis 0 has an unknown kind 'swop'"),
        (GOOD + hypothesis('kind = "swap"', claim=""), "hypothesis 0 has no 'claim'"),
        (GOOD + hypothesis('kind = "swap"\nwhere = "first"'), "unknown where 'first'"),
        (GOOD + hypothesis('kind = "swap"\ndepth = [0.8, 0.2]'), "two rising parts of 1"),
        (GOOD + hypothesis('kind = "swap"\ndepth = [0, true]'), "two rising parts of 1"),
        (GOOD + hypothesis('kind = "swap"\nlayers = "1"'), "unknown key 'layers'"),
        (GOOD + hypothesis('kind = "concept"\nprobe = "about"'), "probe without one {}"),
        (GOOD + hypothesis('kind = "concept"'), "no concept or no rival_concept"),
        (GOOD + hypothesis('kind = "shared"'), "no group or concept"),
        (ALONE + hypothesis('kind = "swap"'), "no corrupt prompt"),
        (GROUPS[:-4] + '"c"\n' + hypothesis('kind = "shared"'), "less than two concepts in common"),
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


def test_given_a_file_with_all_there_is_when_read_then_every_key_has_its_place(tmp_path: Path) -> None:
    pair = 'clean = "w1 w2"\ncorrupt = "w1 w4"\ndecisive = "w3"\nrival = "w5"\nconcept = "a"\nrival_concept = "b"\n'
    text = (
        'title = "T"\nchat = true\nsystem = "be kind"\n[measured]\n"org/m" = 0.5\n'
        '[[hypothesis]]\nkind = "concept"\nclaim = "c"\nwhere = "last"\ndepth = [0.25, 1]\nprobe = "of {}"\n'
        f'[[pair]]\n{pair}prefill = "Well"\ngroup = "en"\n'
    )
    behaviour = read_behaviour(write(tmp_path, text))
    assert behaviour.hypotheses == (Hypothesis(Kind.CONCEPT, "c", Where.LAST, (0.25, 1.0), "of {}"),)
    assert (behaviour.chat, behaviour.system, behaviour.measured) == (True, "be kind", (("org/m", 0.5),))
    (found,) = behaviour.pairs
    assert (found.rival_concept, found.prefill, found.group) == ("b", "Well", "en")
    assert behaviour.form(found) == {"chat": True, "system": "be kind", "prefill": "Well"}


def test_given_pairs_that_do_not_fit_a_tokenizer_when_checked_then_each_has_its_reason(
    tiny_model: Callable[[str], LanguageModel],
) -> None:
    pairs = (
        Pair("w1 w2", "w3", "w1 w4", "w5"),
        Pair("w1 w2", "w3", "w1", "w5"),
        Pair("w1 w2", "w3 w4", "w1 w6", "w5"),
    )
    behaviour = Behaviour("mine", "T", "", "", pairs)
    checked = check_behaviour(tiny_model("llama"), behaviour, equal_lengths=True)
    assert checked.pairs.keys() == {0}
    assert checked.refused[1] == "the prompts are 2 and 1 tokens long"
    assert "'w3 w4' is 2 tokens" in checked.refused[2]
    assert check_behaviour(tiny_model("llama"), behaviour).pairs.keys() == {0, 1}
    with pytest.raises(BadInput, match=r"mine.toml, pair 1: the prompts are 2 and 1 tokens long"):
        refuse_first(behaviour, checked, "dir")


def test_given_a_chat_when_the_model_has_no_template_then_the_pair_is_refused(
    tiny_model: Callable[[str], LanguageModel],
) -> None:
    behaviour = Behaviour("mine", "T", "", "", (Pair("w1", "w3", "w2", "w5"),), chat=True)
    assert "no chat template" in check_behaviour(tiny_model("llama"), behaviour).refused[0]
    assert OWN_DIRECTORY.is_dir()
