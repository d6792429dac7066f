"""What Tab offers in the edit line: the words of the grammar, the graph's features and supernodes, other prompts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from store.errors import BadInput
from store.graphs import NodeRecord
from tasks.graphs.edit import Operation, Supernode, parse_line
from tasks.graphs.edit_ground import EditGround
from workbench.tui.panes.interventions.edit_text import check_edit_text, check_prompt, split_source
from workbench.tui.render.bars import signed
from workbench.tui.render.features import about
from workbench.tui.render.tokens import show_text

OFFERED = 8
_LINE = re.compile(r"(?P<operation>\s*\S*)(?P<gap>\s+)?(?P<rest>.*)", re.DOTALL)
_MEANING = {
    Operation.ABLATE: "set to zero",
    Operation.SCALE: "multiply, as L12/345@7=2",
    Operation.STEER: "add, as L12/345=+3, or =+2max: twice its largest activation",
    Operation.SWAP: "give the values of another prompt, as L4-12/*@-1 from PROMPT",
}


@dataclass(frozen=True)
class Offer:
    """A whole line that the text could become, and words on what it means (inert)."""

    line: str
    words: str


def offers(text: str, ground: EditGround, prompts: Sequence[str] = ()) -> list[Offer]:
    """What the line `text` could become, the likeliest first. `prompts` are those that swaps could take values from."""
    edit, source = split_source(text)
    if source is not None:
        wanted = source.casefold()
        found = [prompt for prompt in prompts if wanted in prompt.casefold() and prompt != source]
        return [Offer(f"{edit} from {prompt}", "") for prompt in found[:OFFERED]]
    match = _LINE.fullmatch(text)
    if match is None or match["gap"] is None:
        typed = text.strip()
        return [Offer(f"{word} ", _MEANING[word]) for word in Operation if word.startswith(typed) and word != typed]
    word = match["operation"].strip()
    if word not in set(Operation):
        return []
    operation = Operation(word)
    return _subjects(operation, match["rest"], ground) or _after_subject(operation, text, match["rest"], ground)


def _subjects(operation: Operation, typed: str, ground: EditGround) -> list[Offer]:
    """Supernodes and features whose name begins so, or whose words hold what was typed; the weightiest first."""
    if operation.has_value and "=" in typed:
        return []
    ending = {Operation.SCALE: "=", Operation.STEER: "=+"}.get(operation, "")
    wanted = typed.strip().casefold()
    found = [
        Offer(f"{operation} {Supernode(name)}{ending}", f"supernode of {len(members)} features")
        for name, members in ground.supernodes.items()
        if wanted in name.casefold() and str(Supernode(name)) != typed
    ]
    for node in sorted(ground.nodes, key=_weight, reverse=True):
        name = f"L{node.layer}/{node.feature}@{node.position}"
        words = _words(ground, node)
        if name != typed and (name.casefold().startswith(wanted) or (wanted and wanted in words.casefold())):
            found.append(Offer(f"{operation} {name}{ending}", f"{_effect(node)}  {words}"))
        if len(found) >= OFFERED:
            break
    return found[:OFFERED]


def _after_subject(operation: Operation, text: str, typed: str, ground: EditGround) -> list[Offer]:
    """What may follow a feature: a value, or where a swap takes its values from."""
    if operation is Operation.SWAP and typed.strip():
        return [Offer(f"{text.rstrip()} from ", "the prompt that has as many tokens")]
    if operation is Operation.STEER and typed.endswith(("=+", "=-")):
        return [Offer(f"{text}{value}", "its largest activation over the corpus, times") for value in ("1max", "2max")]
    if operation is Operation.SCALE and typed.endswith("="):
        return [Offer(f"{text}{value}", "times its value") for value in ("0.5", "2", "-1")]
    return []


def fault_of(text: str, ground: EditGround) -> BadInput | None:
    """What is wrong with the line as it stands: grammar, or what the project does not have. None where it is sound."""
    try:
        line, source = split_source(text)
        check_edit_text(line)
        check_prompt(source or "")
        edit = parse_line(line)
        if edit is None:
            return None
        ground.refuse(edit)
        if source == "":
            return BadInput("a swap needs a prompt after from", "type the prompt, or take `from` away")
    except BadInput as error:
        return error
    return None


def _weight(node: NodeRecord) -> float:
    return abs(node.predicted_effect or 0.0)


def _effect(node: NodeRecord) -> str:
    return f"ablated {signed(None if node.predicted_effect is None else -node.predicted_effect)} nats"


def _words(ground: EditGround, node: NodeRecord) -> str:
    known = ground.words.get((node.layer, node.feature))
    if known is None:
        return ""
    return show_text(known.label) if known.label else about(known.fires_on, [token for token, _ in known.promoted])
