"""A prompt of a person's own: the prompt, and if they like what it should give and a twin to compare it with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from store.errors import BadInput
from workbench.tui.widgets.inert_input import InertInput

_FIELDS = (
    ("prompt", "Prompt", "The capital of France is"),
    ("decisive", "Decisive token", "what it should give, with its leading space, as ' Paris'; may be left empty"),
    ("corrupt", "Corrupt prompt", "its twin, as The capital of Italy is; may be left empty"),
    ("rival", "Rival token", "what the twin should give, as ' Rome'; may be left empty"),
)


class PromptForm(ModalScreen[dict[str, str] | None]):
    """Asks for a prompt; the answer is the options of the baseline task, or None if the person escapes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "leave"),
        Binding("down", "app.focus_next", "next", show=False),
        Binding("up", "app.focus_previous", "before", show=False),
    ]
    DEFAULT_CSS = """
    PromptForm { align: center middle; }
    PromptForm > Vertical { width: 94%; max-width: 120; height: auto; border: round $primary;
        padding: 0 1; background: $surface; }
    PromptForm Static { height: auto; }
    PromptForm InertInput { margin: 0 0 1 0; }
    PromptForm #fault { color: $error; }
    """

    def __init__(self, typed: Mapping[str, str]) -> None:
        """`typed`: what stood in the fields before."""
        super().__init__()
        self._typed = typed

    def compose(self) -> ComposeResult:
        """Four lines, and room for what is wrong with them."""
        with Vertical():
            yield Static(Text("Run a prompt  (⏎ runs it, tab goes on, esc leaves)", style="bold"))
            for name, title, hint in _FIELDS:
                yield Static(Text(title, style="dim"))
                yield InertInput(self._typed.get(name, ""), hint, compact=True, id=f"form-{name}")
            yield Static("", id="fault")

    @property
    def typed(self) -> dict[str, str]:
        """What stands in the fields now."""
        return {name: self.query_one(f"#form-{name}", InertInput).meant for name, *_ in _FIELDS}

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take it if it is sound."""
        event.stop()
        answer = {name: text for name, text in self.typed.items() if text}
        try:
            check_prompt(answer)
        except BadInput as error:
            self.query_one("#fault", Static).update(Text(str(error)))
            return
        self.dismiss(answer)

    def action_leave(self) -> None:
        """No answer."""
        self.dismiss(None)


def check_prompt(options: Mapping[str, str]) -> None:
    """Raise `BadInput` for what can be seen to be wrong without a tokenizer."""
    if not options.get("prompt", "").strip():
        raise BadInput("there is no prompt", "type some text in the first line")
    if options.get("rival") and not options.get("decisive"):
        raise BadInput("a rival is compared with a decisive token", "name that too, or leave the rival empty")
    if options.get("corrupt") and options.get("decisive") and not options.get("rival"):
        raise BadInput("what should the corrupt prompt give", "name the rival, or leave the decisive token empty")
