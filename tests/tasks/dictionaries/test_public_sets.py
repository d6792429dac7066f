"""Public pages of features, for sets that have one."""

import pytest

from tasks.dictionaries.public_sets import dashboard

QWEN = "https://www.neuronpedia.org/qwen3-4b/12-transcoder-hp/345"


@pytest.mark.parametrize(
    ("dictionary", "page"),
    [("transcoder:mwhanna/qwen3-4b-transcoders", QWEN), ("transcoder:mwhanna/qwen3-4b-transcoders@0123abc", QWEN),
     ("mwhanna/qwen3-4b-transcoders", QWEN), ("sae", None), ("neurons", None),
     ("transcoder:/data/qwen3-4b-transcoders", None), ("", None)],
)  # fmt: skip
def test_given_a_set_when_asked_for_its_page_then_only_a_published_one_has_it(
    dictionary: str, page: str | None
) -> None:
    assert dashboard(dictionary, 12, 345) == page
