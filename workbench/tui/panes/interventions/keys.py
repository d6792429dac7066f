"""What the console's keys do, and what its help says."""

from workbench.tui.actions import Action

ACTIONS = (
    Action("write", "a", "Write an edit", "write"),
    Action("change_edit", "e", "Change the edit under the cursor", "edit"),
    Action("switch", "space", "Turn the edit under the cursor on or off; on the total, all of them", "on/off"),
    Action("remove", "delete,backspace", "Take the edit under the cursor off the board", "remove"),
    Action("run", "r", "Measure each active edit alone, and all of them together", "run", changes=True),
    Action("dose", "d", "Measure the edit under the cursor at several doses", "doses", changes=True),
    Action("history", "h", "Go to the stored interventions, or back to the board", "history"),
    Action("rerun", "R", "Measure what is under the cursor again, whatever is known of it", changes=True),
    Action("prompt", "p", "Type another prompt", "prompt"),
    Action("stand_on_graph", "G", "Choose a graph: its prompt, dictionary, supernodes and predictions"),
    Action("target", "t", "Choose the decisive token and its rival"),
    Action("dictionary", "c", "Choose the dictionary whose features are edited"),
    Action("freeze", "f", "Hold nothing, attention patterns, or all but the direct path"),
    Action("spelling", "s", "Keep the dictionary's error, or run the replacement model"),
    Action("positions", "o", "Let edits at every position reach generated tokens, or stop at the prompt"),
    Action("source", "F", "Choose the prompt that swaps take their values from"),
    Action("sweep", "w", "Choose the doses"),
    Action("open_graph", "g", "Show the feature under the cursor in the graph"),
    Action("open_feature", "v", "Show the card of the feature under the cursor"),
    Action("clear", "n", "Begin a new board"),
    Action("undo", "ctrl+z", "Take the last change of the board back"),
    Action("redo", "ctrl+y", "Do again what was taken back"),
)

HELP = """
An edit changes features while the model reads the prompt: ablate L12/345@7 (to zero), scale L8/12=3, steer L8/12=+2 or
=+2max (twice its largest activation), swap L4-12/*@-1 from PROMPT. @7,9 are positions of the prompt, @-1 its last one,
none means every position. A supernode of the graph goes by its name. Tab completes; what is wrong is said below.

The board says of each edit what was predicted of it and what was measured of it alone, as the change of the logit
difference between the decisive token and its rival: after − before, in nats. The gap is measured − predicted. The last
line is all active edits together. A graph that was traced without a rival explains its token's logit less the mean of
all logits: then that is what the board shows.

The prediction is first order: of the graph where it knows all of the edit, else (*) of the run. It is given where
nothing is held, the dictionary's error is kept and the target is the graph's.

The card has the line under the cursor: logits, probability and rank of the decisive token, KL, the most probable next
tokens of either run, both continuations, and the dose–response curve once d has measured it. Dose 0 is no edit, 1 the
edit as written, −1 the other way.

Whatever was measured before with the same options is not measured again; R does so nevertheless.
"""
