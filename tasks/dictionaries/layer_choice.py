"""Which layers are meant when a person names none."""

from tasks.model.language_model import LanguageModel

N_DEFAULT_LAYERS = 6
"""So many layers, evenly spread, where none are named."""


def chosen_layers(model: LanguageModel, text: str) -> list[int]:
    """The layers of a range such as `4-12,20`; of an empty text, six spread evenly over the model's inside."""
    if text.strip():
        return model.parse_layers(text)
    n_chosen = min(N_DEFAULT_LAYERS, model.n_layers)
    return [(2 * i + 1) * model.n_layers // (2 * n_chosen) for i in range(n_chosen)]
