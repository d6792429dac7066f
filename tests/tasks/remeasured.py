"""What tests of `validate` share: the target measured again by the seed's forward pass, and tiny behaviours."""

from pathlib import Path

from tasks.context import Context
from tasks.graphs.feature_name import parse_feature
from tests.oracle.interventions import Change, features, intervened_logits
from tests.oracle.linearised_model import Place
from tests.oracle.plain_dictionary import Layers
from tests.oracle.seed_model import SeedModel
from tests.tasks.graph_project import CORRUPT, PROMPT

TARGET, RIVAL = 9, 30


def place(name: str) -> Place:
    """`L12/345@7` as numbers."""
    read = parse_feature(name)
    assert read.feature is not None and read.positions is not None
    return read.layers[0], read.positions[0], read.feature


class Remeasured:
    """The target under any changes, by the seed's forward pass."""

    def __init__(self, context: Context, dictionaries: Layers) -> None:
        self.seed, self.plain = SeedModel(context.model.hf), dictionaries
        self.tokens, self.other = context.model.tokenize(PROMPT), context.model.tokenize(CORRUPT)
        self.z = features(self.seed, self.tokens, self.plain)
        self.there = features(self.seed, self.other, self.plain)
        self.baseline = self.value({})

    def value(self, changes: dict[Place, Change]) -> float:
        """Nats."""
        logits = intervened_logits(self.seed, self.tokens, self.plain, changes, "delta")[-1]
        return float(logits[TARGET] - logits[RIVAL])

    def swapped(self, where: Place) -> Change:
        """The value that the corrupt prompt has there."""
        return Change(0.0, float(self.there[where[0]][where[1], where[2]]))


def behaviours(directory: Path, *prompts: str) -> str:
    """A directory with one behaviour, `words`, of these prompts and their corrupt twins."""
    directory.mkdir(exist_ok=True)
    pairs = [
        f'[[pair]]\nclean = "{text}"\ndecisive = "w9"\ncorrupt = "{text.replace("w44", "w90")}"\nrival = "w30"\n'
        for text in prompts
    ]
    (directory / "words.toml").write_text('title = "words"\n' + "".join(pairs))
    return str(directory)
