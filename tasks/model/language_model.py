"""A causal language model with one name for each place, whatever its family.

The weights are transformers' own and are never changed. Baselines, replacement and interventions go through `nnsight`;
loops that must be fast put plain hooks on the same modules (DESIGN §3).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

import torch
from jaxtyping import Float, Int
from jinja2 import TemplateError
from nnsight import TransformersModel
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from store.errors import BadInput
from tasks.model.architecture import LayerModules, architecture_of
from tasks.model.naming import parse_layers


class LanguageModel:
    """A model, its tokenizer, and where its parts are. Always in eval mode, never asked for weight gradients."""

    def __init__(self, hf: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, spec: str, revision: str) -> None:
        """Wrap a loaded model. `spec` is what the person wrote, `revision` pins the weights.

        Raises `BadInput` for a family that `architecture.py` does not know.
        """
        self.hf = hf.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.spec = spec
        self.revision = revision
        self.architecture = architecture_of(hf.config.model_type)
        decoder = hf.get_decoder()
        self.layers: list[LayerModules] = [self.architecture.layer(block) for block in decoder.get_submodule("layers")]
        self.blocks: list[nn.Module] = list(decoder.get_submodule("layers"))
        self.embedding: nn.Module = hf.get_input_embeddings()
        self.final_norm: nn.Module = decoder.get_submodule("norm")
        self.unembedding: nn.Module = hf.get_output_embeddings()

    @property
    def n_layers(self) -> int:
        """Number of decoder layers."""
        return len(self.layers)

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return int(self.hf.config.hidden_size)

    @property
    def d_mlp(self) -> int:
        """Width m of the MLP hidden h."""
        return self.layers[0].down.in_features

    @property
    def vocab_size(self) -> int:
        """Number of logits."""
        return int(self.unembedding_weight.shape[0])

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.hf.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights."""
        dtype: torch.dtype = self.hf.dtype
        return dtype

    @property
    def unembedding_weight(self) -> Float[Tensor, "vocab d"]:
        """W_U, one row a token."""
        weight = self.unembedding.get_parameter("weight")
        return weight.detach()

    @cached_property
    def mean_unembedding(self) -> Float[Tensor, " d"]:
        """The mean over the vocabulary of W_U's rows, float32: what a centred logit is read against."""
        return self.unembedding_weight.float().mean(0)

    @property
    def logit_softcap(self) -> float | None:
        """c where the family ends in c·tanh(logits / c) (Gemma 2), else None."""
        cap = getattr(self.hf.config, "final_logit_softcapping", None)
        return None if cap is None else float(cap)

    def capped(self, logits: Float[Tensor, "*batch vocab"]) -> Float[Tensor, "*batch vocab"]:
        """Logits as the model gives them, from logits before the soft cap."""
        cap = self.logit_softcap
        return logits if cap is None else cap * torch.tanh(logits / cap)

    @cached_property
    def nnsight(self) -> TransformersModel:
        """The same modules as an nnsight model. One thread at a time."""
        return TransformersModel(self.hf, tokenizer=self.tokenizer)

    def norm_weight(self, norm: nn.Module) -> Float[Tensor, " d"]:
        """What a norm multiplies by, after dividing by the root mean square."""
        return self.architecture.norm_weight_offset + norm.get_parameter("weight").detach()

    def norm_epsilon(self, norm: nn.Module) -> float:
        """What a norm adds to the mean square."""
        epsilon = getattr(norm, "variance_epsilon", None)
        return float(norm.eps if epsilon is None else epsilon)  # type: ignore[arg-type]

    def activation(self, gate: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The gate's nonlinearity (SiLU, GELU-tanh)."""
        result: Tensor = self.layers[0].mlp.get_submodule("act_fn")(gate)
        return result

    def tokenize(
        self, text: str, *, chat: bool = False, system: str = "", prefill: str = "", special_start: bool = False
    ) -> list[int]:
        """Token ids of a prompt: raw, with the tokenizer's own BOS if it has one; or as one user turn of its template.

        In a chat, `system` goes before the turn and `prefill` begins the answer. `special_start` puts the BOS (or pad,
        or EOS) token first where no special token stands there, as circuit-tracer does. Raises `BadInput` if nothing is
        left to predict from, or if it is more than the model can read.
        """
        if not text.strip():
            raise BadInput("the prompt is empty", "give at least one token of text")
        if chat:
            text = self._templated(text, system) + prefill
        elif system or prefill:
            raise BadInput("a system text or the beginning of an answer needs a chat", "add --chat")
        ids: list[int] = self.tokenizer(text, add_special_tokens=not chat)["input_ids"]
        ids = self._with_special_start(ids) if special_start else ids
        longest = getattr(self.hf.config, "max_position_embeddings", None)
        if longest is not None and len(ids) > longest:
            raise BadInput(f"the prompt is {len(ids)} tokens and {self.spec} reads at most {longest}", "shorten it")
        return ids

    def _templated(self, text: str, system: str) -> str:
        if not self.tokenizer.chat_template:
            raise BadInput(f"{self.spec} has no chat template", "leave --chat away")
        turns = [{"role": "system", "content": system}] if system else []
        turns.append({"role": "user", "content": text})
        try:
            templated = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        except TemplateError as error:
            raise BadInput(f"the chat template of {self.spec} refuses this ({error})", "leave --system away") from error
        return str(templated)

    def _with_special_start(self, ids: list[int]) -> list[int]:
        if ids[0] in self.tokenizer.all_special_ids:
            return ids
        candidates = (self.tokenizer.bos_token_id, self.tokenizer.pad_token_id, self.tokenizer.eos_token_id)
        start = next((token for token in candidates if token is not None), None)
        if start is None:
            raise BadInput(f"the tokenizer of {self.spec} has no special token", "add --no-special-start")
        return [start, *ids]

    def token_text(self, token: int) -> str:
        """The token's own text. Hostile: pass it through `show_token` before a terminal sees it."""
        return str(self.tokenizer.decode([token]))

    def single_token(self, text: str) -> int:
        """The id of a text that is exactly one token; `BadInput` names the tokens it splits into otherwise."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        if len(ids) != 1:
            pieces = " ".join(repr(self.token_text(i)) for i in ids) or "nothing"
            raise BadInput(f"{text!r} is {len(ids)} tokens ({pieces})", "name a text that is one token")
        if ids[0] == self.tokenizer.unk_token_id and text != self.tokenizer.unk_token:
            raise BadInput(f"{text!r} is not in the vocabulary of {self.spec}", "name a text that is one token")
        return ids[0]

    def parse_layers(self, text: str) -> list[int]:
        """The layers of a range such as `4-12,20`, sorted; `BadInput` if one is not in this model."""
        return parse_layers(text, self.n_layers, self.spec)

    def token_tensor(self, tokens: Sequence[int]) -> Int[Tensor, "1 pos"]:
        """One prompt as a batch on the model's device."""
        return torch.tensor([list(tokens)], device=self.device)

    @torch.no_grad()
    def logits(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos vocab"]:
        """The unmodified model's logits, float32."""
        result: Tensor = self.hf(input_ids=tokens, use_cache=False).logits
        return result.float()

    @contextmanager
    def readable_attention(self) -> Iterator[None]:
        """Inside, attention is computed so that its patterns come out of the attention modules (eager)."""
        before = self.hf.config._attn_implementation
        self.hf.set_attn_implementation("eager")
        try:
            yield
        finally:
            self.hf.set_attn_implementation(before)
