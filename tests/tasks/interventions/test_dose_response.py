"""Doses in batches: a batch that does not fit is halved, and the numbers stay."""

import pytest
import torch
from torch import Tensor

from store.errors import WorkbenchError
from tasks.dictionaries.dictionary_set import neuron_set
from tasks.graphs.feature_name import parse_feature
from tasks.interventions.dose_response import logits_at_doses
from tasks.interventions.edits import Edits, expand
from tasks.interventions.intervene import edited_logits
from tests.tiny import tiny_language_model

MODEL = tiny_language_model("llama")
TOKENS = [5, 17, 44, 3]
DOSES = [-1.0, 0.0, 0.5, 1.0, 2.0]


def ablation() -> Edits:
    """Two neurons set to zero at two positions."""
    table = expand(parse_feature("L0,1/7@1,2"), neuron_set(MODEL), len(TOKENS), MODEL.device)
    return Edits(table.row, table.layer, table.position, table.index, table.multiply * 0, table.add)


def logits_of(edits: Edits, n_rows: int) -> Tensor:
    """The edited rows in the real model."""
    return edited_logits(MODEL, TOKENS, neuron_set(MODEL), edits, n_rows)


def test_given_room_for_two_rows_when_swept_then_batches_are_halved_and_every_dose_is_the_same() -> None:
    tried: list[int] = []

    def in_a_small_memory(edits: Edits, n_rows: int) -> Tensor:
        tried.append(n_rows)
        if n_rows > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return logits_of(edits, n_rows)

    done: list[float] = []
    found = logits_at_doses(in_a_small_memory, ablation(), DOSES, 32, done.append)
    assert tried == [5, 2, 2, 1] and sum(done) == len(DOSES)
    alone = torch.cat([logits_of(ablation().at_dose(dose), 1)[:, -1] for dose in DOSES])
    torch.testing.assert_close(found, alone, atol=1e-5, rtol=1e-5)
    assert torch.equal(found[1], MODEL.logits(MODEL.token_tensor(TOKENS))[0, -1])


def test_given_no_room_for_one_row_when_swept_then_the_mend_is_told() -> None:
    def without_memory(edits: Edits, n_rows: int) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(WorkbenchError, match="not enough memory for a batch of one"):
        logits_at_doses(without_memory, ablation(), DOSES, 32)
