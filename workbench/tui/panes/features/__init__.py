"""Pane 2, features: what they are, found by words, filters and by what is active in graphs."""
