"""The real model in a real worker: what it computes is what the foreground computes."""

import json
from pathlib import Path

import pytest

from store.project import Project
from tasks.model.embedded import EMBEDDED_SPEC
from tasks.model.language_model import LanguageModel
from tasks.model.sources import describe_model
from tests.workbench.command_line import workbench
from tests.workbench.worker.conftest import wait_until
from workbench import VERSION
from workbench.worker.client import WorkerClient

_TRACE = ("trace", "The capital of France is", "--max-nodes", "60", "--max-logits", "2", "--json")
_OWN = {"seconds", "job", "graph"}


@pytest.mark.embedded
@pytest.mark.xdist_group("embedded worker")
def test_given_the_embedded_model_when_traced_twice_in_a_worker_then_the_numbers_are_the_foregrounds(
    embedded: LanguageModel, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))  # sums depend on how many threads take part
    directory = tmp_path / "p"
    Project.create(directory, describe_model(embedded), VERSION).close()
    here = json.loads(workbench(capsys, "--project", str(directory), *_TRACE).out)
    started = workbench(capsys, "--project", str(directory), "worker", "start", "--idle-timeout", "4")
    assert started.exit_code == 0, started.err
    try:
        there = [json.loads(workbench(capsys, "--project", str(directory), *_TRACE).out) for _ in range(2)]
        with WorkerClient.require(directory) as client:
            assert client.ask("load", 120)["resident"]["model"] == EMBEDDED_SPEC
            wait_until(lambda: client.ask("status")["resident"]["model"] is None, "an idle worker lets its model go")
    finally:
        workbench(capsys, "--project", str(directory), "worker", "stop")
    for document in there:
        assert {key for key in here if document[key] != here[key]} <= _OWN
        assert list(document) == list(here)
