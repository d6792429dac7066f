"""How often a training writes itself down."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store.project import Project
from tasks.training.checkpoints import Checkpoints
from tests.tasks import sae_project


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project on the tiny Llama."""
    with sae_project.create(tmp_path / "project") as made:
        yield made


def test_checkpoints_are_as_many_as_the_steps_ask_for_however_small_the_buffer(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[int, int]] = []
    write = Checkpoints.write

    def counted(self: Checkpoints, layer: int, rows: int, *state: Any) -> None:
        written.append((layer, rows))
        write(self, layer, rows, *state)

    monkeypatch.setattr(Checkpoints, "write", counted)
    options: dict[str, Any] = {"features": 32, "l0": 4, "batch_size": 64, "epochs": 2, "layers": "0,2"}
    options |= {"tokens": 900, "buffer": "20kB", "checkpoint_steps": 7}
    document = sae_project.run(project, "train", **options)
    rounds = -(-document["layers"][0]["train_tokens"] // (20_000 // (2 * 48 * 4)))
    for layer in (0, 2):
        kept = [rows for each, rows in written if each == layer]
        assert kept[-1] == document["layers"][0]["tokens"] and kept == sorted(set(kept))
        assert 2 < len(kept) <= options["epochs"] * rounds // 7 + 1 < rounds, "a step a round and epoch"
