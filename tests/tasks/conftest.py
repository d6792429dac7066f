"""One prompt, and the twin of each tiny model."""

from collections.abc import Callable
from functools import cache

import pytest

from tests.oracle.seed_model import SeedModel
from tests.tiny import tiny_language_model


@cache
def _seed_model(family: str) -> SeedModel:
    return SeedModel(tiny_language_model(family).hf)


@pytest.fixture(scope="session")
def seed_model() -> Callable[[str], SeedModel]:
    """A factory: the twin of a tiny model."""
    return _seed_model
