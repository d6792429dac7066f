"""The edit grammar: what is written is read back, and what is not an edit is refused at the character."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import BadInput
from tasks.graphs.edit import LARGEST_FILE, Edit, Operation, Supernode, parse_edit, parse_line, parse_number, read_edits
from tasks.graphs.feature_name import FeatureName, Misread, parse_feature

FEATURES = st.builds(
    FeatureName,
    st.sets(st.integers(0, 40), min_size=1, max_size=6).map(lambda layers: tuple(sorted(layers))),
    st.none() | st.integers(0, 99_999),
    st.none() | st.lists(st.integers(-30, 30), min_size=1, max_size=4).map(tuple),
)
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20) | st.sampled_from(
    ["texas", "L12/345", "L1", "say # no", 'the "capital"', " edge ", "a=b", "a\\", "#", "L", "ablate", "\u2028", "=2"]
)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32)


@st.composite
def edits(draw: st.DrawFn) -> Edit:
    """Any edit that can be written."""
    operation = draw(st.sampled_from(Operation))
    subject = draw(FEATURES | NAMES.map(Supernode))
    if not operation.has_value:
        return Edit(operation, subject)
    return Edit(operation, subject, draw(NUMBERS), operation is Operation.STEER and draw(st.booleans()))


@given(edits())
def test_given_any_edit_when_written_then_it_is_read_back(edit: Edit) -> None:
    assert parse_line(str(edit)) == edit
    assert parse_line(f"  {edit}   # why: {edit}\r") == edit
    operation, _, rest = str(edit).partition(" ")
    assert parse_edit(Operation(operation), rest) == edit


@given(FEATURES)
def test_given_any_feature_name_when_written_then_it_is_read_back(name: FeatureName) -> None:
    assert parse_feature(str(name)) == name


def test_given_runs_of_layers_when_written_then_they_are_ranges() -> None:
    assert str(FeatureName((4, 5, 6, 9, 11, 12), None, (-1,))) == "L4-6,9,11-12/*@-1"


@pytest.mark.parametrize(
    ("line", "multiply", "add", "in_maxima"),
    [
        ("ablate L12/345@7,9", 0.0, 0.0, False),
        ("scale L8/12=3", 3.0, 0.0, False),
        ("scale L8/12=0", 0.0, 0.0, False),
        ("steer L8/12=-.5", 1.0, -0.5, False),
        ("steer L8/12=+2max", 1.0, 2.0, True),
        ("swap L4-12/*@-1", 0.0, 0.0, False),
    ],
)
def test_given_an_operation_when_read_then_it_is_its_affine_map(
    line: str, multiply: float, add: float, in_maxima: bool
) -> None:
    edit = parse_line(line)
    assert edit is not None
    assert (edit.multiply, edit.add, edit.in_maxima) == (multiply, add, in_maxima)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("ablate texas", "texas"),
        ("ablate  the capital of texas # and why", "the capital of texas"),
        ("scale the capital=2", "the capital"),
        ("scale a=b=2", "a=b"),
        ('scale "a=2"=2', "a=2"),
        ('ablate "L12/345"', "L12/345"),
        ('ablate "a # b" # c', "a # b"),
        ("ablate c#", "c#"),
        ("ablate l12/345", "l12/345"),
    ],
)
def test_given_what_does_not_begin_as_a_feature_when_read_then_it_is_a_supernode(line: str, name: str) -> None:
    edit = parse_line(line)
    assert edit is not None and edit.subject == Supernode(name)


@pytest.mark.parametrize(
    ("line", "character", "fault"),
    [
        ("ablate L12/x", 12, "'L12/x' is not a feature"),
        ("  ablate   L12/3@x # why", 17, "'L12/3@x' is not a feature"),
        ("scale L1/2;3=2", 11, "'L1/2;3' is not a feature"),
        ("scale L1/2=two", 12, "'two' is not a number"),
        ("scale L1/2=2max", 13, "'2max' is not a number"),
        ("steer L1/2=nan", 12, "'nan' is not a number"),
        ("steer L1/2=max", 12, "'' is not a number"),
        ("steer L1/2=+2 max", 14, "'\\+2 ' is not a number"),
        ("  cut L1/2", 3, "'cut' is not an operation"),
        ("Ablate L1/2", 1, "'Ablate' is not an operation"),
        ("ablate", 7, "'' is not a feature"),
        ("swap L1/2=3", 10, "'L1/2=3' is not a feature"),
        ('ablate "texas', 8, "is not a name in quotes"),
        ('ablate "te"xas', 12, "is not an edit"),
        ('ablate "te"=2', 12, "is not a name"),
        ('scale "te" =2', 11, "is not an edit"),
        ("scale =2", 7, "'' is not a feature"),
    ],
)
def test_given_a_line_that_is_no_edit_when_read_then_the_character_is_pointed_at(
    line: str, character: int, fault: str
) -> None:
    with pytest.raises(Misread, match=fault) as raised:
        parse_line(line)
    assert raised.value.at == character - 1
    assert f"(at character {character})" in str(raised.value)


@pytest.mark.parametrize("operation", [Operation.SCALE, Operation.STEER])
@pytest.mark.parametrize("text", ["L0/1", "L0/1=", "texas", '"a=2"'])
def test_given_no_value_where_one_is_needed_when_read_then_it_is_asked_for(operation: Operation, text: str) -> None:
    with pytest.raises(BadInput, match="has no value; write it as"):
        parse_edit(operation, text)


@pytest.mark.parametrize(
    "text", ["", "nan", "inf", "-inf", "1e99", "two", "1,5", "0x10", "1_0", "٣", " 1", "1 ", "--1"]
)
def test_given_what_is_no_finite_number_when_read_then_it_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is not a number"):
        parse_number(text)


@given(NUMBERS)
def test_given_any_finite_number_when_read_then_it_is_that_number(value: float) -> None:
    assert parse_number(repr(value)) == value


def test_given_a_file_when_read_then_comments_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "edits.txt"
    path.write_bytes("\ufeff# all of it\r\n\r\nablate L1/2@3  # why é\r\n\tscale texas=2\n".encode())
    assert [str(edit) for edit in read_edits(path)] == ["ablate L1/2@3", "scale texas=2"]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "has no edits"),
        (b"# nothing\n\n", "has no edits"),
        (b"ablate L1/2\n\nablate L1/x\n", r"edits.txt, line 3: 'L1/x' is not a feature \(at character 11\)"),
        (b"scale L1/2\n", "edits.txt, line 1: 'L1/2' has no value"),
        (b"ablate L1/2\nablate \xff\n", "line 2 is not UTF-8"),
        (b"ablate L4-2/1\n", "line 1: the layers 4-2 of 'L4-2/1' run backwards"),
        (b"#" * (LARGEST_FILE + 1), "larger than 1 MiB"),
    ],
)
def test_given_a_file_that_cannot_be_used_when_read_then_the_line_is_named(
    tmp_path: Path, content: bytes, fault: str
) -> None:
    path = tmp_path / "edits.txt"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=fault):
        read_edits(path)


def test_given_no_file_when_read_then_the_reason_is_told(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(BadInput, match=f"cannot be read \\({reason}"):
            read_edits(path)
