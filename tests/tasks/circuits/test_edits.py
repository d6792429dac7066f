"""The edit grammar: what is read, what is refused with a pointing finger, and the places a name stands for."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from store.errors import BadInput
from tasks.circuits.edits import expand, parse_number
from tasks.circuits.request import Edit, ablation, refuse_unequal, resolve, scaling, steering, swapping
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.dictionaries.neurons import Neurons
from tasks.graphs.feature_name import FeatureName, parse_feature

CPU = torch.device("cpu")
SET = DictionarySet("toy", {layer: Neurons(layer, 6, CPU) for layer in (0, 2, 3)})
Place = tuple[int, int, int]


def no_maximum(layer: int, feature: int) -> float:
    raise AssertionError(f"nobody asked for the maximum of {layer}/{feature}")


def table(edits: list[Edit], length: int, n_prompt: int = 4) -> dict[Place, tuple[float, float]]:
    """Place -> (multiply, add) of edits resolved for a text of `length` tokens."""
    other = {layer: torch.full((n_prompt, 6), 10.0 * (layer + 1)) for layer in SET.layers}
    found = resolve(edits, SET, n_prompt, CPU, other, lambda layer, feature: layer + feature / 10)(length)
    places = zip(found.layer.tolist(), found.position.tolist(), found.index.tolist(), strict=True)
    return dict(zip(places, zip(found.multiply.tolist(), found.add.tolist(), strict=True), strict=True))


@given(
    layers=st.sets(st.integers(0, 40), min_size=1, max_size=4),
    feature=st.one_of(st.none(), st.integers(0, 99_999)),
    positions=st.one_of(st.none(), st.lists(st.integers(-30, 30), min_size=1, max_size=4)),
)
def test_a_name_that_is_written_is_read_back(
    layers: set[int], feature: int | None, positions: list[int] | None
) -> None:
    text = f"L{','.join(str(layer) for layer in sorted(layers))}/{'*' if feature is None else feature}"
    where = "*" if positions is None else ",".join(str(position) for position in positions)
    expected = FeatureName(tuple(sorted(layers)), feature, None if positions is None else tuple(positions))
    assert parse_feature(f"{text}@{where}") == expected
    if positions is None:
        assert parse_feature(text) == expected


def test_a_range_of_layers_is_all_of_them_once() -> None:
    assert parse_feature("L4-6,5,9/*@-1").layers == (4, 5, 6, 9)


@pytest.mark.parametrize(
    ("text", "character"),
    [
        ("", 1),
        ("12/3", 1),
        ("L", 2),
        ("Lx/3", 2),
        ("L12", 4),
        ("L12/", 5),
        ("L12/x", 5),
        ("L12/3x", 6),
        ("L12/3@", 6),
        ("L12/3@x", 6),
        ("L12/3@7;", 8),
        ("L12/3 @7", 6),
        ("L12/-3", 5),
        ("l12/3", 1),
        ("L1/3@5,", 7),
        ("L١/3", 2),
        ("L0-99999/3", 8),
        ("L1/" + "9" * 5000, 13),
    ],
)
def test_what_is_not_a_name_is_refused_at_the_character(text: str, character: int) -> None:
    with pytest.raises(BadInput) as raised:
        parse_feature(text)
    assert f"(at character {character})" in str(raised.value) and repr(text) in str(raised.value)
    assert "L12/345@7" in raised.value.mend and raised.value.exit_code == 2


def test_layers_that_run_backwards_are_refused() -> None:
    with pytest.raises(BadInput, match=r"the layers 6-4 of 'L1,6-4/3' run backwards; write L4-6"):
        parse_feature("L1,6-4/3")


@pytest.mark.parametrize("text", ["", "nan", "inf", "-inf", "1e99", "two", "1,5", "0x10"])
def test_what_is_no_finite_number_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is not a number"):
        parse_number(text)


@pytest.mark.parametrize("make", [scaling, steering])
@pytest.mark.parametrize("text", ["L0/1", "L0/1=", "=2"])
def test_an_edit_without_its_value_is_refused(make: Callable[[str], Edit], text: str) -> None:
    with pytest.raises(BadInput):
        make(text)


def test_each_operation_is_an_affine_map_of_the_activation() -> None:
    edits = [ablation("L0/1@1"), scaling("L0/2@-1=-1.5"), steering("L2/3@0,2=+3"), swapping("L3/4@1")]
    assert table([*edits, steering("L3/5@2=+2max")], 4) == {
        (0, 1, 1): (0.0, 0.0), (0, 3, 2): (-1.5, 0.0), (2, 0, 3): (1.0, 3.0), (2, 2, 3): (1.0, 3.0),
        (3, 1, 4): (0.0, 40.0), (3, 2, 5): (1.0, 7.0),
    }  # fmt: skip


def test_named_positions_mean_the_prompts_and_none_means_every_token_of_a_growing_text() -> None:
    edits = [ablation("L0/1@-1"), scaling("L2/2=3"), swapping("L3/4")]
    for length in (4, 6):
        found = table(edits, length)
        assert {place for place in found if place[0] == 0} == {(0, 3, 1)}
        assert {place for place in found if place[0] == 2} == {(2, at, 2) for at in range(length)}
        assert {place for place in found if place[0] == 3} == {(3, at, 4) for at in range(4)}


def test_a_star_is_every_feature_of_the_layers() -> None:
    assert set(table([ablation("L2-3/*@0")], 4)) == {(layer, 0, index) for layer in (2, 3) for index in range(6)}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("L1/0", "layer 1 has no dictionary in 'toy'; its layers are 0, 2, 3"),
        ("L0-2/0", "layer 1 has no dictionary"),
        ("L2/6", "feature 6 is out of range in layer 2; its features are 0 to 5"),
        ("L2/0@4", r"position 4 is outside the prompt; its positions are 0 to 3 \(or -1 …\)"),
        ("L2/0@-5", "position -5 is outside the prompt"),
    ],
)
def test_a_place_that_is_not_there_is_refused(text: str, line: str) -> None:
    with pytest.raises(BadInput, match=line):
        expand(parse_feature(text), SET, 4, CPU)


@pytest.mark.parametrize("second", ["L2/3@1", "L2/3", "L2/*@-3", "L0,2/3@1,2"])
def test_a_place_that_is_edited_twice_is_refused_by_name(second: str) -> None:
    with pytest.raises(BadInput, match="L2/3@1 is edited twice"):
        resolve([ablation("L2/3@1"), steering(f"{second}=1")], SET, 4, CPU, {}, no_maximum)


@pytest.mark.parametrize("lengths", [(3, 4), (4, 3), (0, 1)])
def test_prompts_of_unequal_length_are_refused_with_both_lengths(lengths: tuple[int, int]) -> None:
    with pytest.raises(BadInput, match=f"different lengths: {lengths[0]} and {lengths[1]} tokens"):
        refuse_unequal([0] * lengths[0], [0] * lengths[1])
    refuse_unequal([0] * 3, [1] * 3)
