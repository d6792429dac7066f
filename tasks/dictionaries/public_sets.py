"""Where the features of published sets have a page of their own: data in `public_sets.toml`, no network."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources


def dashboard(dictionary: str, layer: int, feature: int) -> str | None:
    """The public page of a feature, for a set that was published; None for any other.

    A set is known by its place on the hub, whatever stands before it (`transcoder:`) or after it (`@revision`).
    """
    place = dictionary.rpartition(":")[2].partition("@")[0]
    page = _pages().get(place)
    return None if page is None else page.format(layer=layer, feature=feature)


@cache
def _pages() -> dict[str, str]:
    text = (resources.files("tasks.dictionaries") / "public_sets.toml").read_text("utf-8")
    return {entry["place"]: entry["page"] for entry in tomllib.loads(text)["set"]}
