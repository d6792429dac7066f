"""What edits can be about: the prediction is first order in z, and what there is not is refused by name."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import BadInput
from store.graphs import NodeRecord
from tasks.graphs.active_effects import effects_of_nodes
from tasks.graphs.edit import parse_line
from tasks.graphs.edit_ground import EditGround
from tasks.graphs.feature_name import parse_feature

numbers = st.floats(-5, 5, allow_nan=False)
positive = st.floats(0.125, 8)


def feature(layer: int, index: int, position: int, z: float, effect: float | None) -> NodeRecord:
    """A kept feature."""
    return NodeRecord(100 * layer + position, "feature", layer, position, index, z, 0.1, 0.1, effect, 1.0)


def ground(*nodes: NodeRecord, **more: object) -> EditGround:
    """A graph of a prompt of 4 tokens, with layers 1 and 2 of 8 features."""
    known = {"graph": 3, "n_positions": 4, "sizes": {1: 8, 2: 8}, "decisive": " a", "rival": " b", "dictionary": "toy"}
    active = replace(effects_of_nodes(nodes), is_whole=bool(more.pop("is_whole", True)))
    return EditGround(**(known | more), nodes=nodes, active=active)  # type: ignore[arg-type]


def predicted(ground: EditGround, line: str) -> float | None:
    """What the graph predicts of an edit as it is written."""
    edit = parse_line(line)
    assert edit is not None
    return ground.predicted(edit)


@given(z=positive, effect=numbers, value=numbers, largest=positive)
def test_given_a_linear_target_when_an_edit_is_predicted_then_it_is_what_the_target_does(
    z: float, effect: float, value: float, largest: float
) -> None:
    slope = effect / z  # predicted_effect is z · ∂target/∂z
    stands = ground(feature(1, 5, 2, z, effect), maxima={(1, 5): largest})
    moved = {"ablate L1/5@2": -z, f"scale L1/5@2={value!r}": (value - 1) * z, "swap L1/5@2": None}
    sign = "" if repr(value).startswith("-") else "+"
    moved |= {f"steer L1/5@2={sign}{value!r}": value, f"steer L1/5@-2={sign}{value!r}max": value * largest}
    for line, change in moved.items():
        expected = None if change is None else slope * change
        assert predicted(stands, line) == (None if expected is None else pytest.approx(expected, abs=1e-9))


def test_given_several_features_when_one_name_means_them_all_then_their_changes_add_up() -> None:
    stands = ground(
        feature(1, 5, 2, 1.0, 0.5), feature(1, 5, 3, 1.0, 0.25), feature(2, 6, 3, 2.0, -1.0),
        supernodes={"both": (parse_feature("L1/5@2,3"),)},
    )  # fmt: skip
    assert predicted(stands, "ablate L1/5") == predicted(stands, "ablate both") == -0.75
    assert predicted(stands, "ablate L1-2/*") == 0.25
    assert predicted(stands, "ablate L1/5@-1") == -0.25


def test_given_what_is_not_known_when_predicted_then_there_is_no_number() -> None:
    partly = ground(feature(1, 5, 2, 1.0, None), feature(1, 5, 3, 1.0, 0.25), feature(2, 6, 3, math.nan, 0.5))
    assert predicted(partly, "ablate L1/5") is None
    assert predicted(partly, "ablate L1/7") == 0 and predicted(partly, "steer L1/7@2=+1") is None
    assert predicted(partly, "steer L1/5=+1") is None
    kept = ground(feature(1, 5, 3, 1.0, 0.25), is_whole=False)
    assert predicted(kept, "ablate L1/7") is None and predicted(kept, "ablate L1/5@3") == -0.25
    without_first = ground(feature(1, 5, 3, 1.0, 0.25), leaves_first_out=True)
    assert predicted(without_first, "ablate L1/5") is None and predicted(without_first, "ablate L1/5@3") == -0.25
    assert predicted(partly, "steer L2/6=+1") is None and predicted(partly, "steer L1/5@3=+1max") is None
    assert predicted(ground(feature(1, 5, 3, 1.0, 0.25), decisive=""), "ablate L1/5") is None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ablate L3/1", "layer 3 is not in toy; its layers are 1, 2"),
        ("ablate L1-3/*", "layer 3 is not in toy"),
        ("ablate L2/8", "L2/8 does not exist; the last one is L2/7"),
        ("ablate L2/1@4", "no position 4; it has 4 tokens"),
        ("ablate L2/1@-5", "no position -5"),
        ("ablate texas", "graph 3 has no supernode texas; its supernodes are: both"),
    ],
)
def test_given_what_is_not_there_when_checked_then_it_is_refused_in_one_line(line: str, words: str) -> None:
    edit = parse_line(line)
    assert edit is not None
    stands = ground(supernodes={"both": (parse_feature("L1/5@2"),)})
    with pytest.raises(BadInput) as refused:
        stands.refuse(edit)
    assert words in str(refused.value) and "\n" not in str(refused.value)
