"""Pane 4, the intervention console: edits on a board, what the graph predicts of them and what the model does."""
