"""A two-layer Llama built by hand whose circuit is known: city -> state -> capital, and a twin in which it is not so.

Layer 0 has a neuron a state, which fires on the state's cities and on its name, and an operation's neuron, which fires
on `is`. Layer 1 attends to every position alike. In the two-hop model it copies what the state neurons wrote and has a
neuron a capital; in the lookup model it copies the cities themselves and has a neuron a city, and the state neurons
fire as before and are read by nothing. With `operation` the answer's neurons need the operation's; else nothing does.
"""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from store.project import Project
from tasks.model.sources import describe_model, load_model

STATES = {
    "texas": ("austin", ("dallas", "houston")),
    "california": ("sacramento", ("oakland", "fresno")),
    "florida": ("tallahassee", ("miami", "tampa")),
    "illinois": ("springfield", ("chicago", "peoria")),
}
CITIES = [city for _, cities in STATES.values() for city in cities]
CAPITALS = [capital for capital, _ in STATES.values()]
FILLERS = ["the", "capital", "near", "is", "about"]
WORDS = [*CITIES, *STATES, *FILLERS, *CAPITALS]
JUNK = 8
_NAMES = [
    *CITIES, *STATES, *FILLERS, "constant", "operation",
    *(f"{kind} {name}" for kind in ("state", "moved state", "answer") for name in STATES),
    *(f"moved {city}" for city in CITIES), *(f"junk {number}" for number in range(JUNK)),
]  # fmt: skip
AT = {name: number for number, name in enumerate(_NAMES)}
"""Name of a direction of the residual stream -> its coordinate."""
D_MODEL = len(_NAMES) + len(_NAMES) % 2
D_MLP = 32
OPERATION = len(STATES)
"""The operation's neuron in layer 0; the states' come before it."""


def planted(two_hop: bool, operation: bool = False) -> LlamaForCausalLM:
    """The model; every weight that is not named is zero."""
    config = LlamaConfig(
        vocab_size=len(WORDS) + 2, hidden_size=D_MODEL, intermediate_size=D_MLP, num_hidden_layers=2,
        num_attention_heads=1, num_key_value_heads=1, head_dim=D_MODEL, max_position_embeddings=32,
        tie_word_embeddings=False, pad_token_id=len(WORDS), bos_token_id=None, eos_token_id=len(WORDS),
    )  # fmt: skip
    model: LlamaForCausalLM = LlamaForCausalLM(config)
    model.train(False)
    model.requires_grad_(False)
    for name, parameter in model.named_parameters():
        parameter.fill_(1.0 if name.endswith("norm.weight") else 0.0)
    embedding, unembedding = model.model.embed_tokens.weight, model.lm_head.weight
    for token, word in enumerate(WORDS):
        embedding[token, AT["constant"]] = 1.0
        if word in AT:
            embedding[token, AT[word]] = 1.0
    for state, (capital, _) in STATES.items():
        unembedding[WORDS.index(capital), AT[f"answer {state}"]] = 15.0
    _first_layer(model)
    _attention(model, two_hop)
    _second_layer(model, two_hop, "operation" if operation else "constant")
    return model


def _neuron(model: LlamaForCausalLM, layer: int, index: int, gate: dict[str, float], up: str, write: str) -> None:
    mlp = model.model.layers[layer].mlp
    for name, weight in gate.items():
        mlp.gate_proj.weight[index, AT[name]] = weight
    mlp.up_proj.weight[index, AT[up]] = 0.2
    mlp.down_proj.weight[AT[write], index] = 0.2


def _first_layer(model: LlamaForCausalLM) -> None:
    """Neurons of states, of the operation, of each city twice, and some that always fire: these write nothing used."""
    for index, (state, (_, cities)) in enumerate(STATES.items()):
        _neuron(model, 0, index, dict.fromkeys((*cities, state), 1.0), "constant", f"state {state}")
    _neuron(model, 0, OPERATION, {"is": 1.0}, "constant", "operation")
    for number in range(2 * len(CITIES)):
        city = CITIES[number % len(CITIES)]
        _neuron(model, 0, OPERATION + 1 + number, {city: 1.0}, "constant", f"junk {number % JUNK}")
    for number in range(OPERATION + 1 + 2 * len(CITIES), D_MLP):
        _neuron(model, 0, number, {"constant": 0.5}, "constant", f"junk {number % JUNK}")


