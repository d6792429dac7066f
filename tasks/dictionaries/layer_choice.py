"""Which layers are meant when a person names none."""

from tasks.model.embedded import EMBEDDED_SPEC
from tasks.model.language_model import LanguageModel

N_DEFAULT_LAYERS = 6
"""So many layers, evenly spread, where none are named and none were measured."""
MEASURED_LAYERS = {EMBEDDED_SPEC: (7, 14, 22, 23, 24, 27)}
"""Model -> the six layers whose MLPs carry most of the behaviours' logit differences, one early and one middle among
them (`python -m benchmarks.layer_choice`; layer 0, which carries the tokens themselves, left out)."""


def chosen_layers(model: LanguageModel, text: str) -> list[int]:
    """The layers of a range such as `4-12,20`; of an empty text, those measured for the model, or six spread evenly."""
    if text.strip():
        return model.parse_layers(text)
    if model.spec in MEASURED_LAYERS:
        return list(MEASURED_LAYERS[model.spec])
    n_chosen = min(N_DEFAULT_LAYERS, model.n_layers)
    return [(2 * i + 1) * model.n_layers // (2 * n_chosen) for i in range(n_chosen)]
