"""Baselines: the numbers are those of the unmodified model, the marks follow from them, and rows say the same."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from store.errors import BadInput
from store.project import Project
from tasks.baseline import Params
from tasks.behaviours import check_behaviour, choose_behaviours, load_behaviours
from tasks.context import Context
from tasks.execute import execute
from tasks.model.decoding import continuations
from tasks.model.language_model import LanguageModel
from tasks.model.sources import describe_model
from tasks.model.surprise import surprise


@pytest.fixture
def context(tmp_path: Path, tiny_model: Callable[[str], LanguageModel]) -> Iterator[Context]:
    model = tiny_model("gemma2")
    with Project.create(tmp_path / "project", describe_model(model), "0") as project:
        yield Context(project, _model=model)


def write_behaviour(directory: Path, *pairs: dict[str, str]) -> str:
    directory.mkdir(exist_ok=True)
    tables = "".join(
        "\n[[pair]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in pair.items()) for pair in pairs
    )
    (directory / "mine.toml").write_text(f'title = "Mine"\n{tables}')
    return str(directory)


def next_logits(model: LanguageModel, prompt: str) -> torch.Tensor:
    """The twin: transformers alone, one prompt at a time, without nnsight or batches."""
    ids = torch.tensor([[int(word[1:]) for word in prompt.split()]])
    with torch.no_grad():
        logits: torch.Tensor = model.hf(input_ids=ids).logits[0, -1]
    return logits


def answers(model: LanguageModel, clean: str, corrupt: str) -> tuple[str, str]:
    """The words that the tiny model gives most logit, beside the other prompt's, after each prompt."""
    contrast = (next_logits(model, clean) - next_logits(model, corrupt))[:96]
    return f"w{int(contrast.argmax())}", f"w{int(contrast.argmin())}"


def test_given_pairs_when_measured_then_numbers_are_the_unmodified_models(context: Context, tmp_path: Path) -> None:
    prompts = [("w1 w2 w3", "w1 w9 w3"), ("w8 w7 w6 w5", "w4"), ("w20 w21 w22", "w30 w31 w32")]
    pairs = [
        {"clean": clean, "corrupt": corrupt, "decisive": f"w{10 + i}", "rival": f"w{20 + i}"}
        for i, (clean, corrupt) in enumerate(prompts)
    ]
    directory = write_behaviour(tmp_path / "own", *pairs)
    document = execute("baseline", Params(directory=directory, top=3), context)
    for i, pair in enumerate(document["behaviours"][0]["pairs"]):
        assert pair["equal_length"] == (i != 1)
        for variant, prompt in zip(("clean", "corrupt"), prompts[i], strict=True):
            logits = next_logits(context.model, prompt)
            seen = pair[variant]
            assert seen["p_decisive"] == pytest.approx(float(logits.softmax(-1)[10 + i]), rel=1e-4)
            assert seen["rank_decisive"] == int((logits > logits[10 + i]).sum())
            assert seen["logit_difference"] == pytest.approx(float(logits[10 + i] - logits[20 + i]), abs=1e-5)
            best = logits.softmax(-1).topk(3)
            assert [token for token, _ in seen["top"]] == [context.model.token_text(t) for t in best.indices.tolist()]
            assert [p for _, p in seen["top"]] == pytest.approx(best.values.tolist(), rel=1e-4)
            assert seen["passed"] == marks(variant, seen)


def marks(variant: str, seen: dict[str, Any]) -> bool:
    difference = seen["logit_difference"]
    return bool(difference <= -1) if variant == "corrupt" else bool(seen["rank_decisive"] == 0 or difference >= 1)


def test_given_pairs_that_the_model_can_and_cannot_do_when_measured_then_accuracy_and_lack_are_marked(
    context: Context, tmp_path: Path
) -> None:
    clean, corrupt = "w1 w2 w3 w4", "w50 w51 w52 w53"
    decisive, rival = answers(context.model, clean, corrupt)
    can = {"clean": clean, "corrupt": corrupt, "decisive": decisive, "rival": rival}
    cannot = {"clean": clean, "corrupt": corrupt, "decisive": rival, "rival": decisive}
    for pairs, accuracy, lacking in (((can,), 1.0, False), ((can, cannot), 0.5, False), ((cannot,), 0.0, True)):
        directory = write_behaviour(tmp_path / "own", *pairs)
        behaviour = execute("baseline", Params(directory=directory), context)["behaviours"][0]
        assert (behaviour["accuracy"], behaviour["lacking"]) == (accuracy, lacking)


