"""One prompt and its edits, ready to be run: the text before and after, at several doses, and to first order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from tasks.circuits.frozen import freeze
from tasks.circuits.targets import LogitTarget
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.interventions.dose_response import logits_at_doses, predicted_change
from tasks.interventions.edits import Edits
from tasks.interventions.intervene import Spelling, edited_logits
from tasks.interventions.outcome import refuse_not_finite
from tasks.interventions.regime import Freeze
from tasks.interventions.request import activations
from tasks.model.language_model import LanguageModel


@dataclass(frozen=True)
class Intervention:
    """What is edited in which prompt, and how."""

    model: LanguageModel
    tokens: Sequence[int]
    """The prompt's."""
    dictionaries: DictionarySet
    edits_at: Callable[[int], Edits]
    """Length of the text so far -> the table of all edits."""
    spelling: Spelling
    freeze: Freeze

    @property
    def edits(self) -> Edits:
        """The edits of the prompt itself."""
        return self.edits_at(len(self.tokens))

    def before(self, text: Sequence[int]) -> Float[Tensor, " vocab"]:
        """The unmodified model's next-token logits of a text."""
        return self.model.logits(self.model.token_tensor(text))[0, -1]

    def after(self, text: Sequence[int]) -> Float[Tensor, " vocab"]:
        """Next-token logits of a text that begins with the prompt, edited; `WorkbenchError` if they are not finite."""
        logits = self._run(text, self.edits_at(len(text)), 1)[0, -1]
        refuse_not_finite(logits, "after the edits")
        return logits

    def at_doses(
        self, doses: Sequence[float], batch: int, advance: Callable[[float], None]
    ) -> Float[Tensor, "dose vocab"]:
        """Next-token logits of the prompt with the edits at every dose; `WorkbenchError` if some are not finite."""
        found = logits_at_doses(
            lambda edits, n_rows: self._run(self.tokens, edits, n_rows), self.edits, doses, batch, advance
        )
        for dose, logits in zip(doses, found, strict=True):
            refuse_not_finite(logits, f"at dose {dose:g}")
        return found

    def predicted(self, decisive: int, rival: int) -> float | None:
        """First-order change of the logit difference, nats.

        None where first order says nothing: it is the derivative of the live, unmodified model.
        """
        if self.spelling is not Spelling.DELTA or self.freeze is not Freeze.NONE:
            return None
        touched = self.dictionaries.only(self.edits.layer.unique().tolist())
        target = LogitTarget(decisive, len(self.tokens) - 1, 0.0, rival)
        clean = activations(touched, freeze(self.model, self.tokens))
        return predicted_change(self.model, self.tokens, touched, self.edits, clean, target)

    def _run(self, text: Sequence[int], edits: Edits, n_rows: int) -> Float[Tensor, "row pos vocab"]:
        return edited_logits(
            self.model, text, self.dictionaries, edits, n_rows, self.spelling, self.freeze, len(self.tokens)
        )
