"""Pane 1: behaviours and prompts, what the model makes of them, and the way from a prompt to its graph."""
