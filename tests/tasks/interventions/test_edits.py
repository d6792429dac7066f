"""Feature names, the places that they stand for, and edits as tables for texts of any length."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from store.errors import BadInput
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.dictionaries.neurons import Neurons
from tasks.graphs.edit import Edit, parse_line
from tasks.graphs.feature_name import FeatureName, parse_feature
from tasks.interventions.edits import Edits, expand
from tasks.interventions.request import Maxima, Request, refuse_unequal, resolve

CPU = torch.device("cpu")
SET = DictionarySet("toy", {layer: Neurons(layer, 6, CPU) for layer in (0, 2, 3)})
Place = tuple[int, int, int]


def no_maximum(layer: int, feature: int) -> float:
    raise AssertionError(f"nobody asked for the maximum of {layer}/{feature}")


def edit(line: str) -> Edit:
    """The edit of a line."""
    found = parse_line(line)
    assert found is not None
    return found


def resolved(lines: list[str], length: int, generated: bool = True, maximum: Maxima = no_maximum) -> Edits:
    """The table of all lines for a text of `length` tokens, of which 4 are the prompt."""
    other = {layer: torch.full((4, 6), 10.0 * (layer + 1)) for layer in SET.layers}
    return resolve(Request([edit(line) for line in lines], SET, 4, CPU, other, maximum, generated))(length)


def places(found: Edits) -> dict[Place, tuple[float, float]]:
    """Place -> (multiply, add)."""
    columns = (found.layer, found.position, found.index, found.multiply, found.add)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return {(layer, position, index): (multiply, add) for layer, position, index, multiply, add in rows}


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


def test_each_operation_is_an_affine_map_of_the_activation() -> None:
    lines = ["ablate L0/1@1", "scale L0/2@-1=-1.5", "steer L2/3@0,2=+3", "swap L3/4@1", "steer L3/5@2=+2max"]
    assert places(resolved(lines, 4, maximum=lambda layer, feature: layer + feature / 10)) == {
        (0, 1, 1): (0.0, 0.0), (0, 3, 2): (-1.5, 0.0), (2, 0, 3): (1.0, 3.0), (2, 2, 3): (1.0, 3.0),
        (3, 1, 4): (0.0, 40.0), (3, 2, 5): (1.0, 7.0),
    }  # fmt: skip


def test_named_positions_mean_the_prompts_and_none_means_every_token_of_a_growing_text() -> None:
    lines = ["ablate L0/1@-1", "scale L2/2=3", "swap L3/4"]
    for length, generated in ((4, True), (6, True), (6, False)):
        found = set(places(resolved(lines, length, generated)))
        reached = length if generated else 4
        assert found == {(0, 3, 1)} | {(2, at, 2) for at in range(reached)} | {(3, at, 4) for at in range(4)}


@given(st.floats(-5, 5))
def test_a_dose_moves_every_feature_that_many_times_as_far(dose: float) -> None:
    lines = ["ablate L0/1@1", "scale L0/2@1=-1.5", "steer L2/3@0=+3", "swap L3/4@1"]
    whole, dosed = resolved(lines, 4), resolved(lines, 4).at_dose(dose)
    z = torch.tensor([0.7, -1.1, 2.0, 0.3])
    moved, expected = (edits.multiply * z + edits.add - z for edits in (dosed, whole))
    torch.testing.assert_close(moved, dose * expected, atol=1e-5, rtol=1e-5)


def test_a_star_is_every_feature_of_the_layers() -> None:
    assert set(places(resolved(["ablate L2-3/*@0"], 4))) == {
        (layer, 0, index) for layer in (2, 3) for index in range(6)
    }


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
        resolved(["ablate L2/3@1", f"steer {second}=1"], 4)


@pytest.mark.parametrize(
    ("clean", "corrupt", "line"),
    [
        ([1, 2, 3], [1, 9, 3, 4], "3 and 4 tokens, parting at position 1"),
        ([1, 2, 3, 4], [1, 2], "4 and 2 tokens, parting at position 2"),
        ([], [1], "0 and 1 tokens, parting at position 0"),
    ],
)
def test_prompts_of_unequal_length_are_refused_with_both_lengths_and_where_they_part(
    clean: list[int], corrupt: list[int], line: str
) -> None:
    with pytest.raises(BadInput, match=f"different lengths: {line}"):
        refuse_unequal(clean, corrupt)
    refuse_unequal(clean, [9] * len(clean))
