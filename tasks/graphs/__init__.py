"""Graphs as they lie in the store: read, pruned again, scored, compared and written for others. No torch, no model."""