def test_given_a_run_when_saved_then_rows_say_what_the_document_says(context: Context, tmp_path: Path) -> None:
    pair = {"clean": "w1 w2", "corrupt": "w3 w2", "decisive": "w4", "rival": "w5", "concept": "c"}
    params = Params(directory=write_behaviour(tmp_path / "own", pair), seed=3, max_new_tokens=2)
    document = execute("baseline", params, context)
    db = context.project.db
    rows = list(db.query("SELECT * FROM baseline JOIN prompt ON prompt.id = prompt_id ORDER BY variant"))
    assert [(row["name"], row["variant"], row["seed"], row["job_id"]) for row in rows] == [
        ("mine/0", "clean", 3, document["job"]),
        ("mine/0", "corrupt", 3, document["job"]),
    ]
    for row in rows:
        seen = document["behaviours"][0]["pairs"][0][row["variant"]]
        assert json.loads(row["tokens"]) == seen["tokens"]
        assert row["p_decisive"] == seen["p_decisive"]
        assert row["logit_difference"] == seen["logit_difference"]
        assert row["continuation"] == seen["continuation"]


def test_given_the_same_prompts_again_when_saved_then_they_are_not_doubled_but_changed_ones_are_kept_apart(
    context: Context, tmp_path: Path
) -> None:
    names = "SELECT name, clean FROM prompt ORDER BY id"
    pair = {"clean": "w1 w2", "decisive": "w4"}
    params = Params(directory=write_behaviour(tmp_path / "own", pair))
    execute("baseline", params, context)
    execute("baseline", params, context)
    assert context.project.db.execute(names).fetchall() == [("mine/0", "w1 w2")]
    write_behaviour(tmp_path / "own", pair | {"clean": "w1 w3"})
    execute("baseline", params, context)
    assert context.project.db.execute(names).fetchall() == [("mine/0", "w1 w2"), ("mine/1", "w1 w3")]


def test_given_a_prompt_of_ones_own_when_measured_then_there_is_no_logit_difference_without_a_rival(
    context: Context,
) -> None:
    document = execute("baseline", Params(prompt="w1 w2", decisive="w3"), context)
    (pair,) = document["behaviours"][0]["pairs"]
    assert pair["corrupt"] is None
    assert pair["clean"]["logit_difference"] is None
    assert pair["clean"]["passed"] == (pair["clean"]["rank_decisive"] == 0) == pair["passed"]


def test_given_nothing_is_asked_of_a_prompt_when_measured_then_what_the_model_says_is_all_there_is(
    context: Context,
) -> None:
    document = execute("baseline", Params(prompt="w1 w2", corrupt="w3 w2"), context)
    (behaviour,) = document["behaviours"]
    (pair,) = behaviour["pairs"]
    assert (behaviour["accuracy"], behaviour["lacking"], pair["decisive"], pair["passed"]) == (None, False, None, None)
    for variant, prompt in (("clean", "w1 w2"), ("corrupt", "w3 w2")):
        best = int(next_logits(context.model, prompt).argmax())
        assert pair[variant]["top"][0][0] == context.model.token_text(best)
        assert [pair[variant][key] for key in ("p_decisive", "rank_decisive", "logit_difference", "passed")] == [
            None
        ] * 4
    stored = list(context.project.db.query("SELECT * FROM baseline JOIN prompt ON prompt.id = prompt_id"))
    assert [(row["decisive"], row["passed"]) for row in stored] == [(None, None), (None, None)]


def test_given_prompts_when_measured_then_surprise_is_minus_log2_p_of_each_token_given_its_past(
    context: Context,
) -> None:
    """The twin reads every beginning of the prompt by itself."""
    clean, corrupt = "w1 w2 w3 w4 w5 w6", "w9 w8"
    execute("baseline", Params(prompt=clean, corrupt=corrupt), context)
    rows = context.project.db.execute(
        "SELECT surprise.tokens FROM surprise JOIN baseline ON baseline.id = baseline_id ORDER BY variant"
    ).fetchall()
    for (stored,), prompt in zip(rows, (clean, corrupt), strict=True):
        words = prompt.split()
        expected = [
            -math.log2(float(next_logits(context.model, " ".join(words[:i])).softmax(-1)[int(words[i][1:])]))
            for i in range(1, len(words))
        ]
        texts, bits = zip(*json.loads(stored), strict=True)
        assert [text.strip() for text in texts] == words
        assert bits[0] is None
        assert list(bits[1:]) == pytest.approx(expected, rel=1e-4)


def test_given_a_prompt_longer_than_one_block_when_measured_then_every_token_has_its_surprise(
    tiny_model: Callable[[str], LanguageModel],
) -> None:
    model = tiny_model("llama")
    tokens = [i % 96 for i in range(300)]
    logits = torch.randn(300, model.vocab_size, generator=torch.Generator().manual_seed(0))
    found = [bits for _, bits in surprise(model, logits, tokens)]
    expected = -logits.log_softmax(-1)[torch.arange(299), torch.tensor(tokens[1:])] / math.log(2)
    assert found[0] is None
    assert found[1:] == pytest.approx(expected.tolist(), rel=1e-5)


