"""What every test shares: the embedded model, tiny random models of the true classes, and shape checks at run time.

The import hook must be in place before any of the hooked rooms is imported, so it comes first.
"""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.pop("NO_COLOR", None)

import beartype  # noqa: F401  # before nnsight, which mounts a method on `object` that beartype cannot hash
from jaxtyping import install_import_hook

install_import_hook(
    ["tasks.model", "tasks.dictionaries", "tasks.circuits", "tasks.interventions", "tasks.training", "tasks.indexing"],
    "beartype.beartype",
)

from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import TYPE_CHECKING  # noqa: E402

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

if TYPE_CHECKING:
    from tasks.model.language_model import LanguageModel

settings.register_profile("workbench", deadline=None)  # how long a case takes depends on who else is on the machine
settings.load_profile("workbench")


@pytest.fixture(scope="session", autouse=True)
def _threads() -> None:
    """Two threads, or one a worker under xdist: there are two cores."""
    import torch

    torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)


@pytest.fixture(scope="session")
def embedded() -> "LanguageModel":
    """SmolLM2-135M-Instruct. Tests that use it are marked `embedded`."""
    from tasks.model.embedded import EMBEDDED_SPEC
    from tasks.model.sources import load_model

    return load_model(EMBEDDED_SPEC, "cpu")


@pytest.fixture(scope="session")
def tiny_model() -> Callable[[str], "LanguageModel"]:
    """A factory: the tiny random model of a family, made once a session. See `tests.tiny`."""
    from tests.tiny import tiny_language_model

    return tiny_language_model


@pytest.fixture
def tiny_directory(tmp_path: Path) -> Callable[[str], Path]:
    """A factory: a fresh directory with the tiny model of a family, as `save_pretrained` writes it."""
    from tests.tiny import save_tiny

    return lambda family: save_tiny(family, tmp_path / family)