def _attention(model: LlamaForCausalLM, two_hop: bool) -> None:
    """Layer 1 attends alike to all positions: queries and keys are zero."""
    attention = model.model.layers[1].self_attn
    copied = [(f"state {s}", f"moved state {s}") for s in STATES] if two_hop else [(c, f"moved {c}") for c in CITIES]
    for number, (source, target) in enumerate(copied):
        attention.v_proj.weight[number, AT[source]] = 1.0
        attention.o_proj.weight[AT[target], number] = 1.0


def _second_layer(model: LlamaForCausalLM, two_hop: bool, needed: str) -> None:
    """A neuron a capital that reads the moved state, or one a city that reads the moved city."""
    index = 0
    for state, (_, cities) in STATES.items():
        for source in [f"moved state {state}"] if two_hop else [f"moved {city}" for city in cities]:
            _neuron(model, 1, index, {source: 2.0}, needed, f"answer {state}")
            index += 1
    for number in range(index, D_MLP):
        _neuron(model, 1, number, {"constant": 0.5}, "constant", f"junk {number % JUNK}")


def save_planted(directory: Path, two_hop: bool, operation: bool = False) -> Path:
    """The model and its word tokenizer in `directory`, as `save_pretrained` writes them."""
    planted(two_hop, operation).save_pretrained(directory)
    vocabulary = {word: number for number, word in enumerate([*WORDS, "<eos>", "<unk>"])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>", unk_token="<unk>")
    tokenizer.save_pretrained(directory)
    return directory


def planted_project(directory: Path, two_hop: bool, operation: bool = False) -> Project:
    """A new project on it."""
    torch.manual_seed(0)
    model = load_model(str(save_planted(directory / "model", two_hop, operation)), "cpu")
    return Project.create(directory / "project", describe_model(model, "cpu"), "0")


HYPOTHESES = {
    "concept": 'kind = "concept"\nwhere = "subject"\ndepth = [0, 0.5]\nprobe = "about {}"',
    "swap": 'kind = "swap"\nwhere = "between"\ndepth = [0, 0.5]',
    "answer": 'kind = "swap"\nwhere = "last"\ndepth = [0.5, 1]',
    "early": 'kind = "swap"\nwhere = "last"\ndepth = [0, 0.5]',
    "operation": 'kind = "common"\nwhere = "last"\ndepth = [0, 0.5]',
}
"""By name: what is true of the two-hop model (`concept`, `swap`, `answer`), of both (`answer`), of none (`early`)."""
PAIRS = [("dallas", "oakland"), ("miami", "chicago"), ("fresno", "houston"), ("peoria", "tampa")]


def state_of(city: str) -> str:
    """The state that a city lies in."""
    return next(state for state, (_, cities) in STATES.items() if city in cities)


def write_behaviour(directory: Path, *hypotheses: str, name: str = "states", swapped_answers: bool = False) -> str:
    """A directory with one behaviour of these hypotheses; with `swapped_answers` it asks what the model cannot do."""
    directory.mkdir(exist_ok=True)
    parts = ['title = "Capital of the state of a city"\n']
    parts += [f'[[hypothesis]]\nclaim = "{each}"\n{HYPOTHESES[each]}\n' for each in hypotheses]
    for clean, corrupt in PAIRS:
        own, other = state_of(clean), state_of(corrupt)
        answers = [STATES[own][0], STATES[other][0]]
        decisive, rival = answers[::-1] if swapped_answers else answers
        parts.append(
            f'[[pair]]\nclean = "the capital near {clean} is"\ncorrupt = "the capital near {corrupt} is"\n'
            f'decisive = "{decisive}"\nrival = "{rival}"\nconcept = "{own}"\nrival_concept = "{other}"\n'
        )
    (directory / f"{name}.toml").write_text("".join(parts))
    return str(directory)