@pytest.mark.parametrize(
    ("params", "fault"),
    [
        (Params(decisive="w1"), "--decisive, --corrupt and --rival go with --prompt"),
        (Params(corrupt="w1"), "--decisive, --corrupt and --rival go with --prompt"),
        (Params(prompt="w1", rival="w2"), "--rival is compared with --decisive"),
        (Params(prompt=" ".join(["w1"] * 100)), "100 tokens and .* reads at most 64"),
        (Params(prompt="w1", decisive="w2", behaviours=("capitals",)), "exclude each other"),
        (Params(prompt="w1", decisive="w2", corrupt="w3"), "--corrupt needs --rival"),
        (Params(prompt=" ", decisive="w2"), "prompt is empty"),
        (Params(prompt="w1", decisive="w2 w3"), r"2 tokens \('w2' 'w3'\)"),
        (Params(behaviours=("flying",)), "no behaviour named 'flying'"),
    ],
)
def test_given_bad_input_when_run_then_one_sentence_and_nothing_written(
    context: Context, params: Params, fault: str
) -> None:
    with pytest.raises(BadInput, match=fault):
        execute("baseline", params, context)
    assert context.project.db.execute("SELECT count(*) FROM prompt").fetchone() == (0,)


def test_given_greedy_decoding_when_continued_then_it_is_the_argmax_each_time(
    tiny_model: Callable[[str], LanguageModel],
) -> None:
    """The twin has no cache and no batch; the continuation is longer than the sliding window."""
    model = tiny_model("mistral")
    prompts = [[1, 2, 3], [40, 41, 42]]
    for prompt, text in zip(prompts, continuations(model, prompts, 9, 0.0, 0), strict=True):
        twin = list(prompt)
        for _ in range(9):
            twin.append(int(model.logits(model.token_tensor(twin))[0, -1].argmax()))
            if twin[-1] == model.tokenizer.eos_token_id:
                twin.pop()
                break
        assert text == model.tokenizer.decode(twin[3:])


def test_given_sampling_when_continued_then_the_seed_decides_and_neighbours_do_not(
    tiny_model: Callable[[str], LanguageModel],
) -> None:
    model = tiny_model("qwen3")
    alone = continuations(model, [[1, 2, 3]], 6, 1.0, seed=5)
    assert continuations(model, [[9, 8, 7], [1, 2, 3]], 6, 1.0, seed=5)[1] == alone[0]
    assert len({continuations(model, [[1, 2, 3]], 6, 1.0, seed=seed)[0] for seed in range(5)}) > 1
    assert continuations(model, [[1, 2, 3]], 0, 0.0, seed=0) == [""]


@pytest.mark.embedded
def test_given_our_own_behaviours_when_the_embedded_model_runs_one_pair_of_each_then_it_does_what_its_file_says(
    embedded: LanguageModel,
) -> None:
    """All pairs were measured by the same measure; one of each that is done always, or never, is run again here."""
    for behaviour in load_behaviours().values():
        marked = dict(behaviour.measured)["builtin:smollm2-135m"]
        if marked not in (0.0, 1.0):
            continue
        number, checked = next(iter(check_behaviour(embedded, behaviour).pairs.items()))
        pair = behaviour.pairs[number]
        prompts = [embedded.tokenize(str(text), **behaviour.form(pair)) for text in (pair.clean, pair.corrupt)]
        clean, corrupt = (embedded.logits(embedded.token_tensor(tokens))[0, -1] for tokens in prompts)
        ahead = clean[checked.decisive] - clean[checked.rival] >= 1.0
        behind = corrupt[checked.decisive] - corrupt[checked.rival] <= -1.0
        done = int(clean.argmax()) == checked.decisive or bool(ahead and behind)
        assert done == (marked == 1.0), behaviour.name


def test_given_a_pair_that_does_not_fit_when_it_is_of_ones_own_then_refused_and_else_left_out_and_told(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = {"clean": "w1 w2", "corrupt": "w3 w2", "decisive": "w4", "rival": "w5"}
    directory = write_behaviour(tmp_path / "own", good, good | {"clean": "w9", "decisive": "w4 w5"})
    with pytest.raises(BadInput, match=r"mine\.toml, pair 1: 'w4 w5' is 2 tokens"):
        execute("baseline", Params(directory=directory), context)
    monkeypatch.setattr("tasks.baseline.OWN_DIRECTORY", Path(directory))
    monkeypatch.setattr(
        "tasks.baseline.choose_behaviours", lambda names, place: choose_behaviours(names, Path(directory))
    )
    (behaviour,) = execute("baseline", Params(behaviours=("mine",)), context)["behaviours"]
    assert len(behaviour["pairs"]) == 1
    assert [each["pair"] for each in behaviour["refused"]] == [1]
